"""The channel errs as often and in the way it says; nothing else changes, and the truth is kept."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.data.label_noise import LabelNoise, distort_labels
from mr_st.errors import UsageError


def test_rates_are_as_asked() -> None:
    grades = np.repeat([0, 1, 2], 20_000)
    given_ = LabelNoise.near(0.2).apply(grades, np.random.default_rng(0))
    table = np.array([[np.mean(given_[grades == true] == g) for g in range(3)] for true in range(3)])
    assert np.allclose(table, [[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.2, 0.8]], atol=0.01)
    assert table[0, 2] == table[2, 0] == 0


@given(rate=st.floats(0, 1), n_grades=st.integers(2, 6), seed=st.integers(0, 9))
def test_any_table_keeps_grades_on_the_scale(rate: float, n_grades: int, seed: int) -> None:
    grades = np.random.default_rng(seed).integers(n_grades, size=50)
    for noise in (LabelNoise.near(rate, n_grades), LabelNoise.uniform(rate, n_grades)):
        found = noise.apply(grades, np.random.default_rng(seed))
        assert found.dtype == np.int8
        assert ((found >= 0) & (found < n_grades)).all()
        assert np.array_equal(LabelNoise.near(0.0, n_grades).apply(grades, np.random.default_rng(seed)), grades)


def test_only_the_asked_splits_change_and_the_truth_stands_beside(dataset: GradedDataset) -> None:
    distorted = distort_labels(dataset, LabelNoise.uniform(1.0), seed=1)
    truth = distorted.truth
    assert truth["true_grade"].to_list() == dataset.judgments["grade"][:]
    assert truth["grade"].to_list() == distorted.dataset.judgments["grade"][:]
    wrong = truth["grade"] != truth["true_grade"]
    assert wrong.to_list() == [split == "train" for split in dataset.judgments["split"]]
    assert distorted.error_rate == pytest.approx(0.5)
    sources = pl.DataFrame(distorted.dataset.judgments.to_dict())
    assert sources["source"].to_list() == ["human", "noisy:oracle", "noisy:human", "human"]
    assert distorted.dataset.source["label_noise"]["seed"] == 1
    assert distorted.dataset.items is dataset.items
    again = distort_labels(dataset, LabelNoise.uniform(1.0), seed=1).dataset
    assert again.fingerprint == distorted.dataset.fingerprint


def test_bad_arguments(dataset: GradedDataset) -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        LabelNoise(((0.5, 0.4), (0.0, 1.0)))
    with pytest.raises(UsageError, match="square"):
        LabelNoise(((0.5, 0.5),))
    with pytest.raises(UsageError, match=r"rate 1\.5"):
        LabelNoise.near(1.5)
    with pytest.raises(UsageError, match="no split 'dev'"):
        distort_labels(dataset, LabelNoise.near(0.1), splits=("dev",))
    with pytest.raises(UsageError, match="made for 4 grades"):
        distort_labels(dataset, LabelNoise.near(0.1, 4))
    with pytest.raises(UsageError, match=r"grades 0\.\.2"):
        LabelNoise.near(0.1).apply([3], np.random.default_rng(0))
