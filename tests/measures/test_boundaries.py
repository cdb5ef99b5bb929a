from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.measures import Judged, best_threshold, boundaries, score_threshold
from mr_st.measures.boundaries import _halves
from mr_st.measures.thresholds import f1_of


def sample(n: int = 60, per: int = 10, seed: int = 0, shift: np.ndarray | float = 0.0) -> tuple[Judged, np.ndarray]:
    rng = np.random.default_rng(seed)
    judged = Judged.from_pairs(
        np.repeat(np.arange(n), per), np.tile(np.arange(per), n), rng.choice(3, n * per, p=[0.6, 0.25, 0.15]), n
    )
    noise = rng.normal(0, 0.1, n * per)
    return judged, 0.2 + 0.2 * judged.grades + noise + np.broadcast_to(shift, n)[judged.query_of_pair]


def test_the_thresholds_are_the_best_ones() -> None:
    judged, similarities = sample()
    for boundary, found in enumerate(boundaries(judged, similarities, 3), start=1):
        expected = best_threshold(similarities, judged.grades, boundary)
        assert found.boundary == boundary
        assert found.threshold.value == expected.value
        assert found.precision.value == pytest.approx(expected.precision)
        assert found.recall.value == pytest.approx(expected.recall)
        assert found.f1.value == pytest.approx(expected.f1)
        assert (found.n_positive, found.n_pairs) == (expected.n_positive, expected.n_pairs)
        everything = score_threshold(similarities, judged.grades, boundary, -9.0)
        assert found.f1_of_all == pytest.approx(everything.f1)
        for interval in (found.threshold, found.precision, found.recall, found.f1):
            assert interval.low <= interval.value <= interval.high
            assert interval.n == 60
        assert found.threshold.low < found.threshold.high


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-6, 6), st.integers(0, 2)), min_size=2, max_size=50))
def test_cross_fitted_equals_choosing_and_scoring_by_hand(pairs: list[tuple[int, int, int]]) -> None:
    """Few enough distinct similarities that the grid holds them all."""
    pairs = sorted(pairs, key=lambda pair: pair[0])
    judged = Judged.from_pairs([p[0] for p in pairs], range(len(pairs)), [p[2] for p in pairs], 6)
    similarities = np.array([p[1] / 7 for p in pairs])
    for boundary, found in enumerate(boundaries(judged, similarities, 3, n_resamples=20), start=1):
        expected = []
        for half in _halves(6, 0).T.astype(bool):
            inside = half[judged.query_of_pair]
            counts = np.zeros(3)
            for own, other in ((inside, ~inside), (~inside, inside)):
                value = best_threshold(similarities[own], judged.grades[own], boundary).value if own.any() else np.nan
                accepted, positive = similarities[other] >= value, judged.grades[other] >= boundary
                counts += [(accepted & positive).sum(), accepted.sum(), positive.sum()] if value == value else np.nan
            expected.append(float(f1_of(*counts)))
        defined = [f1 for f1 in expected if not np.isnan(f1)]
        mean = np.mean(defined) if defined else np.nan
        # a threshold halfway between two similarities is on the grid the middle one of those between, if there is any
        between = any(_parts_others(similarities, judged, half, boundary) for half in _halves(6, 0).T.astype(bool))
        if not between:
            assert found.f1_cross_fitted == pytest.approx(mean, nan_ok=True)
        else:
            assert np.isnan(found.f1_cross_fitted) == np.isnan(mean)


def _parts_others(similarities: np.ndarray, judged: Judged, half: np.ndarray, boundary: int) -> bool:
    """Whether a half's threshold lies where the other half has similarities that the half has not."""
    inside = half[judged.query_of_pair]
    for own, other in ((inside, ~inside), (~inside, inside)):
        if not own.any():
            continue
        value = best_threshold(similarities[own], judged.grades[own], boundary).value
        above, below = similarities[own][similarities[own] >= value], similarities[own][similarities[own] < value]
        low, high = below.max(initial=-np.inf), above.min(initial=np.inf)
        if ((similarities[other] > low) & (similarities[other] < high)).any():
            return True
    return False


def test_cross_fitted_is_not_optimistic() -> None:
    """Similarities that say nothing: choosing looks better than accepting all, cross-fitting does not."""
    gained, cross = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        judged, _ = sample(n=8, per=5, seed=seed)
        found = boundaries(judged, rng.normal(size=40), 3, n_resamples=5)[0]
        gained.append(found.f1.value - found.f1_of_all)
        cross.append(found.f1_cross_fitted - found.f1_of_all)
    assert np.mean(gained) > 0.01
    assert np.mean(cross) < 0


