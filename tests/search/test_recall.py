from typing import Any

import numpy as np
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.search import ExactSearcher, QueryBatch, TopK
from mr_st.search.hnsw import HnswSearcher
from mr_st.search.recall import Recall, measure_recall, recall_by_query, tune_expansion

ITEMS = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
QUERY = np.array([[1, 0]], dtype=np.float32)  # scores 1, .8, .8, .6, 0


class Fixed:
    """Finds what it is told to find."""

    settings: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, ids: list[list[int]]):
        self.ids = np.array(ids)

    def __len__(self) -> int:
        return len(ITEMS)

    def search(self, queries: QueryBatch, k: int) -> TopK:
        return TopK(self.ids, np.zeros(self.ids.shape, dtype=np.float32))


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([0, 1], 1.0),
        ([0, 2], 1.0),  # as good as row 1, which exact search puts second
        ([1, 2], 1.0),  # so many reach the second-best score; the order is another matter
        ([0, 3], 0.5),
        ([3, 4], 0.0),
        ([0, -1], 0.5),
        ([0, 0], 0.5),  # the same row twice is one found
        ([-1, -1], 0.0),
    ],
)
def test_recall_counts_any_item_as_good_as_the_kth_best(ids, expected):
    assert measure_recall(Fixed([ids]), ITEMS, QUERY, k=2).value == expected


def test_places_that_no_item_can_fill_are_not_missed():
    found = measure_recall(Fixed([[0, 1, 2, 3, -1, -1, -1]]), ITEMS, QUERY, k=7)
    assert found.value == pytest.approx(4 / 5)


def test_exact_search_finds_all():
    items, queries = unit_rows(300, 16, 0), unit_rows(40, 16, 1)
    found = measure_recall(ExactSearcher(items), items, queries, k=10)
    assert (found.value, found.low, found.high, found.n, found.k) == (1, 1, 1, 40, 10)


def test_the_mean_is_that_of_a_plain_count_and_lies_in_its_interval():
    items, queries = unit_rows(600, 24, 0), unit_rows(90, 24, 1)
    rng = np.random.default_rng(3)
    best = ExactSearcher(items).search(QueryBatch(vectors=queries), 8)
    ids = np.where(rng.random(best.ids.shape) < 0.3, rng.integers(0, 600, best.ids.shape), best.ids)
    by_query = recall_by_query(TopK(ids, best.scores), best, items, queries)
    plain = [len(set(a) & set(b)) / 8 for a, b in zip(ids.tolist(), best.ids.tolist(), strict=True)]
    np.testing.assert_allclose(by_query, plain)
    recall = Recall.of(by_query, 8)
    assert recall.low < recall.value < recall.high
    half_width = 1.96 * by_query.std(ddof=1) / np.sqrt(90)
    assert recall.high - recall.low == pytest.approx(2 * half_width, rel=0.15)
    assert str(recall).startswith(f"recall@8 {np.mean(plain):.4f} (")
    assert recall.to_json()["n"] == 90


def test_the_sample_is_seeded_and_no_larger_than_asked():
    items, queries = unit_rows(500, 24, 0), unit_rows(300, 24, 1)

    class Half(Fixed):  # finds the best item for queries that point to one side only
        def __init__(self) -> None:
            self.exact = ExactSearcher(items)

        def __len__(self) -> int:
            return len(items)

        def search(self, queries: QueryBatch, k: int) -> TopK:
            best = self.exact.search(queries, k)
            return TopK(np.where(queries.vectors[:, :1] > 0, best.ids, -1), best.scores)

    values = [measure_recall(Half(), items, queries, 3, n_sample=50, seed=seed) for seed in (0, 0, 1, 2)]
    assert values[0] == values[1]
    assert values[0].n == 50
    assert len({value.value for value in values}) > 1
    assert all(0.2 < value.value < 0.8 for value in values)


def test_the_expansion_grows_until_the_recall_is_reached(tmp_path):
    items, queries = unit_rows(3_000, 48, 0), unit_rows(100, 48, 1)  # without structure: hard for a graph
    searcher = HnswSearcher.build(items, tmp_path, connectivity=6, expansion_add=30, expansion_search=10)
    before = measure_recall(searcher, items, queries, 10)
    recall = tune_expansion(searcher, items, queries, 10, min_recall=0.95)
    assert before.value < 0.95 <= recall.value
    assert searcher.expansion_search > 10
    assert measure_recall(searcher, items, queries, 10) == recall
    with pytest.raises(MrStError, match=r"0.9999 wanted; build with more connectivity"):
        tune_expansion(searcher, items, queries, 10, min_recall=0.9999, largest=searcher.expansion_search)


def test_wrong_use_is_refused():
    with pytest.raises(UsageError, match="knows 5 items, but 4"):
        measure_recall(Fixed([[0]]), ITEMS[:4], QUERY, k=1)
    with pytest.raises(UsageError, match="queries"):
        measure_recall(Fixed([[0]]), ITEMS, QUERY[:0], k=1)
    with pytest.raises(UsageError, match="no"):
        Recall.of(np.empty(0), 3)
    one = TopK(np.zeros((1, 2), dtype=np.int64), np.zeros((1, 2), dtype=np.float32))
    with pytest.raises(UsageError, match="as deep"):
        recall_by_query(one, TopK(one.ids[:, :1], one.scores[:, :1]), ITEMS, QUERY)
