from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.grades import ESCI_FOUR_GRADES, GradeScale
from mr_st.measures import GAIN_SCHEMES, gain_table, gains_of


def test_named_schemes() -> None:
    assert gain_table("linear", 3) == GradeScale().gains
    assert gain_table("exponential", 4) == pytest.approx((0, 1 / 7, 3 / 7, 1))
    assert gain_table("linear", 2) == gain_table("exponential", 2) == (0, 1)


def test_numbers_in_words_and_as_they_are() -> None:
    assert gain_table("0,0.01,0.1,1", 4) == gain_table(" 0, .01, .1, 1e0 ", 4) == ESCI_FOUR_GRADES.gains
    assert gain_table(np.array([0, 3, 3]), 3) == (0.0, 3.0, 3.0)


@given(st.sampled_from(GAIN_SCHEMES), st.integers(2, 3000))
def test_named_schemes_rise_from_0_to_1(scheme: str, n_grades: int) -> None:
    table = np.array(gain_table(scheme, n_grades))
    assert (len(table), table[0], table[-1]) == (n_grades, 0, 1)
    assert (np.diff(table) >= 0).all()
    assert GradeScale(tuple(map(str, range(n_grades))), tuple(table)).n_grades == n_grades


@pytest.mark.parametrize(
    ("scheme", "n_grades", "message"),
    [
        ("expo", 3, "gains 'expo': expected linear or exponential, or one number a grade"),
        ("", 3, "gains '': expected"),
        ("0,1", 3, "2 gains for 3 grades"),
        ((0, 1, 2, 3), 3, "4 gains for 3 grades"),
        ("0,nan,1", 3, "gains must be finite"),
        ("0,1,inf", 3, "gains must be finite"),
        ((0.1, 0.5, 1), 3, "gains must start at 0"),
        ((0, 1, 0.5), 3, "never fall"),
        ("linear", 1, "two or more grades, got 1"),
    ],
)
def test_bad_gains_are_refused(scheme, n_grades: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gain_table(scheme, n_grades)


def test_grades_become_gains() -> None:
    grades = np.array([[2, -1], [-2, 1]], dtype=np.int8)
    assert gains_of(grades, (0, 0.5, 1)).tolist() == [[1, 0], [0, 0.5]]
    assert gains_of(np.zeros((0, 3), dtype=int), (0, 1)).shape == (0, 3)
    with pytest.raises(ValueError, match=r"grade 3 is outside the scale 0\.\.2"):
        gains_of(np.array([3]), (0, 0.5, 1))
