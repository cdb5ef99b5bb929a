from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from scipy.stats import t as student

from mr_st.measures import Interval, bootstrap_interval, bootstrap_intervals
from mr_st.measures.bca import bca_interval


def by_loops(values: np.ndarray, seed: int, n_resamples: int, confidence: float = 0.95) -> tuple[float, float]:
    """The ends as the docstring tells them, one resample after the other."""
    n, mean = len(values), values.mean()
    error = values.std() / np.sqrt(n - 1)
    studentised = []
    for rows in np.random.default_rng(seed).integers(0, n, (n_resamples, n)):
        drawn = values[rows]
        if np.ptp(drawn) == 0:
            studentised.append(np.sign(drawn[0] - mean) * 1e9)
        else:
            studentised.append((drawn.mean() - mean) / (drawn.std() / np.sqrt(n - 1)))
    tail = (1 - confidence) / 2
    reach = student.ppf(1 - tail, n - 1)
    below, above = (
        np.clip(0.4 * at + 0.6 * reach, 0, 1.5 * reach) * error
        for at in np.quantile(studentised, [1 - tail, tail], method="weibull") * [1, -1]
    )
    return max(mean - below, values.min()), min(mean + above, values.max())


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_against_a_loop_over_resamples(confidence: float) -> None:
    rng = np.random.default_rng(0)
    for values in (rng.random(12), rng.exponential(size=40), rng.binomial(1, 0.2, 30) * rng.random(30), rng.random(3)):
        found = bootstrap_interval(values, 7, 400, confidence)
        assert (found.low, found.high) == pytest.approx(by_loops(values, 7, 400, confidence), rel=1e-12)
        assert found.value == values.mean()


def test_too_few_values_give_no_interval() -> None:
    nothing = bootstrap_interval(np.array([np.nan, np.nan]))
    assert nothing.n == 0
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    one = bootstrap_interval(np.array([0.3, np.nan]))
    assert (one.value, one.n) == (0.3, 1)
    assert np.isnan([one.low, one.high]).all()


def test_constant_values_give_an_interval_of_no_width() -> None:
    found = bootstrap_interval(np.full(7, 0.25))
    assert (found.value, found.low, found.high, found.n) == (0.25, 0.25, 0.25, 7)


def test_undefined_values_are_left_out() -> None:
    values = np.array([0.1, np.nan, 0.5, 0.9])
    assert bootstrap_interval(values) == bootstrap_interval(values[~np.isnan(values)])
    assert bootstrap_interval(values).n == 3


def test_seeded() -> None:
    values = np.random.default_rng(0).random(30)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_a_metric_has_the_same_interval_whatever_stands_beside_it() -> None:
    rng = np.random.default_rng(0)
    values = {f"m{i}": rng.beta(0.5, 1.5, 150) for i in range(23)}
    values["holes"] = np.where(rng.random(150) < 0.3, np.nan, values["m0"])
    values["other holes"] = np.where(rng.random(150) < 0.3, np.nan, values["m1"])
    values |= {"none": np.full(150, np.nan), "constant": np.full(150, 0.5), "success": rng.binomial(1, 0.9, 150) * 1.0}
    together = bootstrap_intervals(values, seed=3, n_resamples=500)
    assert list(together) == list(values)
    for name, one in values.items():
        alone = bootstrap_interval(one, seed=3, n_resamples=500)
        assert together[name].to_dict() == pytest.approx(alone.to_dict(), abs=1e-12, nan_ok=True)


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"a": np.random.default_rng(0).random(50), "b": np.random.default_rng(1).random(50)}
    whole = bootstrap_intervals(values, n_resamples=301)
    monkeypatch.setattr("mr_st.measures.intervals._BLOCK", 350)  # 7 resamples at once
    blocks = bootstrap_intervals(values, n_resamples=301)
    for name in values:
        assert blocks[name].to_dict() == pytest.approx(whole[name].to_dict(), abs=1e-12)


def test_the_longer_arm_is_on_the_side_of_the_tail() -> None:
    values = np.random.default_rng(3).exponential(size=60)
    found = bootstrap_interval(values)
    assert found.high - found.value > 1.1 * (found.value - found.low)
    mirrored = bootstrap_interval(-values)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_it_is_students_for_many_symmetric_values() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    found = bootstrap_interval(values, n_resamples=4000)
    assert found.half_width == pytest.approx(1.96 * values.std() / np.sqrt(4000), rel=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=12), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_it_holds_the_mean_and_stays_in_range(values: list[float], factor: float, shift: float) -> None:
    sample = np.array(values)
    found = bootstrap_interval(sample, n_resamples=100)
    assert found.low <= found.value <= found.high
    slack = 1e-9 * (1 + np.abs(sample).max())
    assert sample.min() - slack <= found.low
    assert found.high <= sample.max() + slack


def test_it_moves_and_stretches_with_the_values() -> None:
    values = np.random.default_rng(0).random(20)
    found, moved = bootstrap_interval(values), bootstrap_interval(3 * values - 1)
    assert (moved.low, moved.high) == pytest.approx((3 * found.low - 1, 3 * found.high - 1))
    for factor in (1e-200, 1e200):
        scaled = bootstrap_interval(values * factor)
        assert (scaled.low, scaled.high) == pytest.approx((found.low * factor, found.high * factor), rel=1e-9)


def test_one_outlier_and_two_values_stay_finite() -> None:
    for values in ([0.0, 1.0], [0.0] * 39 + [1.0], [1.0] * 399 + [0.0]):
        found = bootstrap_interval(np.array(values))
        assert min(values) <= found.low <= found.value <= found.high <= max(values)
    one_of_40 = bootstrap_interval(np.array([0.0] * 39 + [1.0]))
    assert 0.07 < one_of_40.high < 0.14  # the exact binomial interval ends at .13; a third of the resamples are all 0


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (np.zeros((2, 2)), {}, "one value a query"),
        (np.zeros(2), {"confidence": 95}, "between 0 and 1"),
        (np.zeros(2), {"n_resamples": 0}, "1 or more"),
    ],
)
def test_bad_input(values: np.ndarray, more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **more)


def test_bca_is_near_scipys_for_many_skewed_values() -> None:
    values = np.random.default_rng(3).exponential(size=500)
    means = values[np.random.default_rng(1).integers(0, 500, (10_000, 500))].mean(axis=1)
    ours = bca_interval(values.mean(), means, values - values.mean())
    theirs = bootstrap((values,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(0))
    width = ours.high - ours.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)


def test_bca_of_a_figure_that_no_query_moves() -> None:
    assert bca_interval(0.5, np.full(10, 0.5), np.zeros(4)) == Interval(0.5, 0.5, 0.5, 4)
