from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from word_shop import word_shop

from mr_st.errors import UsageError
from mr_st.evaluation import Collection
from mr_st.evaluation.query_sample import draw_queries, restrict


def test_queries_come_as_often_as_their_frequency_says() -> None:
    frequencies = [800.0, 150.0, 50.0, 0.0, None, float("nan")]
    found = draw_queries(frequencies, 100_000)
    assert found.draws.sum() == 100_000
    np.testing.assert_allclose(found.draws[:3] / 100_000, [0.8, 0.15, 0.05], atol=0.005)
    assert found.draws[3:].tolist() == [0, 0, 0]
    assert (found.by_frequency, found.n_pool, found.n_unknown) == (True, 6, 2)
    assert found.once.all()


def test_a_large_pool_is_sampled_for_both_figures() -> None:
    found = draw_queries(list(np.arange(1.0, 5001)), 100, seed=3)
    assert found.draws.sum() == 100
    assert found.once.sum() == 100
    assert len(found.rows) <= 200
    assert found.rows.tolist() == np.flatnonzero((found.draws > 0) | found.once).tolist()
    assert abs(np.flatnonzero(found.once).mean() - 2500) < 500, (
        "the queries of the uniform figure are not the frequent"
    )
    assert np.average(np.arange(5000), weights=found.draws) > 3000
    part = found.take(found.rows)
    assert (part.draws.sum(), part.once.sum(), part.n_pool) == (100, 100, 5000)


@given(st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=40), st.integers(1, 500), st.integers(0, 5))
def test_the_same_seed_gives_the_same_sample(frequencies: list[float | None], n: int, seed: int) -> None:
    one, two = draw_queries(frequencies, n, seed), draw_queries(frequencies, n, seed)
    assert one.draws.tolist() == two.draws.tolist()
    assert one.once.tolist() == two.once.tolist()
    assert one.once.sum() == min(n, len(frequencies))
    if one.by_frequency:
        assert one.draws.sum() == n
        assert all(f for f, drawn in zip(frequencies, one.draws, strict=True) if drawn)
    else:
        assert one.draws.tolist() == one.once.astype(int).tolist()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="no queries"):
        draw_queries([], 10)
    with pytest.raises(UsageError, match="draw 1 or more"):
        draw_queries([1.0], 0)
    with pytest.raises(UsageError, match="query 1 has a frequency below 0"):
        draw_queries([1.0, -2.0], 10)


def test_a_restricted_collection_keeps_every_item() -> None:
    whole = Collection.from_dataset(word_shop())
    rows = np.array([2, 7, 30])
    part = restrict(whole, rows)
    assert part.query_ids == [whole.query_ids[r] for r in rows]
    assert part.query_texts == [whole.query_texts[r] for r in rows]
    assert part.attributes["frequency"] == [whole.attributes["frequency"][r] for r in rows]
    assert part.item_ids == whole.item_ids
    for i, row in enumerate(rows):
        ours, theirs = [x.judged.items[x.judged.query_of_pair == q].tolist() for x, q in ((part, i), (whole, row))]
        assert ours == theirs
    assert part.protocol["n_queries"] == 3
    assert part.protocol["n_queries_not_drawn"] == whole.n_queries - 3
    assert restrict(whole, np.arange(whole.n_queries)) is whole
