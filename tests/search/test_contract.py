"""What every searcher promises, over every implementation and saved form."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mr_st.errors import DataError, UsageError
from mr_st.identity import settings_hash
from mr_st.search import (
    Bm25Searcher,
    ExactSearcher,
    HnswSearcher,
    HybridSearcher,
    QueryBatch,
    Searcher,
    TopK,
)

WORDS = "red blue green shoe shoes mug lamp kettle running coffee garden desk".split()
N_ITEMS, N_QUERIES, K = 240, 12, 15


def four_hot(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    """Unit rows of four components of ±.5: every product is a quarter's multiple, exact in any precision, and ties."""
    vectors = np.zeros((n, d), dtype=np.float32)
    places = np.argsort(rng.random((n, d)), axis=1)[:, :4]
    np.put_along_axis(vectors, places, rng.choice([-0.5, 0.5], size=(n, 4)).astype(np.float32), axis=1)
    return vectors


def some_texts(rng: np.random.Generator, n: int) -> list[str]:
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 5))) for _ in range(n)]


_rng = np.random.default_rng(7)
ITEMS, QUERIES = four_hot(_rng, N_ITEMS), four_hot(_rng, N_QUERIES)
ITEM_TEXTS, QUERY_TEXTS = some_texts(_rng, N_ITEMS), some_texts(_rng, N_QUERIES)
BATCH = QueryBatch(texts=QUERY_TEXTS, vectors=QUERIES)

Build = Callable[[np.ndarray, list[str], Path], Searcher]


@dataclass(frozen=True)
class Case:
    """One implementation: how it is built of vectors, texts and an empty folder, and what its queries must have."""

    build: Build
    needs: frozenset[str]
    finds_all: bool = True  # False: approximate, or only what shares a term