def test_strata_show_where_one_threshold_does_not_serve() -> None:
    kind = np.arange(200) % 2
    judged, similarities = sample(n=200, shift=np.where(kind == 1, -0.3, 0.0), seed=3)
    strata = {
        "kind": ["spelling" if k else "organic" for k in kind],
        "traffic": [("head", "tail", None)[q % 3] for q in range(200)],
    }
    found = boundaries(judged, similarities, 3, strata)
    for boundary in found:
        by_name = {stratum.name: stratum for stratum in boundary.strata}
        assert list(by_name) == ["organic", "spelling", "head", "tail"]
        organic, spelling = by_name["organic"], by_name["spelling"]
        assert organic.threshold.value - spelling.threshold.value == pytest.approx(0.3, abs=0.1)
        assert organic.threshold.low > spelling.threshold.high
        for stratum in (organic, spelling):
            assert stratum.f1_lost == pytest.approx(stratum.f1_own - stratum.f1_common)
            assert stratum.f1_lost > 0.05
            assert stratum.f1_lost_cross_fitted > 0.05
        for stratum in (by_name["head"], by_name["tail"]):  # drawn alike: nothing to win
            assert stratum.f1_lost_cross_fitted < 0.02
    organic = found[0].strata[0]
    kept = (kind == 0)[judged.query_of_pair]
    expected = best_threshold(similarities[kept], judged.grades[kept], 1)
    common = score_threshold(similarities[kept], judged.grades[kept], 1, found[0].threshold.value)
    assert (organic.threshold.value, organic.f1_own) == (expected.value, pytest.approx(expected.f1))
    assert organic.f1_common == pytest.approx(common.f1)
    assert (organic.n_queries, organic.n_pairs, organic.n_positive) == (100, 1000, expected.n_positive)


@pytest.mark.slow
def test_the_intervals_cover() -> None:
    """F1 at the threshold that is best in the population: the percentile interval holds it about 95 % of the time."""
    judged, similarities = sample(n=20_000, per=10, seed=99)
    truth = best_threshold(similarities, judged.grades, 1)
    held = {"threshold": 0, "f1": 0}
    n_tries = 200
    for seed in range(n_tries):
        judged, similarities = sample(n=150, per=10, seed=seed)
        found = boundaries(judged, similarities, 3, n_resamples=200, seed=seed)[0]
        held["threshold"] += found.threshold.low <= truth.value <= found.threshold.high
        held["f1"] += found.f1.low <= truth.f1 <= found.f1.high
    assert held["threshold"] / n_tries > 0.9
    assert held["f1"] / n_tries > 0.9


def test_queries_may_weigh_alike() -> None:
    # query 0 has four pairs, query 1 one: weighed alike, the one pair of query 1 counts as much as those four
    judged = Judged.from_pairs([0, 0, 0, 0, 1], [0, 1, 2, 3, 0], [1, 0, 0, 0, 1], 2)
    similarities = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    by_pairs, by_queries = (boundaries(judged, similarities, 2, weigh=weigh)[0] for weigh in ("pairs", "queries"))
    assert by_pairs.threshold.value == pytest.approx(0.85)
    assert by_pairs.f1.value == pytest.approx(2 / 3)
    assert by_queries.threshold.value == pytest.approx(0.5)
    assert by_queries.f1.value == pytest.approx(2 * 1.25 / (2 + 1.25))
    assert by_queries.precision.value == pytest.approx(1.25 / 2)


def test_a_single_query_has_no_interval() -> None:
    judged = Judged.from_pairs([0, 0], [0, 1], [1, 0], 1)
    found = boundaries(judged, np.array([0.8, 0.2]), 2, {"kind": ["organic"]})[0]
    assert found.threshold.value == pytest.approx(0.5)
    assert np.isnan([found.threshold.low, found.f1.high, found.f1_cross_fitted]).all()
    assert found.strata[0].f1_lost == 0
    assert np.isnan(found.strata[0].f1_lost_cross_fitted)


def test_a_missing_grade_has_no_threshold() -> None:
    judged, similarities = sample()
    found = boundaries(judged, similarities, 4, {"kind": ["a", "b"] * 30})
    assert [boundary.n_positive for boundary in found][2] == 0
    assert np.isnan([found[2].threshold.value, found[2].f1.value, found[2].f1_cross_fitted]).all()
    assert np.isnan(found[2].strata[0].f1_common)
    only_low = Judged(judged.offsets, judged.items, np.zeros_like(judged.grades))
    assert all(np.isnan(boundary.threshold.value) for boundary in boundaries(only_low, similarities, 3))


def test_many_strata_are_cut_to_the_largest() -> None:
    judged, similarities = sample(n=60)
    values = [f"l{min(q // 3, 19):02d}" for q in range(60)]
    values[:6] = ["big"] * 6
    strata = boundaries(judged, similarities, 3, {"locale": values}, n_resamples=5)[0].strata
    assert len(strata) == 12
    assert strata[0].name == "big"


def test_the_same_seed_gives_the_same_figures() -> None:
    judged, similarities = sample()
    assert boundaries(judged, similarities, 3, seed=4) == boundaries(judged, similarities, 3, seed=4)
    assert boundaries(judged, similarities, 3, seed=4) != boundaries(judged, similarities, 3, seed=5)


def test_what_cannot_be_is_refused() -> None:
    judged, similarities = sample(n=2)
    with pytest.raises(ValueError, match="'pairs' or 'queries'"):
        boundaries(judged, similarities, 3, weigh="items")
    with pytest.raises(ValueError, match="stratum 'kind'"):
        boundaries(judged, similarities, 3, {"kind": ["organic"]})
    with pytest.raises(ValueError, match="not finite"):
        boundaries(judged, np.full(20, np.nan), 3)
