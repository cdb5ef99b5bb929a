"""The similarity from which a pair is taken to be of a grade or better, chosen to maximise F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mr_st.measures.margins import checked_similarities

__all__ = ["RankedPairs", "Threshold", "best_threshold", "f1_of", "score_threshold"]


@dataclass(frozen=True)
class Threshold:
    """A threshold and what accepting every pair with ``similarity >= value`` gives.

    Args:
        boundary: The lowest grade that ought to be accepted.
        value: The similarity; NaN where no pair is of that grade or better.
        precision: Share of the accepted pairs that ought to be; NaN where none is accepted.
        recall: Share of those that ought to be accepted that are.
        f1: The harmonic mean of the two.
        n_positive: Pairs of the boundary's grade or better.
        n_pairs: All pairs.
    """

    boundary: int
    value: float
    precision: float
    recall: float
    f1: float
    n_positive: int
    n_pairs: int


def best_threshold(
    similarities: np.ndarray, grades: np.ndarray, boundary: int, weights: np.ndarray | None = None
) -> Threshold:
    """The threshold that maximises F1 of "grade ``boundary`` or better", over the pairs it is given.

    It lies halfway between two neighbouring distinct similarities, so that equal similarities are never parted (below
    the least one it is that similarity). Of several equally good ones the highest is taken. The figures are of the
    pairs it was chosen on and so a little too good: cross-fitted ones are in
    :func:`mr_st.measures.separability.separability`.

    Args:
        similarities: float (m,).
        grades: integers (m,).
        boundary: 1 or more.
        weights: float (m,), above 0, what each pair counts; None for 1 each.

    Raises:
        ValueError: a similarity is not finite, or the boundary is below 1.

    Example:
        >>> found = best_threshold(np.array([0.9, 0.8, 0.6, 0.2]), np.array([2, 0, 2, 0]), boundary=1)
        >>> round(found.value, 6), found.recall, round(found.f1, 6)
        (0.4, 1.0, 0.8)
    """
    ranked = RankedPairs.of(similarities, grades, weights)
    return _scored(ranked, ranked.choose(boundary), boundary)


def score_threshold(
    similarities: np.ndarray, grades: np.ndarray, boundary: int, value: float, weights: np.ndarray | None = None
) -> Threshold:
    """What a threshold chosen elsewhere gives on these pairs.

    Args:
        similarities, grades, boundary, weights: As for :func:`best_threshold`.
        value: The threshold.

    Example:
        >>> score_threshold(np.array([0.9, 0.8, 0.6]), np.array([2, 0, 2]), 1, 0.8).precision
        0.5
    """
    return _scored(RankedPairs.of(similarities, grades, weights), value, boundary)


@dataclass(frozen=True)
class RankedPairs:
    """Judged pairs from the most similar down.

    Args:
        similarities: float64 (m,), descending.
        grades: int64 (m,).
        weights: float64 (m,).
        pairs: int64 (m,), where each stood before.
    """

    similarities: np.ndarray
    grades: np.ndarray
    weights: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, similarities: np.ndarray, grades: np.ndarray, weights: np.ndarray | None = None) -> RankedPairs:
        """Sort pairs."""
        grades = np.asarray(grades, dtype=np.int64)
        similarities = checked_similarities(similarities, len(grades))
        weights = np.ones(len(grades)) if weights is None else np.asarray(weights, dtype=np.float64)
        if weights.shape != grades.shape or not (weights > 0).all():
            raise ValueError(f"one weight above 0 a pair expected, ({len(grades)},), got {weights.shape}")
        order = np.argsort(-similarities, kind="stable")
        return cls(similarities[order], grades[order], weights[order], order)

    def take(self, kept: np.ndarray) -> RankedPairs:
        """The kept of them, by a mask (m,) in this order."""
        return RankedPairs(self.similarities[kept], self.grades[kept], self.weights[kept], self.pairs[kept])

    def choose(self, boundary: int) -> float:
        """The threshold that maximises F1; NaN where no pair is of the boundary's grade or better."""
        if boundary < 1:
            raise ValueError(f"the boundary must be grade 1 or higher, got {boundary}")
        positive = self.grades >= boundary
        if not positive.any():
            return np.nan
        ends = np.append(np.flatnonzero(self.similarities[1:] != self.similarities[:-1]), len(positive) - 1)
        right = np.cumsum(self.weights * positive)
        f1 = f1_of(right[ends], np.cumsum(self.weights)[ends], right[-1])
        best = int(np.argmax(f1))
        above = float(self.similarities[ends[best]])
        if best == len(ends) - 1:
            return above
        below = float(self.similarities[ends[best] + 1])
        halfway = below + (above - below) / 2
        return halfway if below < halfway <= above else above  # neighbouring floats have no halfway

    def at(self, value: float, boundary: int) -> np.ndarray:
        """Weight rightly accepted from a threshold on, all that is accepted, all that ought to be; float64 (3,)."""
        positive = self.weights * (self.grades >= boundary)
        n = int(np.searchsorted(-self.similarities, -value, side="right"))
        return np.array([positive[:n].sum(), self.weights[:n].sum(), positive.sum()])


def f1_of(right: np.ndarray, accepted: np.ndarray, positive: np.ndarray | float) -> np.ndarray:
    """F1 from the weight rightly accepted, accepted and positive; NaN where nothing is positive."""
    positive = np.asarray(positive, dtype=np.float64)
    total = accepted + positive
    shape = np.broadcast(right, total).shape
    return np.divide(2 * right, total, out=np.full(shape, np.nan), where=np.broadcast_to(positive > 0, shape))


def _scored(ranked: RankedPairs, value: float, boundary: int) -> Threshold:
    n_positive = int(np.count_nonzero(ranked.grades >= boundary))
    if np.isnan(value):
        return Threshold(boundary, np.nan, np.nan, np.nan, np.nan, n_positive, len(ranked.grades))
    right, accepted, positive = ranked.at(value, boundary)
    return Threshold(
        boundary,
        value,
        precision=float(right / accepted) if accepted else np.nan,
        recall=float(right / positive) if positive else np.nan,
        f1=float(f1_of(right, accepted, positive)),
        n_positive=n_positive,
        n_pairs=len(ranked.grades),
    )
