"""How sure a mean over queries is: BCa bootstrap intervals, and the paired sign-flip permutation test."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, sqrt

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

__all__ = [
    "INTERVAL_METHOD",
    "Interval",
    "bca_interval",
    "bootstrap_interval",
    "paired_bootstrap",
    "paired_permutation_test",
]

INTERVAL_METHOD = "BCa bootstrap over queries, widened for small n"
"""What every interval of a report was made with."""

_BLOCK = 4_000_000  # resampled values held at once


@dataclass(frozen=True)
class Interval:
    """A mean over queries with its confidence interval.

    Args:
        value: The mean; NaN when ``n`` is 0.
        low, high: Ends of the interval; NaN when ``n`` is below 2 (one query tells nothing of the spread).
        n: How many queries the mean is over.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def to_dict(self) -> dict[str, float | int | None]:
        """The interval ready for JSON, NaN as None.

        Example:
            >>> Interval(0.5, float("nan"), float("nan"), 1).to_dict()
            {'value': 0.5, 'low': None, 'high': None, 'n': 1}
        """
        return {k: None if isnan(v) else v for k, v in vars(self).items()}

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}] (n={self.n})"


def bootstrap_interval(
    values: np.ndarray, seed: int = 0, n_resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Mean of per-query values with its bias-corrected and accelerated bootstrap interval.

    The quantiles are taken a little further out than plain BCa takes them, by the factor that makes a bootstrap of a
    normal sample as wide as Student's t interval, since plain BCa covers too little below some 100 queries.

    Args:
        values: float (n,), one value a query; NaN (undefined for the query) is left out.
        seed: Seed of the resampling.
        n_resamples: Number of bootstrap samples.
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        The interval. All values equal: low = high = value (the sample shows no spread).

    Source: Efron, 1987 (BCa); Hesterberg, 2015, section 3.2 (the widening).

    Example:
        >>> bootstrap_interval(np.array([0.5, 0.5]))
        Interval(value=0.5, low=0.5, high=0.5, n=2)
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, n)
    return bca_interval(mean, _resampled_means(values, seed, n_resamples), values - mean, confidence)


def bca_interval(value: float, resampled: np.ndarray, influence: np.ndarray, confidence: float = 0.95) -> Interval:
    """The bias-corrected and accelerated interval of any figure over queries, from its bootstrap values.

    Args:
        value: The figure over all n queries.
        resampled: float (R,), the figure over each resample of n queries.
        influence: float (n,), how far each query moves the figure: for a mean its value less the mean; else, up to a
            factor, the figure over all queries less that without the query (jackknife).
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        The interval, widened as :func:`bootstrap_interval` tells; value = low = high where no query moves the figure.
    """
    n, n_resamples = len(influence), len(resampled)
    spread = (influence**2).sum()
    if spread == 0:
        return Interval(value, value, value, n)
    below = (np.count_nonzero(resampled < value) + 0.5 * np.count_nonzero(resampled == value)) / n_resamples
    bias = norm.ppf(np.clip(below, 1 / n_resamples, 1 - 1 / n_resamples))
    acceleration = (influence**3).sum() / (6 * spread**1.5)
    reach = sqrt(n / (n - 1)) * student.ppf((1 + confidence) / 2, n - 1)
    z = bias + np.array([-reach, reach])
    levels = norm.cdf(bias + z / np.maximum(1 - acceleration * z, 1e-3))
    low, high = np.quantile(resampled, levels)
    return Interval(value, float(low), float(high), n)


def paired_bootstrap(a: np.ndarray, b: np.ndarray, seed: int = 0, n_resamples: int = 10_000) -> Interval:
    """Mean of ``b - a`` over the queries where both are defined, with its interval.

    Args:
        a, b: float (n,), the same queries in the same order; NaN is left out.
        seed: Seed of the resampling.
        n_resamples: Number of bootstrap samples.
    """
    return bootstrap_interval(_differences(a, b), seed, n_resamples)


def paired_permutation_test(a: np.ndarray, b: np.ndarray, seed: int = 0, n_resamples: int = 10_000) -> float:
    """Two-sided p-value of "the two systems are exchangeable query by query", by random sign flips of ``b - a``.

    ``p = (1 + #{|resampled mean| >= |observed mean|}) / (1 + n_resamples)``, so it is never 0.

    Args:
        a, b: float (n,), the same queries in the same order; a query where either is NaN is left out.
        seed: Seed of the flips.
        n_resamples: Number of random sign vectors.

    Returns:
        p in (0, 1]; 1 when there is no query or no difference.

    Source: Fisher's randomisation test as Smucker, Allan and Carterette, 2007, recommend it for IR.

    Example:
        >>> paired_permutation_test(np.zeros(20), np.full(20, 0.1)) < 0.001
        True
    """
    differences = _differences(a, b)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    observed = abs(differences.sum())
    least = observed - 1e-12 * np.abs(differences).sum()  # sums of the same numbers in another order are equal
    rng = np.random.default_rng(seed)
    at_least = 0
    for start in range(0, n_resamples, rows := max(1, _BLOCK // len(differences))):
        flips = rng.integers(0, 2, size=(min(rows, n_resamples - start), len(differences)), dtype=np.int8)
        at_least += int((np.abs((2.0 * flips - 1.0) @ differences) >= least).sum())
    return (1 + at_least) / (1 + n_resamples)


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values must have one and the same length, got {a.shape} and {b.shape}")
    differences = b - a
    return differences[~np.isnan(differences)]


def _resampled_means(values: np.ndarray, seed: int, n_resamples: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    for start in range(0, n_resamples, rows := max(1, _BLOCK // len(values))):
        stop = min(start + rows, n_resamples)
        means[start:stop] = values[rng.integers(0, len(values), size=(stop - start, len(values)))].mean(axis=1)
    return means
