"""Similarities counted by grade: what is kept of them once the pairs are gone, and what figures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mr_st.measures.margins import checked_similarities

__all__ = ["SimilarityHistogram", "ThresholdCurve", "similarity_histogram", "threshold_curve"]


@dataclass(frozen=True)
class SimilarityHistogram:
    """How many judged pairs of each grade fall into each similarity bin.

    Args:
        edges: float64 (B + 1,), ascending; bin b holds ``edges[b] <= similarity < edges[b + 1]``, the last its upper
            edge too.
        counts: int64 (G, B).
    """

    edges: np.ndarray
    counts: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """Middle of each bin, float64 (B,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def similarity_histogram(
    similarities: np.ndarray, grades: np.ndarray, n_grades: int, n_bins: int = 200
) -> SimilarityHistogram:
    """Histogram of similarities by grade over -1 to 1, or further out where a similarity lies beyond.

    Args:
        similarities: float (m,); cosines, or another system's scores. Beyond -1 or 1 by rounding only (1e-4) counts
            as -1 or 1.
        grades: integers (m,) in ``0 .. n_grades - 1``.
        n_grades: Number of grades.
        n_bins: Number of bins.

    Raises:
        ValueError: a similarity is not finite.
    """
    similarities = checked_similarities(similarities, len(grades))
    least, greatest = similarities.min(initial=-1.0), similarities.max(initial=1.0)
    edges = np.linspace(least if least < -1 - 1e-4 else -1.0, greatest if greatest > 1 + 1e-4 else 1.0, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, similarities, side="right") - 1, 0, n_bins - 1)
    counts = np.bincount(np.asarray(grades, dtype=np.int64) * n_bins + bins, minlength=n_grades * n_bins)
    return SimilarityHistogram(edges, counts.reshape(n_grades, n_bins))


@dataclass(frozen=True)
class ThresholdCurve:
    """What accepting all pairs from a threshold on gives, for many thresholds.

    Args:
        thresholds: float64 (T,), ascending.
        precision: float64 (T,), NaN where nothing is accepted.
        recall: float64 (T,), NaN where no pair is of the boundary's grade or better.
        f1: float64 (T,), 0 where nothing is accepted.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def threshold_curve(histogram: SimilarityHistogram, boundary: int) -> ThresholdCurve:
    """Precision, recall and F1 of "grade ``boundary`` or better" at each bin edge of a histogram, pairs weighed alike.

    Args:
        histogram: Of the judged pairs.
        boundary: 1 up to the highest grade.

    Example:
        >>> found = similarity_histogram(np.array([-0.5, 0.5]), np.array([0, 1]), 2, n_bins=2)
        >>> threshold_curve(found, 1).precision.tolist()
        [0.5, 1.0]
    """
    if not 1 <= boundary < len(histogram.counts):
        raise ValueError(f"boundary {boundary} of {len(histogram.counts)} grades: 1 .. {len(histogram.counts) - 1}")
    accepted = np.cumsum(histogram.counts.sum(axis=0)[::-1])[::-1]
    right = np.cumsum(histogram.counts[boundary:].sum(axis=0)[::-1])[::-1]
    n_positive = right[0] if len(right) else 0
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(accepted > 0, right / accepted, np.nan)
        recall = right / n_positive if n_positive else np.full(len(right), np.nan)
        f1 = 2 * right / (accepted + n_positive)
    return ThresholdCurve(histogram.edges[:-1], precision, recall, f1)
