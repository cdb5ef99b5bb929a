"""Selection against a plain loop that says what method.md says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.mining.select import boundary_rank, cap_pairs, cap_per_query, hard_pairs, select_pairs


@st.composite
def pairs(draw):
    """Arrays of up to 40 pairs over few queries; ranks of one query differ, as a ranking's do."""
    n_queries = draw(st.integers(1, 4))
    rows = []
    for query in range(n_queries):
        ranks = draw(st.lists(st.integers(1, 12), unique=True, max_size=10))
        rows += [(query, rank, draw(st.integers(0, 2)), draw(st.sampled_from([0.2, 0.5, 0.9]))) for rank in ranks]
    rows = draw(st.permutations(rows))
    columns = np.array(rows, dtype=float).reshape(-1, 4).T
    return columns[0].astype(int), columns[1].astype(int), columns[2].astype(int), columns[3]


def plain_loop(query_rows, ranks, grades, confidences, last, min_confidence, max_negatives, max_positives):
    negatives, positives, unsure = set(), set(), set()
    for query in set(query_rows.tolist()):
        mine = [i for i in range(len(ranks)) if query_rows[i] == query]
        sure = [i for i in mine if min_confidence is None or confidences[i] >= min_confidence]
        unsure |= set(mine) - set(sure)
        hard = sorted((i for i in sure if grades[i] == 0 and ranks[i] <= last), key=lambda i: ranks[i])
        negatives |= set(hard[:max_negatives] if max_negatives is not None else hard)
        low = sorted((i for i in sure if grades[i] >= 1 and ranks[i] > last), key=lambda i: -ranks[i])
        positives |= set(low[:max_positives] if max_positives is not None else low)
    return negatives, positives, unsure


caps = st.none() | st.integers(0, 4)


@given(pairs(), st.integers(0, 12), st.sampled_from([None, 0.0, 0.5, 1.0]), caps, caps)
def test_equals_the_plain_loop(columns, last, min_confidence, max_negatives, max_positives):
    selection = select_pairs(
        *columns, last_negative_rank=last, min_confidence=min_confidence,
        max_negatives=max_negatives, max_positives=max_positives,
    )  # fmt: skip
    negatives, positives, unsure = plain_loop(*columns, last, min_confidence, max_negatives, max_positives)
    assert set(np.flatnonzero(selection.hard_negatives)) == negatives
    assert set(np.flatnonzero(selection.hard_positives)) == positives
    assert set(np.flatnonzero(selection.unsure)) == unsure
    uncapped = select_pairs(*columns, last_negative_rank=last, min_confidence=min_confidence)
    np.testing.assert_array_equal(selection.taken | selection.capped, uncapped.taken)
    assert not (selection.taken & selection.capped).any()


def test_by_hand():
    """k = 4, boundary rank 2: rank 1-2 with grade 0, rank 3-4 with a higher grade."""
    selection = select_pairs(
        np.zeros(6, int), np.array([1, 2, 3, 4, 1, 3]), np.array([0, 1, 0, 2, 0, 1]),
        np.array([0.9, 0.9, 0.9, 0.9, 0.3, 0.3]), last_negative_rank=2, min_confidence=0.5,
    )  # fmt: skip
    assert selection.hard_negatives.tolist() == [True, False, False, False, False, False]
    assert selection.hard_positives.tolist() == [False, False, False, True, False, False]
    assert selection.unsure.tolist() == [False, False, False, False, True, True]


def test_a_confidence_that_is_no_number_is_unsure():
    one = np.array([1])
    selection = select_pairs(one, one, one * 0, np.array([np.nan]), last_negative_rank=1, min_confidence=0.0)
    assert selection.unsure.tolist() == [True]
    assert not selection.taken.any()


@pytest.mark.parametrize(
    ("k", "boundary", "rank"),
    [(100, 0.5, 50), (5, 0.5, 2), (1, 0.5, 0), (100, 0.29, 29), (100, 0, 0), (100, 1, 100), (30, 0.1, 3)],
)
def test_boundary_rank(k, boundary, rank):
    assert boundary_rank(k, boundary) == rank


@pytest.mark.parametrize("boundary", [-0.1, 1.1, float("nan")])
def test_a_boundary_outside_its_range(boundary):
    with pytest.raises(UsageError, match="a share of k"):
        boundary_rank(10, boundary)


def test_cap_keeps_the_earlier_of_equals_and_only_what_competes():
    kept = cap_per_query(np.array([7, 7, 7, 3]), np.array([1, 0, 0, 5]), np.array([True, True, True, False]), 1)
    assert kept.tolist() == [False, True, False, False]
    with pytest.raises(UsageError, match="cap of -1"):
        cap_per_query(np.array([0]), np.array([0]), np.array([True]), -1)


# ---- several sources, windows, caps by grade, limits by grade, duplicates -----------------------------------------


@st.composite
def found_pairs(draw):
    """Up to 30 pairs of three sources, of grades 0..3; every pair is found by one source at least."""
    rank = st.integers(0, 9)
    pair = st.tuples(st.integers(0, 2), rank, rank, rank, st.integers(0, 3), st.sampled_from([0.2, 0.5, 0.9]))
    rows = draw(st.lists(pair.filter(lambda p: any(p[1:4])), max_size=30))
    columns = np.array(rows, dtype=float).reshape(-1, 6)
    return columns[:, 0].astype(int), columns[:, 1:4].astype(np.int32), columns[:, 4].astype(int), columns[:, 5]


