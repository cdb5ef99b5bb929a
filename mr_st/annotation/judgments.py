"""The annotator that knows: grades from a policy that can be called, or from a table of judgments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.annotation.protocol import Annotations, PairTable
from mr_st.errors import MrStError, UsageError
from mr_st.identity import settings_hash

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["JudgmentAnnotator"]

Policy = Callable[[str, str], int]


class JudgmentAnnotator:
    """Grade pairs by a known policy (the marketplace's) or by judgments that exist already.

    A policy that offers ``grades(query_ids, item_ids) -> sequence of n grades`` is asked once for all pairs.

    Args:
        policy: A callable ``(query_id, item_id) -> grade``, a GradedDataset (its judgments), or a mapping from
            ``(query_id, item_id)`` to the grade.
        n_grades: G; a GradedDataset brings its own.
        name: Identity of a callable policy; needed where the policy has no ``identity`` of its own.

    Raises:
        UsageError: a policy that is none of these, or a callable without an identity.

    Example:
        >>> annotator = JudgmentAnnotator({("q1", "i1"): 2, ("q1", "i2"): 0})
        >>> annotator.grade(PairTable(["q1"], ["i2"], ["mug"], ["a lamp"], ["en-US"])).grades.tolist()
        [0]
    """

    reads_ids = True
    """It looks at ids, not at texts: :class:`~mr_st.annotation.StoredAnnotator`, which keeps by texts, refuses it."""

    def __init__(
        self,
        policy: Policy | GradedDataset | Mapping[tuple[str, str], int],
        n_grades: int | None = None,
        name: str | None = None,
    ):
        if hasattr(policy, "judgments") and hasattr(policy, "scale"):
            n_grades = _grades_of(policy, n_grades)
            policy = _table_of(policy)
        self.n_grades = 3 if n_grades is None else n_grades
        if self.n_grades < 2:
            raise UsageError(f"n_grades is {self.n_grades}; a scale has two grades or more")
        self._policy: Any = dict(policy) if isinstance(policy, Mapping) else policy
        self._identity = self._identify(name)

    @property
    def identity(self) -> str:
        """``judgments-`` and a hash of the table, or of the policy's own identity."""
        return self._identity

    def grade(self, pairs: PairTable) -> Annotations:
        """The known grades (n,), each with probability 1.

        Raises:
            MrStError: a pair that the policy does not know, or a grade outside the scale; the pair is named.
        """
        grades = self._grades(pairs)
        outside = np.flatnonzero((grades < 0) | (grades >= self.n_grades))
        if len(outside):
            raise MrStError(
                f"{self._pair(pairs, outside[0])}: {self.identity} gives grade {grades[outside[0]]}, outside "
                f"0..{self.n_grades - 1}; pass the policy's own n_grades"
            )
        return Annotations.certain(grades, self.n_grades)

    def _grades(self, pairs: PairTable) -> np.ndarray:
        if hasattr(self._policy, "grades"):
            grades = np.asarray(self._policy.grades(pairs.query_ids, pairs.item_ids))
            if grades.shape != (len(pairs),):
                raise MrStError(f"{self.identity}: grades() gave shape {grades.shape} for {len(pairs):,} pairs")
            if len(grades) and grades.dtype.kind not in "iu":
                raise MrStError(f"{self.identity}: grades() gave {grades.dtype} values; expected whole numbers")
            return grades.astype(np.int64)
        ask = self._policy.__getitem__ if isinstance(self._policy, dict) else lambda key: self._policy(*key)
        grades = np.empty(len(pairs), dtype=np.int64)
        for row, key in enumerate(zip(pairs.query_ids, pairs.item_ids, strict=True)):
            try:
                grades[row] = index(ask(key))
            except TypeError as error:
                raise MrStError(
                    f"{self._pair(pairs, row)}: {self.identity} gives no whole number ({error}); mend the policy"
                ) from error
            except KeyError as error:
                raise MrStError(
                    f"{self._pair(pairs, row)}: {self.identity} has no grade for this pair; use an annotator that "
                    "can grade any pair (a policy or a fitted cross-encoder)"
                ) from error
        return grades

    def _identify(self, name: str | None) -> str:
        if isinstance(self._policy, dict):
            content: Any = sorted([*key, int(grade)] for key, grade in self._policy.items())
        elif callable(self._policy) or hasattr(self._policy, "grades"):
            content = name or getattr(self._policy, "identity", None)
            if not content:
                raise UsageError(
                    "a callable policy needs an identity: pass name='...' (and change it when the policy changes) or "
                    "give the policy an `identity` attribute"
                )
        else:
            raise UsageError(
                f"policy is {type(self._policy).__name__}; expected a callable (query_id, item_id) -> grade, a "
                "GradedDataset or a mapping {(query_id, item_id): grade}"
            )
        return f"judgments-{settings_hash({'policy': content, 'n_grades': self.n_grades})}"

    @staticmethod
    def _pair(pairs: PairTable, row: int) -> str:
        return f"pair {row + 1:,} (query {pairs.query_ids[row]!r}, item {pairs.item_ids[row]!r})"


def _grades_of(dataset: Any, n_grades: int | None) -> int:
    if n_grades not in (None, dataset.scale.n_grades):
        raise UsageError(f"n_grades is {n_grades}, but the dataset's scale is {dataset.scale}; leave n_grades out")
    return dataset.scale.n_grades


def _table_of(dataset: Any) -> dict[tuple[str, str], int]:
    def column(name: str) -> Sequence[Any]:
        return list(dataset.judgments[name])

    return dict(zip(zip(column("query_id"), column("item_id"), strict=True), column("grade"), strict=True))
