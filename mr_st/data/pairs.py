"""Pairs of a query and an item: judged ones as row numbers, and ones to be judged as ids and texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mr_st.errors import UsageError

__all__ = ["JudgedPairs", "PairTable"]


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Judged pairs as arrays of row numbers, sorted by ``(query_row, item_row)``.

    Args:
        query_rows: int32 (n,), rows of the dataset's queries.
        item_rows: int32 (n,), rows of the dataset's items.
        grades: int8 (n,).
        n_queries: How many queries the dataset has, judged or not.

    Example:
        >>> pairs = JudgedPairs.from_rows([1, 0, 1], [5, 3, 2], [2, 0, 1], n_queries=2)
        >>> items, grades = pairs.for_query(1)
        >>> items.tolist(), grades.tolist()
        ([2, 5], [1, 2])
    """

    query_rows: np.ndarray
    item_rows: np.ndarray
    grades: np.ndarray
    n_queries: int

    @classmethod
    def from_rows(
        cls,
        query_rows: Sequence[int] | np.ndarray,
        item_rows: Sequence[int] | np.ndarray,
        grades: Sequence[int] | np.ndarray,
        n_queries: int,
    ) -> JudgedPairs:
        """Sort unsorted triples (three sequences of length n) and take the narrow types."""
        queries = np.asarray(query_rows, dtype=np.int32)
        items = np.asarray(item_rows, dtype=np.int32)
        order = np.lexsort((items, queries))
        return cls(queries[order], items[order], np.asarray(grades, dtype=np.int8)[order], n_queries)

    @property
    def n_pairs(self) -> int:
        """How many judged pairs there are."""
        return len(self.grades)

    def __len__(self) -> int:
        return len(self.grades)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (n_queries + 1,): the pairs of query ``row`` stand at ``offsets[row]:offsets[row + 1]``."""
        return np.searchsorted(self.query_rows, np.arange(self.n_queries + 1)).astype(np.int64)

    @property
    def query_rows_with_pairs(self) -> np.ndarray:
        """int32, ascending: the queries that have at least one judged pair."""
        return np.unique(self.query_rows)

    def for_query(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Item rows (int32, ascending) and grades (int8) of one query; both empty where nobody judged it."""
        start, stop = self.offsets[row], self.offsets[row + 1]
        return self.item_rows[start:stop], self.grades[start:stop]


@dataclass(frozen=True)
class PairTable:
    """Pairs to be graded, with what any annotator may need: a policy reads ids, a language model reads texts.

    Args:
        query_ids: The query's id, for each of the n pairs.
        item_ids: The item's id.
        query_texts: The query's text.
        item_texts: The item's text, as :func:`~mr_st.data.item_text.format_item` gives it.
        locales: BCP-47 locale of the query.

    Raises:
        UsageError: the columns differ in length.
    """

    query_ids: list[str]
    item_ids: list[str]
    query_texts: list[str]
    item_texts: list[str]
    locales: list[str]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in vars(self).items()}
        if len(set(lengths.values())) > 1:
            raise UsageError(f"the columns of a PairTable differ in length: {lengths}; give one value for each pair")

    def __len__(self) -> int:
        return len(self.query_ids)

    def take(self, indices: Iterable[int]) -> PairTable:
        """The pairs at ``indices``, in that order."""
        wanted = np.asarray(list(indices) if not isinstance(indices, np.ndarray) else indices, dtype=np.int64).tolist()
        return PairTable(*([column[i] for i in wanted] for column in vars(self).values()))
