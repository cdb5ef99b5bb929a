"""Faults collected as they are found: of one kind the first ones one by one, the rest counted in one more line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mr_st.data.schema import MAX_PROBLEMS
from mr_st.errors import DataError, Problem

__all__ = ["ProblemList", "shown"]


class ProblemList:
    """The faults of one or more files, in the order found.

    Example:
        >>> found = ProblemList(limit=1)
        >>> for row in (3, 5, 8):
        ...     found.add("ragged rows", Problem("a.csv", "2 fields where 3 are expected", "correct it", row))
        >>> [str(problem) for problem in found.all()]  # doctest: +NORMALIZE_WHITESPACE
        ['a.csv, row 3: 2 fields where 3 are expected; correct it', 'a.csv: 2 more ragged rows; correct it']
    """

    def __init__(self, limit: int = MAX_PROBLEMS):
        self._limit = limit
        self._listed: list[Problem] = []
        self._counts: dict[tuple[str, str, str | None], int] = {}
        self._mends: dict[tuple[str, str, str | None], str] = {}

    def __bool__(self) -> bool:
        return bool(self._listed)

    def add(self, kind: str, problem: Problem) -> None:
        """Add one fault; ``kind`` is its name in the plural, as the counting line says it."""
        key = (kind, problem.where, problem.column)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._mends[key] = problem.mend
        if self._counts[key] <= self._limit:
            self._listed.append(replace(problem, rule=kind))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add faults that are capped already."""
        self._listed += problems

    def all(self) -> list[Problem]:
        """Every fault; of each kind, file and column no more than the limit one by one."""
        rest = [
            Problem(
                where, f"{count - self._limit:,} more {kind}", self._mends[kind, where, column], None, column, kind,
                count - self._limit,
            )
            for (kind, where, column), count in self._counts.items()
            if count > self._limit
        ]  # fmt: skip
        return self._listed + rest

    def raise_if_any(self) -> None:
        """Raise what was found.

        Raises:
            DataError: there is a fault.
        """
        if self:
            raise DataError(self.all())


def shown(text: str, limit: int = 80) -> str:
    """A name out of a file as a one-line message can show it: as it is, or escaped and cut."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return cut if cut.isprintable() and cut == cut.strip() and cut else repr(cut)
