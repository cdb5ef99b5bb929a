from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.search import TopK
from mr_st.search.fusion import reciprocal_rank_fusion, weighted_score_fusion


def top_of(rows: list[list[tuple[int, float]]], width: int) -> TopK:
    """A TopK from (id, score) lists, filled up to the width."""
    ids = np.full((len(rows), width), -1, dtype=np.int64)
    scores = np.full((len(rows), width), -np.inf, dtype=np.float32)
    for at, row in enumerate(rows):
        for rank, (item, score) in enumerate(row):
            ids[at, rank], scores[at, rank] = item, score
    return TopK(ids, scores)


def fuse_by_hand(
    rows: list[list[tuple[int, float]]], k: int, weights: list[float], how: str
) -> list[tuple[int, float]]:
    """Dictionaries and loops for one query; ``rows`` holds each list's (id, score)."""
    sums: dict[int, float] = {
        item: 0.0 for row, weight in zip(rows, weights, strict=True) if weight for item, _ in row
    }
    for row, weight in zip(rows, weights, strict=True):
        if not weight or not row:
            continue
        scores = np.array([score for _, score in row], dtype=np.float32).astype(np.float64)
        if how == "rrf":
            values, missing = 1 / (60 + np.arange(1, len(row) + 1)), 0.0
        elif how == "minmax":
            spread = scores.max() - scores.min()
            values, missing = ((scores - scores.min()) / spread if spread else np.ones(len(row))), 0.0
        elif how == "zscore":
            values = (scores - scores.mean()) / scores.std() if scores.max() > scores.min() else np.zeros(len(row))
            missing = values.min()
        else:
            values, missing = scores, min(0.0, scores.min())
        given_to = dict(zip([item for item, _ in row], values, strict=True))
        for item in sums:
            sums[item] += weight * given_to.get(item, missing)
    return sorted(sums.items(), key=lambda pair: (-np.float32(pair[1]), pair[0]))[:k]


def ranking(draw: st.DrawFn) -> list[tuple[int, float]]:
    items = draw(st.lists(st.integers(0, 9), unique=True, max_size=6))
    scores = sorted((draw(st.integers(-4, 4)) / 2 for _ in items), reverse=True)
    return list(zip(items, scores, strict=True))


@given(
    st.data(),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 14),
    st.sampled_from(["rrf", "minmax", "zscore", "none"]),
)
def test_equals_dictionaries(data: st.DataObject, n_lists: int, n: int, k: int, how: str) -> None:
    rows = [[data.draw(st.composite(ranking)()) for _ in range(n)] for _ in range(n_lists)]
    weights = data.draw(st.lists(st.sampled_from([0, 0.5, 1, 2]), min_size=n_lists, max_size=n_lists).filter(any))
    tops = [top_of(row, 6 + at) for at, row in enumerate(rows)]
    if how == "rrf":
        fused = reciprocal_rank_fusion(tops, k, weights)
    else:
        fused = weighted_score_fusion(tops, k, weights, how)  # type: ignore[arg-type]
    assert fused.ids.shape == fused.scores.shape == (n, k)
    assert (fused.ids.dtype, fused.scores.dtype) == (np.int64, np.float32)
    for query in range(n):
        expected = fuse_by_hand([row[query] for row in rows], k, weights, how)
        found = dict(zip(fused.ids[query].tolist(), fused.scores[query].tolist(), strict=True))
        found.pop(-1, None)
        assert len(found) == len(expected)
        np.testing.assert_allclose(
            fused.scores[query, : len(expected)], [s for _, s in expected], rtol=1e-5, atol=1e-6
        )
        everything = dict(fuse_by_hand([row[query] for row in rows], 99, weights, how))
        for item, score in found.items():
            assert score == pytest.approx(everything[item], rel=1e-5, abs=1e-6)
        assert (fused.ids[query, len(expected) :] == -1).all()
        assert np.isneginf(fused.scores[query, len(expected) :]).all()


def test_reciprocal_ranks_by_hand() -> None:
    first = top_of([[(7, 9.0), (2, 8.0), (5, 7.0)]], 3)
    second = top_of([[(5, 0.4), (7, 0.3)]], 3)
    fused = reciprocal_rank_fusion([first, second], 4)
    assert fused.ids.tolist() == [[7, 5, 2, -1]]
    np.testing.assert_allclose(fused.scores[0, :3], [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62], rtol=1e-6)
    weighted = reciprocal_rank_fusion([first, second], 2, weights=[1, 3], constant=0)
    assert weighted.ids.tolist() == [[5, 7]]
    np.testing.assert_allclose(weighted.scores[0], [1 / 3 + 3, 1 + 3 / 2], rtol=1e-6)


