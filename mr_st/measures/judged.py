"""Judgments as arrays: the grades of a run's items, and the best that any run could reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ABSENT", "UNJUDGED", "Judged"]

UNJUDGED = -1
"""The grade of a returned item that nobody judged for this query."""

ABSENT = -2
"""The grade of a place in the run that holds no item (id -1: fewer than K items were found)."""


@dataclass(frozen=True)
class Judged:
    """The judgments of n queries in compressed rows: those of query i stand at ``offsets[i]:offsets[i + 1]``.

    Build it with :meth:`from_pairs`.

    Args:
        offsets: int64 (n + 1,).
        items: int64 (m,), item rows, ascending within a query.
        grades: int64 (m,), 0 or more.
    """

    offsets: np.ndarray
    items: np.ndarray
    grades: np.ndarray

    @classmethod
    def from_pairs(cls, query_index: np.ndarray, items: np.ndarray, grades: np.ndarray, n_queries: int) -> Judged:
        """Sort judged pairs into rows.

        Args:
            query_index: integers (m,) in ``0 .. n_queries - 1``.
            items: integers (m,), 0 or more.
            grades: integers (m,), 0 or more.
            n_queries: Number of rows; a query may have no pair.

        Raises:
            ValueError: lengths differ, a value is out of range, or a pair stands there twice.

        Example:
            >>> judged = Judged.from_pairs([1, 0, 1], [7, 3, 2], [0, 2, 1], n_queries=2)
            >>> judged.look_up(np.array([[3, 9], [2, -1]])).tolist()
            [[2, -1], [1, -2]]
        """
        query_index, items, grades = (np.asarray(a, dtype=np.int64) for a in (query_index, items, grades))
        if not len(query_index) == len(items) == len(grades):
            raise ValueError(f"pairs of different length: {len(query_index)}, {len(items)}, {len(grades)}")
        if len(items) and (min(query_index.min(), items.min(), grades.min()) < 0 or query_index.max() >= n_queries):
            raise ValueError(f"query indices must be 0..{n_queries - 1}, items and grades 0 or more")
        order = np.lexsort((items, query_index))
        query_index, items, grades = query_index[order], items[order], grades[order]
        twice = (np.diff(query_index) == 0) & (np.diff(items) == 0)
        if twice.any():
            at = int(np.argmax(twice))
            raise ValueError(f"query {query_index[at]}, item {items[at]}: judged twice; keep one grade a pair")
        offsets = np.zeros(n_queries + 1, dtype=np.int64)
        np.cumsum(np.bincount(query_index, minlength=n_queries), out=offsets[1:])
        return cls(offsets, items, grades)

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self.offsets) - 1

    @property
    def n_pairs(self) -> int:
        """Number of judged pairs."""
        return len(self.items)

    @property
    def per_query(self) -> np.ndarray:
        """Judged pairs of each query, int64 (n,)."""
        return np.diff(self.offsets)

    @property
    def query_of_pair(self) -> np.ndarray:
        """The query index of each pair, int64 (m,)."""
        return np.repeat(np.arange(self.n_queries), self.per_query)

    def look_up(self, item_ids: np.ndarray) -> np.ndarray:
        """The grade of each returned item.

        Args:
            item_ids: integers (n, K), the run of each query, -1 where there is no item.

        Returns:
            int64 (n, K): the grade, :data:`UNJUDGED` or :data:`ABSENT`.
        """
        item_ids = np.asarray(item_ids, dtype=np.int64)
        if item_ids.shape[0] != self.n_queries:
            raise ValueError(f"a run of {item_ids.shape[0]} queries against judgments of {self.n_queries}")
        grades = np.full(item_ids.shape, UNJUDGED, dtype=np.int64)
        if self.n_pairs:
            stride = int(max(self.items.max(), item_ids.max(initial=0))) + 1
            known = self.query_of_pair * stride + self.items
            wanted = np.arange(self.n_queries)[:, None] * stride + np.maximum(item_ids, 0)
            place = np.minimum(np.searchsorted(known, wanted), self.n_pairs - 1)
            found = known[place] == wanted
            grades[found] = self.grades[place][found]
        grades[item_ids < 0] = ABSENT
        return grades

    def count_at_least(self, grade: int) -> np.ndarray:
        """How many items of each query are judged ``grade`` or better, int64 (n,)."""
        return np.bincount(self.query_of_pair[self.grades >= grade], minlength=self.n_queries)

    def best_grades(self, k: int) -> np.ndarray:
        """The ``k`` best grades of each query over ALL its judged items, int64 (n, k), filled with ABSENT."""
        order = np.lexsort((-self.grades, self.query_of_pair))
        queries, grades = self.query_of_pair[order], self.grades[order]
        place = np.arange(self.n_pairs) - self.offsets[queries]
        best = np.full((self.n_queries, k), ABSENT, dtype=np.int64)
        kept = place < k
        best[queries[kept], place[kept]] = grades[kept]
        return best

    def take(self, queries: np.ndarray) -> Judged:
        """The judgments of the named queries (indices or a mask over queries), renumbered in that order."""
        queries = np.arange(self.n_queries)[queries]
        counts = self.per_query[queries]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        pairs = np.repeat(self.offsets[queries] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Judged(offsets, self.items[pairs], self.grades[pairs])
