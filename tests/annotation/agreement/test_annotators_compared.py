"""compare_annotators: paired by query, against enumeration and under the null hypothesis."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mr_st.annotation import Annotations
from mr_st.annotation.agreement import agreement
from mr_st.annotation.agreement.compared import COMPARED, compare_annotators
from mr_st.errors import UsageError


def made(seed: int, n_queries: int, per_query: int, right_a: float, right_b: float):
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n_queries * per_query, p=[0.6, 0.25, 0.15])

    def judge(share: float) -> Annotations:
        wrong = (truth + rng.integers(1, 3, len(truth))) % 3
        return Annotations.certain(np.where(rng.random(len(truth)) < share, truth, wrong), 3)

    return truth, judge(right_a), judge(right_b), np.repeat(np.arange(n_queries), per_query).astype(str)


def test_p_is_the_share_of_all_swaps_that_are_as_far_apart():
    truth, a, b, queries = made(3, 9, 6, 0.5, 0.75)
    found = compare_annotators(truth, a, b, queries, n_resamples=20_000)
    for name in COMPARED:
        apart = []
        for swaps in product([False, True], repeat=9):
            is_swapped = np.repeat(swaps, 6)
            first = Annotations.certain(np.where(is_swapped, b.grades, a.grades), 3)
            second = Annotations.certain(np.where(is_swapped, a.grades, b.grades), 3)
            apart.append(abs(agreement(truth, second)[name] - agreement(truth, first)[name]))
        exact = np.mean(np.array(apart) >= apart[0] - 1e-12)
        assert found[name]["p"] == pytest.approx(exact, abs=0.01), name
        assert found[name]["difference"]["value"] == pytest.approx(found[name]["b"] - found[name]["a"])
        assert found[name]["a"] == pytest.approx(agreement(truth, a)[name])


def test_a_better_annotator_is_found_and_the_order_turns_the_sign():
    truth, a, b, queries = made(0, 80, 10, 0.6, 0.75)
    found = compare_annotators(truth, a, b, queries, n_resamples=2000)
    turned = compare_annotators(truth, b, a, queries, n_resamples=2000)
    for name in COMPARED:
        assert found[name]["p"] < 0.01
        assert 0 < found[name]["difference"]["low"] < found[name]["difference"]["value"]
        assert turned[name]["difference"]["value"] == pytest.approx(-found[name]["difference"]["value"])
        assert turned[name]["p"] == pytest.approx(found[name]["p"], abs=0.005)


def test_equals_are_called_different_no_more_often_than_said():
    false = dict.fromkeys(COMPARED, 0)
    for trial in range(200):
        found = compare_annotators(*made(trial, 30, 5, 0.7, 0.7), seed=trial, n_resamples=200)
        for name in COMPARED:
            false[name] += found[name]["p"] < 0.05
    for name, n in false.items():
        assert n <= 22, name  # 10 expected; 22 or more has a chance of 0.0005
        assert n >= 1, name


def test_an_annotator_against_itself():
    truth, a, _, queries = made(0, 10, 4, 0.7, 0.7)
    for compared in compare_annotators(truth, a, a, queries, n_resamples=100).values():
        assert compared["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 10}
        assert compared["p"] == 1


def test_a_figure_that_is_not_defined_is_no_evidence():
    always = Annotations.certain([1, 1, 1], 3)
    found = compare_annotators(np.array([1, 1, 1]), always, always, ["q", "r", "s"], n_resamples=100)
    assert (found["kappa"]["a"], found["kappa"]["difference"]["value"], found["kappa"]["p"]) == (None, None, 1)


@pytest.mark.parametrize(("n_truth", "grades_b", "n_grades"), [(0, [], 3), (2, [0], 3), (1, [0], 2)])
def test_what_cannot_be_compared(n_truth, grades_b, n_grades):
    truth = np.zeros(n_truth, int)
    with pytest.raises(UsageError, match="same pairs and scale"):
        compare_annotators(
            truth, Annotations.certain(truth, 3), Annotations.certain(grades_b, n_grades), ["q"] * n_truth
        )
