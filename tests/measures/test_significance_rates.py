"""The promise itself: 4,000 simulations of skewed per-query scores, through the functions that everybody calls.

Which distributions, and where the promise does not hold, is in docs/significance.md (``scripts/study_intervals.py``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mr_st.measures import bootstrap_intervals, paired_permutation_test

N_SIMULATIONS = 4000


def ndcg(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """.05 of the queries have 0 and .4 have 1, the others Beta(5, 2)."""
    u = rng.random(shape)
    return np.where(u < 0.05, 0.0, np.where(u < 0.45, 1.0, rng.beta(5, 2, shape)))


DRAWS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, ...]], np.ndarray], float]] = {
    "Beta(.5, 1.5)": (lambda rng, shape: rng.beta(0.5, 1.5, shape), 0.25),
    "Beta(.3, 2)": (lambda rng, shape: rng.beta(0.3, 2, shape), 0.3 / 2.3),
    "NDCG with atoms": (ndcg, 0.4 + 0.55 * 5 / 7),
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 110, 400])
@pytest.mark.parametrize("name", DRAWS)
def test_intervals_cover_94_to_96_percent(name: str, n: int) -> None:
    draw, mean = DRAWS[name]
    rng = np.random.default_rng(n)
    covered = 0
    for block in range(8):  # a block's simulations share their resamples, as the metrics of one report do
        sample = draw(rng, (N_SIMULATIONS // 8, n))
        found = bootstrap_intervals({str(row): values for row, values in enumerate(sample)}, seed=block)
        covered += sum(one.low <= mean <= one.high for one in found.values())
    assert 0.94 <= covered / N_SIMULATIONS <= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 110, 400])
def test_permutation_rejects_5_percent_of_true_nulls(n: int) -> None:
    rng = np.random.default_rng(n)
    rejected = 0
    for seed in range(N_SIMULATIONS):
        a, b = ndcg(rng, (2, n))
        rejected += paired_permutation_test(a, np.where(rng.random(n) < 0.3, a, b), seed, n_resamples=499) <= 0.05
    assert 0.04 <= rejected / N_SIMULATIONS <= 0.06


def test_plain_percentiles_would_cover_too_little_at_40_queries() -> None:
    """The simulation can tell a poor interval from a good one."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 40, (500, 40))
    covered = 0
    for values in rng.beta(0.3, 2, (1000, 40)):
        low, high = np.quantile(values[places].mean(axis=1), [0.025, 0.975])
        covered += low <= 0.3 / 2.3 <= high
    assert covered / 1000 < 0.94
