"""Judgments as arrays: the grades of a run's items, and the best that any run could reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ABSENT", "UNJUDGED", "Judged"]

_SCRATCH = 1 << 21  # cells of the table that grades are looked up in: bytes that stay in a core's cache
_LEAST_ROWS = 16  # of it, however wide: each pass has its price
_WIDEST = 1 << 27  # item rows from which the table is not worth its memory

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
        order = _pair_order(query_index, items, n_queries)
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
            int8 (int64 where a grade is above 127) (n, K): the grade, :data:`UNJUDGED` or :data:`ABSENT`.

        Raises:
            ValueError: the run is of another number of queries.
        """
        item_ids = np.asarray(item_ids, dtype=np.int64)
        if item_ids.shape[0] != self.n_queries:
            raise ValueError(f"a run of {item_ids.shape[0]} queries against judgments of {self.n_queries}")
        width = int(max(self.items.max(initial=0), item_ids.max(initial=0))) + 2
        if width > _WIDEST:
            return self._look_up_by_search(item_ids)
        # a few queries at a time, each item row a cell; the last cell of a row is that of no item
        n_rows = max(1, min(self.n_queries, max(_SCRATCH // width, min(_LEAST_ROWS, _WIDEST // width))))
        found = np.empty(item_ids.shape, dtype=self._grade_type)
        known = self.grades.astype(found.dtype)
        scratch = np.full((n_rows, width), UNJUDGED, dtype=found.dtype)
        scratch[:, -1] = ABSENT
        cells, row_starts = scratch.reshape(-1), np.arange(n_rows)[:, None] * width
        pair_cells = self.query_of_pair % n_rows * width + self.items
        for start in range(0, self.n_queries, n_rows):
            stop = min(start + n_rows, self.n_queries)
            pairs = slice(self.offsets[start], self.offsets[stop])
            cells[pair_cells[pairs]] = known[pairs]
            rows = item_ids[start:stop]
            wanted = row_starts[: len(rows)] + np.where(rows < 0, width - 1, rows)
            cells.take(wanted, out=found[start:stop], mode="clip")  # "raise" would copy; all are within
            cells[pair_cells[pairs]] = UNJUDGED
        return found

    def _look_up_by_search(self, item_ids: np.ndarray) -> np.ndarray:
        """The same for item numbers too large to be rows of a table."""
        found = np.full(item_ids.shape, UNJUDGED, dtype=self._grade_type)
        if self.n_pairs:
            items, column = np.unique(self.items, return_inverse=True)
            known = self.query_of_pair * len(items) + column
            wanted = np.minimum(np.searchsorted(items, item_ids), len(items) - 1)
            is_judged = items[wanted] == item_ids
            wanted += np.arange(self.n_queries)[:, None] * len(items)
            place = np.minimum(np.searchsorted(known, wanted), self.n_pairs - 1)
            is_judged &= known[place] == wanted
            found[is_judged] = self.grades[place][is_judged]
        found[item_ids < 0] = ABSENT
        return found

    @property
    def _grade_type(self) -> np.dtype:
        return np.dtype(np.int8 if self.grades.max(initial=0) <= np.iinfo(np.int8).max else np.int64)

    def count_at_least(self, grade: int) -> np.ndarray:
        """How many items of each query are judged ``grade`` or better, int64 (n,)."""
        return np.bincount(self.query_of_pair[self.grades >= grade], minlength=self.n_queries)

    def best_grades(self, k: int | None = None) -> np.ndarray:
        """The ``k`` best grades of each query over ALL its judged items, best first.

        Args:
            k: How many; None for as many as the most judged query has.

        Returns:
            int64 (n, k), filled with ABSENT.
        """
        k = int(self.per_query.max(initial=0)) if k is None else k
        queries, n_grades = self.query_of_pair, int(self.grades.max(initial=0)) + 1
        grades = queries * n_grades + (n_grades - 1 - self.grades)  # one number a pair: sorts faster than two keys
        grades.sort(kind="stable")  # runs of equal queries: a fifth of the default's time
        grades = n_grades - 1 - (grades - queries * n_grades)
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


def _pair_order(query_index: np.ndarray, items: np.ndarray, n_queries: int) -> np.ndarray:
    """Pairs by query, then by item: one number a pair sorts in half the time of two keys, where it fits."""
    width = int(items.max(initial=0)) + 1
    if n_queries * width >= 2**63:
        return np.lexsort((items, query_index))
    return np.argsort(query_index * width + items, kind="stable")