windows = st.tuples(st.integers(1, 6), st.none() | st.integers(6, 10))
limits = st.none() | st.sampled_from([0.5, 0.9]) | st.dictionaries(st.integers(0, 3), st.sampled_from([0.3, 0.6]))
grade_caps = st.none() | st.dictionaries(st.integers(0, 4), st.integers(0, 3))
flags = st.lists(st.booleans(), min_size=30, max_size=30)


@given(found_pairs(), st.integers(0, 10), windows, windows, limits, grade_caps, caps, caps, flags, flags)
def test_selection_equals_a_loop_over_pairs(
    columns, last, negative_ranks, positive_ranks, limit, by_grade, max_negatives, max_positives, near, twin
):
    query_rows, ranks, grades, confidences = columns
    n = len(grades)
    near, twin = np.array(near[:n], dtype=bool), np.array(twin[:n], dtype=bool)
    hard = hard_pairs(
        ranks, grades, confidences, last_negative_rank=last, negative_ranks=negative_ranks,
        positive_ranks=positive_ranks, min_confidence=limit,
    )  # fmt: skip
    selection = cap_pairs(
        query_rows, grades, hard, near_positive=near, twins=twin,
        max_negatives=max_negatives, max_positives=max_positives, max_by_grade=by_grade,
    )  # fmt: skip

    fate = {}
    for i in range(n):
        best, model = min(r for r in ranks[i] if r), ranks[i, 0] or 99
        least = limit.get(grades[i], 0) if isinstance(limit, dict) else limit or 0
        if confidences[i] < least:
            fate[i] = "unsure"
        elif grades[i] == 0 and best <= last and negative_ranks[0] <= best <= (negative_ranks[1] or 99):
            fate[i] = "near" if near[i] else "twin" if twin[i] else "negative"
        elif grades[i] > 0 and model > last and positive_ranks[0] <= model <= (positive_ranks[1] or 99):
            fate[i] = "twin" if twin[i] else "positive"
    for query in range(3):
        for kind, cap in (("negative", max_negatives), ("positive", max_positives)):
            of = [i for i in fate if query_rows[i] == query and fate[i] == kind]
            of.sort(key=lambda i: min(r for r in ranks[i] if r) if kind == "negative" else -(ranks[i, 0] or 99))
            kept, counts = [], {}
            for i in of:
                counts[grades[i]] = counts.get(grades[i], 0) + 1
                within = counts[grades[i]] <= (by_grade or {}).get(grades[i], 99)
                if within and (cap is None or len(kept) < cap):
                    kept.append(i)
                else:
                    fate[i] = "capped"
    for name, mask in {
        "negative": selection.hard_negatives, "positive": selection.hard_positives, "unsure": selection.unsure,
        "capped": selection.capped, "near": selection.near_positive, "twin": selection.twins,
    }.items():  # fmt: skip
        assert np.flatnonzero(mask).tolist() == [i for i in range(n) if fate.get(i) == name], name


def test_several_sources_by_hand():
    """Boundary rank 2; ranks by the model and by BM25."""
    ranks = np.array([[1, 0], [5, 2], [0, 1], [1, 4], [3, 1], [0, 9], [5, 5]], dtype=np.int32)
    grades = np.array([0, 0, 0, 2, 2, 1, 0])
    selection = select_pairs(np.zeros(7, int), ranks, grades, np.ones(7), last_negative_rank=2)
    # whoever ranks a grade-0 item high makes it a hard negative; only the model's own rank makes a hard positive
    assert selection.hard_negatives.tolist() == [True, True, True, False, False, False, False]
    assert selection.hard_positives.tolist() == [False, False, False, False, True, True, False]
    one = select_pairs(np.zeros(7, int), ranks, grades, np.ones(7), last_negative_rank=2, max_positives=1)
    assert np.flatnonzero(one.hard_positives).tolist() == [5]  # the one that the model did not find at all
    near = select_pairs(np.zeros(7, int), ranks, grades, np.ones(7), last_negative_rank=2, positive_ranks=(1, 4))
    assert np.flatnonzero(near.hard_positives).tolist() == [4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative_ranks": (0, 3)}, "negative_ranks is 0..3"),
        ({"positive_ranks": (4, 3)}, "positive_ranks is 4..3"),
        ({"min_confidence": {0: 1.2}}, "min_confidence of grade 0 is 1.2"),
        ({"min_confidence": {-1: 0.5}}, "min_confidence of grade -1"),
        ({"max_by_grade": {-1: 2}}, "max_by_grade names grade -1"),
        ({"max_by_grade": {1: -2}}, "cap of -2"),
        ({"max_positives": -1}, "cap of -1"),
    ],
)
def test_wrong_use(options, message):
    one = np.array([1])
    with pytest.raises(UsageError, match=message):
        select_pairs(one, one, one, one, last_negative_rank=1, **options)
