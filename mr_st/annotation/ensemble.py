"""Several annotators as one: the mean of their probabilities, or a vote; and how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mr_st.annotation.protocol import Annotations, Annotator, PairTable
from mr_st.errors import UsageError
from mr_st.identity import settings_hash

__all__ = ["EnsembleAnnotator", "EnsembleOpinions", "mean_probabilities", "vote_shares"]

_TIE_BREAK = 1e-3
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class EnsembleOpinions:
    """What the members said of n pairs, and what they said together.

    Args:
        annotations: Of the ensemble.
        member_grades: int8 (m, n), one row for each member in the order given to the ensemble.
        disagreement: float64 (n,), in 0..1: how probable it is that two different members, drawn by their weights,
            gave different grades; 0 where all agree.
    """

    annotations: Annotations
    member_grades: np.ndarray
    disagreement: np.ndarray


class EnsembleAnnotator:
    """Grade pairs by several annotators together.

    Args:
        annotators: The members, two or more, with the same number of grades.
        how: ``"mean"``: the weighted mean of their probabilities, and its most probable grade (the lower of two that
            are equal). ``"vote"``: each member's grade counts with its weight; among equals the more probable by the
            weighted mean wins, then the lower. The probabilities are then the shares of the votes, with one
            thousandth moved to the winner of a tie.
        weights: One above 0 for each member; equal when None.

    Raises:
        UsageError: fewer than two members, unknown ``how``, or weights that do not fit.

    Source: ours.
    """

    def __init__(
        self,
        annotators: Sequence[Annotator],
        how: Literal["mean", "vote"] = "mean",
        weights: Sequence[float] | None = None,
    ):
        if len(annotators) < 2:
            raise UsageError(f"an ensemble of {len(annotators)}; give two annotators or more")
        if how not in ("mean", "vote"):
            raise UsageError(f"how is {how!r}; expected mean or vote")
        given = np.ones(len(annotators)) if weights is None else np.asarray(weights, dtype=np.float64)
        if given.shape != (len(annotators),) or not (np.isfinite(given) & (given > 0)).all():
            raise UsageError(
                f"weights are {weights}; expected {len(annotators)} numbers above 0, one for each annotator"
            )
        self.annotators, self.how = tuple(annotators), how
        self.weights = given / given.sum()

    @property
    def identity(self) -> str:
        """``ensemble-`` and a hash of the members' identities and weights (in any order) and ``how``."""
        members = sorted([a.identity, float(w)] for a, w in zip(self.annotators, self.weights, strict=True))
        return f"ensemble-{settings_hash({'members': members, 'how': self.how})}"

    def grade(self, pairs: PairTable) -> Annotations:
        """Grade every pair by all members, one after another.

        Raises:
            UsageError: the members have different numbers of grades.
            MrStError: as the members raise.
        """
        return self.opinions(pairs).annotations

    def disagreement(self, pairs: PairTable) -> np.ndarray:
        """float64 (n,): see :class:`EnsembleOpinions`. It asks all members; where that costs, use :meth:`opinions`."""
        return self.opinions(pairs).disagreement

    def opinions(self, pairs: PairTable) -> EnsembleOpinions:
        """What the members say of every pair, alone and together; each member is asked once.

        Raises:
            UsageError, MrStError: as :meth:`grade`.
        """
        given: list[Annotations] = []
        for annotator in self.annotators:
            given.append(annotator.grade(pairs))
            if given[-1].n_grades != given[0].n_grades:
                raise UsageError(
                    f"{self.annotators[0].identity} knows {given[0].n_grades} grades and {annotator.identity} "
                    f"{given[-1].n_grades}; an ensemble needs annotators of one scale"
                )
        # summed in one order, so that the members' order cannot show in a last digit
        order = sorted(range(len(given)), key=lambda m: (self.annotators[m].identity, self.weights[m]))
        stacked = np.stack([given[m].probabilities.astype(np.float64) for m in order])
        grades, weights = np.stack([given[m].grades for m in order]), self.weights[order]
        combine = mean_probabilities if self.how == "mean" else vote_shares
        probabilities = combine(stacked, grades, weights).astype(np.float32)
        annotations = Annotations(probabilities.argmax(axis=1).astype(np.int8), probabilities)
        member_grades = np.stack([one.grades for one in given])
        return EnsembleOpinions(annotations, member_grades, _disagreement(grades, weights, given[0].n_grades))


def mean_probabilities(probabilities: np.ndarray, grades: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean, float64 (n, G), of the members' probabilities.

    Args:
        probabilities: float64 (m, n, G).
        grades: int (m, n); not looked at.
        weights: float64 (m,), of sum 1.
    """
    mean = np.einsum("m,mng->ng", weights, probabilities)
    return mean / mean.sum(axis=1, keepdims=True)


def vote_shares(probabilities: np.ndarray, grades: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares of the weighted votes, float64 (n, G); the largest is the winner's, also after a tie.

    Args:
        probabilities: float64 (m, n, G); their mean breaks ties.
        grades: int (m, n), the votes.
        weights: float64 (m,), of sum 1.

    Example:
        >>> sure, unsure = [0.0, 0.1, 0.9], [0.6, 0.3, 0.1]
        >>> votes = vote_shares(np.array([[sure], [unsure]]), np.array([[2], [0]]), np.array([0.5, 0.5]))
        >>> votes.round(4).tolist()
        [[0.4995, 0.0, 0.5005]]
    """
    shares = _votes(grades, weights, probabilities.shape[2])
    mean = mean_probabilities(probabilities, grades, weights)
    is_top = shares > shares.max(axis=1, keepdims=True) - _SAME
    best = np.where(is_top, mean, -1.0)
    winner = (best > best.max(axis=1, keepdims=True) - _SAME).argmax(axis=1)  # the lowest of equals
    tied = np.flatnonzero(is_top.sum(axis=1) > 1)
    shares[tied] *= 1 - _TIE_BREAK
    shares[tied, winner[tied]] += _TIE_BREAK
    return shares


def _votes(grades: np.ndarray, weights: np.ndarray, n_grades: int) -> np.ndarray:
    return np.einsum("m,mng->ng", weights, np.eye(n_grades)[grades])


def _disagreement(grades: np.ndarray, weights: np.ndarray, n_grades: int) -> np.ndarray:
    alike = (_votes(grades, weights, n_grades) ** 2).sum(axis=1)
    two_different = 1 - (weights**2).sum()
    return np.clip((1 - alike) / two_different, 0.0, 1.0)
