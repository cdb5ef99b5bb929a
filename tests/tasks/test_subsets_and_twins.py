from __future__ import annotations

import numpy as np
import pytest

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.evaluation import BiEncoder, GradedReport
from mr_st.evaluation.systems import Bm25System, HybridSystem, RandomSystem
from mr_st.grades import ESCI_FOUR_GRADES
from mr_st.tasks import GradedRetrievalTask, MarketplaceReranking, MarketplaceRetrieval, get_task
from mr_st.tasks.base import twin_metadata

MARGINS = {"margin_average_2_0", "margin_worst_2_0", "margin_average_1_0", "margin_average_2_1"}


TITLES = ["red mug, taza roja", "blue mug", "hose", "lamp"]


class Sliced(GradedRetrievalTask):
    """Two locales, of which one is a subset beside a kind that no query has."""

    metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "SlicedRetrieval"})
    subsets = {"es": {"locale": "es"}, "misspelt": {"kind": "spelling"}}  # noqa: RUF012


@pytest.fixture
def sliced() -> Sliced:
    return Sliced(
        GradedDataset.from_tables(
            [
                {"query_id": "q1", "text": "red mug", "locale": "en-US"},
                {"query_id": "q2", "text": "tazas rojas", "locale": "es-ES"},
                {"query_id": "q3", "text": "hose", "locale": "es-MX"},
            ],
            [{"item_id": f"i{n}", "title": title} for n, title in enumerate(TITLES)],
            [
                {"query_id": q, "item_id": f"i{i}", "grade": g, "split": "test"}
                for q, i, g in [("q1", 0, 2), ("q1", 1, 1), ("q1", 3, 0), ("q2", 0, 2), ("q2", 2, 0), ("q3", 3, 0)]
            ],
        )
    )


def test_mteb_and_we_agree_on_subsets_of_the_marketplace_and_of_its_twin(agree, model) -> None:
    task = MarketplaceRetrieval(size="tiny")
    assert list(task.reports(BiEncoder(model), n_resamples=10)) == ["default", *MarketplaceRetrieval.subsets]
    task.subsets = {name: task.subsets[name] for name in ("es", "head", "misspelt")}  # one of each kind: MTEB is slow
    scores = agree(task)
    assert set(scores) == {"default", "es", "head", "misspelt"}
    assert set(agree(task.twin())["default"]) >= MARGINS
    assert scores["default"]["ndcg_at_10"] != scores["head"]["ndcg_at_10"]


@pytest.mark.parametrize("kind", ["bm25", "hybrid", "random"])
def test_mteb_and_we_agree_on_systems(agree, model, kind) -> None:
    bm25 = Bm25System()
    system = {
        "bm25": bm25,
        "hybrid": HybridSystem({"lexical": bm25, "dense": BiEncoder(model)}, weights={"lexical": 0.7, "dense": 0.3}),
        "random": RandomSystem(),
    }[kind]
    task = MarketplaceRetrieval(size="tiny")
    task.subsets = {"de": {"locale": "de"}}
    agree(task, system)
    agree(task.twin(), system)


def test_bm25_takes_the_language_of_all_queries_for_those_of_a_subset_too(agree, sliced) -> None:
    """With a Spanish stemmer the query of the subset would find its item, with none it does not."""
    assert agree(sliced, Bm25System())["es"]["recall_at_10"] == 0


def test_subsets_are_cut_out_of_one_search(sliced, model) -> None:
    class Counting(BiEncoder):
        searches = 0

        def search(self, collection, k):
            self.searches += 1
            return super().search(collection, k)

    system = Counting(model)
    reports = sliced.reports(system)
    assert system.searches == 1
    assert list(reports) == ["default", "es"]  # no query is misspelt; q3 has nothing above grade 0
    assert reports["default"].protocol["n_queries"] == 2
    assert reports["es"].per_query["query_id"].to_pylist() == ["q2"]
    assert reports["es"].languages == ["spa-Latn"]
    assert reports["es"]["ndcg@10"].value == reports["default"].values("ndcg@10")[1]
    assert list(sliced.reports(system, subsets=[])) == ["default"]


def test_subsets_that_are_not_there(sliced, model) -> None:
    with pytest.raises(UsageError, match="no subset 'de'; it has default, es, misspelt"):
        sliced.reports(BiEncoder(model), subsets=["de"])
    with pytest.raises(UsageError, match="no query with"):
        sliced.reports(BiEncoder(model), subsets=["misspelt"])
    sliced.hf_subsets = ["misspelt"]
    with pytest.raises(UsageError, match="subset misspelt has no query in test"):
        sliced.load_data()


