from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mr_st.measures import overlap_coefficient


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0, 4.0])
def test_two_normals(apart: float) -> None:
    """Two normals of deviation s whose means lie d deviations apart overlap by 2 Phi(-d / 2)."""
    rng = np.random.default_rng(0)
    grades = np.repeat([0, 1], 4000)
    similarities = rng.normal(0.2 + 0.1 * apart * grades, 0.1)
    assert overlap_coefficient(similarities, grades, 1, 0) == pytest.approx(2 * norm.cdf(-apart / 2), abs=0.03)


def test_unequal_spread_has_two_crossings() -> None:
    rng = np.random.default_rng(1)
    grades = np.repeat([0, 1], 20_000)
    similarities = rng.normal(0, np.where(grades == 1, 0.3, 0.1))
    points = np.linspace(-2, 2, 20_001)
    expected = np.minimum(norm.pdf(points, 0, 0.1), norm.pdf(points, 0, 0.3)).sum() * (points[1] - points[0])
    assert overlap_coefficient(similarities, grades, 1, 0) == pytest.approx(expected, abs=0.02)


def test_ends_and_symmetry() -> None:
    same = np.tile([0.1, 0.2, 0.3], 2)
    assert overlap_coefficient(same, np.repeat([0, 1], 3), 1, 0) == pytest.approx(1)
    assert overlap_coefficient(np.full(4, 0.5), np.array([0, 0, 1, 1]), 1, 0) == pytest.approx(1)
    apart = np.array([0.1, 0.1, 0.9, 0.9])
    assert overlap_coefficient(apart, np.array([0, 0, 1, 1]), 1, 0) == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(0)
    similarities, grades = rng.normal(size=50), rng.integers(0, 2, 50)
    found = overlap_coefficient(similarities, grades, 1, 0)
    assert found == pytest.approx(overlap_coefficient(similarities, 1 - grades, 1, 0))
    assert found == pytest.approx(overlap_coefficient(5 * similarities + 3, grades, 1, 0), abs=1e-3)


def test_a_grade_without_pairs_has_no_overlap() -> None:
    assert np.isnan(overlap_coefficient(np.array([0.1, 0.2]), np.array([0, 0]), 1, 0))
    assert np.isnan(overlap_coefficient(np.empty(0), np.empty(0, int), 1, 0))


def test_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        overlap_coefficient(np.array([0.1, np.nan]), np.array([0, 1]), 1, 0)
