"""No cache serves one thing's result for another: under run_mteb, in MTEB's ResultCache, in our results folder.

The traps are MTEB 2.26's; each test says which.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mteb
import pytest
import torch
from mteb.models import HybridSearch
from mteb.models.cache_wrappers import CachedEmbeddingWrapper
from mteb.models.model_implementations.bm25 import BM25Search
from sentence_transformers import SentenceTransformer

from mr_st.errors import UsageError
from mr_st.evaluation import BiEncoder, GradedReport, as_mteb_model
from mr_st.evaluation.systems import Bm25System, HybridSystem
from mr_st.tasks import GoldenRetrieval, MarketplaceRetrieval, run_mteb

QUERIES = ["red mug", "led lamp", "kids toy car", "garden hose"]
ITEMS = [
    "red coffee mug", "blue steel mug", "garden hose for water", "led light bulb", "wooden desk lamp", "toy car small",
    "office chair black", "running shoes", "cotton shirt for men", "printer ink cartridge", "kettle", "water pump",
]  # fmt: skip
TRIPLES = [(query, item, (5 * q + 7 * i) % 3) for q, query in enumerate(QUERIES) for i, item in enumerate(ITEMS)]


def figures(report: GradedReport) -> dict[str, float]:
    return {name: interval.value for name, interval in report.metrics.items() if interval.n}


@pytest.fixture
def loaded(tiny_base):
    """Makes a model; seeds other than 0 give it other weights."""

    def make(seed: int = 0, **settings) -> SentenceTransformer:
        model = SentenceTransformer(str(tiny_base), device="cpu")
        if seed:
            with torch.no_grad():
                weight = model[0].auto_model.embeddings.word_embeddings.weight
                weight.normal_(generator=torch.Generator().manual_seed(seed))
        for name, value in settings.items():
            setattr(model, name, value)
        return model

    return make


@pytest.fixture
def apart(tmp_path):
    """Asserts that things evaluated one after the other, twice over, each get what they get alone; both ways."""

    def check(pairs: list[tuple[object, object]]) -> None:
        alone = [task.report(thing) for thing, task in pairs]
        values = [tuple(report.values("ndcg@10")) for report in alone]
        assert len(set(values)) == len(values), "the things cannot be told apart by their figures: a useless test"
        paths = [report.save(tmp_path / "ours") for report in alone]
        assert len(set(paths)) == len(paths)
        for path, report in zip(paths, alone, strict=True):
            assert figures(GradedReport.load(path)) == figures(report)
        for _ in range(2):  # the second time out of the cache
            for (thing, task), report in zip(pairs, alone, strict=True):
                (result,) = run_mteb(thing, [task], tmp_path / "theirs", show_progress_bar=False)
                assert result.task_name == task.metadata.name
                assert result.dataset_revision == task.metadata.revision
                assert result.scores["test"][0]["ndcg_at_10"] == pytest.approx(report.main_score, abs=5.001e-6)

    return check


def test_trap_1_two_models_from_folders(loaded, hand_made, apart) -> None:
    """MTEB calls both ``no_model_name/available``."""
    task = hand_made(TRIPLES)
    apart([(loaded(0), task), (loaded(1), task)])


def test_trap_1_other_weights_in_the_same_folder(loaded, hand_made, apart, tmp_path) -> None:
    folder = str(tmp_path / "model")
    models = []
    for seed in (1, 2):
        loaded(seed).save(folder)
        models.append(SentenceTransformer(folder, device="cpu"))
    task = hand_made(TRIPLES)
    apart([(model, task) for model in models])


@pytest.mark.parametrize(
    "settings",
    [{"prompts": {"query": "kids toy car: "}}, {"prompts": {"document": "garden "}}, {"truncate_dim": 3}],
    ids=["a query prompt", "an item prompt", "fewer dimensions"],
)
def test_the_same_weights_set_otherwise(loaded, hand_made, apart, settings) -> None:
    task = hand_made(TRIPLES)
    apart([(loaded(0), task), (loaded(0, **settings), task)])


def test_a_store_of_vectors_serves_each_model_its_own(loaded, hand_made, tmp_path) -> None:
    """Trap 3: the key of MTEB's CachedEmbeddingWrapper has no model."""
    task, store = hand_made(TRIPLES), tmp_path / "store"
    models = [loaded(0), loaded(1), loaded(0, prompts={"query": "kids toy car: "})]
    for _ in range(2):
        for model in models:
            assert figures(task.report(model, store=store)) == figures(task.report(model))
    cached = CachedEmbeddingWrapper(as_mteb_model(loaded(0)), tmp_path / "vectors")
    with pytest.raises(UsageError, match="by text and not by model"):
        run_mteb(cached, [task], tmp_path)


