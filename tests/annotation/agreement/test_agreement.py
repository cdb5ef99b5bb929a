"""Figures of agreement against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mr_st.annotation import Annotations
from mr_st.annotation.agreement import agreement, cohen_kappa
from mr_st.annotation.agreement.calibration import (
    calibrated_apart,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from mr_st.annotation.cross_encoder import softmax
from mr_st.data.label_noise import LabelNoise
from mr_st.errors import UsageError


def test_by_hand():
    truth = np.array([0, 0, 1, 2, 2, 2])
    given = [0, 2, 1, 2, 1, 2]
    figures = agreement(truth, Annotations.certain(given, 3))
    assert figures["confusion"] == [[1, 0, 1], [0, 1, 0], [0, 1, 2]]
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["within_one"] == pytest.approx(5 / 6)
    assert figures["majority_share"] == 0.5
    # expected agreement: (1*2 + 2*1 + 3*3) / 36 = 13/36; observed 24/36
    assert figures["kappa"] == pytest.approx((24 - 13) / (36 - 13))
    assert figures["by_grade"]["1"] == {"n": 1, "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}
    assert figures["by_grade"]["2"]["recall"] == pytest.approx(2 / 3)
    # always sure, right on 4 of 6
    assert figures["expected_calibration_error"] == pytest.approx(2 / 6)


def test_a_grade_that_is_never_given_or_never_true():
    figures = agreement(np.array([0, 0]), Annotations.certain([0, 1], 3))
    assert figures["by_grade"]["1"] == {"n": 0, "precision": 0.0, "recall": None, "f1": 0.0}
    assert figures["by_grade"]["2"] == {"n": 0, "precision": None, "recall": None, "f1": None}
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert cohen_kappa(np.array([[5, 0], [0, 0]])) is None


def test_pairs_and_annotations_must_be_as_many():
    with pytest.raises(UsageError, match="2 true grades and 1 annotations"):
        agreement(np.array([0, 1]), Annotations.certain([0], 3))
    with pytest.raises(UsageError, match="0 true grades"):
        agreement(np.array([]), Annotations.certain([], 3))


def test_calibration_error_counts_bins_by_their_pairs():
    confidence = np.array([0.65, 0.65, 0.65, 0.95])
    correct = np.array([True, True, False, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.75 * (2 / 3 - 0.65) + 0.25 * 0.05)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0


def test_likelihood_by_hand_and_without_overflow():
    assert negative_log_likelihood(np.log([[1.0, 3.0]]), np.array([1])) == pytest.approx(math.log(4 / 3))
    assert negative_log_likelihood(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)
    confusion = np.array([[0.9, 0.1], [0.2, 0.8]])  # (1/4) 0.1 + (3/4) 0.8 = 0.625
    assert negative_log_likelihood(np.log([[1.0, 3.0]]), np.array([1]), confusion=confusion) == pytest.approx(
        -math.log(0.625)
    )
    assert math.isfinite(negative_log_likelihood(np.array([[1e4, 0.0]]), np.array([1]), confusion=np.eye(2)))


def test_temperature_recovers_what_the_logits_were_multiplied_by():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    truth = (softmax(logits).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    for factor in (0.5, 1.0, 4.0):
        assert fit_temperature(logits * factor, truth) == pytest.approx(factor, rel=0.05)


def test_temperature_of_the_truth_behind_noisy_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 4
    truth = (softmax(logits).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    noise = LabelNoise.near(0.2)
    labels = noise.apply(truth, rng)
    assert fit_temperature(logits * 3, labels, np.array(noise.confusion)) == pytest.approx(3, rel=0.05)
    assert fit_temperature(logits * 3, labels) > 4.5  # the labels' own doubt comes on top


def test_calibrated_apart_uses_the_other_half():
    rng = np.random.default_rng(1)
    logits, truth, first = rng.normal(size=(40, 3)), rng.integers(0, 3, 40), np.arange(40) < 25
    apart = calibrated_apart(logits, truth, first)
    np.testing.assert_allclose(apart[first], softmax(logits[first] / fit_temperature(logits[~first], truth[~first])))
    np.testing.assert_allclose(apart[~first], softmax(logits[~first] / fit_temperature(logits[first], truth[first])))
    one_half = calibrated_apart(logits, truth, np.ones(40, bool))
    np.testing.assert_allclose(one_half, softmax(logits))
