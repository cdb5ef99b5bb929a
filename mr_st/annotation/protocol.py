"""What an annotator is: an identity, and a way to grade pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from mr_st.data.pairs import PairTable
from mr_st.errors import MrStError

__all__ = [
    "Annotations",
    "Annotator",
    "BudgetSpentError",
    "GradedPart",
    "PairTable",
    "StreamingAnnotator",
    "UnansweredError",
]


@dataclass(frozen=True, eq=False)
class Annotations:
    """The grades of n pairs and how probable every grade is.

    Args:
        grades: int8 (n,), each in ``0 .. G-1``.
        probabilities: float32 (n, G), rows that sum to 1.

    Raises:
        MrStError: shapes that do not fit, a grade outside the columns, or a row that is no distribution.

    Example:
        >>> sure = Annotations.certain([2, 0], n_grades=3)
        >>> sure.probabilities.tolist(), sure.confidence.tolist()
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [1.0, 1.0])
    """

    grades: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "grades", np.asarray(self.grades, dtype=np.int8))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, dtype=np.float32))
        self._check()

    def _check(self) -> None:
        n = len(self.grades)
        if self.grades.ndim != 1 or self.probabilities.ndim != 2 or len(self.probabilities) != n:
            raise MrStError(
                f"annotations: grades {self.grades.shape} and probabilities {self.probabilities.shape}; "
                "expected (n,) and (n, G)"
            )
        outside = np.flatnonzero((self.grades < 0) | (self.grades >= self.n_grades))
        if len(outside):
            raise MrStError(
                f"annotations, pair {outside[0] + 1:,}: grade {self.grades[outside[0]]} is outside "
                f"0..{self.n_grades - 1}; mend the annotator"
            )
        sums = self.probabilities.sum(axis=1)
        wrong = np.flatnonzero(~(np.abs(sums - 1) < 1e-3) | (self.probabilities < 0).any(axis=1))
        if len(wrong):
            raise MrStError(
                f"annotations, pair {wrong[0] + 1:,}: probabilities {self.probabilities[wrong[0]].tolist()} are no "
                "distribution (none negative, sum 1); mend the annotator"
            )

    def __len__(self) -> int:
        return len(self.grades)

    @property
    def n_grades(self) -> int:
        """G, how many grades the annotator knows."""
        return self.probabilities.shape[1]

    @property
    def confidence(self) -> np.ndarray:
        """float32 (n,): the probability of the grade that was given."""
        return self.probabilities[np.arange(len(self)), self.grades]

    def take(self, indices: np.ndarray) -> Annotations:
        """The annotations at ``indices`` (int (m,)), in that order."""
        return Annotations(self.grades[indices], self.probabilities[indices])

    @classmethod
    def certain(cls, grades: Iterable[int] | np.ndarray, n_grades: int) -> Annotations:
        """Annotations (n,) that give all probability to the grade: of a policy, or a person.

        Args:
            grades: n grades in ``0 .. n_grades - 1``.
            n_grades: G.
        """
        given = np.asarray(grades if isinstance(grades, np.ndarray) else list(grades), dtype=np.int64)
        outside = np.flatnonzero((given < 0) | (given >= n_grades))
        if len(outside):
            raise MrStError(
                f"annotations, pair {outside[0] + 1:,}: grade {given[outside[0]]} is outside 0..{n_grades - 1}; "
                "mend the annotator or its n_grades"
            )
        return cls(given.astype(np.int8), np.eye(n_grades, dtype=np.float32)[given])

    @classmethod
    def concatenate(cls, parts: Iterable[Annotations], n_grades: int) -> Annotations:
        """Several annotations of the same scale in a row; none gives an empty one of ``n_grades`` columns."""
        empty = cls(np.empty(0, np.int8), np.empty((0, n_grades), np.float32))
        several = [empty, *parts]
        return cls(np.concatenate([p.grades for p in several]), np.concatenate([p.probabilities for p in several]))


@runtime_checkable
class Annotator(Protocol):
    """Anything that grades pairs: a known policy, a fine-tuned model, a hosted one.

    ``identity`` is short text without spaces that changes whenever a grade may change (weights, guideline, settings):
    labels are kept and reported under it.
    """

    @property
    def identity(self) -> str:
        """The annotator's content hash, with its kind before it."""
        ...

    def grade(self, pairs: PairTable) -> Annotations:
        """Grade every pair, in the order given; the same pair gets the same grade wherever it stands."""
        ...


@dataclass(frozen=True, eq=False)
class GradedPart:
    """Some of the pairs of a table, graded: what a slow or paid annotator hands over as it comes in.

    Args:
        rows: int64 (m,), which pairs of the table these are.
        annotations: Of those m pairs.
        cost: What they cost, in the currency of the annotator's prices; 0 where nothing is paid.
    """

    rows: np.ndarray
    annotations: Annotations
    cost: float = 0.0


@runtime_checkable
class StreamingAnnotator(Annotator, Protocol):
    """An annotator whose answers arrive one after another, in any order, and are worth keeping one by one."""

    def grade_in_parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        """Grade the pairs and yield each part when it is there; together the parts hold a row once at most.

        A row that no part holds was asked for and got no usable answer.

        Raises:
            BudgetSpentError: after everything that was paid for has been yielded.
        """
        ...


class BudgetSpentError(MrStError):
    """The money, tokens or requests that an annotator may spend are spent; what was paid for is kept."""


class UnansweredError(MrStError):
    """An annotator gave no usable answer for some pairs; ``rows`` names them.

    Args:
        message: What the user reads.
        rows: int64 (m,), the pairs of the table that was asked for.
    """

    def __init__(self, message: str, rows: np.ndarray):
        super().__init__(message)
        self.rows = np.asarray(rows, dtype=np.int64)
