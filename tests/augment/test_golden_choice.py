"""Counts by kind: quotas hold to within half a query whenever they can, and a shortfall is the smallest there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.augment.golden_choice import Quota, choose_counts, shortfalls
from mr_st.errors import UsageError

# kinds: (unseen, spanish)
UNSEEN = np.array([True, True, False, False])
SPANISH = np.array([True, False, True, False])


def quotas(unseen: float, spanish: float) -> list[Quota]:
    return [Quota("unseen", UNSEEN, unseen), Quota("es", SPANISH, spanish)]


def holds(counts: np.ndarray, unseen: float, spanish: float) -> bool:
    n = counts.sum()
    return abs(counts[UNSEEN].sum() - unseen * n) <= 0.501 and abs(counts[SPANISH].sum() - spanish * n) <= 0.501


def every_choice(available: list[int], n: int) -> list[np.ndarray]:
    ranges = [range(limit + 1) for limit in available]
    return [np.array(counts) for counts in product(*ranges) if sum(counts) == n]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 5), min_size=4, max_size=4), st.integers(1, 8),
    st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]), st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)  # fmt: skip
def test_it_finds_counts_exactly_when_there_are_some(
    available: list[int], n: int, unseen: float, spanish: float
) -> None:
    possible = [counts for counts in every_choice(available, n) if holds(counts, unseen, spanish)]
    if not possible:
        with pytest.raises(UsageError, match="golden set: "):
            choose_counts(available, quotas(unseen, spanish), n)
        return
    counts = choose_counts(available, quotas(unseen, spanish), n)
    assert counts.sum() == n
    assert (counts <= available).all()
    assert (counts >= 0).all()
    assert holds(counts, unseen, spanish)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=4), st.integers(1, 8))
def test_without_a_number_it_takes_the_most_that_hold(available: list[int], limit: int) -> None:
    best = max(
        (n for n in range(1, limit + 1) if any(holds(c, 0.3, 0.5) for c in every_choice(available, n))), default=0
    )
    if best == 0:
        if sum(available):
            with pytest.raises(UsageError):
                choose_counts(available, quotas(0.3, 0.5), limit, exactly=False)
        return
    counts = choose_counts(available, quotas(0.3, 0.5), limit, exactly=False)
    assert counts.sum() == best
    assert holds(counts, 0.3, 0.5)


def test_a_shortfall_takes_all_it_can_and_says_what_is_missing() -> None:
    counts = choose_counts([1, 2, 0, 10], quotas(0.3, 0.5), 10, allow_shortfall=True)
    assert counts.sum() == 10
    assert counts[SPANISH].sum() == 1  # all the Spanish there is
    assert shortfalls(quotas(0.3, 0.5), counts) == ["es: asked 50% of 10 queries, 1 can be had"]


def test_the_error_names_each_share_that_falls_short() -> None:
    with pytest.raises(UsageError, match=r"20 queries asked, 13 can be used.*--allow-shortfall"):
        choose_counts([1, 2, 0, 10], quotas(0.3, 0.5), 20)
    with pytest.raises(UsageError, match=r"es: asked 50% of 10 queries, 1 can be had"):
        choose_counts([1, 2, 0, 10], quotas(0.3, 0.5), 10)


def test_kinds_that_no_quota_tells_apart_are_taken_in_proportion() -> None:
    only_unseen = [Quota("unseen", UNSEEN, 0.5)]
    assert choose_counts([30, 10, 20, 60], only_unseen, 40).tolist() == [15, 5, 5, 15]


def test_at_most_is_an_upper_bound_only() -> None:
    misspelt = [Quota("misspelt", np.array([True, False]), 0.1, at_most=True)]
    assert choose_counts([50, 50], misspelt, 20).tolist() == [2, 18]
    assert choose_counts([0, 50], misspelt, 20).tolist() == [0, 20]
