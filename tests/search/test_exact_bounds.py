"""The exact searcher against a full sort, on data made to be hard for a first pass."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.errors import DataError, UsageError
from mr_st.search import ExactSearcher, QueryBatch, TopK, deep
from mr_st.search.bfloat16 import Bfloat16Room, Bfloat16Side, bfloat16_holds, bfloat16_passing
from mr_st.search.deep import deep_best
from mr_st.search.first_pass import (
    Float32Side,
    Int8Side,
    Room,
    float32_pairs,
    float32_passing,
    int8_is_exact,
    int8_pairs,
)
from mr_st.search.top import empty_top

WITH_INT8 = pytest.mark.skipif(not int8_is_exact(64), reason="no int8 dot products here")


def full_sort(queries: np.ndarray, items: np.ndarray, k: int) -> TopK:
    """Every score as float64, rounded to float32; every row sorted whole."""
    products = queries.astype(np.float64)[:, None, :] * items.astype(np.float64)[None, :, :]
    scores = products.sum(axis=2).astype(np.float32) + np.float32(0)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    fill = ((0, 0), (0, max(k - len(items), 0)))
    best = np.pad(np.take_along_axis(scores, order, axis=1), fill, constant_values=-np.inf)
    return TopK(np.pad(order, fill, constant_values=-1), best)


def made(kind: str, rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.standard_normal((n, d))
    if kind == "equal":
        vectors = np.broadcast_to(rng.standard_normal(d), (n, d)).copy()
    elif kind == "duplicates":
        vectors = vectors[rng.integers(0, max(n // 9, 1), n)]
    elif kind == "near":
        vectors = vectors[:1] + 1e-6 * vectors
    elif kind == "heavy":
        vectors = rng.standard_t(1.1, (n, d))
    elif kind == "sparse":
        vectors = np.where(rng.random((n, d)) < 2 / d, vectors, 0)
        vectors[~vectors.any(axis=1), 0] = 1
    elif kind == "one-hot":
        vectors = np.eye(d)[rng.integers(0, d, n)]
    elif kind == "huge":
        vectors = vectors * 1e14
    elif kind == "tiny":
        vectors = vectors * 1e-24
    elif kind == "uneven":
        vectors = vectors * 10.0 ** rng.integers(-6, 6, (n, 1))
    elif kind == "rising":
        vectors = np.ones((n, d)) * (1 + np.arange(n)[:, None] / n)
    return vectors.astype(np.float32)


KINDS = "normal equal duplicates near heavy sparse one-hot huge tiny uneven rising".split()


def assert_same(found: TopK, expected: TopK) -> None:
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["auto", "float32", "int8"]),
    st.sampled_from([1, 2, 7, 16, 65]),
    st.integers(1, 90),
    st.data(),
)
def test_equals_a_full_sort_on_any_data(kind, seed, first_pass, d, n_items, data) -> None:
    if first_pass == "int8" and not int8_is_exact(d):
        first_pass = "auto"
    rng = np.random.default_rng(seed)
    items, queries = made(kind, rng, n_items, d), made(kind, rng, int(rng.integers(1, 50)), d)
    if data.draw(st.booleans()) and kind not in ("huge", "tiny", "uneven", "heavy"):
        items = items.astype(np.float16)
    k = data.draw(st.integers(1, n_items + 5))
    blocks = {"query_block": data.draw(st.integers(1, 60)), "item_block": data.draw(st.integers(1, 100))}
    searcher = ExactSearcher(items, first_pass=first_pass, **blocks)
    assert_same(searcher.search(QueryBatch(vectors=queries), k), full_sort(queries, items, k))


@WITH_INT8
@pytest.mark.parametrize("kind", KINDS)
def test_every_pass_finds_the_same_in_many_blocks(kind: str) -> None:
    rng = np.random.default_rng(1)
    items, queries = made(kind, rng, 2000, 64), made(kind, rng, 40, 64)
    expected = full_sort(queries, items, 30)
    for first_pass in ("auto", "int8", "float32"):
        searcher = ExactSearcher(items, first_pass=first_pass, item_block=128, query_block=16)
        assert_same(searcher.search(QueryBatch(vectors=queries), 30), expected)
        assert_same(searcher.search(QueryBatch(vectors=queries), 30), expected)  # with the codes it kept


@WITH_INT8
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold(kind: str) -> None:
    """Every pair that is not ruled out lies between its bounds, and every pair above its threshold is kept."""
    rng = np.random.default_rng(2)
    n, m, d = 30, 200, 64
    queries, items = Float32Side.of(made(kind, rng, n, d), "cpu"), Float32Side.of(made(kind, rng, m, d), "cpu")
    exact = queries.values.astype(np.float64) @ items.values.astype(np.float64).T
    thresholds = np.quantile(exact, 0.7, axis=1).astype(np.float32)
    room = Room(n, m, "cpu")
    codes = Int8Side.of(queries), Int8Side.of(items)
    for found in (
        int8_pairs(*codes, thresholds, room, n * m),
        float32_pairs(queries, items, thresholds, m, room, n * m),
    ):
        assert found is not None
        kept = np.zeros((n, m), dtype=bool)
        kept[found.rows, found.columns] = True
        assert kept[exact.astype(np.float32) > thresholds[:, None]].all()
        scores = exact[found.rows, found.columns].astype(np.float32)
        assert (found.low <= scores).all()
        assert (scores <= found.high).all()


def bfloat16_places(items: Float32Side, queries: Float32Side, limits: np.ndarray, most: int) -> np.ndarray | None:
    (m, d), n = items.values.shape, len(queries.values)
    sides = Bfloat16Side.of(items), Bfloat16Side.of(queries)
    return bfloat16_passing(*sides, limits, Bfloat16Room(n, m, d), most)


def float32_places(items: Float32Side, queries: Float32Side, limits: np.ndarray, most: int) -> np.ndarray | None:
    return float32_passing(items, queries, limits, Room(len(queries.values), len(items.values), "cpu"), most)


DEEP_PASSES = [
    pytest.param(
        bfloat16_places,
        marks=pytest.mark.skipif(not bfloat16_holds(64), reason="no bfloat16 products here"),
        id="bfloat16",
    ),
    pytest.param(float32_places, id="float32"),
]


@pytest.mark.parametrize("places_of", DEEP_PASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_beats_its_guess_passes(places_of: Any, kind: str) -> None:
    """Every pair above its threshold passes: few, many or all of them, above and below zero."""
    rng = np.random.default_rng(4)
    n, m, d = 30, 200, 64
    queries, items = made(kind, rng, n, d), made(kind, rng, m, d)
    sides = [Float32Side.of(vectors, "cpu") for vectors in (items, queries)]
    exact = items.astype(np.float64) @ queries.astype(np.float64).T
    for share in (0.98, 0.7, 0.02, None):
        low = np.full(n, -3e38) if share is None else np.quantile(exact, share, axis=0)
        thresholds = np.nextafter(low.astype(np.float32), np.float32(-np.inf))
        places = places_of(*sides, thresholds, n * m)
        assert places is not None
        assert (np.diff(places) > 0).all()
        passed = np.zeros(m * n, dtype=bool)
        passed[places] = True
        assert passed.reshape(m, n)[exact.astype(np.float32) > thresholds].all()


@pytest.mark.parametrize("places_of", DEEP_PASSES)
def test_what_is_below_its_guess_is_mostly_ruled_out(places_of: Any) -> None:
    rng = np.random.default_rng(3)
    items, queries = (
        v / np.linalg.norm(v, axis=1, keepdims=True) for v in (made("normal", rng, n, 384) for n in (2000, 50))
    )
    sides = [Float32Side.of(vectors, "cpu") for vectors in (items, queries)]
    thresholds = np.sort(queries @ items.T, axis=1)[:, -20]
    places = places_of(*sides, thresholds, 50 * 2000)
    assert places is not None
    assert len(places) < 50 * 40  # 20 a query are above
    assert places_of(*sides, thresholds, 50 * 19) is None


GIVES_UP = {
    "bfloat16": ("equal", "near", "heavy", "one-hot", "rising"),
    "float32": ("equal", "near", "one-hot", "rising"),
}
"""Of each first pass: data that it cannot tell apart well enough, or whose best stand together."""


@pytest.mark.parametrize("first", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_deep_walk_finds_what_scores_above_the_guesses(
    first: str, kind: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a full sort, over several blocks; more than its guess lets through makes it give up."""
    if first == "bfloat16" and not bfloat16_holds(16):
        pytest.skip("no bfloat16 products here")
    monkeypatch.setattr(deep, "bfloat16_holds", lambda _: first == "bfloat16")
    rng = np.random.default_rng(5)
    with np.errstate(over="ignore"):
        items = made(kind, rng, 500, 16).astype(dtype)
    queries = made("normal", rng, 21, 16)
    if dtype is np.float16 and kind in ("huge", "tiny", "uneven"):
        return  # out of its range
    k, longest = 20, float(np.linalg.norm(items.astype(np.float64), axis=1).max())
    truth = full_sort(queries, items, k + 2)
    guesses = np.nextafter(truth.scores[:, k - 1], np.float32(-np.inf))
    best = deep_best(items, queries, k, guesses, longest, (8, 150))
    if kind in GIVES_UP[first]:
        assert best is None  # more than a sixteenth of a block passes
        return
    assert best is not None
    found = empty_top(21, k)
    best.result(slice(0, 21), found.ids, found.scores)
    assert_same(found, TopK(truth.ids[:, :k], truth.scores[:, :k]))
    np.testing.assert_array_equal(best.thresholds, truth.scores[:, k - 1])
    too_high = deep_best(items, queries, k, truth.scores[:, k - 3], longest, (8, 150))
    assert too_high is not None
    assert (too_high.thresholds == -np.inf).all()  # fewer than k are above: the search sees that it was misled
    assert deep_best(items, queries, k, np.full(21, -1e30, np.float32), longest, (8, 150)) is None


