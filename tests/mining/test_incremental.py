"""Updated rankings against a full search of the new catalogue, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.mining.incremental import changes_of, update_top_k
from mr_st.search import ExactSearcher, QueryBatch, TopK


def search(vectors: np.ndarray, queries: np.ndarray, k: int) -> TopK:
    if not len(vectors):
        return TopK(np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, dtype=np.float32))
    return ExactSearcher(vectors).search(QueryBatch(vectors=queries), k)


@st.composite
def catalogues(draw):
    """An old and a new catalogue of few distinct small whole vectors, so that scores are exact and often equal."""
    distinct = np.array([[1, 0], [0, 1], [1, 1], [2, 1], [1, -1], [-1, 2], [2, 2]], dtype=np.float32)
    n_old, n_added = draw(st.integers(1, 14)), draw(st.integers(0, 6))
    content = np.array(draw(st.lists(st.integers(0, 6), min_size=n_old + n_added, max_size=n_old + n_added)))
    names = np.arange(n_old + n_added)  # an item keeps its name, whatever its vector
    stays = np.array(draw(st.lists(st.booleans(), min_size=n_old, max_size=n_old)), dtype=bool)
    new_names = np.concatenate([names[:n_old][stays], names[n_old:]])
    if draw(st.booleans()):
        new_names = np.array(draw(st.permutations(new_names.tolist())), dtype=int)
    elif draw(st.booleans()):
        new_names = np.sort(new_names)[::-1]
    queries = distinct[draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))]
    return distinct[content], names[:n_old], new_names, queries


@settings(max_examples=400)
@given(catalogues(), st.integers(1, 8), st.integers(1, 5))
def test_all_that_are_not_stale_equal_a_full_search(catalogue, k_old, k):
    vectors, old_names, new_names, queries = catalogue
    changes = changes_of(old_names, new_names)
    np.testing.assert_array_equal(
        changes.row_map, [list(new_names).index(n) if n in new_names else -1 for n in old_names]
    )
    new_vectors = vectors[new_names]
    old = search(vectors[old_names], queries, k_old)
    of_added = search(new_vectors[changes.added], queries, k)
    added = TopK(np.where(of_added.ids >= 0, np.append(changes.added, -1)[of_added.ids], -1), of_added.scores)
    updated, stale = update_top_k(old, changes.row_map, added, k)
    full = search(new_vectors, queries, k)
    exact = np.setdiff1d(np.arange(len(queries)), stale)
    event(f"stale: {len(stale) > 0}, exact: {len(exact) > 0}")
    np.testing.assert_array_equal(updated.ids[exact], full.ids[exact])
    np.testing.assert_array_equal(updated.scores[exact], full.scores[exact])
    assert (updated.ids.dtype, updated.scores.dtype) == (full.ids.dtype, full.scores.dtype)
    # not overcautious: with k_old places and at most k_old - k of them lost, nobody is stale without need
    lost = ((old.ids >= 0) & (changes.row_map[old.ids] < 0)).sum(axis=1)
    in_order = (np.diff(changes.row_map[changes.row_map >= 0]) > 0).all()
    if in_order and not len(changes.added):
        assert not set(stale) & set(np.flatnonzero(lost <= k_old - k))


def test_on_random_vectors_few_are_stale():
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((2200, 16)).astype(np.float32), rng.standard_normal((300, 16)).astype("f4")
    old_names = np.arange(2000)
    new_names = np.concatenate([np.setdiff1d(old_names, rng.choice(2000, 40, replace=False)), np.arange(2000, 2200)])
    changes = changes_of(old_names, new_names)
    of_added = search(vectors[new_names][changes.added], queries, 20)
    added = TopK(changes.added[of_added.ids], of_added.scores)
    old = search(vectors[old_names], queries, 20)
    updated, stale = update_top_k(old, changes.row_map, added, 20)
    lost = (changes.row_map[old.ids] < 0).any(axis=1)
    assert 0 < len(stale) < lost.sum()  # a new item in the place of a lost one spares the search
    full = search(vectors[new_names], queries, 20)
    exact = np.setdiff1d(np.arange(300), stale)
    np.testing.assert_array_equal(updated.ids[exact], full.ids[exact])
    # with some places to spare nobody is stale
    spare = search(vectors[old_names], queries, 30)
    updated, stale = update_top_k(spare, changes.row_map, added, 20)
    assert not len(stale)
    np.testing.assert_array_equal(updated.ids, full.ids)


def test_by_hand():
    """Old items 0..3, of which 1 is gone; a new item scores .75. Query 0 held items 0 and 1, query 1 items 2 and 3."""
    old = TopK(np.array([[0, 1], [2, 3]]), np.array([[0.9, 0.5], [0.9, 0.8]], dtype=np.float32))
    added = TopK(np.array([[3, -1], [3, -1]]), np.array([[0.75, -np.inf], [0.75, -np.inf]], dtype=np.float32))
    updated, stale = update_top_k(old, np.array([0, -1, 1, 2]), added, 2)
    assert updated.ids.tolist() == [[0, 3], [1, 2]]
    assert not len(stale)  # whatever the first list left out scores .5 at most
    below = TopK(added.ids, added.scores - np.float32(0.5))
    updated, stale = update_top_k(old, np.array([0, -1, 1, 2]), below, 2)
    assert stale.tolist() == [0]
    assert updated.ids[1].tolist() == [1, 2]


keys = st.lists(st.sampled_from("abcd"), max_size=8)


@given(keys, keys)
def test_changes_pair_equal_items_one_to_one(old, new):
    changes = changes_of(np.array(old, dtype="U1"), np.array(new, dtype="U1"))
    matched = changes.row_map[changes.row_map >= 0]
    assert len(set(matched.tolist())) == len(matched) == sum(min(old.count(c), new.count(c)) for c in "abcd")
    assert all(new[row] == old[n] for n, row in enumerate(changes.row_map) if row >= 0)
    assert sorted([*matched.tolist(), *changes.added.tolist()]) == list(range(len(new)))
    assert changes.added.tolist() == sorted(changes.added.tolist())
    for c in "abcd":  # the first matches the first, so what did not move keeps its order
        of_key = [row for n, row in enumerate(changes.row_map) if old[n] == c and row >= 0]
        assert of_key == sorted(of_key)


def test_wrong_use():
    old = TopK(np.array([[0, 5]]), np.zeros((1, 2), dtype=np.float32))
    added = TopK(np.full((1, 2), -1), np.full((1, 2), -np.inf, dtype=np.float32))
    with pytest.raises(UsageError, match="holds row 5 of a catalogue of 3 items"):
        update_top_k(old, np.arange(3), added, 2)
    with pytest.raises(UsageError, match="searched for the top 2; expected at least k = 3"):
        update_top_k(old, np.arange(9), added, 3)
    with pytest.raises(UsageError, match="old lists of 1 queries, new ones of 2"):
        update_top_k(old, np.arange(9), TopK(np.zeros((2, 2), int), np.zeros((2, 2))), 2)
    with pytest.raises(UsageError, match="no place at all"):
        update_top_k(TopK(old.ids[:, :0], old.scores[:, :0]), np.arange(9), added, 2)