def test_mteb_runs_all_queries_as_one_unless_asked(sliced, model, tmp_path) -> None:
    """MTEB's main score is the mean over the subsets it ran: over all queries, and no mean of overlapping parts."""
    import mteb

    from mr_st.evaluation import as_mteb_model

    assert sliced.metadata.hf_subsets_to_langscripts["es"] == ["spa-Latn"]
    (result,) = mteb.evaluate(as_mteb_model(model), sliced, cache=None, show_progress_bar=False).task_results
    assert result.hf_subsets == ["default"]
    reports = sliced.reports(BiEncoder(model))
    assert result.get_score() == pytest.approx(reports["default"].main_score, abs=5.001e-6)
    for report in reports.values():
        path = report.save(tmp_path / "results")
    # what we wrote holds the parts; MTEB leaves them out when it is given the task
    (whole,) = mteb.ResultCache(tmp_path).load_results(tasks=[sliced], validate_and_filter=True)[0].task_results
    assert whole.hf_subsets == ["default"]
    assert whole.get_score() == pytest.approx(reports["default"].main_score, abs=1e-9)
    assert GradedReport.load(path, "test", "es").main_score == reports["es"].main_score
    sliced.unload_data()
    chosen = sliced.filter_languages(None, hf_subsets=["es"])
    (result,) = mteb.evaluate(as_mteb_model(model), chosen, cache=None, show_progress_bar=False).task_results
    assert result.get_score() == pytest.approx(reports["es"].main_score, abs=5.001e-6)


def test_a_twin_is_the_registered_one() -> None:
    task = MarketplaceRetrieval(size="tiny", seed=3)
    twin, named = task.twin(), get_task("MarketplaceReranking", size="tiny", seed=3)
    assert isinstance(named, MarketplaceReranking)
    assert twin.metadata == named.metadata
    assert twin.metadata.name == "MarketplaceReranking-tiny-seed3"
    assert twin.metadata.type == "Reranking"
    assert twin.metadata.is_filled()
    assert twin.graded is task.graded
    assert twin.twin() is twin
    assert not task.judged_pool
    assert task.collection() is task.collection("test")  # made once
    assert task.collection().protocol["corpus"] == "full catalogue"
    assert twin.collection().protocol["corpus"] == "judged pool"


def test_a_twin_ranks_and_measures_every_judged_pair_and_nothing_else(sliced, model) -> None:
    twin = sliced.twin()
    assert twin.metadata.name == "SlicedReranking"
    twin.load_data()
    data = twin.dataset["default"]["test"]
    assert data["top_ranked"] == {"q1": ["i0", "i1", "i3"], "q2": ["i0", "i2"]}
    assert data["corpus"]["id"][:] == ["i0", "i1", "i2", "i3"]
    report = twin.report(model)
    assert report.run.filter(report.run["query_id"].to_numpy(zero_copy_only=False) == "q2").num_rows == 2
    queries = model.encode_query(["red mug", "tazas rojas"], normalize_embeddings=True)
    items = model.encode_document(TITLES, normalize_embeddings=True)
    similarity = queries @ items.T
    expected = [similarity[0, 0] - similarity[0, 3], similarity[1, 0] - similarity[1, 2]]
    assert report.values("margin_average_2_0") == pytest.approx(np.array(expected), abs=1e-6)
    assert report["judged@10"].value == 1


def test_margins_of_a_pool_are_not_cut_where_mteb_cuts_its_runs(agree) -> None:
    """MTEB keeps the first 1,000 of a run; a pool with more judged items than that has all of them in its margins."""

    class Wide(GradedRetrievalTask):
        metadata = twin_metadata(MarketplaceRetrieval.metadata, "WideReranking")
        judged_pool = True
        k_values = (1, 10, 50, 100)

    items = [{"item_id": f"i{n:03}", "title": f"{'red mug' if n % 3 else 'garden hose'} {n}"} for n in range(140)]
    task = Wide(
        GradedDataset.from_tables(
            [{"query_id": "q", "text": "red mug"}],
            items,
            [{"query_id": "q", "item_id": f"i{n:03}", "grade": n % 3, "split": "test"} for n in range(140)],
        )
    )
    assert set(agree(task)["default"]) >= MARGINS


def test_gains_that_are_not_linear_are_mtebs_too(hand_made, agree, model) -> None:
    triples = [
        ("red mug", "red mug big", 3),
        ("red mug", "blue mug", 2),
        ("red mug", "hose", 1),
        ("red mug", "desk", 0),
    ]
    queries, items = ["red mug"], ["red mug big", "blue mug", "hose", "desk", "lamp"]
    task = type(hand_made(triples[1:]))(
        GradedDataset.from_tables(
            [{"query_id": q, "text": q} for q in queries],
            [{"item_id": i, "title": i} for i in items],
            [{"query_id": q, "item_id": i, "grade": g, "split": "test"} for q, i, g in triples],
            scale=ESCI_FOUR_GRADES,
        )
    )
    agree(task)
    other = task.report(model, gains=(0, 1, 1, 1))
    assert other.protocol["gains"] == [0, 1, 1, 1]
    assert other["ndcg@10"].value != task.report(model)["ndcg@10"].value
    with pytest.raises(UsageError, match="do not fit the grades"):
        task.report(model, gains=(0, 1))


def test_a_system_has_its_own_identity(sliced, model) -> None:
    system = BiEncoder(model, "test/tiny")
    assert sliced.report(system).model_name == "test/tiny"
    assert sliced.report(model, model_name="test/tiny").metrics == sliced.report(system).metrics
    with pytest.raises(UsageError, match="it takes no model_name"):
        sliced.report(system, model_name="test/other")
