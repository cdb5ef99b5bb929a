"""The best k of each query as they come in: score and row in one sortable number."""

from __future__ import annotations

import numpy as np

from mr_st.search.protocol import TopK

__all__ = ["MOST_ITEMS", "BestSoFar", "keys_of"]

MOST_ITEMS = 2**32 - 1
_EMPTY = np.iinfo(np.int64).min


def keys_of(scores: np.ndarray, item_rows: np.ndarray) -> np.ndarray:
    """One int64 a candidate, larger for a better one: the higher score, then the lower row.

    Args:
        scores: float32, finite.
        item_rows: int64, in 0..2**32 - 2, of a shape that fits ``scores``.

    Example:
        >>> keys = keys_of(np.array([0.5, -1, 0.5, 0.75], dtype=np.float32), np.arange(4))
        >>> np.argsort(-keys).tolist()
        [3, 0, 2, 1]
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 equal 0.0
    in_order = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    in_order <<= 32
    in_order += MOST_ITEMS - item_rows
    return in_order


def _scores_of(keys: np.ndarray) -> np.ndarray:
    in_order = (keys >> 32).astype(np.int32)
    return np.where(keys == _EMPTY, -np.inf, (in_order ^ ((in_order >> 31) & 0x7FFFFFFF)).view(np.float32))


class BestSoFar:
    """The best k candidates of each of n queries among those seen.

    Attributes:
        thresholds: float32 (n,), the k-th best score, -inf before there are k: a later item (of a higher row) must
            score more than this to get in.
    """

    EMPTY = _EMPTY
    """The key of no item, below every other."""

    def __init__(self, n: int, k: int):
        self.k = k
        self._keys = np.full((n, k), _EMPTY, dtype=np.int64)
        self.thresholds = np.full(n, -np.inf, dtype=np.float32)

    def add_pairs(self, first: int, rows: np.ndarray, keys: np.ndarray) -> None:
        """Take in some candidates.

        Args:
            first: Where the block of queries begins.
            rows: int64 (m,), query rows in the block, never falling.
            keys: int64 (m,), see :func:`keys_of`.
        """
        if not len(rows):
            return
        met, starts, counts = np.unique(rows, return_index=True, return_counts=True)
        table = np.full((len(met), int(counts.max())), _EMPTY, dtype=np.int64)
        at = np.repeat(np.arange(len(met)), counts)
        table[at, np.arange(len(rows)) - starts[at]] = keys
        self.add_table(first + met, table)

    def add_table(self, rows: np.ndarray, keys: np.ndarray) -> None:
        """Take in the same number of candidates for each of some queries.

        Args:
            rows: int64 (m,), query rows, each once.
            keys: int64 (m, w).
        """
        width = keys.shape[1]
        if (
            width == self.k
            and (self._keys[rows, 0] == _EMPTY).all()
            and (self._keys[rows].max(axis=1) == _EMPTY).all()
        ):
            self._keys[rows] = keys  # the first that come
            self.thresholds[rows] = _scores_of(keys.min(axis=1))
            return
        both = np.concatenate([self._keys[rows], keys], axis=1)
        both.partition(width, axis=1)
        self._keys[rows] = both[:, width:]
        self.thresholds[rows] = _scores_of(both[:, width])

    def result(self, rows: slice, ids: np.ndarray, scores: np.ndarray) -> None:
        """Write some queries' best, best first, into ``ids`` and ``scores`` (views of the result's rows)."""
        keys = self._keys[rows]
        keys.sort(axis=1)
        keys = keys[:, ::-1]
        scores[...] = _scores_of(keys)
        ids[...] = np.where(keys == _EMPTY, -1, MOST_ITEMS - (keys & 0xFFFFFFFF))


def empty_top(n: int, k: int) -> TopK:
    """Room for the best k of n queries, filled with id -1 and score -inf."""
    return TopK(np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32))
