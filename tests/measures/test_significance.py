from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from mr_st.measures import bootstrap_interval, paired_bootstrap, paired_permutation_test


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


def test_near_scipy_bca_for_many_skewed_values() -> None:
    values = np.random.default_rng(3).exponential(size=500)
    ours = bootstrap_interval(values, n_resamples=20_000)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0))
    width = ours.high - ours.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)
    assert ours.high - ours.value > ours.value - ours.low  # skewed to the right


def test_covers_the_mean_of_skewed_scores_at_40_queries() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(400):
        found = bootstrap_interval(rng.beta(4, 1, size=40), seed=trial, n_resamples=500)
        hits += found.low <= 0.8 <= found.high
    assert 0.925 <= hits / 400 <= 0.975


def test_one_outlier_and_two_values_stay_finite() -> None:
    for values in ([0.0, 1.0], [0.0] * 39 + [1.0], [1.0] * 399 + [0.0]):
        found = bootstrap_interval(np.array(values))
        assert min(values) <= found.low <= found.value <= found.high <= max(values)


def test_permutation_p_of_all_signs_equal() -> None:
    # 5 differences of one sign: 2 of the 32 sign vectors reach the observed mean, so p is about 1/16
    p = paired_permutation_test(np.zeros(5), np.ones(5), n_resamples=20_000)
    assert p == pytest.approx(2 / 32, abs=0.006)
    # 40 of one sign: no random vector reaches it, and p is the least there is
    assert paired_permutation_test(np.zeros(40), np.full(40, 0.1)) == pytest.approx(1 / 10_001)


def test_permutation_is_two_sided_and_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)
    assert paired_permutation_test(a, b) == paired_permutation_test(b, a)
    assert paired_permutation_test(a, a) == 1.0
    assert paired_permutation_test(np.array([np.nan]), np.array([1.0])) == 1.0
    with_holes = paired_permutation_test(np.append(a, np.nan), np.append(b, 1.0))
    assert with_holes == paired_permutation_test(a, b)


def test_permutation_rejects_at_its_level_under_the_null() -> None:
    rng = np.random.default_rng(1)
    rejected = sum(
        paired_permutation_test(np.zeros(40), rng.exponential(size=40) * rng.choice([-1, 1], 40), trial, 999) < 0.05
        for trial in range(600)
    )
    assert 0.03 <= rejected / 600 <= 0.07


def test_lengths_must_fit() -> None:
    with pytest.raises(ValueError, match="one and the same length"):
        paired_permutation_test(np.zeros(3), np.zeros(4))


def test_paired_bootstrap_is_of_b_minus_a() -> None:
    found = paired_bootstrap(np.array([0.1, 0.2, np.nan]), np.array([0.3, 0.6, 1.0]))
    assert found.value == pytest.approx(0.3)
    assert found.n == 2
