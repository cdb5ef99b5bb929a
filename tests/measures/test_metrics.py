from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.measures import (
    ABSENT,
    UNJUDGED,
    Judged,
    average_precision,
    gain_table,
    gains_of,
    judged_share,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)

GAINS = (0.0, 0.5, 1.0)


def test_ndcg_by_hand() -> None:
    # run: partial, unjudged, relevant; judged: two relevant, one partial
    ranked = np.array([[0.5, 0.0, 1.0]])
    dcg = 0.5 / 1 + 1 / 2  # log2(2) = 1, log2(4) = 2
    best = 1 + 1 / np.log2(3) + 0.5 / 2
    assert ndcg(ranked, np.array([[0.5, 1.0, 1.0]]), 10)[0] == pytest.approx(dcg / best, abs=1e-12)
    # cut at 1: the ideal is one relevant item
    assert ndcg(ranked, [[0.5, 1.0, 1.0]], 1)[0] == 0.5


def test_ideal_is_taken_over_all_judged_items_not_the_returned_ones() -> None:
    judged = Judged.from_pairs([0, 0], [5, 6], [1, 2], 1)
    grades = judged.look_up(np.array([[5]]))
    assert ndcg(gains_of(grades, GAINS), gains_of(judged.best_grades(10), GAINS), 10)[0] == pytest.approx(
        0.5 / (1 + 0.5 / np.log2(3))
    )


def test_other_gains() -> None:
    esci = (0.0, 0.01, 0.1, 1.0)
    ranked = gains_of(np.array([[1, 3]]), esci)
    value = ndcg(ranked, gains_of(np.array([[3, 1]]), esci), 10)[0]
    assert value == pytest.approx((0.01 + 1 / np.log2(3)) / (1 + 0.01 / np.log2(3)))


def test_nothing_relevant() -> None:
    grades = np.array([[0, UNJUDGED]])
    assert ndcg(gains_of(grades, GAINS), np.zeros((1, 3)), 10).tolist() == [0.0]
    assert recall(grades, np.array([0]), 10).tolist() == [0.0]
    assert np.isnan(recall(grades, np.array([0]), 10, empty=np.nan)[0])
    assert ndcg(np.zeros((2, 0)), [[], [1.0]], 5).tolist() == [0.0, 0.0]


def test_judged_share_leaves_absent_places_out() -> None:
    grades = np.array([[0, UNJUDGED, ABSENT], [2, 1, 0], [ABSENT, ABSENT, ABSENT]])
    assert judged_share(grades, 2)[:2].tolist() == [0.5, 1.0]
    assert judged_share(grades, 3)[:2].tolist() == [0.5, 1.0]
    assert np.isnan(judged_share(grades, 3)[2])


def test_precision_divides_by_k_even_when_the_run_is_short() -> None:
    assert precision(np.array([[2, 1]]), 10).tolist() == [0.2]
    assert precision(np.array([[2, 1]]), 10, grade=2).tolist() == [0.1]


def test_bad_arguments_are_refused() -> None:
    for k in (0, (), (3, 0), 1.5, ((1, 2),)):
        with pytest.raises(ValueError, match="k must be 1"):
            precision(np.zeros((1, 3)), k)
    with pytest.raises(ValueError, match="least relevant grade must be 0 or more, got -1"):
        reciprocal_rank(np.zeros((1, 3)), grade=-1)
    with pytest.raises(ValueError, match=r"grade 3 is outside the scale 0\.\.2"):
        gains_of(np.array([3]), GAINS)


RUNS = st.lists(st.lists(st.integers(-2, 3), min_size=6, max_size=6), min_size=1, max_size=5).map(np.array)
FOUR = (0.0, 0.1, 0.5, 1.0)


def all_metrics(grades: np.ndarray, n_missed: int, k: int | None) -> dict[str, np.ndarray]:
    """Every metric of a run that missed so many items of each grade."""
    missed = np.tile(np.repeat([1, 2, 3], n_missed), (len(grades), 1))
    judged = np.concatenate([grades, missed], axis=1)
    found = {"ndcg": ndcg(gains_of(grades, FOUR), gains_of(judged, FOUR), k)}
    for grade in (1, 2, 3):
        n_relevant = (judged >= grade).sum(axis=1)
        found[f"recall/{grade}"] = recall(grades, n_relevant, k, grade)
        found[f"precision/{grade}"] = precision(grades, k or grades.shape[1], grade)
        found[f"map/{grade}"] = average_precision(grades, n_relevant, k, grade)
        found[f"mrr/{grade}"] = reciprocal_rank(grades, k, grade)
    return found


@settings(max_examples=40)
@given(RUNS, st.integers(0, 2), st.one_of(st.none(), st.integers(1, 9)))
def test_metrics_lie_between_0_and_1_and_the_best_order_is_best(grades: np.ndarray, n_missed: int, k: int) -> None:
    best = all_metrics(-np.sort(-grades, axis=1), n_missed, k)
    for name, values in all_metrics(grades, n_missed, k).items():
        assert ((values >= 0) & (values <= best[name]) & (best[name] <= 1)).all(), name
    ideal = all_metrics(-np.sort(-grades, axis=1), 0, k)["ndcg"]
    assert (ideal == (grades.max(axis=1) > 0)).all()  # exactly 1, or 0 where nothing gains


