from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import t as student

from mr_st.measures.weighted import effective_number, ratio_interval


def test_the_interval_is_the_jackknifes() -> None:
    weights = np.array([5.0, 1.0, 3.0, 2.0])
    values = np.array([0.2, -0.1, 0.4, 0.0])
    found = ratio_interval(weights * values, weights)
    without = [np.average(np.delete(values, i), weights=np.delete(weights, i)) for i in range(4)]
    moves = found.value - np.array(without)
    freedom = min(max(2 * (moves**2).sum() ** 2 / (moves**4).sum() - 1, 1), 3)
    reach = student.ppf(0.975, freedom) * np.sqrt((moves**2).sum())
    assert found.value == pytest.approx(np.average(values, weights=weights))
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))
    assert found.n == 4


def test_a_query_drawn_often_is_one_observation() -> None:
    values = np.array([0.1, 0.5, -0.2, 0.3, 0.0, 0.4])
    draws = np.array([4, 1, 2, 2, 1, 3])
    few, many = (ratio_interval(n * draws * values, n * draws) for n in (1, 1000))
    assert many.value == pytest.approx(few.value)
    assert (many.low, many.high) == pytest.approx((few.low, few.high)), "more draws of the same queries tell nothing"
    beside = ratio_interval(np.append(draws * values, 0), np.append(draws, 0))
    assert beside == ratio_interval(draws * values, draws), "a query that was not drawn does not count"


def test_it_covers_where_an_interval_over_draws_does_not() -> None:
    rng = np.random.default_rng(0)
    n_simulations, n_queries, n_draws = 400, 110, 12_000
    logs = rng.normal(size=(400_000,))

    def values(z: np.ndarray) -> np.ndarray:
        moved = rng.random(z.shape) < 0.5
        return np.where(moved, rng.gamma(1.2, 0.15, z.shape) * rng.choice([-1, 1], z.shape) + 0.03 * z, 0.0)

    weights = np.exp(0.7 * logs)
    truth = float((weights * values(logs)).sum() / weights.sum())
    covered = np.zeros(2)
    for _ in range(n_simulations):
        z = rng.normal(size=n_queries)
        f, d = np.exp(0.7 * z), values(z)
        draws = rng.multinomial(n_draws, f / f.sum())
        found = ratio_interval(draws * d, draws)
        over_draws = 1.96 * np.sqrt((draws * (d - found.value) ** 2).sum() / n_draws / n_draws)
        covered += [found.low <= truth <= found.high, abs(found.value - truth) <= over_draws]
    assert 0.92 <= covered[0] / n_simulations <= 0.99
    assert covered[1] / n_simulations < 0.5


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30), st.floats(0.01, 100))
@example([0.0, 0.0, 1e-110], 1.0)
def test_the_scale_of_the_weights_does_not_count(values: list[float], scale: float) -> None:
    d = np.array(values)
    weights = np.arange(1.0, len(d) + 1)
    once, again = ratio_interval(weights * d, weights), ratio_interval(scale * weights * d, scale * weights)
    assert again.value == pytest.approx(once.value, abs=1e-9)
    assert again.high - again.low == pytest.approx(once.high - once.low, abs=1e-6)
    assert once.low <= once.value <= once.high


def test_edges() -> None:
    assert np.isnan(ratio_interval(np.zeros(3), np.zeros(3)).value)
    one = ratio_interval(np.array([0.3]), np.array([1.0]))
    assert one.value == 0.3
    assert np.isnan(one.low)
    same = ratio_interval(np.array([0.2, 0.4]), np.array([1.0, 2.0]))
    assert (same.low, same.high) == (same.value, same.value)
    lone = ratio_interval(np.array([0.2, 0.4]), np.array([0.0, 2.0]))  # a relative lift whose control is 0 but once
    assert lone.value == pytest.approx(0.3)
    assert np.isnan(lone.low)
    with pytest.raises(ValueError, match="one numerator a denominator"):
        ratio_interval(np.zeros(2), np.zeros(3))


def test_effective_number() -> None:
    assert effective_number(np.ones(7)) == 7
    assert effective_number(np.array([4.0, 4.0, 0.0])) == 2
    assert effective_number(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    assert effective_number(np.zeros(3)) == 0