@WITH_INT8
def test_int8_rules_most_pairs_out() -> None:
    rng = np.random.default_rng(3)
    queries, items = made("normal", rng, 50, 384), made("normal", rng, 2000, 384)
    sides = Float32Side.of(queries, "cpu"), Float32Side.of(items, "cpu")
    thresholds = np.sort(queries @ items.T, axis=1)[:, -20]
    found = int8_pairs(Int8Side.of(sides[0]), Int8Side.of(sides[1]), thresholds, Room(50, 2000, "cpu"), 100_000)
    assert found is not None
    assert 50 * 19 <= len(found.rows) < 50 * 100


def test_scores_do_not_depend_on_blocks_or_other_queries() -> None:
    rng = np.random.default_rng(4)
    items, queries = made("normal", rng, 3000, 48), made("normal", rng, 70, 48)
    whole = ExactSearcher(items).search(QueryBatch(vectors=queries), 9)
    small = ExactSearcher(items, memory=48 << 20)
    for row in (0, 33, 69):
        one = small.search(QueryBatch(vectors=queries[row : row + 1]), 9)
        assert_same(one, TopK(whole.ids[row : row + 1], whole.scores[row : row + 1]))


def test_a_search_in_several_walks_finds_the_same(tmp_path) -> None:
    """So little memory that neither all queries nor all items' codes fit."""
    rng = np.random.default_rng(5)
    np.save(tmp_path / "items.npy", made("normal", rng, 5000, 32).astype(np.float16))
    items = np.load(tmp_path / "items.npy", mmap_mode="r")
    queries = made("normal", rng, 2000, 32)
    searcher = ExactSearcher(items, memory=36 << 20)
    n_at_once, *_ = searcher._blocks(50)
    assert n_at_once < 2000
    large = ExactSearcher(items).search(QueryBatch(vectors=queries), 50)
    assert_same(searcher.search(QueryBatch(vectors=queries), 50), large)


