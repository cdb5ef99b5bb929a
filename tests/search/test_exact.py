from __future__ import annotations

import numpy as np
import pytest

from mr_st.errors import DataError, UsageError
from mr_st.search import ExactSearcher, QueryBatch, Searcher


def plain_search(queries: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """Full sort of all scores, lower row first among equals."""
    return np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :k]


def grid_vectors(rng: np.random.Generator, n: int, d: int = 4) -> np.ndarray:
    """Small integers: products are exact in float32 and tie often."""
    vectors = rng.integers(-2, 3, size=(n, d)).astype(np.float32)
    vectors[~vectors.any(axis=1), 0] = 1
    return vectors


@pytest.mark.parametrize("seed", range(20))
def test_equals_a_full_sort_with_ties_over_any_blocks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, queries = grid_vectors(rng, int(rng.integers(1, 80))), grid_vectors(rng, int(rng.integers(1, 9)))
    k = int(rng.integers(1, len(items) + 1))
    searcher = ExactSearcher(items, query_block=int(rng.integers(1, 10)), item_block=int(rng.integers(1, 90)))
    found = searcher.search(QueryBatch(vectors=queries), k)
    expected = plain_search(queries, items, k)
    assert found.ids.tolist() == expected.tolist()
    np.testing.assert_array_equal(found.scores, np.take_along_axis(queries @ items.T, expected, axis=1))
    assert found.ids.dtype == np.int64
    assert found.scores.dtype == np.float32


def test_all_equal_scores_come_in_row_order() -> None:
    items = np.ones((1000, 8), dtype=np.float32)
    found = ExactSearcher(items, item_block=64).search(QueryBatch(vectors=np.ones((3, 8))), 70)
    assert found.ids.tolist() == [list(range(70))] * 3


def test_k_beyond_the_catalogue_is_filled() -> None:
    found = ExactSearcher(np.eye(2, dtype=np.float32)).search(QueryBatch(vectors=np.array([[0.0, 2.0]])), 4)
    assert found.ids.tolist() == [[1, 0, -1, -1]]
    assert found.scores.tolist() == [[2.0, 0.0, -np.inf, -np.inf]]


def test_reads_memory_maps_and_half_precision(tmp_path) -> None:
    rng = np.random.default_rng(0)
    items = grid_vectors(rng, 50).astype(np.float16)
    np.save(tmp_path / "items.npy", items)
    queries = grid_vectors(rng, 3)
    found = ExactSearcher(np.load(tmp_path / "items.npy", mmap_mode="r"), item_block=7)
    assert found.search(QueryBatch(vectors=queries), 5).ids.tolist() == plain_search(queries, items, 5).tolist()


@pytest.mark.parametrize(
    ("row", "value", "what"), [(4, np.nan, "NaN"), (0, np.inf, "infinite"), (9, 0.0, "a zero vector")]
)
def test_unusable_rows_are_named(row: int, value: float, what: str) -> None:
    vectors = np.ones((10, 3), dtype=np.float32)
    vectors[row] = value
    with pytest.raises(DataError, match=rf"item vectors, row {row + 1}: .*{what}"):
        ExactSearcher(vectors, item_block=3)
    searcher = ExactSearcher(np.ones((2, 3), dtype=np.float32))
    with pytest.raises(DataError, match=rf"query vectors, row {row + 1}: .*{what}"):
        searcher.search(QueryBatch(vectors=vectors), 1)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one row"):
        ExactSearcher(np.empty((0, 4), dtype=np.float32))
    searcher = ExactSearcher(np.ones((2, 3), dtype=np.float32))
    with pytest.raises(UsageError, match="k must be 1"):
        searcher.search(QueryBatch(vectors=np.ones((1, 3))), 0)
    with pytest.raises(UsageError, match="do not fit"):
        searcher.search(QueryBatch(vectors=np.ones((1, 4))), 1)
    with pytest.raises(UsageError, match="by vector"):
        searcher.search(QueryBatch(texts=["a"]), 1)
    with pytest.raises(UsageError, match="texts, vectors or both"):
        QueryBatch()
    with pytest.raises(UsageError, match="1 query texts but 2 query vectors"):
        QueryBatch(texts=["a"], vectors=np.ones((2, 3)))


def test_no_query_gives_no_row() -> None:
    found = ExactSearcher(np.ones((2, 3), dtype=np.float32)).search(QueryBatch(vectors=np.empty((0, 3))), 2)
    assert found.ids.shape == (0, 2)


def test_it_is_a_searcher() -> None:
    assert isinstance(ExactSearcher(np.ones((1, 2), dtype=np.float32)), Searcher)
