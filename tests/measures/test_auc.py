from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.measures import Judged, auc, auc_per_query
from mr_st.measures.auc import auc_and_influence

# query, similarity in tenths (many ties), grade
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3), st.integers(0, 3)), max_size=60)


def brute(above: np.ndarray, below: np.ndarray) -> float:
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a in above for b in below]
    return float(np.mean(won)) if won else np.nan


def judged_of(pairs: list[tuple[int, int, int]], n_queries: int = 6) -> tuple[Judged, np.ndarray]:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    judged = Judged.from_pairs([p[0] for p in pairs], range(len(pairs)), [p[2] for p in pairs], n_queries)
    return judged, np.array([p[1] / 10 for p in pairs])


def test_by_hand() -> None:
    # of 2 x 3 comparisons: .9 beats all three, .4 beats .1, ties with .4, loses to .5
    similarities = np.array([0.9, 0.4, 0.4, 0.1, 0.5, 0.99])
    assert auc(similarities, np.array([2, 2, 0, 0, 0, 1]), 2, 0) == pytest.approx(4.5 / 6)
    assert auc(np.full(4, 0.3), np.array([0, 0, 1, 1]), 1, 0) == 0.5


@given(PAIRS)
def test_equals_all_comparisons(pairs: list[tuple[int, int, int]]) -> None:
    judged, similarities = judged_of(pairs)
    for high, low in ((1, 0), (3, 0), (3, 2)):
        is_high, is_low = judged.grades == high, judged.grades == low
        expected = brute(similarities[is_high], similarities[is_low])
        assert auc(similarities, judged.grades, high, low) == pytest.approx(expected, abs=1e-12, nan_ok=True)
        found = auc_per_query(judged, similarities, high, low)
        for query in range(judged.n_queries):
            mine = judged.query_of_pair == query
            expected = brute(similarities[is_high & mine], similarities[is_low & mine])
            assert found[query] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(PAIRS)
def test_only_the_order_counts(pairs: list[tuple[int, int, int]]) -> None:
    judged, similarities = judged_of(pairs)
    stretched = np.exp(3 * similarities)
    np.testing.assert_equal(auc_per_query(judged, stretched, 2, 0), auc_per_query(judged, similarities, 2, 0))
    assert auc(stretched, judged.grades, 2, 0) == pytest.approx(auc(similarities, judged.grades, 2, 0), nan_ok=True)
    assert auc(-similarities, judged.grades, 2, 0) == pytest.approx(
        1 - auc(similarities, judged.grades, 2, 0), nan_ok=True
    )


def test_influence_is_what_leaving_a_query_out_changes() -> None:
    rng = np.random.default_rng(0)
    n = 200
    judged = Judged.from_pairs(np.repeat(np.arange(n), 8), np.tile(np.arange(8), n), rng.integers(0, 2, 8 * n), n)
    similarities = rng.normal(0.3 * judged.grades + rng.normal(0, 0.5, n)[judged.query_of_pair], 0.5)
    whole, influence = auc_and_influence(judged, similarities, 1, 0)
    assert whole == auc(similarities, judged.grades, 1, 0)
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    for query in range(20):
        kept = judged.query_of_pair != query
        without = auc(similarities[kept], judged.grades[kept], 1, 0)
        assert whole - without == pytest.approx(influence[query], abs=2e-4)
    assert not auc_and_influence(judged, similarities, 3, 0)[1].any()


def test_what_cannot_be_is_refused() -> None:
    judged = Judged.from_pairs([0, 0], [0, 1], [0, 1], 1)
    with pytest.raises(ValueError, match="higher"):
        auc(np.zeros(2), judged.grades, 0, 1)
    with pytest.raises(ValueError, match="not finite"):
        auc(np.array([0.1, np.nan]), judged.grades, 1, 0)
    with pytest.raises(ValueError, match="not finite"):
        auc_per_query(judged, np.array([np.inf, 0.1]), 1, 0)
