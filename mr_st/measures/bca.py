"""The bias-corrected and accelerated bootstrap interval, for figures that are no means of per-query values."""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from mr_st.measures.intervals import Interval

__all__ = ["BCA_METHOD", "bca_interval"]

BCA_METHOD = "BCa bootstrap over queries, widened for small n"
"""What an interval of :func:`bca_interval` was made with."""


def bca_interval(value: float, resampled: np.ndarray, influence: np.ndarray, confidence: float = 0.95) -> Interval:
    """The bias-corrected and accelerated interval of any figure over queries, from its bootstrap values.

    The quantiles are taken a little further out than plain BCa takes them, by the factor that makes a bootstrap of a
    normal sample as wide as Student's t interval, since plain BCa covers too little below some 100 queries. A mean
    over queries has a better one: :func:`mr_st.measures.bootstrap_interval` (``docs/significance.md``).

    Args:
        value: The figure over all n queries.
        resampled: float (R,), the figure over each resample of n queries.
        influence: float (n,), how far each query moves the figure: for a mean its value less the mean; else, up to a
            factor, the figure over all queries less that without the query (jackknife).
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        The interval; value = low = high where no query moves the figure.

    Source: Efron, 1987 (BCa); Hesterberg, 2015, section 3.2 (the widening).
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
