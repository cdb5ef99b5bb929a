"""Candidates of one and of several sources, against dictionaries of pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.mining import candidates as module
from mr_st.mining.candidates import (
    Candidates,
    candidates_of,
    drop_judged,
    found_by,
    is_judged,
    merge_sources,
    with_scores,
)
from mr_st.search import ExactSearcher, QueryBatch, TopK


def as_rows(candidates: Candidates) -> list[tuple]:
    columns = (candidates.query_rows, candidates.item_rows, map(tuple, candidates.ranks.tolist()))
    return [(int(q), int(i), ranks) for q, i, ranks in zip(*columns, strict=True)]


def check_form(candidates: Candidates) -> None:
    """Types, shapes and order, as the docstring promises."""
    assert [a.dtype for a in vars(candidates).values()] == [np.int64, np.int64, np.int32, np.float32]
    assert candidates.ranks.shape == (len(candidates), candidates.n_sources)
    keys = [(q, min(r for r in ranks if r), i) for q, i, ranks in as_rows(candidates)]
    assert keys == sorted(set(keys))


@st.composite
def lists(draw, max_queries=5, n_items=9):
    """One search: each query's items in rank order, none twice; some lists shorter than k."""
    queries = draw(st.lists(st.integers(0, 12), unique=True, max_size=max_queries))
    item = st.integers(0, n_items - 1)
    return {q: draw(st.lists(item, unique=True, max_size=6)) for q in queries}


def searched(found: dict[int, list[int]], k: int = 6) -> Candidates:
    """The candidates of a search whose pool is the items in reverse, and whose i-th score is 1 - i / 10."""
    ids = np.full((len(found), k), -1, dtype=np.int64)
    scores = np.full((len(found), k), -np.inf, dtype=np.float32)
    for row, items in enumerate(found.values()):
        ids[row, : len(items)] = [8 - item for item in items]
        scores[row, : len(items)] = 1 - np.arange(len(items)) / 10
    return candidates_of(TopK(ids, scores), np.array(list(found), dtype=np.int64), np.arange(9)[::-1])


@given(lists())
def test_one_source_is_what_was_searched(found):
    candidates = searched(found)
    check_form(candidates)
    expected = [(q, item, (rank,)) for q in sorted(found) for rank, item in enumerate(found[q], 1)]
    assert as_rows(candidates) == expected
    np.testing.assert_allclose(candidates.scores, [1 - (ranks[0] - 1) / 10 for *_, ranks in expected], atol=1e-6)


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@given(lists(), lists(), lists())
def test_merged_sources_hold_each_pair_once_with_every_rank(block, model, other, lexical):
    sources = [model, other, lexical]
    expected = {}
    for source, found in enumerate(sources):
        for query, items in found.items():
            for rank, item in enumerate(items, 1):
                expected.setdefault((query, item), [0, 0, 0])[source] = rank
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_PAIRS", block)
        merged = merge_sources([searched(found) for found in sources])
    check_form(merged)
    assert merged.n_sources == 3
    assert {(q, i): list(ranks) for q, i, ranks in as_rows(merged)} == expected
    assert len(merged) == len(expected)
    np.testing.assert_array_equal(np.isnan(merged.scores), merged.source_ranks == 0)
    kept = merged.source_ranks > 0
    np.testing.assert_allclose(merged.scores[kept], 1 - (merged.source_ranks[kept] - 1) / 10, atol=1e-6)
    assert merged.best_ranks.tolist() == [min(r for r in ranks if r) for *_, ranks in as_rows(merged)]


def test_merging_merged_sources_keeps_the_columns_in_order():
    a, b, c = searched({0: [1, 2]}), searched({0: [2, 3]}), searched({0: [3]})
    nested = merge_sources([merge_sources([a, b]), c])
    assert as_rows(nested) == as_rows(merge_sources([a, b, c]))
    assert as_rows(nested) == [(0, 1, (1, 0, 0)), (0, 2, (2, 1, 0)), (0, 3, (0, 2, 1))]
    assert merge_sources([a]) is a
    with pytest.raises(UsageError, match="no candidate source"):
        merge_sources([])