def exact(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    return ExactSearcher(vectors)


def exact_float32(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    return ExactSearcher(vectors, first_pass="float32")


def exact_blocks(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    return ExactSearcher(vectors, query_block=5, item_block=37)


def exact_mapped(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "v.npy", vectors.astype(np.float16))
    return ExactSearcher(np.load(folder / "v.npy", mmap_mode="r"))


def hnsw(**options: Any) -> Build:
    return lambda vectors, texts, folder: HnswSearcher.build(vectors, folder, **options)


def hnsw_reloaded(with_vectors: bool, view: bool, **options: Any) -> Build:
    def build(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
        HnswSearcher.build(vectors, folder, **options)
        return HnswSearcher.load(folder, vectors=vectors if with_vectors else None, view=view)

    return build


def bm25(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    return Bm25Searcher(texts, language="en")


def bm25_reloaded(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    Bm25Searcher(texts, language="en", k1=0.3, b=0.6).save(folder)
    return Bm25Searcher.load(folder)


def hybrid(**options: Any) -> Build:
    return lambda vectors, texts, folder: HybridSearcher(
        {"dense": ExactSearcher(vectors), "lexical": Bm25Searcher(texts)}, **options
    )


def hybrid_reloaded(vectors: np.ndarray, texts: list[str], folder: Path) -> Searcher:
    parts = {
        "graph": hnsw_reloaded(True, True)(vectors, texts, folder / "graph"),
        "lexical": bm25_reloaded(vectors, texts, folder / "bm25"),
    }
    return HybridSearcher(parts, weights={"graph": 0.7, "lexical": 0.3}, fusion="weighted")


DENSE, LEXICAL, BOTH = frozenset({"vectors"}), frozenset({"texts"}), frozenset({"texts", "vectors"})
CASES = {
    "exact": Case(exact, DENSE),
    "exact in float32": Case(exact_float32, DENSE),
    "exact in blocks": Case(exact_blocks, DENSE),
    "exact over a map": Case(exact_mapped, DENSE),
    "hnsw f16": Case(hnsw(), DENSE, False),
    "hnsw i8": Case(hnsw(dtype="i8"), DENSE, False),
    "hnsw of three shards": Case(hnsw(n_shards=3, threads=2), DENSE, False),
    "hnsw mapped": Case(hnsw_reloaded(True, True), DENSE, False),
    "hnsw loaded, own scores": Case(hnsw_reloaded(False, False), DENSE, False),
    "hnsw i8 mapped, own scores": Case(hnsw_reloaded(False, True, dtype="i8", n_shards=2), DENSE, False),
    "bm25": Case(bm25, LEXICAL, False),
    "bm25 mapped": Case(bm25_reloaded, LEXICAL, False),
    "hybrid by rank": Case(hybrid(), BOTH),
    "hybrid by score": Case(hybrid(fusion="weighted", normalise="zscore", weights={"dense": 2, "lexical": 1}), BOTH),
    "hybrid reloaded": Case(hybrid_reloaded, BOTH, False),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Searcher]:
    """Each searcher of the common catalogue, built once."""
    made: dict[str, Searcher] = {}

    def get(name: str) -> Searcher:
        if name not in made:
            made[name] = CASES[name].build(ITEMS, ITEM_TEXTS, tmp_path_factory.mktemp("index") / "x")
        return made[name]

    return get


@pytest.fixture(params=sorted(CASES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def searcher(name: str, built: Callable[[str], Searcher]) -> Searcher:
    return built(name)


def rows_of(batch: QueryBatch, rows: slice) -> QueryBatch:
    assert batch.texts is not None
    assert batch.vectors is not None
    return QueryBatch(texts=batch.texts[rows], vectors=batch.vectors[rows])


def assert_same(a: TopK, b: TopK) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.scores, b.scores)


def assert_well_formed(top: TopK, n: int, k: int, n_items: int) -> None:
    assert top.ids.shape == top.scores.shape == (n, k)
    assert top.ids.dtype == np.int64
    assert top.scores.dtype == np.float32
    assert not np.isnan(top.scores).any()
    assert ((top.ids >= -1) & (top.ids < n_items)).all()
    np.testing.assert_array_equal(np.isneginf(top.scores), top.ids == -1)
    for ids, scores in zip(top.ids.tolist(), top.scores.tolist(), strict=True):
        found = [row for row in ids if row >= 0]
        assert len(set(found)) == len(found), "an item stands twice"
        assert ids[len(found) :] == [-1] * (k - len(found)), "a gap before the end"
        for (id_a, a), (id_b, b) in zip(
            zip(found, scores, strict=False), zip(found[1:], scores[1:], strict=False), strict=False
        ):
            assert a > b or (a == b and id_a < id_b), "scores rise, or equal ones stand in another order than rows"


def test_is_a_searcher_that_knows_its_size(searcher: Searcher) -> None:
    assert isinstance(searcher, Searcher)
    assert len(searcher) == N_ITEMS


@pytest.mark.parametrize("k", [1, K, N_ITEMS, N_ITEMS + 50])
def test_answers_are_well_formed(searcher: Searcher, name: str, k: int) -> None:
    top = searcher.search(BATCH, k)
    assert_well_formed(top, N_QUERIES, k, N_ITEMS)
    if CASES[name].finds_all:
        assert ((top.ids >= 0).sum(axis=1) == min(k, N_ITEMS)).all()


def test_only_what_is_needed_is_asked_for(searcher: Searcher, name: str) -> None:
    needs = CASES[name].needs
    given = {"texts": QUERY_TEXTS, "vectors": QUERIES}
    assert_same(searcher.search(QueryBatch(**{key: given[key] for key in needs}), K), searcher.search(BATCH, K))
    for missing in sorted(needs):
        rest = {key: value for key, value in given.items() if key != missing}
        with pytest.raises(UsageError, match=rf"give QueryBatch\({missing}=\.\.\.\)"):
            searcher.search(QueryBatch(**rest), K)


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(searcher: Searcher, k: int) -> None:
    with pytest.raises(UsageError, match=f"k must be 1 or more, got {k}"):
        searcher.search(BATCH, k)


def test_no_queries_give_no_rows(searcher: Searcher) -> None:
    nobody = QueryBatch(texts=[], vectors=np.empty((0, ITEMS.shape[1]), dtype=np.float32))
    assert_well_formed(searcher.search(nobody, 4), 0, 4, N_ITEMS)


def test_more_queries_at_once_change_nothing(searcher: Searcher) -> None:
    whole = searcher.search(BATCH, K)
    for size in (1, 5):
        parts = [searcher.search(rows_of(BATCH, slice(at, at + size)), K) for at in range(0, N_QUERIES, size)]
        assert_same(whole, TopK(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("ids", "scores"))))
    assert_same(whole, searcher.search(BATCH, K))


def test_many_threads_change_nothing(searcher: Searcher) -> None:
    jobs = [(at % N_QUERIES, (1, 200, 15, 160)[at % 4]) for at in range(80)]

    def run(job: tuple[int, int]) -> TopK:
        return searcher.search(rows_of(BATCH, slice(job[0], job[0] + 3)), job[1])

    alone = [run(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        for expected, found in zip(alone, pool.map(run, jobs), strict=True):
            assert_same(expected, found)


def test_settings_are_json_and_name_the_kind(searcher: Searcher, name: str) -> None:
    settings = searcher.settings
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    assert settings["kind"] == name.split()[0]


def test_the_same_again_has_the_same_settings_and_answers(name: str, searcher: Searcher, tmp_path: Path) -> None:
    again = CASES[name].build(ITEMS.copy(), list(ITEM_TEXTS), tmp_path / "again")
    assert again.settings == searcher.settings
    assert_same(again.search(BATCH, K), searcher.search(BATCH, K))


VARIANTS: dict[str, list[Build]] = {
    "hnsw": [
        hnsw(), hnsw(dtype="i8"), hnsw(connectivity=8), hnsw(expansion_add=32), hnsw(expansion_search=64),
        hnsw(n_shards=2), hnsw(oversampling=3), hnsw_reloaded(False, True),
        lambda vectors, texts, folder: HnswSearcher.build(vectors[::-1].copy(), folder),
    ],
    "bm25": [
        lambda v, texts, f, options=options: Bm25Searcher(texts, **options)
        for options in (
            {}, {"k1": 0.3}, {"b": 0.6}, {"method": "robertson"}, {"method": "atire"}, {"language": "en"},
            {"language": "de"}, {"language": "en", "stop_words": []}, {"stop_words": ["red"]},
        )
    ],
    "hybrid": [
        hybrid(), hybrid(weights={"dense": 2, "lexical": 1}), hybrid(weights={"dense": 1, "lexical": 2}),
        hybrid(depth=50), hybrid(constant=20), hybrid(fusion="weighted"),
        hybrid(fusion="weighted", normalise="zscore"), hybrid(fusion="weighted", weights={"dense": 2, "lexical": 1}),
        lambda v, texts, f: HybridSearcher({"dense": ExactSearcher(v), "lexical": Bm25Searcher(texts, k1=0.3)}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(VARIANTS))
def test_settings_tell_variants_apart(kind: str, tmp_path: Path) -> None:
    made = [build(ITEMS, ITEM_TEXTS, tmp_path / str(at)) for at, build in enumerate(VARIANTS[kind])]
    assert len({settings_hash(searcher.settings) for searcher in made}) == len(made)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (np.inf, "infinite"), (0.0, "zero")])
def test_an_unusable_query_vector_is_refused(searcher: Searcher, name: str, value: float, said: str) -> None:
    if "vectors" not in CASES[name].needs:
        pytest.skip("it takes no vectors")
    vectors = QUERIES.copy()
    vectors[2] = value
    with pytest.raises(DataError, match=rf"query vectors, row 3: .*{said}"):
        searcher.search(QueryBatch(texts=QUERY_TEXTS, vectors=vectors), K)


def test_query_vectors_of_another_dimension_are_refused(searcher: Searcher, name: str) -> None:
    if "vectors" not in CASES[name].needs:
        pytest.skip("it takes no vectors")
    with pytest.raises(UsageError, match="query vectors"):
        searcher.search(QueryBatch(texts=QUERY_TEXTS, vectors=QUERIES[:, :5]), K)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (-np.inf, "infinite"), (0.0, "zero")])
def test_an_unusable_item_vector_is_refused(name: str, value: float, said: str, tmp_path: Path) -> None:
    if "vectors" not in CASES[name].needs:
        pytest.skip("it takes no vectors")
    vectors = ITEMS.copy()
    vectors[[41, 100]] = value
    with pytest.raises(DataError, match=rf"item vectors, row 42: .*{said}"):
        CASES[name].build(vectors, ITEM_TEXTS, tmp_path / "x")


@pytest.mark.parametrize(
    "build", [lambda v, ids, to: ExactSearcher(v, ids=ids), lambda v, ids, to: HnswSearcher.build(v, to, ids=ids)]
)
def test_an_unusable_item_is_named_by_its_id(build: Any, tmp_path: Path) -> None:
    vectors = ITEMS.copy()
    vectors[41, 3] = np.nan
    with pytest.raises(DataError, match="SKU-41"):
        build(vectors, [f"SKU-{row}" for row in range(N_ITEMS)], tmp_path / "x")


def test_no_items_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        CASES[name].build(ITEMS[:0], [], tmp_path / "x")


def test_what_finds_all_finds_the_best(name: str, searcher: Searcher) -> None:
    """Dense searchers against a full sort of all products (a graph of so few items holds nearly all of them)."""
    if CASES[name].needs != DENSE:
        pytest.skip("its scores are not products")
    products = QUERIES @ ITEMS.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :K]
    found = searcher.search(BATCH, K)
    if CASES[name].finds_all:
        np.testing.assert_array_equal(found.ids, expected)
        np.testing.assert_array_equal(found.scores, np.take_along_axis(products, expected, axis=1))
    else:
        best = np.sort(np.take_along_axis(products, np.maximum(found.ids, 0), axis=1), axis=1)[:, ::-1]
        assert np.mean(best == np.take_along_axis(products, expected, axis=1)) > 0.9
