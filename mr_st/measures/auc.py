"""AUC of two grades: how often a pair of the higher grade is more similar than one of the lower, ties counted half."""

from __future__ import annotations

import numpy as np

from mr_st.measures.judged import Judged
from mr_st.measures.margins import checked_similarities

__all__ = ["auc", "auc_and_influence", "auc_per_query"]


def auc(similarities: np.ndarray, grades: np.ndarray, high: int, low: int) -> float:
    """AUC over all pairs pooled, whatever their query: what one threshold for all queries has to work with.

    Args:
        similarities: float (m,).
        grades: integers (m,).
        high, low: The two grades, ``high > low``; other pairs do not count.

    Returns:
        ``P(s_high > s_low) + P(s_high = s_low) / 2``, exact, in O(m log m); NaN where one grade has no pair.

    Raises:
        ValueError: the grades are the wrong way round, or a similarity is not finite.

    Source: Mann and Whitney, 1947.

    Example:
        >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([2, 2, 1, 1]), high=2, low=1)
        0.875
    """
    above, _ = _placements(similarities, grades, high, low)
    return float(above.mean()) if len(above) else np.nan


def auc_and_influence(judged: Judged, similarities: np.ndarray, high: int, low: int) -> tuple[float, np.ndarray]:
    """The pooled AUC, and how far each query moves it: float64 (n,), summing to 0 (the infinitesimal jackknife).

    Args:
        judged: Judgments of n queries.
        similarities: float (m,), in ``judged``'s order.
        high, low: The two grades.

    Source: Obuchowski, 1997 (AUC of clustered data).
    """
    found = np.zeros(judged.n_queries)
    above, below = _placements(similarities, judged.grades, high, low)
    if not len(above):
        return np.nan, found
    queries, value = judged.query_of_pair, float(above.mean())
    for grade, placed in ((high, above), (low, below)):
        moved = (placed - value) / len(placed)
        found += np.bincount(queries[judged.grades == grade], weights=moved, minlength=judged.n_queries)
    return value, found


def auc_per_query(judged: Judged, similarities: np.ndarray, high: int, low: int) -> np.ndarray:
    """AUC within each query: how well its own pairs are ordered, whatever their level.

    Args:
        judged: Judgments of n queries.
        similarities: float (m,), in ``judged``'s order.
        high, low: The two grades, ``high > low``.

    Returns:
        float64 (n,), exact with ties, NaN where a query lacks one of the grades; in O(m log m) for all queries.

    Raises:
        ValueError: the grades are the wrong way round, or a similarity is not finite.

    Example:
        >>> judged = Judged.from_pairs([0, 0, 1, 1, 2], [0, 1, 0, 1, 0], [2, 0, 2, 0, 2], n_queries=3)
        >>> auc_per_query(judged, np.array([0.9, 0.1, 0.3, 0.3, 0.5]), 2, 0).tolist()
        [1.0, 0.5, nan]
    """
    _check(high, low)
    similarities = checked_similarities(similarities, judged.n_pairs)
    distinct, rank = np.unique(similarities, return_inverse=True)
    key = judged.query_of_pair * (len(distinct) + 1) + rank + 1  # ordered by query, then by similarity
    is_high = judged.grades == high
    wanted, others = key[is_high], np.sort(key[judged.grades == low])
    queries = judged.query_of_pair[is_high]
    n = judged.n_queries
    n_low = np.bincount(judged.query_of_pair[judged.grades == low], minlength=n)
    before = (np.cumsum(n_low) - n_low)[queries]
    won = (np.searchsorted(others, wanted, "left") + np.searchsorted(others, wanted, "right")) / 2 - before
    possible = np.bincount(queries, minlength=n) * n_low
    won_by_query = np.bincount(queries, weights=won, minlength=n)
    return np.divide(won_by_query, possible, out=np.full(n, np.nan), where=possible > 0)


def _placements(similarities: np.ndarray, grades: np.ndarray, high: int, low: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pair of grade ``high`` the share of ``low`` below it, and for each of ``low`` that of ``high`` above.

    Both empty where one grade has no pair.
    """
    _check(high, low)
    grades = np.asarray(grades)
    similarities = checked_similarities(similarities, len(grades))
    ups, downs = similarities[grades == high], similarities[grades == low]
    if not len(ups) or not len(downs):
        return np.empty(0), np.empty(0)
    return _share_below(ups, downs), 1 - _share_below(downs, ups)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of ``others`` below each value, those equal to it counted half."""
    others = np.sort(others)
    order = np.argsort(values)
    found = np.empty(len(values))
    ordered = values[order]  # searched for in ascending order, which the cache likes
    found[order] = np.searchsorted(others, ordered, "left") + np.searchsorted(others, ordered, "right")
    return found / (2 * len(others))


def _check(high: int, low: int) -> None:
    if high <= low:
        raise ValueError(f"the first grade must be the higher one, got {high} and {low}")
