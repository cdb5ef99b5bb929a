"""Queries drawn by hash: one split each, the shares asked for, the same in any order and any process."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.data.sources.splits import check_shares, draw_splits, lowest_by_hash
from mr_st.errors import UsageError

IDS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=60)


@given(ids=IDS, dev=st.floats(0, 0.49), test=st.floats(0, 0.49), seed=st.integers(0, 9), shuffled=st.integers(0, 9))
def test_each_query_has_one_split_whatever_the_order(ids, dev, test, seed, shuffled):
    splits = draw_splits(ids, dev, test, seed)
    assert set(splits) == set(ids)
    counts = Counter(splits.values())
    n = len(set(ids))
    assert (counts["dev"], counts["test"]) == (round(dev * n), round(test * n))
    again = ids + ids
    random.Random(shuffled).shuffle(again)
    assert draw_splits(again, dev, test, seed) == splits


def test_the_draw_is_that_of_the_hash():
    # printf 0:a | sha256sum begins with 9df3, 0:b with e021, 0:c with be08, 0:d with 7d98
    assert lowest_by_hash("abcd", 1.0, 0) == ["d", "a", "c", "b"]
    assert lowest_by_hash("abcd", 0.5, 0) == ["d", "a"]
    drawn = draw_splits("abcd", dev_share=0.25, test_share=0.25, seed=0)
    assert drawn == {"d": "test", "a": "dev", "c": "train", "b": "train"}


def test_another_seed_draws_others():
    ids = [str(i) for i in range(100)]
    assert set(lowest_by_hash(ids, 0.2, 0)) != set(lowest_by_hash(ids, 0.2, 1))


@pytest.mark.parametrize(("dev", "test"), [(-0.1, 0), (0, 1.0), (0.5, 0.5), (float("nan"), 0), (True, 0), ("0.1", 0)])
def test_shares_that_leave_nothing_are_refused(dev, test):
    with pytest.raises(UsageError, match="share"):
        check_shares(dev, test)
