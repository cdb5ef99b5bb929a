"""How well similarities keep the grades apart: margins of a query, and histograms by grade.

Margins are taken over judged pairs, each similarity computed directly, never over a result list cut at top k.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mr_st.measures.judged import Judged

__all__ = ["Margins", "SimilarityHistogram", "grade_pairs", "margins", "similarity_histogram"]


@dataclass(frozen=True)
class Margins:
    """Margins of each query between a higher and a lower grade; NaN where the query lacks one of the two.

    Args:
        average: float64 (n,), mean similarity of the higher grade minus mean similarity of the lower.
        worst: float64 (n,), least similarity of the higher grade minus greatest similarity of the lower.
    """

    average: np.ndarray
    worst: np.ndarray

    @property
    def n(self) -> int:
        """How many queries have both grades."""
        return int((~np.isnan(self.average)).sum())


def grade_pairs(n_grades: int) -> list[tuple[int, int]]:
    """All pairs (higher, lower) of grades, the widest gap first.

    Example:
        >>> grade_pairs(3)
        [(2, 0), (1, 0), (2, 1)]
    """
    pairs = [(high, low) for low, high in combinations(range(n_grades), 2)]
    return sorted(pairs, key=lambda pair: (pair[1] - pair[0], pair[1]))


def margins(
    judged: Judged, similarities: np.ndarray, high: int, low: int, counted: np.ndarray | None = None
) -> Margins:
    """Average and worst-case margin of each query between grade ``high`` and grade ``low``.

    Args:
        judged: The judgments.
        similarities: float (m,), the similarity of each judged pair, in ``judged``'s order.
        high, low: The two grades, ``high > low``.
        counted: bool (m,), which pairs count (the hard ones, say); None counts all.

    Source: arXiv 2602.17654, section 5.2: ``E_q(mean s(high) - mean s(low))`` and ``E_q(min s(high) - max s(low))``.

    Example:
        >>> judged = Judged.from_pairs([0, 0, 0, 0], [0, 1, 2, 3], [2, 2, 0, 0], n_queries=1)
        >>> found = margins(judged, np.array([0.9, 0.7, 0.5, 0.1]), 2, 0)
        >>> found.average.round(6).tolist(), found.worst.round(6).tolist()
        ([0.5], [0.2])
    """
    if high <= low:
        raise ValueError(f"the first grade must be the higher one, got {high} and {low}")
    similarities = np.asarray(similarities, dtype=np.float64)
    if similarities.shape != (judged.n_pairs,):
        raise ValueError(f"one similarity a judged pair expected, ({judged.n_pairs},), got {similarities.shape}")
    keep = np.ones(judged.n_pairs, dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    mean_high, least_high, _ = _by_query(judged, similarities, keep & (judged.grades == high))
    mean_low, _, greatest_low = _by_query(judged, similarities, keep & (judged.grades == low))
    return Margins(mean_high - mean_low, least_high - greatest_low)


def _by_query(judged: Judged, values: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, least and greatest kept value of each query, NaN where none is kept."""
    n = judged.n_queries
    queries, values = judged.query_of_pair[keep], values[keep]
    count = np.bincount(queries, minlength=n)
    least, greatest = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(least, queries, values)
    np.maximum.at(greatest, queries, values)
    none = count == 0
    mean = np.bincount(queries, weights=values, minlength=n) / np.maximum(count, 1)
    for array in (mean, least, greatest):
        array[none] = np.nan
    return mean, least, greatest


@dataclass(frozen=True)
class SimilarityHistogram:
    """How many judged pairs of each grade fall into each similarity bin.

    Args:
        edges: float64 (B + 1,), ascending; values outside are counted in the first or last bin.
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
    """Histogram of similarities by grade over -1 to 1.

    Args:
        similarities: float (m,).
        grades: integers (m,) in ``0 .. n_grades - 1``.
        n_grades: Number of grades.
        n_bins: Number of bins.
    """
    edges = np.linspace(-1.0, 1.0, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, similarities, side="right") - 1, 0, n_bins - 1)
    counts = np.bincount(np.asarray(grades, dtype=np.int64) * n_bins + bins, minlength=n_grades * n_bins)
    return SimilarityHistogram(edges, counts.reshape(n_grades, n_bins))
