"""Per-query scores and differences with a known mean, and intervals to compare on them (``study_intervals.py``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Ends = tuple[np.ndarray, np.ndarray]
WEIGHTS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Scores:
    """A distribution of per-query values: how to draw it, and its mean. ``kind`` is score or difference."""

    draw: Draw
    mean: float
    kind: str = "score"


def with_atoms(atoms: dict[float, float], rest: Draw) -> Draw:
    """``rest``, but each value of ``atoms`` with its probability."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values, u, below = rest(rng, shape), rng.random(shape), 0.0
        for value, probability in atoms.items():
            values = np.where((u >= below) & (u < below + probability), value, values)
            below += probability
        return values

    return draw


def beta(a: float, b: float) -> Draw:
    return lambda rng, shape: rng.beta(a, b, shape)


def _recall(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    n = rng.integers(1, 6, shape)
    return rng.binomial(n, 0.3) / n


def _high_recall(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    n = rng.integers(1, 6, shape)
    return rng.binomial(n, rng.beta(4, 0.7, shape)) / n


def _reciprocal_rank(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    rank = rng.geometric(0.25, shape)
    return np.where((rank <= 10) & (rng.random(shape) < 0.8), 1 / rank, 0.0)


def _one_sided(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.beta(1, 4, shape) * np.where(rng.random(shape) < 0.7, 1, -1)


SCORES: dict[str, Scores] = {
    "Beta(4, 1)": Scores(beta(4, 1), 0.8),
    "Beta(8, 1)": Scores(beta(8, 1), 8 / 9),
    "Beta(2, 5)": Scores(beta(2, 5), 2 / 7),
    "Beta(1, 9)": Scores(beta(1, 9), 0.1),
    "Beta(.5, 1.5)": Scores(beta(0.5, 1.5), 0.25),
    "Beta(.5, .5), U-shaped": Scores(beta(0.5, 0.5), 0.5),
    "Beta(.3, 2), J-shaped": Scores(beta(0.3, 2), 0.3 / 2.3),
    "NDCG: .3 at 0, .15 at 1, else Beta(2, 2)": Scores(with_atoms({0: 0.3, 1: 0.15}, beta(2, 2)), 0.425),
    "NDCG: .2 at 0, .2 at 1, else Beta(1.5, 1)": Scores(with_atoms({0: 0.2, 1: 0.2}, beta(1.5, 1)), 0.56),
    "NDCG: .05 at 0, .4 at 1, else Beta(5, 2)": Scores(with_atoms({0: 0.05, 1: 0.4}, beta(5, 2)), 0.4 + 0.55 * 5 / 7),
    "NDCG: .6 at 0, else Beta(1, 2)": Scores(with_atoms({0: 0.6}, beta(1, 2)), 0.4 / 3),
    "NDCG: .5 at 0, .1 at 1, else Beta(.5, 1.5)": Scores(with_atoms({0: 0.5, 1: 0.1}, beta(0.5, 1.5)), 0.2),
    "NDCG: .7 at 1, else Beta(2, 1)": Scores(with_atoms({1: 0.7}, beta(2, 1)), 0.9),
    "recall of 1 to 5 items, mean .3": Scores(_recall, 0.3),
    "recall of 1 to 5 items, mean .85": Scores(_high_recall, 4 / 4.7),
    "reciprocal rank at 10": Scores(_reciprocal_rank, 0.8 * sum(0.25 * 0.75 ** (k - 1) / k for k in range(1, 11))),
    "precision at 10, overdispersed": Scores(lambda rng, shape: rng.binomial(10, rng.beta(0.4, 1.6, shape)) / 10, 0.2),
    "success, .7": Scores(lambda rng, shape: (rng.random(shape) < 0.7) * 1.0, 0.7),
    "success, .9": Scores(lambda rng, shape: (rng.random(shape) < 0.9) * 1.0, 0.9),
    "0 with .8, else uniform": Scores(with_atoms({0: 0.8}, beta(1, 1)), 0.1),
    "uniform": Scores(beta(1, 1), 0.5),
    "exponential": Scores(lambda rng, shape: rng.exponential(size=shape), 1.0),
    "Gamma(.5)": Scores(lambda rng, shape: rng.gamma(0.5, size=shape), 0.5),
    "lognormal(0, .5)": Scores(lambda rng, shape: rng.lognormal(0, 0.5, shape), exp(0.125)),
    "lognormal(-1.5, 1), cut at 1": Scores(
        lambda rng, shape: np.minimum(rng.lognormal(-1.5, 1, shape), 1), exp(-1) * norm.cdf(0.5) + norm.sf(1.5)
    ),
    "lognormal(0, 1)": Scores(lambda rng, shape: rng.lognormal(0, 1, shape), exp(0.5)),
    "normal": Scores(lambda rng, shape: rng.normal(size=shape), 0.0, "difference"),
    "Student t(4)": Scores(lambda rng, shape: rng.standard_t(4, shape), 0.0, "difference"),
    "Beta(.5, 1) - Beta(.5, 1.2)": Scores(
        lambda rng, shape: rng.beta(0.5, 1, shape) - rng.beta(0.5, 1.2, shape), 1 / 3 - 0.5 / 1.7, "difference"
    ),
    "lognormal(0, 1) - another": Scores(
        lambda rng, shape: rng.lognormal(0, 1, shape) - rng.lognormal(0, 1, shape), 0.0, "difference"
    ),
    "0 with .5, else Beta(1, 3) - another": Scores(
        with_atoms({0: 0.5}, lambda rng, shape: rng.beta(1, 3, shape) - rng.beta(1, 3, shape)), 0.0, "difference"
    ),
    "0 with .6, else Laplace": Scores(
        with_atoms({0: 0.6}, lambda rng, shape: rng.laplace(size=shape)), 0.0, "difference"
    ),
    "0 with .7, else Beta(1, 4), 70 % of them gains": Scores(with_atoms({0: 0.7}, _one_sided), 0.024, "difference"),
    "0 with .4, else Gamma(2) - 1": Scores(
        with_atoms({0: 0.4}, lambda rng, shape: rng.gamma(2, size=shape) - 1), 0.6, "difference"
    ),
    "0 with .5, else exponential - .3": Scores(
        with_atoms({0: 0.5}, lambda rng, shape: rng.exponential(size=shape) - 0.3), 0.35, "difference"
    ),
    "0 with .8, else exponential - .3": Scores(
        with_atoms({0: 0.8}, lambda rng, shape: rng.exponential(size=shape) - 0.3), 0.14, "difference"
    ),
}


def candidates(sample: np.ndarray, times: np.ndarray) -> dict[str, Ends]:
    """The 95 % intervals of each row of a sample by the textbook methods and by each weight, none cut at the range.

    Args:
        sample: float (S, n), one simulation a row.
        times: float (R, n), how often each query is in each resample.
    """
    n, n_resamples = sample.shape[1], len(times)
    mean = sample.mean(axis=1)
    centred = sample - mean[:, None]
    deviation = np.sqrt(np.maximum((centred**2).mean(axis=1), 1e-30))
    centred /= deviation[:, None]
    skewness = (centred**3).mean(axis=1)
    error = 1 / np.sqrt(n - 1)  # all in units of the deviation from here on
    reach = float(student.ppf(0.975, n - 1))
    moved = centred @ times.T / n
    variance = np.maximum((centred**2) @ times.T / n - moved**2, 1e-9)
    low_t, high_t = np.quantile(moved / np.sqrt(variance) * np.sqrt(n - 1), [0.025, 0.975], axis=1, method="weibull")
    moved.sort(axis=1)
    low_p, high_p = np.quantile(moved, [0.025, 0.975], axis=1)
    below = (
        np.count_nonzero(moved < -1e-12, axis=1) + 0.5 * np.count_nonzero(abs(moved) <= 1e-12, axis=1)
    ) / n_resamples
    bias = norm.ppf(np.clip(below, 1 / n_resamples, 1 - 1 / n_resamples))
    bend = skewness / (6 * np.sqrt(n))

    def accelerated(reach: float) -> Ends:
        z = [bias - reach, bias + reach]
        levels = [norm.cdf(bias + at / np.maximum(1 - bend * at, 1e-3)) for at in z]
        return _at(moved, levels[0]), _at(moved, levels[1])

    found: dict[str, Ends] = {
        "Student": (-reach * error + 0 * mean, reach * error + 0 * mean),
        "percentile": (low_p, high_p),
        "basic": (-high_p, -low_p),
        "BCa": accelerated(norm.ppf(0.975)),
        "BCa, widened": accelerated(np.sqrt(n / (n - 1)) * reach),
        "studentised": (-high_t * error, -low_t * error),
        "Hall, t": (-_unbent(reach, skewness, n) * error, -_unbent(-reach, skewness, n) * error),
    }
    for weight in WEIGHTS:
        low, high = (weight * end + (1 - weight) * reach for end in (high_t, -low_t))
        found[f"weight {weight}"] = (
            -np.clip(low, 0, 1.5 * reach) * error,
            np.clip(high, 0, 1.5 * reach) * error,
        )
    return {name: (mean + low * deviation, mean + high * deviation) for name, (low, high) in found.items()}


def _at(rows: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The quantile of each sorted row at its own level."""
    place = np.clip(levels, 0, 1) * (rows.shape[1] - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, rows.shape[1] - 1)
    at = np.arange(len(rows))
    return rows[at, low] + (place - low) * (rows[at, high] - rows[at, low])


def _unbent(quantile: float, skewness: np.ndarray, n: int) -> np.ndarray:
    """Hall's (1992) cubic, which takes the skewness out of t, undone at a quantile."""
    bend = np.where(np.abs(skewness) < 1e-9, 1e-9, skewness) / np.sqrt(n)
    return 3 / bend * (np.cbrt(1 + bend * (quantile - bend / 6)) - 1)
