"""Figures of stacks of confusion matrices."""

from __future__ import annotations

import numpy as np
import pytest

from mr_st.annotation.agreement.confusion import confusion_by_group, confusion_figures


def test_a_matrix_for_each_group():
    truth, given, groups = np.array([0, 1, 1, 2]), np.array([0, 2, 1, 2]), np.array([0, 0, 2, 2])
    found = confusion_by_group(truth, given, groups, 3, 3)
    assert found[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert found[1].sum() == 0
    assert found[2].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_stack_is_as_its_matrices_one_by_one():
    stack = np.random.default_rng(0).integers(0, 4, (4, 5, 3, 3))
    together = confusion_figures(stack)
    for at in np.ndindex(4, 5):
        for name, value in confusion_figures(stack[at]).items():
            np.testing.assert_allclose(together[name][at], value, err_msg=name)


def test_by_hand_and_what_is_not_defined():
    found = confusion_figures(np.array([[[2, 1, 1], [0, 2, 0], [0, 0, 0]], np.zeros((3, 3))]))
    assert found["accuracy"][0] == pytest.approx(4 / 6)
    assert found["within_one"][0] == pytest.approx(5 / 6)
    assert found["kappa"][0] == pytest.approx((24 - 14) / (36 - 14))  # by chance (4 * 2 + 2 * 3 + 0 * 1) / 36
    np.testing.assert_allclose(found["precision"][0], [1, 2 / 3, 0])
    np.testing.assert_allclose(found["recall"][0], [0.5, 1, np.nan])
    np.testing.assert_allclose(found["f1"][0], [2 / 3, 4 / 5, 0])
    assert found["macro_f1"][0] == pytest.approx((2 / 3 + 4 / 5) / 3)
    for name, values in found.items():
        assert np.isnan(values[1]).all(), name
