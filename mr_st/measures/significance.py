"""Whether two systems differ: the paired sign-flip permutation test, and Holm's correction over several of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mr_st.measures.bca import BCA_METHOD, bca_interval
from mr_st.measures.intervals import INTERVAL_METHOD, Interval, bootstrap_interval, bootstrap_intervals

__all__ = [
    "BCA_METHOD",
    "INTERVAL_METHOD",
    "Interval",
    "bca_interval",
    "bootstrap_interval",
    "bootstrap_intervals",
    "holm",
    "paired_bootstrap",
    "paired_permutation_test",
]

_BLOCK = 4_000_000  # signs held at once


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, seed: int = 0, n_resamples: int = 10_000, confidence: float = 0.95
) -> Interval:
    """Mean of ``b - a`` over the queries where both are defined, with its interval.

    Args:
        a, b: float (n,), the same queries in the same order; NaN is left out.
        seed: Seed of the resampling.
        n_resamples: Number of bootstrap samples.
        confidence: Nominal coverage, between 0 and 1.
    """
    return bootstrap_interval(_differences(a, b), seed, n_resamples, confidence)


def paired_permutation_test(a: np.ndarray, b: np.ndarray, seed: int = 0, n_resamples: int = 10_000) -> float:
    """Two-sided p-value of "the two systems are exchangeable query by query", by sign flips of ``b - a``.

    With few differing queries (d with ``2**d <= n_resamples``, 13 of them by default) all sign vectors are counted
    and p is exact. Else they are drawn: ``p = (1 + #{|resampled mean| >= |observed mean|}) / (1 + n_resamples)``, so
    it is never 0.

    Args:
        a, b: float (n,), the same queries in the same order; a query where either is NaN is left out.
        seed: Seed of the flips.
        n_resamples: Number of random sign vectors.

    Returns:
        p in (0, 1]; 1 when there is no query or no difference.

    Source: Fisher's randomisation test as Smucker, Allan and Carterette, 2007, recommend it for IR.

    Example:
        >>> paired_permutation_test(np.zeros(5), np.ones(5))  # 2 of 32
        0.0625
        >>> paired_permutation_test(np.zeros(20), np.full(20, 0.1)) < 0.001
        True
    """
    differences = _differences(a, b)
    differences = differences[differences != 0]
    n = len(differences)
    if not n:
        return 1.0
    observed = abs(differences.sum())
    least = observed - 1e-12 * np.abs(differences).sum()  # sums of the same numbers in another order are equal
    if n < 60 and 2**n <= n_resamples:
        every = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return float((np.abs((2.0 * every - 1.0) @ differences) >= least).mean())
    rng = np.random.default_rng(seed)
    at_least = 0
    for start in range(0, n_resamples, rows := max(1, _BLOCK // n)):
        flips = rng.integers(0, 2, size=(min(rows, n_resamples - start), n), dtype=np.int8)
        at_least += int((np.abs((2.0 * flips - 1.0) @ differences) >= least).sum())
    return (1 + at_least) / (1 + n_resamples)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values adjusted for being several: of all that are below .05 then, the risk that any is chance is at most 5 %.

    Args:
        p_values: float (m,) in [0, 1]; NaN is a test that was not made: it stays NaN and does not count.

    Returns:
        float64 (m,), each at least the p-value given, at most 1, in the same order of size.

    Raises:
        ValueError: a p-value outside [0, 1].

    Source: Holm, 1979 (step-down Bonferroni; holds whatever the dependence between the tests).

    Example:
        >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
        [0.03, 0.06, nan, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise ValueError(f"p-values must be a list of numbers from 0 to 1, got {p.tolist()}")
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values must have one and the same length, got {a.shape} and {b.shape}")
    differences = b - a
    return differences[~np.isnan(differences)]