def test_trap_2_two_weightings_of_a_hybrid(loaded, hand_made, apart) -> None:
    parts = {"dense": BiEncoder(loaded(1)), "other": BiEncoder(loaded(2))}
    task = hand_made(TRIPLES)
    hybrids = [HybridSystem(parts, weights={"dense": w, "other": 1 - w}) for w in (0.9, 0.1)]
    hybrids.append(HybridSystem(parts, fusion="weighted"))
    assert len({hybrid.name for hybrid in hybrids}) == 1
    apart([(hybrid, task) for hybrid in hybrids])


def test_trap_2_mtebs_own_hybrids(loaded, hand_made, tmp_path) -> None:
    """Their weights are in no identity: they are always run anew."""
    task = hand_made(TRIPLES)
    parts = [as_mteb_model(loaded(1)), as_mteb_model(loaded(2))]
    one, other = (HybridSearch(parts, weights=weights) for weights in ([1.0, 0.0], [0.0, 1.0]))
    assert one.mteb_model_meta.name == other.mteb_model_meta.name
    scores = [
        run_mteb(hybrid, [task], tmp_path, show_progress_bar=False)[0].get_score() for hybrid in (one, other, one)
    ]
    assert scores[0] == scores[2] != scores[1]
    # the trap itself: mteb.evaluate serves the other weighting's score
    trapped = mteb.evaluate(other, task, cache=mteb.ResultCache(tmp_path), show_progress_bar=False).task_results[0]
    assert trapped.get_score() == scores[0]


def test_trap_3_the_title_stands_in_the_text_and_nowhere_else(hand_made) -> None:
    task = hand_made(TRIPLES)
    task.load_data()
    assert task.dataset["default"]["test"]["corpus"].column_names == ["id", "text"]


def test_trap_4_bm25_ranks_every_judged_item_of_a_pool(hand_made, tmp_path) -> None:
    """MTEB's filters its own top 1,000, so that what stands below scores nothing."""
    twin = hand_made([("red mug", "red mug big", 2), ("red mug", "garden hose", 1), ("red mug", "desk", 1)]).twin()
    system = Bm25System()
    (result,) = run_mteb(system, [twin], tmp_path, show_progress_bar=False)
    assert result.scores["test"][0]["recall_at_3"] == 1  # two of them share no word with the query
    assert twin.report(system)["recall@10"].value == 1
    with pytest.raises(UsageError, match="cannot rerank"):
        run_mteb(BM25Search(), [twin], tmp_path)


def test_trap_5_statistics_write_nothing(hand_made) -> None:
    written = Path(mteb.__file__).parent / "descriptive_stats"
    before = sorted(written.rglob("*"))
    task = MarketplaceRetrieval(size="tiny")
    found = task.calculate_descriptive_statistics(overwrite_results=True)
    assert found["test"]["num_queries"] == task.statistics()["n_queries"] == 12
    assert found["test"]["num_documents"] == 250
    assert sorted(written.rglob("*")) == before
    assert not task.metadata.descriptive_stat_path.exists()


def test_trap_6_margins_are_of_judged_pools_only_under_mteb(loaded, hand_made, tmp_path) -> None:
    task = hand_made(TRIPLES)
    model = loaded(0)
    whole, pool = run_mteb(model, [task, task.twin()], tmp_path, show_progress_bar=False)
    assert not [key for key in whole.scores["test"][0] if key.startswith("margin")]
    ours = task.report(model)["margin_average_2_0"].value  # from all judged pairs, whatever their rank
    assert pool.scores["test"][0]["margin_average_2_0"] == pytest.approx(ours, abs=5.001e-6)


