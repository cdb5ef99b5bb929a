"""Figures over queries that count differently often: a ratio of sums, with an interval that respects it."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from mr_st.measures.significance import Interval

__all__ = ["effective_number", "ratio_interval"]


def ratio_interval(numerators: np.ndarray, denominators: np.ndarray, confidence: float = 0.95) -> Interval:
    """``sum(numerators) / sum(denominators)`` over queries, with a jackknife interval over the queries.

    A mean over draws is ``numerators = draws * values, denominators = draws``; a relative lift is
    ``numerators = draws * (b - a), denominators = draws * a``. What is left out in turn is a query with all its draws,
    never a single draw: drawing a query more often tells nothing new about other queries. Student's t is
    taken with the degrees of freedom that the spread of the queries' influence leaves (Satterthwaite), so that a few
    heavy queries make a wide interval. It covers least where changes are one-sided and frequencies very uneven.

    Args:
        numerators: float (n,), one a query.
        denominators: float (n,), one a query, 0 or more.
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        NaN where the denominators sum to 0; NaN ends where fewer than two queries count, or where one query alone is
        the whole denominator; the value itself as both ends where no query moves the ratio.

    Source: ours, from the jackknife of a ratio and Satterthwaite, 1946.

    Example:
        >>> print(ratio_interval(np.array([0.1, 0.2, 0.6]), np.ones(3)))
        0.3000 [-0.5050, 1.1050] (n=3)
    """
    numerators, denominators = (np.asarray(x, dtype=np.float64) for x in (numerators, denominators))
    if numerators.shape != denominators.shape or numerators.ndim != 1:
        raise ValueError(f"one numerator a denominator is needed, got {numerators.shape} and {denominators.shape}")
    counted = (denominators != 0) | (numerators != 0)
    numerators, denominators = numerators[counted], denominators[counted]
    n, whole = len(numerators), denominators.sum()
    if not n or whole == 0:
        return Interval(np.nan, np.nan, np.nan, n)
    value = float(numerators.sum() / whole)
    rest = whole - denominators
    if n == 1 or not np.all(rest > 1e-12 * whole):
        return Interval(value, np.nan, np.nan, n)
    moves = (numerators - value * denominators) / rest  # how far leaving the query out moves the ratio
    largest = float(np.abs(moves).max())
    if largest <= 1e-12 * max(abs(value), 1e-300):
        return Interval(value, value, value, n)
    squares = (moves / largest) ** 2  # the fourth power of a tiny move would be 0
    spread = float(squares.sum())
    freedom = np.clip(2 * spread**2 / (squares**2).sum() - 1, 1, n - 1)
    reach = float(student.ppf((1 + confidence) / 2, freedom)) * largest * spread**0.5
    return Interval(value, value - reach, value + reach, n)


def effective_number(weights: np.ndarray) -> float:
    """How many equally heavy queries tell as much as these: ``sum(w)^2 / sum(w^2)``; 0 without any weight.

    Source: Kish, 1965.

    Example:
        >>> effective_number(np.array([5, 5, 0])), effective_number(np.array([98, 1, 1])) < 1.05
        (2.0, True)
    """
    weights = np.asarray(weights, dtype=np.float64)
    total = weights.sum()
    return float(total**2 / (weights**2).sum()) if total else 0.0
