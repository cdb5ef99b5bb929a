from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.measures import best_threshold, score_threshold

PAIRS = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3), st.floats(0.1, 3)), min_size=1, max_size=40)


def brute_f1(similarities: np.ndarray, positive: np.ndarray, weights: np.ndarray, value: float) -> float:
    accepted = similarities >= value
    right = weights[accepted & positive].sum()
    return 2 * right / (weights[accepted].sum() + weights[positive].sum())


def test_by_hand() -> None:
    similarities = np.array([0.9, 0.8, 0.7, 0.4, 0.3])
    grades = np.array([2, 0, 1, 1, 0])
    found = best_threshold(similarities, grades, 1)  # accept four: 3 right of 4, 3 of 3 found
    assert found.value == pytest.approx(0.35)
    assert (found.precision, found.recall) == (0.75, 1.0)
    assert found.f1 == pytest.approx(6 / 7)
    assert (found.n_positive, found.n_pairs) == (3, 5)
    found = best_threshold(similarities, grades, 2)
    assert found.value == pytest.approx(0.85)
    assert found.f1 == 1


def test_equal_similarities_are_never_parted() -> None:
    # whichever way the two at .5 are ordered, a threshold takes both or none
    for grades in ([1, 1, 0, 0], [1, 0, 1, 0]):
        found = best_threshold(np.array([0.9, 0.5, 0.5, 0.1]), np.array(grades), 1)
        assert found.value == pytest.approx(0.3)
        assert found.f1 == pytest.approx(0.8)


def test_of_equally_good_ones_the_highest() -> None:
    # accepting the first: 2 / (1 + 2); accepting all four: 4 / (4 + 2)
    found = best_threshold(np.array([0.9, 0.6, 0.5, 0.1]), np.array([1, 0, 0, 1]), 1)
    assert found.value == pytest.approx(0.75)


def test_accepting_all_starts_at_the_least_similarity() -> None:
    found = best_threshold(np.array([0.4, 0.2]), np.array([0, 1]), 1)
    assert (found.value, found.recall) == (0.2, 1.0)


def test_neighbouring_floats() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    found = best_threshold(np.array([high, low]), np.array([1, 0]), 1)
    assert found.f1 == 1
    assert low < found.value <= high


@given(PAIRS, st.integers(1, 3), st.booleans())
def test_no_threshold_is_better(pairs: list[tuple[int, int, float]], boundary: int, weighted: bool) -> None:
    similarities, grades, weights = (np.array(column) for column in zip(*pairs, strict=True))
    similarities = similarities / 10
    weights = weights if weighted else np.ones(len(pairs))
    found = best_threshold(similarities, grades, boundary, weights if weighted else None)
    positive = grades >= boundary
    if not positive.any():
        assert np.isnan([found.value, found.f1, found.precision, found.recall]).all()
        return
    assert found.f1 == pytest.approx(brute_f1(similarities, positive, weights, found.value))
    best = max(brute_f1(similarities, positive, weights, value) for value in similarities)
    assert found.f1 == pytest.approx(best)
    again = score_threshold(similarities, grades, boundary, found.value, weights if weighted else None)
    assert again == found


def test_a_threshold_above_all_accepts_nothing() -> None:
    found = score_threshold(np.array([0.1, 0.2]), np.array([0, 1]), 1, 0.5)
    assert np.isnan(found.precision)
    assert (found.recall, found.f1) == (0, 0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        best_threshold(np.array([np.nan]), np.array([1]), 1)
    with pytest.raises(ValueError, match="grade 1 or higher"):
        best_threshold(np.array([0.1]), np.array([1]), 0)
    with pytest.raises(ValueError, match="weight above 0"):
        best_threshold(np.array([0.1]), np.array([1]), 1, np.array([0.0]))
