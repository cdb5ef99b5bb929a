import itertools

import numpy as np
import pytest

from mr_st.errors import DataError, MrStError, UsageError
from mr_st.search import ExactSearcher, QueryBatch, Searcher
from mr_st.search.hnsw import HnswSearcher
from mr_st.search.recall import measure_recall

FIELDS = ("ids", "scores")


def clustered(n: int, d: int = 48, seed: int = 0, n_clusters: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((n_clusters, d))
    rows = centres[rng.integers(0, n_clusters, n)] + 0.7 * rng.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    return clustered(4_000)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return clustered(150, seed=1)


@pytest.fixture(scope="module", params=itertools.product(("f16", "i8"), (1, 3)), ids=lambda p: f"{p[0]}-{p[1]}")
def built(request, items, tmp_path_factory) -> HnswSearcher:
    dtype, n_shards = request.param
    return HnswSearcher.build(items, tmp_path_factory.mktemp("index"), dtype=dtype, n_shards=n_shards)


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, field), getattr(b, field)) for field in FIELDS)


# ---- what it finds -------------------------------------------------------------------------------------------------


def test_it_is_a_searcher_that_finds_most_of_what_exact_search_finds(built, items, queries):
    assert isinstance(built, Searcher)
    assert len(built) == len(items)
    assert measure_recall(built, items, queries, k=20, n_sample=150).low > 0.95


def test_scores_are_products_accumulated_in_float64_with_the_given_vectors(built, items, queries):
    found = built.search(QueryBatch(vectors=queries), 10)
    expected = np.einsum("ncd,nd->nc", items[found.ids].astype(np.float64), queries.astype(np.float64))
    np.testing.assert_array_equal(found.scores, expected.astype(np.float32))
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in found.ids.tolist())


def test_neither_batches_nor_threads_nor_mapping_change_the_result(built, items, queries):
    whole = built.search(QueryBatch(vectors=queries), 15)
    one_by_one = [built.search(QueryBatch(vectors=queries[at : at + 1]), 15) for at in range(20)]
    for field in FIELDS:
        np.testing.assert_array_equal(
            np.concatenate([getattr(r, field) for r in one_by_one]), getattr(whole, field)[:20]
        )
    for view, threads in ((True, 2), (False, 1)):
        again = HnswSearcher.load(built.folder, vectors=items, view=view, threads=threads)
        assert same(again.search(QueryBatch(vectors=queries), 15), whole)


def test_the_length_of_a_query_changes_scores_and_not_the_ranking(built, queries):
    plain = built.search(QueryBatch(vectors=queries[:30]), 5)
    longer = built.search(QueryBatch(vectors=queries[:30] * 8), 5)
    np.testing.assert_array_equal(plain.ids, longer.ids)
    np.testing.assert_allclose(longer.scores, plain.scores * 8, rtol=1e-6)


def test_equal_items_stand_lower_row_first(tmp_path):
    base = clustered(60, d=16)
    items = np.concatenate([base, base, base])
    searcher = HnswSearcher.build(items, tmp_path, expansion_search=200)
    found = searcher.search(QueryBatch(vectors=base[:20]), 3)
    np.testing.assert_array_equal(found.ids, np.arange(20)[:, None] + [0, 60, 120])


@pytest.mark.parametrize("dtype", ["f16", "i8"])
def test_more_places_than_items_are_filled_with_nothing(tmp_path, dtype):
    items = clustered(7, d=16)
    for n_shards in (1, 2):
        searcher = HnswSearcher.build(items, tmp_path, dtype=dtype, n_shards=n_shards)
        found = searcher.search(QueryBatch(vectors=items[:2]), 9)
        exact = ExactSearcher(items).search(QueryBatch(vectors=items[:2]), 9)
        np.testing.assert_array_equal(found.ids, exact.ids)
        assert (found.ids[:, 7:] == -1).all()
        assert np.isneginf(found.scores[:, 7:]).all()


def test_one_item_is_enough(tmp_path):
    searcher = HnswSearcher.build(np.eye(1, 5, dtype=np.float32), tmp_path)
    assert searcher.search(QueryBatch(vectors=np.ones((1, 5))), 2).ids.tolist() == [[0, -1]]


def test_int8_finds_more_with_oversampling(tmp_path, items, queries):
    HnswSearcher.build(items, tmp_path, dtype="i8")
    recalls = [
        measure_recall(HnswSearcher.load(tmp_path, vectors=items, oversampling=o), items, queries, 20).value
        for o in (1.0, 2.0)
    ]
    assert recalls[0] < recalls[1]


@pytest.mark.parametrize(("dtype", "slack"), [("f16", 2e-3), ("i8", 0.02)])
def test_without_vectors_scores_are_the_indexs_own_and_shards_still_compare(tmp_path, items, queries, dtype, slack):
    HnswSearcher.build(items, tmp_path, dtype=dtype, n_shards=2)
    found = HnswSearcher.load(tmp_path).search(QueryBatch(vectors=queries), 10)
    expected = np.einsum("ncd,nd->nc", items[found.ids], queries)
    np.testing.assert_allclose(found.scores, expected, atol=slack)
    assert set((found.ids >= 2_000).ravel().tolist()) == {False, True}  # both shards are met


