"""How much of what exact search finds an approximate searcher finds too, measured on a sample of the queries."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mr_st.errors import MrStError, UsageError
from mr_st.search.canonical import canonical_scores
from mr_st.search.exact import ExactSearcher
from mr_st.search.hnsw import HnswSearcher
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["Recall", "measure_recall", "recall_by_query", "tune_expansion"]

_SAME_SCORE = 1e-6  # of unit vectors: an item this close to the k-th best is as good
_RESAMPLES = 2_000
_BLOCK = 256


@dataclass(frozen=True)
class Recall:
    """Mean recall@k over queries with its 95 % interval (bootstrap over queries).

    Args:
        value: Mean share of the k best items that were found, 0 to 1.
        low: Lower end of the interval.
        high: Upper end; where every query's recall is 1, ``low`` is 1 too: say how many queries, not how sure.
        n: Queries measured.
        k: How deep.
    """

    value: float
    low: float
    high: float
    n: int
    k: int

    @classmethod
    def of(cls, by_query: np.ndarray, k: int, seed: int = 0) -> Recall:
        """From the recall of each query.

        Args:
            by_query: float (n,), 0 to 1.
            k: How deep it was measured.
            seed: Of the bootstrap.
        """
        n = len(by_query)
        if not n:
            raise UsageError("recall is measured over queries, but there are none")
        drawn = np.random.default_rng(seed).integers(0, n, (_RESAMPLES, n))
        low, high = np.quantile(by_query[drawn].mean(axis=1), [0.025, 0.975])
        return cls(float(by_query.mean()), float(low), float(high), n, k)

    def __str__(self) -> str:
        return f"recall@{self.k} {self.value:.4f} ({self.low:.4f} to {self.high:.4f}, {self.n:,} queries)"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def recall_by_query(found: TopK, best: TopK, vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The recall of each query: the share of the k best places that hold an item as good as the exact k-th best.

    Ties are counted fairly: an item within 1e-6 of the k-th best score may take its place. A row found twice counts
    once.

    Args:
        found: Of the approximate searcher.
        best: Of exact search, as deep.
        vectors: float (N, d), the items'.
        queries: float (n, d).

    Returns:
        float64 (n,), 0 to 1.
    """
    if found.ids.shape != best.ids.shape or len(queries) != len(best.ids):
        raise UsageError(f"found {found.ids.shape} and best {best.ids.shape} must be as deep, for the same queries")
    recall = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        ids = found.ids[rows]
        at, places = np.nonzero(ids >= 0)
        scores = np.full(ids.shape, -np.inf, dtype=np.float32)
        scores[at, places] = canonical_scores(np.asarray(queries[rows]), vectors, at, ids[at, places])
        possible = (best.ids[rows] >= 0).sum(axis=1)
        bar = np.take_along_axis(best.scores[rows], np.maximum(possible - 1, 0)[:, None], axis=1)
        in_order = np.sort(ids, axis=1)
        n_twice = (np.diff(in_order, axis=1) == 0) & (in_order[:, 1:] >= 0)
        hits = (scores >= bar - _SAME_SCORE).sum(axis=1) - n_twice.sum(axis=1)
        recall[rows] = np.clip(hits, 0, possible) / np.maximum(possible, 1)
    return recall


def measure_recall(
    searcher: Searcher, vectors: np.ndarray, queries: np.ndarray, k: int, n_sample: int = 200, seed: int = 0
) -> Recall:
    """Recall@k of a searcher against :class:`ExactSearcher` on a sample of the queries.

    Args:
        searcher: An approximate searcher over ``vectors``.
        vectors: float (N, d), all items.
        queries: float (n, d), all queries; may be a memory map.
        k: 1 or more.
        n_sample: Queries to draw; all where there are fewer.
        seed: Of the draw and the bootstrap.

    Raises:
        UsageError: no queries, or the searcher knows another number of items.
        DataError: an unusable vector.

    Example:
        >>> vectors = np.eye(4, dtype=np.float32)
        >>> measure_recall(ExactSearcher(vectors), vectors, vectors, k=1).value
        1.0
    """
    if len(searcher) != len(vectors):
        raise UsageError(f"the searcher knows {len(searcher):,} items, but {len(vectors):,} vectors were given")
    sample = _sample(queries, n_sample, seed)
    batch = QueryBatch(vectors=sample)
    best = ExactSearcher(vectors).search(batch, k)
    return Recall.of(recall_by_query(searcher.search(batch, k), best, vectors, sample), k, seed)


def tune_expansion(
    searcher: HnswSearcher,
    vectors: np.ndarray,
    queries: np.ndarray,
    k: int,
    min_recall: float = 0.98,
    n_sample: int = 200,
    seed: int = 0,
    largest: int = 4096,
) -> Recall:
    """Double ``searcher.expansion_search`` until a sample of the queries reaches the recall; the graph stays as it is.

    Args:
        searcher: Its ``expansion_search`` is where the search starts, and is changed.
        vectors: float (N, d), all items.
        queries: float (n, d).
        k: 1 or more.
        min_recall: 0 to 1, exclusive.
        n_sample: Queries to draw.
        seed: Of the draw and the bootstrap.
        largest: Give up beyond this expansion.

    Raises:
        MrStError: not reached; the message gives what was.
    """
    if not 0 < min_recall < 1:
        raise UsageError(f"min_recall is {min_recall}; expected a share between 0 and 1")
    sample = _sample(queries, n_sample, seed)
    batch = QueryBatch(vectors=sample)
    best = ExactSearcher(vectors).search(batch, k)
    while True:
        recall = Recall.of(recall_by_query(searcher.search(batch, k), best, vectors, sample), k, seed)
        if recall.value >= min_recall:
            return recall
        if searcher.expansion_search * 2 > largest:
            raise MrStError(
                f"{searcher.folder}: {recall} at expansion_search {searcher.expansion_search}, {min_recall} wanted; "
                "build with more connectivity or expansion_add, or search exactly"
            )
        searcher.expansion_search *= 2


def _sample(queries: np.ndarray, n_sample: int, seed: int) -> np.ndarray:
    if queries.ndim != 2 or not len(queries) or n_sample < 1:
        raise UsageError(f"recall is measured over queries (n, d), got {queries.shape}, of which {n_sample} are drawn")
    rows = np.random.default_rng(seed).permutation(len(queries))[:n_sample]
    return np.asarray(queries[np.sort(rows)])
