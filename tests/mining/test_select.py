"""Selection against a plain loop that says what method.md says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.mining import boundary_rank, cap_per_query, is_judged, select_pairs


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


rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**31 - 1) | st.integers(0, 3)), max_size=20)


@given(rows, rows)
def test_is_judged_equals_membership(pairs, judged):
    def columns(several):
        array = np.array(several, dtype=np.int32).reshape(-1, 2)
        return array[:, 0], array[:, 1]

    found = is_judged(*columns(pairs), *columns(judged))
    assert found.tolist() == [pair in set(judged) for pair in pairs]


def test_cap_keeps_the_earlier_of_equals_and_only_what_competes():
    kept = cap_per_query(np.array([7, 7, 7, 3]), np.array([1, 0, 0, 5]), np.array([True, True, True, False]), 1)
    assert kept.tolist() == [False, True, False, False]
    with pytest.raises(UsageError, match="cap of -1"):
        cap_per_query(np.array([0]), np.array([0]), np.array([True]), -1)