def test_shards_find_no_less_than_one_graph(tmp_path, items, queries):
    value = {}
    for n_shards in (1, 4):
        searcher = HnswSearcher.build(items, tmp_path / str(n_shards), n_shards=n_shards, expansion_search=30)
        value[n_shards] = measure_recall(searcher, items, queries, 20).value
    assert value[4] >= value[1] - 0.005


def test_some_shards_search_their_rows_under_their_own_numbers(tmp_path, items, queries):
    HnswSearcher.build(items, tmp_path, n_shards=4)
    part = HnswSearcher.load(tmp_path, vectors=items, shards=[2, 1])
    assert len(part) == 2_000
    exact = ExactSearcher(items[1_000:3_000]).search(QueryBatch(vectors=queries), 1)
    found = part.search(QueryBatch(vectors=queries), 1)
    assert np.mean(found.ids[:, 0] == exact.ids[:, 0] + 1_000) > 0.95
    assert ((found.ids >= 1_000) & (found.ids < 3_000)).all()


def test_settings_name_all_that_changes_what_is_found(tmp_path, items):
    one = HnswSearcher.build(items[:500], tmp_path / "a")
    seen = [one.settings]
    for at, change in enumerate(({"dtype": "i8"}, {"connectivity": 8}, {"expansion_add": 32}, {"n_shards": 2})):
        seen.append(HnswSearcher.build(items[:500], tmp_path / str(at), **change).settings)
    for change in ({"expansion_search": 7}, {"oversampling": 2.0}):
        seen.append(HnswSearcher.load(tmp_path / "a", vectors=items[:500], **change).settings)
    seen.append(HnswSearcher.load(tmp_path / "a").settings)
    seen.append(HnswSearcher.build(items[1:501], tmp_path / "other").settings)
    assert all(a != b for a, b in itertools.combinations(seen, 2))
    assert HnswSearcher.load(tmp_path / "a", vectors=items[:500], threads=2, view=False).settings == one.settings


# ---- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_an_unusable_item_is_refused_by_id_before_anything_is_built(tmp_path, items, value):
    bad = items[:300].copy()
    bad[200] = value
    with pytest.raises(DataError, match="row 201") as error:
        HnswSearcher.build(bad, tmp_path, n_shards=1, ids=[f"item-{row}" for row in range(300)])
    assert "item-200" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_row_that_is_no_unit_vector_is_refused(tmp_path, items):
    bad = items[:300].copy()
    bad[7] *= 1.5
    with pytest.raises(DataError, match=r"row 8: length 1.5 .*b7.*; normalise"):
        HnswSearcher.build(bad, tmp_path, ids=[f"b{row}" for row in range(300)])
    HnswSearcher.build(items[:300].astype(np.float16), tmp_path)  # rounding is no fault


@pytest.mark.parametrize("value", [np.nan, -np.inf, 0.0])
def test_an_unusable_query_is_refused(built, queries, value):
    bad = queries.copy()
    bad[3] = value
    with pytest.raises(DataError, match="row 4"):
        built.search(QueryBatch(vectors=bad), 3)


def test_wrong_use_is_refused(built, items, tmp_path):
    with pytest.raises(UsageError, match="k must be 1"):
        built.search(QueryBatch(vectors=items[:1]), 0)
    with pytest.raises(UsageError, match="by vector"):
        built.search(QueryBatch(texts=["x"]), 1)
    with pytest.raises(UsageError, match="do not fit"):
        built.search(QueryBatch(vectors=items[:1, :9]), 1)
    for wrong in ({"dtype": "f32"}, {"connectivity": 1}, {"expansion_add": 0}, {"threads": 0}, {"expansion_search": 0},
                  {"n_shards": 0}, {"n_shards": 99}, {"oversampling": 0.5}):  # fmt: skip
        with pytest.raises(UsageError):
            HnswSearcher.build(items[:50], tmp_path / "wrong", **wrong)
    with pytest.raises(UsageError, match="one row"):
        HnswSearcher.build(items[:0], tmp_path)
    with pytest.raises(UsageError, match="not at a URL"):
        HnswSearcher.build(items[:50], "s3://bucket/index")
    with pytest.raises(MrStError, match="no HNSW index lies here"):
        HnswSearcher.load(tmp_path / "nothing")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_of_any_float_are_scored_as_exact_search_scores_them(tmp_path, items, queries, dtype):
    rows = items[:800].astype(dtype)
    found = HnswSearcher.build(rows, tmp_path, expansion_search=800).search(QueryBatch(vectors=queries), 5)
    exact = ExactSearcher(rows).search(QueryBatch(vectors=queries), 5)
    same_ids = found.ids == exact.ids
    assert same_ids.mean() > 0.98
    np.testing.assert_array_equal(found.scores[same_ids], exact.scores[same_ids])
