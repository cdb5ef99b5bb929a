"""The confidence interval of a mean over queries, for one metric or for all of a report at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from scipy.stats import t as student

__all__ = ["INTERVAL_METHOD", "Interval", "bootstrap_interval", "bootstrap_intervals", "studentised_ends"]

INTERVAL_METHOD = "studentised bootstrap over queries (weight 0.4) and Student's t (0.6)"
"""What every interval of a report was made with."""

STUDENTISED = 0.4
"""Weight of the studentised bootstrap's end, the rest is Student's t: chosen by ``scripts/study_intervals.py``."""
FURTHEST = 1.5
"""No end is further from the mean than this many times Student's, as a few values other than 0 would have it."""

_BLOCK = 1_000_000  # drawn queries held at once
_NO_SPREAD = 1e-9  # variance of a resample of equal values, in units of the sample's: rounding


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
    """Mean of per-query values with its confidence interval, right for skewed values and for few queries.

    Each end lies 0.4 of the way from Student's t to the studentised bootstrap (bootstrap-t), at most 1.5 times as far
    from the mean as Student's, and never outside the range of the values. Student's interval covers too little where
    the values are skewed, the studentised one too much where they are bounded besides, and too little where they are
    heavy-tailed and symmetric, as differences are; between the two, coverage stays near the nominal
    (``docs/significance.md`` has the figures, and where it does not). The cut at the range keeps an NDCG at or below
    1; it costs coverage below some 8 queries only.

    Args:
        values: float (n,), one value a query; NaN (undefined for the query) is left out.
        seed: Seed of the resampling.
        n_resamples: Number of bootstrap samples.
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        The interval. All values equal: low = high = value (the sample shows no spread).

    Source: Efron and Tibshirani, 1993, section 12.5, and Hall, 1988 (studentised bootstrap); the weight is ours.

    Example:
        >>> bootstrap_interval(np.array([0.5, 0.5]))
        Interval(value=0.5, low=0.5, high=0.5, n=2)
    """
    return bootstrap_intervals({"": values}, seed, n_resamples, confidence)[""]


def bootstrap_intervals(
    values: Mapping[str, np.ndarray], seed: int = 0, n_resamples: int = 2000, confidence: float = 0.95
) -> dict[str, Interval]:
    """The interval of each of many metrics: what :func:`bootstrap_interval` gives for it alone, to rounding.

    The resamples depend on the seed and on how many values are defined, so metrics with as many share them.

    Args:
        values: Metric name to float (n,), one value a query; NaN is left out, metric by metric.
        seed, n_resamples, confidence: As in :func:`bootstrap_interval`.

    Example:
        >>> ndcg = np.array([0.2, 0.9, 1.0, 0.4])
        >>> found = bootstrap_intervals({"ndcg@10": ndcg, "recall@10": np.array([0.5, 1.0, np.nan, np.nan])})
        >>> found["ndcg@10"] == bootstrap_interval(ndcg), found["recall@10"].n
        (True, 2)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}, expected 1 or more")
    found: dict[str, Interval] = {}
    spread: dict[int, list[tuple[str, np.ndarray]]] = {}
    for name, given in values.items():
        known = np.asarray(given, dtype=np.float64)
        if known.ndim != 1:
            raise ValueError(f"values have the shape {known.shape}, expected one value a query")
        known = known[~np.isnan(known)]
        if len(known) > 1 and np.ptp(known) > 0:
            spread.setdefault(len(known), []).append((name, known))
            continue
        mean = float(known.mean()) if len(known) else np.nan
        end = mean if len(known) > 1 else np.nan
        found[name] = Interval(mean, end, end, len(known))
    for n, metrics in spread.items():
        resamples = _draws(n, n_resamples, seed)
        ends = _intervals([known for _, known in metrics], resamples, confidence)
        found |= {name: interval for (name, _), interval in zip(metrics, ends, strict=True)}
    return {name: found[name] for name in values}


def studentised_ends(studentised: np.ndarray, n: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """How far below and above the mean the interval reaches, in standard errors.

    Args:
        studentised: float (..., R), (resample's mean - mean) / resample's standard error.
        n: Number of queries.
        confidence: Nominal coverage.

    Returns:
        Two float (...), 0 or more.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(studentised, [tail, 1 - tail], axis=-1, method="weibull")
    reach = float(student.ppf(1 - tail, n - 1))
    below, above = (STUDENTISED * end + (1 - STUDENTISED) * reach for end in (high, -low))
    return np.clip(below, 0, FURTHEST * reach), np.clip(above, 0, FURTHEST * reach)


def _intervals(values: Sequence[np.ndarray], resamples: Iterator[np.ndarray], confidence: float) -> list[Interval]:
    """The intervals of metrics with n defined values each, none constant."""
    sample = np.stack(values)
    n_metrics, n = sample.shape
    means = sample.mean(axis=1)
    centred = sample - means[:, None]
    units = np.abs(centred).max(axis=1)  # squares of values in these neither vanish nor overflow
    centred /= units[:, None]
    deviations = np.sqrt((centred**2).mean(axis=1))
    centred /= deviations[:, None]
    moments = np.ascontiguousarray(np.concatenate([centred, centred**2]).T)
    drawn = np.concatenate([times @ moments for times in resamples]) / n
    mean, variance = drawn[:, :n_metrics], drawn[:, n_metrics:] - drawn[:, :n_metrics] ** 2
    studentised = mean / np.sqrt(np.maximum(variance, _NO_SPREAD) / (n - 1))
    below, above = studentised_ends(np.ascontiguousarray(studentised.T), n, confidence)
    errors = units * deviations / np.sqrt(n - 1)
    low = np.minimum(np.maximum(means - below * errors, sample.min(axis=1)), means)
    high = np.maximum(np.minimum(means + above * errors, sample.max(axis=1)), means)
    return [Interval(float(m), float(a), float(b), n) for m, a, b in zip(means, low, high, strict=True)]


def _draws(n: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n queries is in each resample: float64 (r, n) in blocks, ``n_resamples`` rows in all."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_resamples, rows := max(1, _BLOCK // n)):
        rows = min(rows, n_resamples - start)
        places = rng.integers(0, n, size=(rows, n))
        places += np.arange(rows)[:, None] * n
        yield np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