def test_missing_scores_are_those_a_search_would_have_given(monkeypatch):
    rng = np.random.default_rng(0)
    items, queries = rng.standard_normal((60, 32)).astype(np.float16), rng.standard_normal((7, 32)).astype(np.float16)
    query_rows, pool = np.array([3, 9, 4, 20, 5, 6, 7]), rng.permutation(100)[:60]
    everything = ExactSearcher(items).search(QueryBatch(vectors=queries), 60)
    model = candidates_of(TopK(everything.ids[:, :5], everything.scores[:, :5]), query_rows, pool)
    other = candidates_of(
        TopK(rng.permuted(everything.ids, axis=1)[:, :9], everything.scores[:, :9]), query_rows, pool
    )
    monkeypatch.setattr(module, "_BLOCK_VALUES", 300)
    merged = merge_sources([model, other])
    scored = with_scores(merged, queries, items, query_rows, pool)
    query_at, item_at = {r: n for n, r in enumerate(query_rows)}, {r: n for n, r in enumerate(pool)}
    for query, item, before, after in zip(
        merged.query_rows, merged.item_rows, merged.scores, scored.scores, strict=True
    ):
        exact = queries[query_at[query]].astype(np.float64) @ items[item_at[item]].astype(np.float64)
        assert after == (np.float32(exact) if np.isnan(before) else before)
    assert np.isnan(merged.scores).any()
    assert not np.isnan(scored.scores).any()
    assert with_scores(scored, queries, items) is scored  # nothing is missing: no vector is looked up
    with pytest.raises(UsageError, match=r"item row \d+ has no vector under the model"):
        with_scores(merged, queries, items[:-1], query_rows, pool[:-1])
    with pytest.raises(UsageError, match="query row 7 has no vector"):
        with_scores(merged, queries, items, None, pool)
    with pytest.raises(UsageError, match="60 item vectors for 3 item rows"):
        with_scores(merged, queries, items, query_rows, pool[:3])


def test_judged_pairs_go_and_the_others_keep_their_ranks():
    candidates = searched({2: [5, 6, 7], 4: [5, 6]})
    rest, n = drop_judged(candidates, np.array([2, 2, 4, 9]), np.array([6, 1, 5, 5]))
    assert (as_rows(rest), n) == ([(2, 5, (1,)), (2, 7, (3,)), (4, 6, (2,))], 2)
    same, n = drop_judged(candidates, np.array([9]), np.array([5]))
    assert (as_rows(same), n) == (as_rows(candidates), 0)


rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**31 - 1) | st.integers(0, 3)), max_size=20)


@given(rows, rows, st.sampled_from([1, 3, 1 << 20]))
def test_is_judged_equals_membership(pairs, judged, block):
    def columns(several):
        array = np.array(several, dtype=np.int32).reshape(-1, 2)
        return array[:, 0], array[:, 1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_PAIRS", block)
        found = is_judged(*columns(pairs), *columns(judged))
    assert found.tolist() == [pair in set(judged) for pair in pairs]


def test_nothing_found():
    empty = searched({})
    assert len(empty) == len(merge_sources([empty, empty])) == len(Candidates.empty(2)) == 0
    assert merge_sources([empty, searched({1: []})]).n_sources == 2
    check_form(merge_sources([empty, empty]))
    assert len(found_by(empty.ranks, ["model"])) == 0


def test_wrong_use():
    top = TopK(np.zeros((2, 1), dtype=np.int64), np.zeros((2, 1), dtype=np.float32))
    with pytest.raises(UsageError, match="2 queries for 3 query rows"):
        candidates_of(top, np.arange(3), np.arange(1))
    with pytest.raises(UsageError, match="stands twice"):
        candidates_of(top, np.array([4, 4]), np.arange(1))
    with pytest.raises(UsageError, match="2 source names for ranks of shape"):
        found_by(np.ones((3, 1), dtype=np.int32), ["model", "bm25"])
