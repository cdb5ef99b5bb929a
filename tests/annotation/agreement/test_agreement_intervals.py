"""Intervals of agreement: queries are drawn, not pairs; they cover what they should."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mr_st.annotation import Annotations
from mr_st.annotation.agreement import agreement
from mr_st.annotation.agreement.intervals import agreement_intervals, bootstrap_sums, query_rows_of
from mr_st.errors import UsageError
from mr_st.measures.bca import bca_interval


def drawn(seed: int, n_queries: int, per_query: int) -> tuple[np.ndarray, Annotations, list[str]]:
    """Grades with mistakes that come by the query: a hard query has many."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (n_queries, per_query))
    is_right = rng.random(truth.shape) < rng.beta(4, 2, (n_queries, 1))
    given = np.where(is_right, truth, (truth + rng.integers(1, 3, truth.shape)) % 3).ravel()
    sure = rng.choice([0.65, 0.95], given.shape)
    probabilities = np.tile(((1 - sure) / 2)[:, None], (1, 3))
    probabilities[np.arange(len(given)), given] = sure
    return truth.ravel(), Annotations(given, probabilities), np.repeat(np.arange(n_queries), per_query).astype(str)


def test_sums_are_of_whole_queries_drawn_with_replacement():
    sums = np.random.default_rng(0).integers(0, 9, (7, 4))
    rows = np.random.default_rng(5).integers(0, 7, (20, 7))
    found = np.concatenate(list(bootstrap_sums(sums, 5, 20)))
    np.testing.assert_array_equal(found, [sums[row].sum(axis=0) for row in rows])


def test_accuracy_is_the_interval_of_the_queries_means_where_all_have_as_many_pairs():
    truth, annotations, queries = drawn(0, 30, 8)
    per_query = (truth == annotations.grades).reshape(30, 8).mean(axis=1)
    means = per_query[np.random.default_rng(4).integers(0, 30, (2000, 30))].mean(axis=1)
    expected = bca_interval(per_query.mean(), means, per_query - per_query.mean()).to_dict()
    found = agreement_intervals(truth, annotations, queries, seed=4)["accuracy"]
    steps = (
        2.01 / 240
    )  # two pairs of 240: means that are equal may differ in their last bit, and count as no tie there
    assert found == {name: pytest.approx(value, abs=steps) for name, value in expected.items()}


def test_kappa_against_a_loop_over_resamples():
    truth, annotations, queries = drawn(1, 25, 6)
    rng = np.random.default_rng(0)
    kappas = []
    for row in rng.integers(0, 25, (2000, 25)):
        where = np.concatenate([np.flatnonzero(queries == str(query)) for query in row])
        counts = np.zeros((3, 3))
        np.add.at(counts, (truth[where], annotations.grades[where].astype(int)), 1)
        chance = counts.sum(axis=0) @ counts.sum(axis=1) / counts.sum() ** 2
        kappas.append((np.trace(counts) / counts.sum() - chance) / (1 - chance))
    found = agreement_intervals(truth, annotations, queries)["kappa"]
    low, high = np.quantile(kappas, [0.025, 0.975])
    assert found["low"] == pytest.approx(low, abs=0.03)  # BCa shifts and widens these a little
    assert found["high"] == pytest.approx(high, abs=0.03)


def test_pairs_of_one_query_count_as_one_piece_of_evidence():
    truth = np.repeat(np.arange(40) % 2, 10)
    given = np.where(np.repeat(np.arange(40) % 4 == 0, 10), 1 - truth, truth)
    annotations = Annotations.certain(given, 2)
    by_query = agreement_intervals(truth, annotations, np.repeat(np.arange(40), 10).astype(str))["accuracy"]
    by_pair = agreement_intervals(truth, annotations, np.arange(400).astype(str))["accuracy"]
    assert by_query["value"] == by_pair["value"] == 0.75
    ratio = (by_query["high"] - by_query["low"]) / (by_pair["high"] - by_pair["low"])
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


def test_they_cover_the_truth():
    """E(beta(4, 2)) = 2/3 of the pairs are right: kappa is 0.5; confidences are off by 0.0167 and 0.283, half each."""
    hits = dict.fromkeys(("accuracy", "kappa", "macro_f1", "expected_calibration_error"), 0)
    truth_of = {"accuracy": 2 / 3, "kappa": 0.5, "macro_f1": 2 / 3, "expected_calibration_error": 0.15}
    for trial in range(200):
        found = agreement_intervals(*drawn(100 + trial, 60, 10), seed=trial, n_resamples=400)
        for name in hits:
            hits[name] += found[name]["low"] <= truth_of[name] <= found[name]["high"]
    for name, n in hits.items():
        assert n >= 0.9 * 200, name
    for name in ("accuracy", "kappa", "macro_f1"):
        assert hits[name] <= 0.99 * 200, name


def test_calibration_error_is_never_below_zero_and_holds_its_value():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 300)
    truth = (rng.random(300) < sure).astype(int)
    found = agreement_intervals(
        truth, Annotations(np.ones(300), np.stack([1 - sure, sure], 1)), [str(n) for n in range(300)]
    )
    interval = found["expected_calibration_error"]
    assert 0 <= interval["low"] <= interval["value"] <= interval["high"] < 0.1


def test_an_annotator_that_is_always_right_has_no_spread():
    truth = np.array([0, 1, 2] * 5)
    found = agreement_intervals(truth, Annotations.certain(truth, 3), [f"q{n // 3}" for n in range(15)])
    for name in ("accuracy", "within_one", "kappa", "macro_f1"):
        assert found[name] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 5}
    assert found["by_grade"]["1"]["precision"]["low"] == 1.0


def test_one_query_or_an_undefined_figure_has_no_ends():
    one = agreement(np.array([0, 1, 1]), Annotations.certain([0, 1, 0], 3), ["q", "q", "q"])
    assert one["n_queries"] == 1
    assert one["intervals"]["accuracy"] == {"value": pytest.approx(2 / 3), "low": None, "high": None, "n": 1}
    two = agreement(np.array([0, 1, 1]), Annotations.certain([0, 1, 0], 3), ["q", "q", "r"])
    assert two["intervals"]["by_grade"]["2"]["recall"] == {"value": None, "low": None, "high": None, "n": 2}
    json.dumps([one, two], allow_nan=False)


def test_without_ids_there_are_no_intervals_and_ids_must_be_as_many():
    annotations = Annotations.certain([0, 1], 3)
    assert "intervals" not in agreement(np.array([0, 1]), annotations)
    with pytest.raises(UsageError, match="1 query ids for 2 pairs"):
        agreement(np.array([0, 1]), annotations, ["q"])


def test_rows_of_queries_do_not_depend_on_the_ids_type():
    rows, n = query_rows_of(["b", "a", "b"], 3)
    assert (rows.tolist(), n) == ([1, 0, 1], 2)