def test_two_formats_of_the_item_text(loaded, hand_made, apart) -> None:
    formats = [{}, {"max_chars": 4}, {"max_chars": 100}, {"item_text_levels": None}, {"item_text_levels": 0}]
    tasks = [hand_made(TRIPLES, **form) for form in formats]
    assert [task.metadata.name for task in tasks] == [
        "HandMade", "HandMade-chars=4", "HandMade-chars=100", "HandMade-levels=all", "HandMade-levels=0",
    ]  # fmt: skip
    named = hand_made(TRIPLES, name="Mine", item_text_levels=0, max_chars=None)
    assert named.metadata.name == "Mine-levels=0-chars=all"
    model = loaded(3)
    apart([(model, tasks[0]), (model, tasks[1]), (model, tasks[4])])


def test_other_data_under_the_same_name(loaded, hand_made, tmp_path) -> None:
    model, turned = loaded(0), [(query, item, 2 - grade) for query, item, grade in TRIPLES]
    tasks = [hand_made(TRIPLES), hand_made(turned)]
    assert tasks[0].metadata.name == tasks[1].metadata.name
    for strategy in ("only-missing", "only-cache", "never"):
        for task in tasks:
            (result,) = run_mteb(model, [task], tmp_path, show_progress_bar=False, overwrite_strategy=strategy)
            assert result.dataset_revision == task.metadata.revision
            assert result.get_score() == pytest.approx(task.report(model).main_score, abs=5.001e-6)
    # the trap itself: mteb.evaluate serves the score of the other data
    cache = mteb.ResultCache(tmp_path)
    trapped = mteb.evaluate(as_mteb_model(model), tasks[0], cache=cache, show_progress_bar=False).task_results[0]
    assert trapped.dataset_revision == tasks[1].metadata.revision
    # in our folder the file says which data it is of, and keeps nothing of the other
    for task in tasks:
        path = task.report(model).save(tmp_path / "ours")
        assert GradedReport.load(path).dataset_fingerprint == task.metadata.revision


def test_a_task_and_its_twin_do_not_share(loaded, hand_made, apart) -> None:
    task = hand_made(TRIPLES)
    model = loaded(4)
    assert task.metadata.revision == task.twin().metadata.revision  # the same data
    apart([(model, task), (model, task.twin())])


def test_what_run_mteb_refuses(loaded, hand_made, tmp_path) -> None:
    task = hand_made(TRIPLES)
    with pytest.raises(UsageError, match="encode_kwargs normalize_embeddings would change the vectors"):
        run_mteb(loaded(0), [task], tmp_path, encode_kwargs={"batch_size": 8, "normalize_embeddings": False})
    with pytest.raises(UsageError, match="this model has its own"):
        run_mteb(Bm25System(), [task], tmp_path, revision="1")


def test_a_task_its_twin_and_a_golden_set_encode_each_text_once(tiny_base) -> None:
    class Counting(SentenceTransformer):
        """The real model, and what it was asked."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.asked: dict[str, Counter[str]] = {"query": Counter(), "item": Counter()}

        def encode_query(self, inputs, **kwargs):
            self.asked["query"].update(inputs)
            return super().encode_query(inputs, **kwargs)

        def encode_document(self, inputs, **kwargs):
            self.asked["item"].update(inputs)
            return super().encode_document(inputs, **kwargs)

    model = Counting(str(tiny_base), device="cpu")
    system = BiEncoder(model)
    task, golden = MarketplaceRetrieval(size="tiny"), GoldenRetrieval(size="tiny")
    reports = [one.reports(system)["default"] for one in (task, task.twin(), golden, golden.twin(), task)]
    assert set(model.asked["item"]) == set(task.collection().item_texts) | set(golden.collection().item_texts)
    assert set(model.asked["query"]) >= set(task.collection().query_texts)
    assert {count for side in model.asked.values() for count in side.values()} == {1}
    plain = task.report(SentenceTransformer(str(tiny_base), device="cpu"))
    assert figures(reports[-1]) == figures(reports[0])
    assert figures(reports[0]) == pytest.approx(figures(plain), abs=1e-6)
