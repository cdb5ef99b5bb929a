"""Annotations refuse what is no annotation."""

from __future__ import annotations

import numpy as np
import pytest

from mr_st.annotation import Annotations
from mr_st.errors import MrStError


def test_confidence_is_the_probability_of_the_grade_given():
    annotations = Annotations([2, 0], [[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
    np.testing.assert_allclose(annotations.confidence, [0.7, 0.3])


def test_take_and_concatenate():
    annotations = Annotations.certain([2, 0, 1], n_grades=3)
    assert annotations.take(np.array([2, 0])).grades.tolist() == [1, 2]
    both = Annotations.concatenate([annotations, annotations.take(np.array([0]))], n_grades=3)
    assert both.grades.tolist() == [2, 0, 1, 2]
    nothing = Annotations.concatenate([], n_grades=4)
    assert (len(nothing), nothing.n_grades) == (0, 4)


@pytest.mark.parametrize(
    ("grades", "probabilities", "message"),
    [
        ([0], [[0.5, 0.5], [0.5, 0.5]], r"expected \(n,\) and \(n, G\)"),
        ([0, 3], np.full((2, 3), 1 / 3), "pair 2: grade 3 is outside 0..2"),
        ([0, -1], np.full((2, 3), 1 / 3), "pair 2: grade -1 is outside 0..2"),
        ([0, 1], [[1, 0, 0], [0, 0.5, 0]], "pair 2: probabilities .* no distribution"),
        ([0, 1], [[1, 0, 0], [0, np.nan, 1]], "pair 2: probabilities .* no distribution"),
        ([0], [[1.5, -0.5, 0]], "pair 1: probabilities .* no distribution"),
    ],
)
def test_what_is_refused(grades, probabilities, message):
    with pytest.raises(MrStError, match=message):
        Annotations(grades, probabilities)


def test_certain_refuses_a_grade_that_int8_would_wrap():
    with pytest.raises(MrStError, match=r"grade 258 is outside 0\.\.2"):
        Annotations.certain([258], n_grades=3)
