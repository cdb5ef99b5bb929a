"""Paired comparisons of the models of one task, from their per-query values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from mr_st.leaderboard.results import Result
from mr_st.measures import paired_bootstrap, paired_permutation_test

__all__ = ["PairedDifference", "compare_all"]

PairedDifference = tuple[str, int, int, float, float, float, float]
"""metric, index of a, index of b, mean of a - b, low, high, p-value."""

_FEWEST_QUERIES = 2
_BOOTSTRAP = 2000  # resamples, as mr_st.evaluation.compare takes by default: page and `mr-st compare` agree


def compare_all(results: Sequence[Result], metrics: Sequence[str], budget: int) -> tuple[list[PairedDifference], int]:
    """Every pair of models on each metric, over the queries that both have, most important metric first.

    Args:
        results: Of one task.
        metrics: In order of importance.
        budget: How many comparisons may be computed.

    Returns:
        The comparisons, and how many were left out for want of budget.
    """
    tables = [(i, own) for i, result in enumerate(results) if (own := result.per_query()) is not None]
    found: list[PairedDifference] = []
    n_left_out = 0
    for metric in metrics:
        for (i, (queries_a, a)), (j, (queries_b, b)) in combinations(tables, 2):
            if metric not in a or metric not in b:
                continue
            left, right = _align(queries_a, a[metric], queries_b, b[metric])
            if np.count_nonzero(~np.isnan(left - right)) < _FEWEST_QUERIES:
                continue
            if len(found) >= budget:
                n_left_out += 1
                continue
            interval = paired_bootstrap(right, left, n_resamples=_BOOTSTRAP)  # its differences are second minus first
            p = paired_permutation_test(right, left)
            if math.isfinite(interval.low):
                found.append((metric, i, j, interval.value, interval.low, interval.high, p))
    return found, n_left_out


def _align(
    queries_a: Sequence[str], a: np.ndarray, queries_b: Sequence[str], b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The values of the queries that both have, in the first one's order."""
    if list(queries_a) == list(queries_b):
        return a, b
    row_of = {query: row for row, query in enumerate(queries_b)}
    rows = [(i, row_of[query]) for i, query in enumerate(queries_a) if query in row_of]
    return a[[i for i, _ in rows]], b[[j for _, j in rows]]
