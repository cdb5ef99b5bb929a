from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.measures import score_threshold, similarity_histogram, threshold_curve


def test_every_pair_is_counted_once() -> None:
    similarities = np.array([-1.0, -0.999, 0.0, 0.004, 1.0, 1.0000001, 0.5])
    grades = np.array([0, 0, 1, 1, 2, 2, 2])
    found = similarity_histogram(similarities, grades, 3)
    assert found.counts.sum(axis=1).tolist() == [2, 2, 3]
    assert found.counts[0, 0] == 2
    assert found.counts[1, 100] == 2
    assert found.counts[2, -1] == 2
    assert found.counts[2, 150] == 1
    assert found.centres[100] == pytest.approx(0.005)
    assert found.edges[[0, -1]].tolist() == [-1, 1]


def test_scores_beyond_one_widen_the_range() -> None:
    found = similarity_histogram(np.array([-3.0, 0.0, 7.0]), np.array([0, 1, 1]), 2, n_bins=10)
    assert found.edges[[0, -1]].tolist() == [-3, 7]
    assert found.counts.tolist() == [[1] + 9 * [0], [0, 0, 0, 1, 0, 0, 0, 0, 0, 1]]


def test_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pair 1: nan"):
        similarity_histogram(np.array([0.1, np.nan]), np.array([0, 1]), 2)


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 2)), min_size=1, max_size=60), st.integers(1, 2))
def test_the_curve_is_what_each_edge_gives(pairs: list[tuple[int, int]], boundary: int) -> None:
    edges = np.linspace(-1, 1, 201)
    similarities = edges[[s + 100 for s, _ in pairs]]
    grades = np.array([g for _, g in pairs])
    curve = threshold_curve(similarity_histogram(similarities, grades, 3), boundary)
    for place in (0, 37, 100, 163, 199):  # the last bin holds both its edges
        found = score_threshold(similarities, grades, boundary, curve.thresholds[place])
        assert curve.precision[place] == pytest.approx(found.precision, nan_ok=True)
        assert curve.recall[place] == pytest.approx(found.recall, nan_ok=True)
        if found.n_positive:
            assert curve.f1[place] == pytest.approx(found.f1)


def test_a_boundary_that_is_none_is_refused() -> None:
    found = similarity_histogram(np.array([0.1]), np.array([0]), 2)
    for boundary in (0, 2):
        with pytest.raises(ValueError, match="boundary"):
            threshold_curve(found, boundary)
