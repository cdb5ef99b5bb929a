"""fit_thresholds: the best cuts, against trying all of them."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation import thresholds
from mr_st.annotation.thresholds import fit_thresholds
from mr_st.errors import UsageError


def graded(scores: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    return (scores[:, None] > np.asarray(cuts)).sum(axis=1)


def value(metric: str, truth: np.ndarray, given_: np.ndarray, n_grades: int) -> float:
    if metric == "accuracy":
        return float((truth == given_).mean())
    f1 = []
    for grade in range(n_grades):
        both = ((truth == grade) & (given_ == grade)).sum()
        either = (truth == grade).sum() + (given_ == grade).sum()
        f1.append(2 * both / either if either else 0.0)
    return float(np.mean(f1))


def best_of_all(metric: str, scores: np.ndarray, truth: np.ndarray, n_grades: int) -> float:
    distinct = np.unique(scores)
    places = [-1.0, *((distinct[1:] + distinct[:-1]) / 2), 1.0]
    return max(
        value(metric, truth, graded(scores, np.array(cuts)), n_grades)
        for cuts in combinations_with_replacement(places, n_grades - 1)
    )


pairs = st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3)), min_size=1, max_size=14)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
@pytest.mark.parametrize("n_grades", [2, 3, 4])
@given(pairs=pairs)
def test_no_other_cuts_are_better(metric, n_grades, pairs):
    scores = np.array([score / 10 for score, _ in pairs])
    truth = np.array([grade % n_grades for _, grade in pairs])
    cuts = fit_thresholds(scores, truth, n_grades, metric)
    assert cuts.shape == (n_grades - 1,)
    assert (np.diff(cuts) >= 0).all()
    reached = value(metric, truth, graded(scores, cuts), n_grades)
    assert reached == pytest.approx(best_of_all(metric, scores, truth, n_grades))


def test_macro_f1_gives_a_rare_grade_its_place_and_accuracy_does_not():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    truth = np.array([1, 0, 1, 1, 1, 1])
    assert fit_thresholds(scores, truth, 2, "accuracy").tolist() == [-1.0]
    assert fit_thresholds(scores, truth, 2, "macro_f1").tolist() == [pytest.approx(0.25)]


def test_many_scores_are_cut_on_a_grid_and_then_anywhere(monkeypatch):
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 400, p=[0.2, 0.3, 0.5])
    scores = np.clip(truth * 0.2 + rng.normal(0, 0.15, 400), -1, 1)
    exact = value("macro_f1", truth, graded(scores, fit_thresholds(scores, truth, 3, "macro_f1")), 3)
    monkeypatch.setattr(thresholds, "_MOST_CUTS", 40)
    coarse = value("macro_f1", truth, graded(scores, fit_thresholds(scores, truth, 3, "macro_f1")), 3)
    assert exact - 0.005 <= coarse <= exact + 1e-12


@pytest.mark.parametrize(
    ("scores", "grades", "options", "message"),
    [
        ([], [], {}, "0 scores"),
        ([0.1], [0, 1], {}, "1 scores and 2 grades"),
        ([1.5], [0], {}, "scores must lie in -1..1"),
        ([float("nan")], [0], {}, "scores must lie in -1..1"),
        ([0.5], [3], {}, r"grades in 0\.\.2"),
        ([0.5], [1], {"metric": "luck"}, "metric is 'luck'"),
    ],
)
def test_wrong_use(scores, grades, options, message):
    with pytest.raises(UsageError, match=message):
        fit_thresholds(np.array(scores), np.array(grades), 3, **options)
