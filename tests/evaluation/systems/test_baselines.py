"""BM25, random and hybrid systems beyond the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.evaluation import Collection, evaluate_system
from mr_st.evaluation.scoring import rank_judged
from mr_st.evaluation.systems import Bm25System, HybridSystem, RandomSystem, RunFile
from mr_st.search import Bm25Searcher


def made(titles: list[str], queries: dict[str, tuple[str, str]], grades: dict[tuple[str, int], int]) -> Collection:
    """A collection; ``queries``: id to text and locale."""
    items = [{"item_id": f"i{n}", "title": t, "category_path": [], "locale": "en"} for n, t in enumerate(titles)]
    rows = [{"query_id": q, "text": text, "locale": locale} for q, (text, locale) in queries.items()]
    judgments = [{"query_id": q, "item_id": f"i{i}", "grade": g, "split": "test"} for (q, i), g in grades.items()]
    return Collection.from_dataset(GradedDataset.from_tables(rows, items, judgments))


def test_bm25_scores_judged_items_that_no_search_would_return() -> None:
    """mteb's BM25 filters a global top k: a judged item below it scores nothing."""
    titles = ["red shoes"] * 50 + ["red mug steel handle big", "lamp"]
    collection = made(titles, {"q": ("red shoes", "en")}, {("q", 50): 2, ("q", 51): 0, ("q", 3): 1})
    system = Bm25System()
    assert 50 not in system.search(collection, 10).ids
    scores = dict(zip(collection.judged.items.tolist(), system.score_pairs(collection).tolist(), strict=True))
    assert scores[3] > scores[50] > scores[51] == 0


def test_bm25_takes_the_language_of_the_queries() -> None:
    grades = {("q", 0): 2, ("r", 1): 1}
    titles = ["the running shoe", "die Schuhe"]
    english = made(titles, {"q": ("shoes", "en-US"), "r": ("shoe", "en-GB")}, grades)
    mixed = made(titles, {"q": ("shoes", "en-US"), "r": ("shoe", "de-DE")}, grades)
    auto = Bm25System()
    assert auto.search(english, 2).ids.tolist() == [[0, -1], [0, -1]], "stemmed"
    assert auto.search(mixed, 2).ids.tolist() == [[-1, -1], [0, -1]], "two languages: words as they are"
    assert Bm25System(language="en").search(mixed, 2).ids[0, 0] == 0
    assert len({Bm25System(language=language).revision for language in ("auto", "en", None, "de")}) == 4


def test_bm25_indexes_a_collection_once(catalogue: Collection, pool: Collection, monkeypatch) -> None:
    built: list[int] = []
    whole = Bm25Searcher.__init__

    def counting(self, texts, **options) -> None:
        built.append(len(texts))
        whole(self, texts, **options)

    monkeypatch.setattr(Bm25Searcher, "__init__", counting)
    system = Bm25System()
    del built[:]
    for _ in range(2):
        system.search(catalogue, 5)
        system.score_pairs(catalogue)
    system.search(pool, 5)
    assert built == [len(catalogue.item_ids), len(pool.item_ids)]


@pytest.mark.parametrize(
    "options", [{"k1": -1}, {"b": 2}, {"method": "x"}, {"language": "no tag"}, {"name": "a/b/../c"}]
)
def test_bm25_refuses_at_once(options: dict) -> None:
    with pytest.raises(UsageError):
        Bm25System(**options)


def test_random_goes_by_ids_alone(dataset: GradedDataset) -> None:
    """Another order of the rows, other items beside: a pair keeps its score."""
    turned = GradedDataset.from_tables(
        dataset.queries.to_list()[::-1], dataset.items.to_list()[::-1], dataset.judgments.to_list()
    )
    found = []
    for one in (dataset, turned):
        collection = Collection.from_dataset(one)
        judged, scores = collection.judged, RandomSystem(3).score_pairs(collection)
        found.append(
            {
                (collection.query_ids[q], collection.item_ids[i]): score
                for q, i, score in zip(judged.query_of_pair, judged.items, scores, strict=True)
            }
        )
    assert found[0] == found[1]


def test_random_is_even() -> None:
    n = 200
    queries = {f"q{i}": ("x", "en") for i in range(n)}
    collection = made([f"t{i}" for i in range(n)], queries, {(q, 0): 1 for q in queries})
    top = RandomSystem().search(collection, n)
    assert all(sorted(row) == list(range(n)) for row in top.ids.tolist())
    assert abs(top.scores.mean() - 0.5) < 0.005
    counts = np.bincount((top.scores.ravel() * 10).astype(int), minlength=10)
    assert np.abs(counts / counts.sum() - 0.1).max() < 0.01
    places = np.array([np.argsort(row) for row in top.ids])  # of each item
    assert np.abs(places.mean(axis=0) - (n - 1) / 2).max() < 5 * n / np.sqrt(12 * n)


