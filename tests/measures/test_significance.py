from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.measures import bootstrap_interval, holm, paired_bootstrap, paired_permutation_test


def test_permutation_p_of_few_queries_is_exact() -> None:
    # 5 differences of one sign: 2 of the 32 sign vectors reach the observed mean
    assert paired_permutation_test(np.zeros(5), np.ones(5)) == 2 / 32
    differences = np.random.default_rng(0).normal(0.5, 1, 9).round(1)
    sums = np.abs([np.dot(signs, differences) for signs in product([-1, 1], repeat=9)])
    expected = (sums >= abs(differences.sum()) - 1e-9).mean()
    ties = np.zeros(30)  # queries without a difference change nothing
    assert paired_permutation_test(np.zeros(39), np.append(differences, ties)) == expected


def test_permutation_p_of_many_queries() -> None:
    # drawn signs come near the exact p of the same 9 differences
    differences = np.random.default_rng(0).normal(0.5, 1, 9)
    exact = paired_permutation_test(np.zeros(9), differences)
    drawn = paired_permutation_test(np.zeros(9), differences, n_resamples=511)
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 511))
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


def test_permutation_finds_a_difference_that_is_there() -> None:
    rng = np.random.default_rng(0)
    a = rng.beta(0.5, 1.5, 200)
    assert paired_permutation_test(a, a + rng.normal(0.05, 0.1, 200)) < 0.001


def test_lengths_must_fit() -> None:
    with pytest.raises(ValueError, match="one and the same length"):
        paired_permutation_test(np.zeros(3), np.zeros(4))


def test_paired_bootstrap_is_of_b_minus_a() -> None:
    found = paired_bootstrap(np.array([0.1, 0.2, np.nan]), np.array([0.3, 0.6, 1.0]))
    assert found.value == pytest.approx(0.3)
    assert found.n == 2
    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30)
    assert paired_bootstrap(a, b, 5, 300, 0.9) == bootstrap_interval(b - a, 5, 300, 0.9)


def test_holm_by_hand() -> None:
    # sorted .005, .01, .02, .04 times 4, 3, 2, 1 are .02, .03, .04, .04
    assert holm(np.array([0.02, 0.005, 0.04, 0.01])) == pytest.approx([0.04, 0.02, 0.04, 0.03])
    # never smaller than that of a smaller p-value, never above 1
    assert holm(np.array([0.03, 0.04, 0.9])) == pytest.approx([0.09, 0.09, 0.9])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = holm(np.array([np.nan, 0.01, np.nan, 0.04]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[[1, 3]] == pytest.approx(holm(np.array([0.01, 0.04])))
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(np.array([0.5, 1.2]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_as_its_steps_do(p_values: list[float], level: float) -> None:
    adjusted = holm(np.array(p_values))
    left = sorted(p_values)
    while left and left[0] * len(left) <= level:
        left.pop(0)
    assert np.count_nonzero(adjusted <= level) == len(p_values) - len(left)