def test_equal_sums_come_in_row_order() -> None:
    first, second = top_of([[(9, 2.0), (4, 1.0)]], 2), top_of([[(4, 2.0), (9, 1.0)]], 2)
    assert reciprocal_rank_fusion([first, second], 2).ids.tolist() == [[4, 9]]
    assert weighted_score_fusion([first, second], 2).ids.tolist() == [[4, 9]]


def test_a_missing_item_stands_at_the_lists_end() -> None:
    dense = top_of([[(0, -0.2), (1, -0.4)]], 2)
    lexical = top_of([[(2, 5.0), (0, 3.0)]], 2)
    values = {how: weighted_score_fusion([dense, lexical], 3, None, how) for how in ("minmax", "zscore", "none")}
    assert dict(zip(values["minmax"].ids[0].tolist(), values["minmax"].scores[0].tolist(), strict=True)) == {
        0: pytest.approx(1.0), 2: pytest.approx(1.0), 1: 0.0,
    }  # fmt: skip
    z = dict(zip(values["zscore"].ids[0].tolist(), values["zscore"].scores[0].tolist(), strict=True))
    assert z == {0: pytest.approx(0.0), 2: pytest.approx(0.0), 1: pytest.approx(-2.0)}
    raw = dict(zip(values["none"].ids[0].tolist(), values["none"].scores[0].tolist(), strict=True))
    assert raw == {2: pytest.approx(4.6), 0: pytest.approx(2.8), 1: pytest.approx(-0.4)}


def test_a_list_alone_keeps_its_order_and_duplicated_weight_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    ids = np.argsort(rng.random((50, 40)), axis=1)[:, :20].astype(np.int64)
    scores = -np.sort(-rng.random((50, 20)).astype(np.float32), axis=1)
    top = TopK(ids, scores)
    np.testing.assert_array_equal(reciprocal_rank_fusion([top], 20).ids, ids)
    np.testing.assert_array_equal(weighted_score_fusion([top], 20, normalise="none").ids, ids)
    np.testing.assert_array_equal(reciprocal_rank_fusion([top, top], 20, [5, 5]).ids, ids)


def test_nothing_found_and_no_queries() -> None:
    nothing = top_of([[], []], 3)
    some = top_of([[(1, 0.5)], []], 2)
    for how in ("minmax", "zscore", "none"):
        fused = weighted_score_fusion([nothing, some], 2, None, how)  # type: ignore[arg-type]
        assert fused.ids.tolist() == [[1, -1], [-1, -1]]
    assert reciprocal_rank_fusion([nothing, some], 2).ids.tolist() == [[1, -1], [-1, -1]]
    empty = TopK(np.empty((0, 3), dtype=np.int64), np.empty((0, 3), dtype=np.float32))
    assert reciprocal_rank_fusion([empty], 5).ids.shape == (0, 5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda tops: reciprocal_rank_fusion(tops, 0), "k must be 1 or more"),
        (lambda tops: reciprocal_rank_fusion([], 1), "no lists"),
        (lambda tops: reciprocal_rank_fusion(tops, 1, constant=-1), "constant is -1"),
        (lambda tops: reciprocal_rank_fusion(tops, 1, weights=[1]), "1 weights for 2 lists"),
        (lambda tops: weighted_score_fusion(tops, 1, weights=[-1, 1]), "each must be 0 or more"),
        (lambda tops: weighted_score_fusion(tops, 1, weights=[0, 0]), "one above 0"),
        (lambda tops: weighted_score_fusion(tops, 1, weights=[float("nan"), 1]), "each must be 0 or more"),
        (lambda tops: weighted_score_fusion(tops, 1, normalise="softmax"), "normalise is 'softmax'"),
        (lambda tops: weighted_score_fusion([tops[0], top_of([[], []], 1)], 1), "lists of 1 and 2 queries"),
    ],
)
def test_what_means_nothing_is_refused(call, said: str) -> None:
    tops = [top_of([[(0, 1.0)]], 1), top_of([[(1, 1.0)]], 1)]
    with pytest.raises(UsageError, match=said):
        call(tops)
