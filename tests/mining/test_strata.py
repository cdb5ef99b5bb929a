"""Budgets over strata: sums, limits and shares; which queries come first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.mining.strata import STRATA, divide_budget, query_strata, shares_of_strata, within_budget


def test_strata_of_queries():
    strata = query_strata(np.array([60.0, 20.0, 20.0, 10.0, 10.0, np.nan]))
    assert [STRATA[s] for s in strata] == ["head", "torso", "tail", "tail", "tail", "unknown"]
    assert set(query_strata(np.full(3, np.nan)).tolist()) == {STRATA.index("unknown")}


sizes = st.lists(st.integers(0, 50), min_size=1, max_size=5)


@given(st.integers(0, 200), sizes, st.data())
def test_a_divided_budget(budget, sizes, data):
    shares = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=len(sizes), max_size=len(sizes)))
    given_ = divide_budget(budget, np.array(sizes), np.array(shares))
    usable = [size if share else 0 for size, share in zip(sizes, shares, strict=True)]
    assert given_.sum() == min(budget, sum(usable))
    assert all(0 <= n <= most for n, most in zip(given_.tolist(), usable, strict=True))
    # of two strata that have more to give, the one with the larger share got more, up to the last rounding
    for a, b in np.ndindex(len(sizes), len(sizes)):
        if given_[a] < usable[a] and given_[b] < usable[b]:
            assert abs(given_[a] / shares[a] - given_[b] / shares[b]) <= 2 * len(sizes) / min(shares[a], shares[b])


def test_division_by_hand():
    assert divide_budget(10, np.array([9, 9, 9]), np.array([1, 1, 1])).tolist() == [4, 3, 3]
    assert divide_budget(10, np.array([1, 9, 9]), np.array([2, 1, 1])).tolist() == [1, 5, 4]
    assert divide_budget(10, np.array([9, 9]), np.array([0, 1])).tolist() == [0, 9]


@st.composite
def queries(draw):
    """Rows of some of 12 queries, each with 1 to 6 pairs, and the stratum of all 12."""
    counts = draw(st.dictionaries(st.integers(0, 11), st.integers(1, 6)))
    rows = np.repeat(sorted(counts), [counts[q] for q in sorted(counts)]).astype(np.int64)
    return rows, np.array(draw(st.lists(st.integers(0, 2), min_size=12, max_size=12)), dtype=np.int8)


@given(queries(), st.integers(0, 60), st.integers(0, 3))
def test_pairs_within_a_budget(found, budget, seed):
    rows, strata = found
    shares = np.array([0.5, 0.3, 0.2])
    chosen = within_budget(rows, strata, budget, shares, seed)
    sizes = np.bincount(strata[rows], minlength=3)
    allowed = divide_budget(budget, sizes, shares)
    assert np.bincount(strata[rows[chosen]], minlength=3).tolist() == allowed.tolist()
    for stratum in range(3):
        cut = 0
        for query in set(rows[strata[rows] == stratum].tolist()):
            of_query = chosen[rows == query]
            assert of_query.tolist() == sorted(of_query.tolist(), reverse=True)  # its best-ranked pairs
            cut += 0 < of_query.sum() < len(of_query)
        assert cut <= 1
    more = within_budget(rows, strata, budget + 7, shares, seed)
    grew = divide_budget(budget + 7, sizes, shares) >= allowed
    assert not (chosen & ~more)[grew[strata[rows]]].any()


def test_the_seed_chooses_the_queries_and_every_query_gets_its_turn():
    rows, strata = np.arange(100), np.zeros(100, dtype=np.int8)
    draws = np.array([within_budget(rows, strata, 30, np.ones(1), seed) for seed in range(400)])
    assert (draws.sum(axis=1) == 30).all()
    assert len({draw.tobytes() for draw in draws}) == 400
    # each query is taken 120 times of 400 with a deviation of 9.2; the 100 of them stay within 4 deviations
    assert np.abs(draws.sum(axis=0) - 120).max() < 37
    first = np.flatnonzero(within_budget(rows, strata, 5, np.ones(1), 0))
    assert first.tolist() == [10, 21, 48, 68, 83]  # the same in every process and version
    even = rows[rows % 2 == 0]  # what became of the odd queries does not matter to the even ones
    chosen = even[within_budget(even, strata, 3, np.ones(1), 0)]
    assert set(chosen.tolist()) >= {10, 48, 68}


def test_shares_by_name():
    assert shares_of_strata({"a": 3, "b": 1}, ["b", "a"]).tolist() == [0.25, 0.75]
    for shares, message in [
        ({"middle": 1}, "no stratum 'middle'; strata: head, torso, tail, unknown"),
        ({"head": -1}, "share of stratum 'head' is -1"),
        ({"head": float("nan")}, "share of stratum 'head' is nan"),
        ({"head": 0}, "no stratum has a share above 0"),
        ({}, "no stratum has a share above 0"),
    ]:
        with pytest.raises(UsageError, match=message):
            shares_of_strata(shares)


def test_wrong_use_and_nothing():
    assert len(within_budget(np.empty(0, dtype=np.int64), np.zeros(3, dtype=np.int8), 5, np.ones(1))) == 0
    with pytest.raises(UsageError, match="none may be negative"):
        divide_budget(-1, np.array([1]), np.array([1.0]))
    with pytest.raises(UsageError, match=r"strata 0\.\.2 for 2 shares"):
        within_budget(np.arange(3), np.arange(3), 2, np.ones(2))
