"""Margins: how far apart the similarities of two grades are within a query.

Taken over judged pairs, each similarity computed directly, never over a result list cut at top k.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mr_st.measures.judged import Judged

__all__ = ["Margins", "checked_similarities", "grade_pairs", "margins"]


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
    """All pairs (higher, lower) of ``n_grades`` grades, the widest gap first.

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

    Raises:
        ValueError: the grades are the wrong way round, or a pair has no finite similarity.

    Source: arXiv 2602.17654, section 5.2: ``E_q(mean s(high) - mean s(low))`` and ``E_q(min s(high) - max s(low))``.

    Example:
        >>> judged = Judged.from_pairs([0, 0, 0, 0], [0, 1, 2, 3], [2, 2, 0, 0], n_queries=1)
        >>> found = margins(judged, np.array([0.9, 0.7, 0.5, 0.1]), 2, 0)
        >>> found.average.round(6).tolist(), found.worst.round(6).tolist()
        ([0.5], [0.2])
    """
    if high <= low:
        raise ValueError(f"the first grade must be the higher one, got {high} and {low}")
    similarities = checked_similarities(similarities, judged.n_pairs)
    keep = np.ones(judged.n_pairs, dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    mean_high, least_high, _ = _by_query(judged, similarities, keep & (judged.grades == high))
    mean_low, _, greatest_low = _by_query(judged, similarities, keep & (judged.grades == low))
    return Margins(mean_high - mean_low, least_high - greatest_low)


def checked_similarities(similarities: np.ndarray, n_pairs: int) -> np.ndarray:
    """Similarities as float64 (n_pairs,).

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    similarities = np.asarray(similarities, dtype=np.float64)
    if similarities.shape != (n_pairs,):
        raise ValueError(f"one similarity a judged pair expected, ({n_pairs},), got {similarities.shape}")
    wrong = ~np.isfinite(similarities)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{int(wrong.sum())} of {n_pairs} similarities are not finite (pair {at}: {similarities[at]}); "
            "every judged pair needs one"
        )
    return similarities


def _by_query(judged: Judged, values: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, least and greatest kept value of each query, NaN where none is kept."""
    n = judged.n_queries
    queries, values = judged.query_of_pair[keep], values[keep]
    count = np.bincount(queries, minlength=n)
    mean, least, greatest = (np.full(n, np.nan) for _ in range(3))
    some = count > 0
    if len(values):
        starts = (np.cumsum(count) - count)[some]  # pairs stand query by query
        mean[some] = np.add.reduceat(values, starts) / count[some]
        least[some] = np.minimum.reduceat(values, starts)
        greatest[some] = np.maximum.reduceat(values, starts)
    return mean, least, greatest