def test_random_is_the_same_in_every_process() -> None:
    code = (
        "from mr_st.evaluation.systems.random import RandomSystem\n"
        "system = RandomSystem(7)\n"
        "print(system.revision, system._hashes('query', ['a', 'ä']).tolist())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_rrf_by_hand(tmp_path: Path) -> None:
    collection = made(["a", "b", "c", "d"], {"q": ("x", "en")}, {("q", 0): 1})
    (tmp_path / "one.run").write_text("q Q0 i0 1 9 t\nq Q0 i1 2 8 t\nq Q0 i2 3 7 t\n")
    (tmp_path / "two.run").write_text("q Q0 i2 1 0.9 t\nq Q0 i3 2 0.8 t\n")
    parts = {"one": RunFile(tmp_path / "one.run"), "two": RunFile(tmp_path / "two.run")}
    top = HybridSystem(parts, weights={"one": 1, "two": 2}, constant=10).search(collection, 4)
    by_hand = {0: 1 / 11, 1: 1 / 12, 2: 1 / 13 + 2 / 11, 3: 2 / 12}
    assert top.ids[0].tolist() == sorted(by_hand, key=by_hand.get, reverse=True)
    assert top.scores[0].tolist() == pytest.approx(sorted(by_hand.values(), reverse=True), rel=1e-6)
    shallow = HybridSystem(parts, weights={"one": 1, "two": 2}, constant=10, depth=1).search(collection, 4)
    assert shallow.ids[0].tolist() == [2, 0, -1, -1], "each part gives its best one, however many are asked for"


def test_weighted_scores_by_hand(tmp_path: Path) -> None:
    collection = made(["a", "b", "c"], {"q": ("x", "en")}, {("q", 0): 1})
    (tmp_path / "one.run").write_text("q Q0 i0 1 10 t\nq Q0 i1 2 5 t\nq Q0 i2 3 0 t\n")
    (tmp_path / "two.run").write_text("q Q0 i1 1 3 t\nq Q0 i2 2 1 t\n")
    parts = {"one": RunFile(tmp_path / "one.run"), "two": RunFile(tmp_path / "two.run")}
    top = HybridSystem(parts, fusion="weighted", weights={"one": 0.4, "two": 0.6}).search(collection, 3)
    assert top.ids[0].tolist() == [1, 0, 2]
    assert top.scores[0].tolist() == pytest.approx([0.4 * 0.5 + 0.6, 0.4, 0], abs=1e-6)


def test_a_judged_pool_is_fused_within_the_pool(tmp_path: Path) -> None:
    collection = made(["a", "b", "c", "d"], {"q": ("x", "en")}, {("q", 1): 2, ("q", 2): 0, ("q", 3): 0})
    (tmp_path / "one.run").write_text("q Q0 i0 1 9 t\nq Q0 i1 2 8 t\n")  # i0 is not judged: i1 is first in the pool
    (tmp_path / "two.run").write_text("q Q0 i2 1 0.9 t\nq Q0 i1 2 0.8 t\n")
    parts = {"one": RunFile(tmp_path / "one.run"), "two": RunFile(tmp_path / "two.run")}
    scores = HybridSystem(parts, constant=10).score_pairs(collection)
    assert scores[:2].tolist() == pytest.approx([1 / 11 + 1 / 12, 1 / 11], rel=1e-6)
    assert np.isnan(scores[2]), "no part has i3"
    assert rank_judged(collection.judged, scores).ids.tolist() == [[1, 2, 3]]


def test_a_hybrid_of_one_is_that_one(catalogue: Collection, pool: Collection) -> None:
    for collection in (catalogue, pool):
        alone = evaluate_system(Bm25System(), collection, ks=(5, 10), n_resamples=50)
        as_one = evaluate_system(HybridSystem({"a": Bm25System()}, depth=50), collection, ks=(5, 10), n_resamples=50)
        assert as_one.values("ndcg@10").tolist() == alone.values("ndcg@10").tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"a": 1}}, "weights are for a, but the parts are a, b"),
        ({"weights": {"a": -1, "b": 1}}, "each must be 0 or more"),
        ({"weights": {"a": 0, "b": 0}}, "one above 0"),
        ({"depth": 0}, "depth is 0"),
        ({"fusion": "sum"}, "fusion is 'sum'"),
        ({"constant": -1}, "constant is -1"),
        ({"fusion": "weighted", "normalise": "max"}, "normalise is 'max'"),
    ],
)
def test_a_hybrid_refuses_at_once(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HybridSystem({"a": RandomSystem(), "b": RandomSystem(1)}, **options)
    with pytest.raises(UsageError, match="no systems"):
        HybridSystem({})