@settings(max_examples=40)
@given(RUNS, st.integers(0, 2), st.one_of(st.none(), st.integers(1, 9)), st.data())
def test_a_better_item_brought_forward_never_costs(
    grades: np.ndarray, n_missed: int, k: int, data: st.DataObject
) -> None:
    first, second = sorted(data.draw(st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True)))
    swapped = grades.copy()
    lower = grades[:, first] < grades[:, second]
    swapped[lower, first], swapped[lower, second] = grades[lower, second], grades[lower, first]
    after = all_metrics(swapped, n_missed, k)
    for name, before in all_metrics(grades, n_missed, k).items():
        assert (after[name] >= before - 1e-12).all(), name
    if k is None and lower.any():  # NDCG sees each such swap of items that differ in gain
        gained = lower & (grades[:, second] > 0)
        ndcgs = after["ndcg"] - all_metrics(grades, n_missed, k)["ndcg"]
        assert (ndcgs[gained] > 0).all()


@settings(max_examples=40)
@given(RUNS, st.randoms(use_true_random=False))
def test_queries_do_not_see_each_other(grades: np.ndarray, random) -> None:
    order = list(range(len(grades)))
    random.shuffle(order)
    for name, values in all_metrics(grades[order], 1, 3).items():
        np.testing.assert_array_equal(values, all_metrics(grades, 1, 3)[name][order], err_msg=name)


@settings(max_examples=40)
@given(RUNS, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_several_cutoffs_are_one_after_the_other(grades: np.ndarray, ks: list[int]) -> None:
    n_relevant, gains = np.full(len(grades), 4), gains_of(grades, FOUR)
    for of in (
        lambda k: ndcg(gains, gains, k),
        lambda k: recall(grades, n_relevant, k, 2),
        lambda k: precision(grades, k, 2),
        lambda k: average_precision(grades, n_relevant, k, 2),
        lambda k: reciprocal_rank(grades, k, 2),
        lambda k: judged_share(grades, k),
    ):
        one_by_one = np.stack([of(k) for k in ks], axis=1)
        np.testing.assert_allclose(of(ks), one_by_one, rtol=0, atol=1e-12)
        assert of(ks).shape == (len(grades), len(ks))


@settings(max_examples=40)
@given(RUNS, st.integers(1, 12))
def test_places_without_an_item_change_nothing(grades: np.ndarray, k: int) -> None:
    longer = np.concatenate([grades, np.full((len(grades), 3), ABSENT)], axis=1)
    for name, values in all_metrics(longer, 1, k).items():
        np.testing.assert_array_equal(values, all_metrics(grades, 1, k)[name], err_msg=name)
    np.testing.assert_array_equal(judged_share(longer, k), judged_share(grades, k))


def test_average_precision_by_hand() -> None:
    grades = np.array([[2, 0, 1, UNJUDGED, 2], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    n_relevant = np.array([4, 1, 0])
    expected = np.array([(1 + 2 / 3 + 3 / 5) / 4, 1 / 5, 0])
    np.testing.assert_allclose(average_precision(grades, n_relevant), expected, atol=1e-12)
    # cut at 3, still divided by all four relevant items
    np.testing.assert_allclose(average_precision(grades, n_relevant, 3), [(1 + 2 / 3) / 4, 0, 0], atol=1e-12)
    assert average_precision(grades, np.array([2, 0, 0]), grade=2)[0] == pytest.approx((1 + 2 / 5) / 2)
    assert np.isnan(average_precision(grades, n_relevant, empty=np.nan)[2])


def test_reciprocal_rank_by_hand() -> None:
    grades = np.array([[0, UNJUDGED, 1, 2], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert reciprocal_rank(grades).tolist() == [1 / 3, 1, 0]
    assert reciprocal_rank(grades, grade=2).tolist() == [1 / 4, 1, 0]
    assert reciprocal_rank(grades, (2, 3)).tolist() == [[0, 1 / 3], [1, 1], [0, 0]]


def test_runs_without_places_or_queries() -> None:
    for shape in ((2, 0), (0, 4)):
        grades = np.zeros(shape, dtype=np.int8)
        for k in (None, 3, (1, 3)):
            columns = (2,) if isinstance(k, tuple) else ()
            for values in (
                ndcg(grades.astype(float), np.zeros(shape), k),
                recall(grades, np.zeros(shape[0]), k),
                average_precision(grades, np.zeros(shape[0]), k),
                reciprocal_rank(grades, k),
            ):
                assert values.shape == (shape[0], *columns)
                assert not values.any()


def test_the_scale_of_gains_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    grades, judged = rng.integers(-1, 4, size=(20, 12)), rng.integers(0, 4, size=(20, 30))
    plain = ndcg(gains_of(grades, (0, 1, 3, 7)), gains_of(judged, (0, 1, 3, 7)), (1, 5, 12))
    scaled = gain_table("exponential", 4)
    np.testing.assert_allclose(ndcg(gains_of(grades, scaled), gains_of(judged, scaled), (1, 5, 12)), plain, atol=1e-12)
