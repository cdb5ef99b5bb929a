from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from mr_st.measures import Judged, auc, auc_per_query, boundaries, margins, overlap_coefficient, separability
from mr_st.measures.resampling import query_draws, resampled_counts


def sample(n: int = 80, per: int = 12, n_grades: int = 3, seed: int = 0) -> tuple[Judged, np.ndarray]:
    rng = np.random.default_rng(seed)
    judged = Judged.from_pairs(
        np.repeat(np.arange(n), per), np.tile(np.arange(per), n), rng.integers(0, n_grades, n * per), n
    )
    own = rng.normal(0, 0.05, n)[judged.query_of_pair]
    return judged, 0.1 + 0.15 * judged.grades + own + rng.normal(0, 0.1, n * per)


def test_every_figure_is_that_of_its_own_function() -> None:
    judged, similarities = sample(n_grades=4)
    overlaps = np.random.default_rng(1).random(judged.n_pairs)
    found = separability(judged, similarities, 4, overlaps, {"kind": ["a", "b"] * 40})
    assert [(pair.high, pair.low) for pair in found.pairs] == [(3, 0), (2, 0), (3, 1), (1, 0), (2, 1), (3, 2)]
    assert found.pairs_of_grade == np.bincount(judged.grades, minlength=4).tolist()
    for pair in found.pairs:
        whole = margins(judged, similarities, pair.high, pair.low)
        hard = margins(judged, similarities, pair.high, pair.low, overlaps >= 0.7)
        assert pair.margin_average.value == pytest.approx(np.nanmean(whole.average))
        assert pair.margin_worst.value == pytest.approx(np.nanmean(whole.worst))
        assert pair.margin_average_hard.value == pytest.approx(np.nanmean(hard.average))
        assert pair.margin_worst_hard.value == pytest.approx(np.nanmean(hard.worst))
        assert (pair.margin_average.n, pair.margin_worst_hard.n) == (whole.n, hard.n)
        in_queries = auc_per_query(judged, similarities, pair.high, pair.low)
        assert pair.auc_per_query.value == pytest.approx(np.nanmean(in_queries))
        assert pair.auc_pooled.value == auc(similarities, judged.grades, pair.high, pair.low)
        expected = overlap_coefficient(similarities, judged.grades, pair.high, pair.low)
        assert pair.overlap.value == pytest.approx(expected, abs=0.01)  # one grid for all grades, not for these two
        for interval in (pair.auc_pooled, pair.overlap, pair.auc_per_query):
            assert interval.low <= interval.value <= interval.high
            assert interval.low < interval.high or interval.value == 1
        assert (pair.n_high, pair.n_low) == (found.pairs_of_grade[pair.high], found.pairs_of_grade[pair.low])
    assert found.boundaries == boundaries(judged, similarities, 4, {"kind": ["a", "b"] * 40})


def test_one_threshold_sees_what_order_within_queries_does_not() -> None:
    """Queries at different levels: each orders its pairs well, yet pooled they mix."""
    judged, similarities = sample()
    shifted = similarities + np.random.default_rng(2).normal(0, 1, 80)[judged.query_of_pair]
    before, after = (separability(judged, s, 3).pair(2, 0) for s in (similarities, shifted))
    assert after.auc_per_query.value == pytest.approx(before.auc_per_query.value)
    assert after.margin_average.value == pytest.approx(before.margin_average.value)
    assert after.auc_pooled.value < before.auc_pooled.value - 0.2
    assert after.overlap.value > before.overlap.value + 0.2


def test_perfectly_apart() -> None:
    judged = Judged.from_pairs([0, 0, 1, 1, 2, 2], [0, 1] * 3, [1, 0] * 3, 3)
    found = separability(judged, np.array([0.9, 0.1] * 3), 2)
    pair = found.pair(1, 0)
    assert (pair.auc_pooled.value, pair.auc_pooled.low, pair.auc_pooled.high) == (1, 1, 1)
    assert pair.auc_per_query.value == 1
    assert pair.margin_average_hard is None
    assert found.boundaries[0].f1.value == 1
    assert found.boundaries[0].f1_cross_fitted == 1