def test_too_little_memory_and_other_wrong_use() -> None:
    items = np.ones((10, 4), dtype=np.float32)
    with pytest.raises(UsageError, match=r"memory=1,000,000 bytes is too little here; give \d+ MiB"):
        ExactSearcher(items, memory=1_000_000)
    with pytest.raises(UsageError, match="first_pass is 'int4'"):
        ExactSearcher(items, first_pass="int4")
    with pytest.raises(UsageError, match="8 or more components"):
        ExactSearcher(items, first_pass="int8")
    with pytest.raises(UsageError, match="2 item ids for 10 item vectors"):
        ExactSearcher(items, ids=["a", "b"])
    with pytest.raises(UsageError, match="item_block=0"):
        ExactSearcher(items, item_block=0)


@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "NaN"), (-np.inf, "NaN or infinite"), (0.0, "a zero vector"), (1e30, "a length of")]
)
def test_unusable_vectors_are_named_by_id(value: float, what: str) -> None:
    items = np.ones((9000, 3), dtype=np.float32)
    items[7654] = value
    with pytest.raises(DataError, match=rf"item vectors, row 7,655: {what}.*\(i7654\)"):
        ExactSearcher(items, ids=[f"i{row}" for row in range(9000)])


PEAK = """
import resource, sys
import numpy as np
from mr_st.search import ExactSearcher, QueryBatch
n_queries, n_items, memory, first_pass, path = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def vectors(seed, n):
    out = np.random.default_rng(seed).standard_normal((n, 256), dtype=np.float32)
    return out
few = vectors(0, 400)
ExactSearcher(few).search(QueryBatch(vectors=few), 10)  # loads what is loaded once
items, queries = vectors(1, n_items), vectors(2, n_queries)
before = peak()
top = ExactSearcher(items, memory=int(memory), first_pass=first_pass).search(QueryBatch(vectors=queries), 100)
print(peak() - before - top.ids.nbytes - top.scores.nbytes)
"""


