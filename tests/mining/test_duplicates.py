"""Near-duplicates against loops over every two pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.mining.duplicates import ItemLikeness, near_positives, text_keys_of, twins_of_harder

# twelve items of the catalogue on a circle, 10 degrees apart; the pool holds all but item 11, in reverse
ANGLES = np.radians(10.0 * np.arange(12))
POOL = np.arange(11)[::-1]
VECTORS = (np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)[POOL] * 3.0).astype(np.float16)
TEXTS = ["mug", "Mug!", "cup", "cup red", "Cup, red", "hat", "a", "b", "c", "d", "e", "MUG"]


def like_by_hand(a: int, b: int, threshold: float | None, use_texts: bool) -> bool:
    near = threshold is not None and max(a, b) < 11 and np.cos(ANGLES[a] - ANGLES[b]) >= threshold
    same_text = TEXTS[a].lower().replace("!", "").replace(",", "") == TEXTS[b].lower().replace("!", "").replace(
        ",", ""
    )
    return a == b or near or (use_texts and same_text)


likenesses = st.tuples(st.sampled_from([None, 0.98, 0.93, 0.45]), st.booleans()).filter(any)  # 10, 20, 60 degrees


def likeness_of(threshold: float | None, use_texts: bool) -> ItemLikeness:
    keys = text_keys_of(TEXTS) if use_texts else None
    if threshold is None:
        return ItemLikeness(text_keys=keys)
    return ItemLikeness(threshold, VECTORS, POOL, keys)


@st.composite
def pairs(draw):
    """Pairs sorted by query: query, item (each once a query), grade, priority, mask."""
    rows = []
    for query in range(draw(st.integers(0, 3))):
        for item in draw(st.lists(st.integers(0, 10), unique=True, max_size=8)):
            rows.append((query * 2, item, draw(st.integers(0, 2)), draw(st.integers(-3, 3)), draw(st.booleans())))
    columns = np.array(rows, dtype=int).reshape(-1, 5).T
    return columns[0], columns[1], columns[2], columns[3], columns[4].astype(bool)


@given(pairs(), likenesses, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11)), max_size=8))
def test_near_positives_equal_a_loop(columns, kind, positives):
    query_rows, item_rows, _, _, mask = columns
    judged = np.array(positives, dtype=int).reshape(-1, 2)
    near = near_positives(query_rows, item_rows, mask, judged[:, 0], judged[:, 1], likeness_of(*kind))
    expected = [
        bool(asked) and any(query == q and like_by_hand(item, i, *kind) for q, i in positives)
        for query, item, asked in zip(query_rows, item_rows, mask, strict=True)
    ]
    assert near.tolist() == expected


@given(pairs(), likenesses)
def test_twins_equal_a_greedy_loop(columns, kind):
    query_rows, item_rows, grades, priorities, mask = columns
    twins = twins_of_harder(query_rows, item_rows, grades, mask, priorities, likeness_of(*kind))
    expected, stays = set(), []
    for i in sorted(np.flatnonzero(mask), key=lambda i: (query_rows[i], priorities[i], i)):
        same = [j for j in stays if query_rows[j] == query_rows[i] and grades[j] == grades[i]]
        if any(like_by_hand(item_rows[i], item_rows[j], *kind) for j in same):
            expected.add(i)
        else:
            stays.append(i)
    assert set(np.flatnonzero(twins)) == expected


def test_only_the_best_placed_of_a_chain_goes_on():
    """Items 0, 1, 2 stand 10 degrees apart, and 10 degrees is near: 1 goes for 0's sake, 2 stays, since 1 is gone."""
    likeness = ItemLikeness(0.98, VECTORS, POOL)
    rows, query, grades = np.array([0, 1, 2]), np.zeros(3, int), np.zeros(3, int)
    assert twins_of_harder(query, rows, grades, np.ones(3, bool), np.array([1, 2, 3]), likeness).tolist() == [
        False, True, False,
    ]  # fmt: skip
    assert twins_of_harder(query, rows, grades, np.ones(3, bool), np.array([2, 1, 3]), likeness).tolist() == [
        True, False, True,
    ]  # fmt: skip
    other_grade = np.array([0, 1, 0])
    assert not twins_of_harder(query, rows, other_grade, np.ones(3, bool), np.arange(3), likeness).any()


def test_the_verdict_does_not_depend_on_what_else_is_compared():
    """The same two items, alone and among many, at a threshold that is their own cosine."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 96)).astype(np.float16)
    units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = (units @ units[0]).astype(np.float32)
    for item in np.flatnonzero(cosines[1:60] > 0) + 1:
        likeness = ItemLikeness(float(cosines[item]), vectors)
        alone = near_positives(*np.array([[0], [item]]), np.ones(1, bool), *np.array([[0], [0]]), likeness)
        many = np.arange(1, 300)
        among = near_positives(0 * many, many, many > 0, np.array([0]), np.array([0]), likeness)
        assert alone[0]
        assert among[item - 1]


def test_text_keys():
    keys = text_keys_of(iter(["Größe ＸＬ", "grösse xl", "", "!?", "x", "men's", "mens"]))
    assert keys.dtype == np.int64
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]
    assert keys[5] == keys[6]
    assert len(set(keys.tolist())) == 4
    assert text_keys_of(["red mug"]).tolist() == [4743820430068801664]  # the same in every process and version
    assert len(text_keys_of([])) == 0


def test_wrong_use():
    with pytest.raises(UsageError, match="give vectors or text_keys"):
        ItemLikeness()
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(UsageError, match="it is a cosine"):
            ItemLikeness(threshold, VECTORS)
    unsorted, items, all_ = np.array([1, 0]), np.array([0, 1]), np.ones(2, bool)
    likeness = ItemLikeness(0.9, VECTORS, POOL)
    with pytest.raises(UsageError, match="not in the order of their queries"):
        near_positives(unsorted, items, all_, items, items, likeness)
    with pytest.raises(UsageError, match="not in the order of their queries"):
        twins_of_harder(unsorted, items, items, all_, items, likeness)
    with pytest.raises(UsageError, match="item row 11 has no vector"):
        twins_of_harder(items, np.array([0, 11]), items, all_, items, likeness)