def test_a_missing_grade_and_a_single_query_are_ready_for_json() -> None:
    judged = Judged.from_pairs([0, 0, 0], [0, 1, 2], [0, 0, 2], 1)
    found = separability(judged, np.array([0.1, 0.2, 0.6]), 3, np.zeros(3), {"kind": ["organic"]})
    as_dict = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    pairs = {(pair["high"], pair["low"]): pair for pair in as_dict["pairs"]}
    assert pairs[2, 0]["auc_pooled"] == {"value": 1.0, "low": None, "high": None, "n": 1}
    assert pairs[1, 0]["auc_pooled"]["value"] is None
    assert pairs[2, 1]["overlap"]["value"] is None
    assert pairs[2, 0]["margin_average_hard"] == {"value": None, "low": None, "high": None, "n": 0}
    assert pairs[2, 0]["n_low"] == 2
    assert [boundary["threshold"]["value"] for boundary in as_dict["boundaries"]] == pytest.approx([0.4, 0.4])
    assert as_dict["boundaries"][0]["f1_cross_fitted"] is None
    assert as_dict["method"]["weigh"] == "pairs"


def test_margins_may_be_left_out() -> None:
    judged, similarities = sample(n=5)
    pair = separability(judged, similarities, 3, with_margins=False).pair(2, 0)
    assert pair.margin_average is None
    assert pair.auc_per_query.n == 5


def test_no_pair_at_all() -> None:
    found = separability(Judged.from_pairs([], [], [], 0), np.empty(0), 3)
    assert all(np.isnan(pair.auc_pooled.value) for pair in found.pairs)
    assert found.pairs_of_grade == [0, 0, 0]


def test_what_cannot_be_is_refused() -> None:
    judged, similarities = sample(n=3)
    similarities[5] = np.nan
    with pytest.raises(ValueError, match=r"1 of 36 similarities are not finite \(pair 5: nan\)"):
        separability(judged, similarities, 3)
    with pytest.raises(ValueError, match="one token overlap a judged pair"):
        separability(judged, np.zeros(36), 3, overlaps=np.zeros(3))


def test_resampled_counts_equal_plain_loops() -> None:
    rng = np.random.default_rng(0)
    queries, columns, weights = rng.integers(0, 6, 40), rng.integers(0, 5, 40), rng.random(40)
    draws = query_draws(6, 7, seed=1)
    assert draws.shape == (6, 7)
    assert draws.sum(axis=0).tolist() == [6] * 7
    found = resampled_counts(queries, columns, 5, draws, weights)
    for sample_number in range(7):
        expected = np.zeros(5)
        for query, column, weight in zip(queries, columns, weights, strict=True):
            expected[column] += weight * draws[query, sample_number]
        np.testing.assert_allclose(found[:, sample_number], expected, rtol=1e-5)


@pytest.mark.slow
def test_intervals_of_pooled_figures_cover() -> None:
    """Clustered normals of known AUC and overlap: the intervals hold the truth about 95 % of the time."""
    apart, own, noise = 0.15, 0.05, 0.1
    deviation = np.hypot(own, noise)
    truth = {"auc": norm.cdf(apart / deviation / np.sqrt(2)), "overlap": 2 * norm.cdf(-apart / deviation / 2)}
    held = {"auc": 0, "overlap": 0}
    n_tries = 200
    for seed in range(n_tries):
        judged, similarities = sample(n=150, per=8, n_grades=2, seed=seed)
        pair = separability(judged, similarities, 2, with_margins=False, n_resamples=300, seed=seed).pair(1, 0)
        held["auc"] += pair.auc_pooled.low <= truth["auc"] <= pair.auc_pooled.high
        held["overlap"] += pair.overlap.low <= truth["overlap"] <= pair.overlap.high
    assert held["auc"] / n_tries > 0.91
    assert held["overlap"] / n_tries > 0.85