@pytest.mark.parametrize("first_pass", ["auto", "float32"])
@pytest.mark.parametrize("n_items", [15_000, 60_000])
@pytest.mark.parametrize("mib", [64, 128])
def test_memory_stays_within_what_was_given(first_pass: str, n_items: int, mib: int) -> None:
    arguments = [sys.executable, "-c", PEAK, "3000", str(n_items), str(mib << 20), first_pass, ""]
    taken = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert int(taken.stdout) < mib << 20


def test_a_search_that_guesses_thresholds_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """k is a good part of the catalogue: a sample tells where the k-th best lies; a guess that misleads is seen.

    Where it pays on this machine, the deep walk is what searches here.
    """
    from mr_st.search import exact, guess

    rng = np.random.default_rng(0)
    for kind, n_queries in (("normal", 40), ("duplicates", 20), ("equal", 3), ("one-hot", 3), ("rising", 3)):
        items, queries = made(kind, rng, 16_500, 16), made("normal", rng, n_queries, 16)
        assert guess.worth_guessing(len(items), 200)
        assert_same(ExactSearcher(items).search(QueryBatch(vectors=queries), 200), full_sort(queries, items, 200))
    items, queries = made("normal", rng, 16_500, 16), made("normal", rng, 40, 16)
    guesses = guess.guess_thresholds(items, queries, 200, "cpu")
    assert guesses is not None
    truth = full_sort(queries, items, 200)
    assert (guesses < truth.scores[:, -1]).all()
    n_above = (full_sort(queries, items, 2000).scores > guesses[:, None]).sum(axis=1)
    assert n_above.max() < 700  # and by little: most items are ruled out from the start
    wrong = np.where(np.arange(40) % 2 == 0, truth.scores[:, 3], guesses)  # far too high for every second query
    monkeypatch.setattr(exact, "guess_thresholds", lambda *_: wrong)
    assert_same(ExactSearcher(items).search(QueryBatch(vectors=queries), 200), truth)


def test_scores_of_many_pairs_of_a_query_are_those_of_the_fixed_order() -> None:
    from mr_st.search.canonical import canonical_scores

    rng = np.random.default_rng(0)
    for kind in KINDS:
        items, queries = made(kind, rng, 300, 24), made(kind, rng, 3, 24)
        rows, columns = np.repeat([2, 0, 1], 300), np.tile(np.arange(300), 3)
        fixed = (queries[rows].astype(np.float64) * items[columns].astype(np.float64)).sum(axis=1).astype(np.float32)
        np.testing.assert_array_equal(canonical_scores(queries, items, rows, columns), fixed)
