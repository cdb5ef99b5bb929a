"""The stages of a mining round, each by itself: what a shard holds, what names it, and what is not done twice."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation import Annotations
from mr_st.data import GradedDataset
from mr_st.encoding import ShardFolder, Vectors
from mr_st.errors import MrStError, UsageError
from mr_st.mining.annotate_stage import AnnotateStage, KnownLabelsStage
from mr_st.mining.earlier_ranking import Rankings
from mr_st.mining.index_stage import HnswParts, HnswSettings, IndexStage, RecallStage
from mr_st.mining.pair_keys import find_keys, pair_keys
from mr_st.mining.search_stage import ExactParts, SearchStage, Span, merge_top_k, spans_of
from mr_st.mining.shared_dataset import SharedDataset
from mr_st.search import ExactSearcher, QueryBatch, TopK


def unit(n: int, seed: int, d: int = 16) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def shards_of(folder: Path, rows: np.ndarray, size: int, mark: str) -> Vectors:
    """Vectors in shards of ``size`` rows, named by their bytes as EncodeStage's are by their texts."""
    from mr_st.identity import array_hash

    shards, names, sizes = ShardFolder(folder), [], []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        names.append(f"{mark}-{array_hash(part)}")
        sizes.append(len(part))
        shards.write(names[-1], vectors=part)
    return Vectors(shards, names, sizes, rows.shape[1])


def run(stage) -> list[int]:
    """Run what is not done; which shards that was."""
    to_do = [shard for shard in range(len(stage.sizes)) if not stage.is_done(shard)]
    for shard in to_do:
        stage.run(shard)
    assert all(stage.is_done(shard) for shard in range(len(stage.sizes)))
    return to_do


def search(folder: Path, queries: Vectors, items: Vectors, k: int, part: int, block: int, maps: bool) -> SearchStage:
    map_folder = str(folder / "maps") if maps else None
    searchers = ExactParts(items, spans_of(items, part), map_folder)
    return SearchStage(queries, searchers, k, ShardFolder(folder / "search"), block, map_folder)


# ---- search --------------------------------------------------------------------------------------------------------


def test_spans_are_runs_of_whole_shards():
    vectors = Vectors(ShardFolder("nowhere"), list("abcd"), [3, 3, 9, 1], 2)
    assert spans_of(vectors, 6) == [Span(0, 2, 0, 6), Span(2, 3, 6, 15), Span(3, 4, 15, 16)]
    assert [len(span) for span in spans_of(vectors, 100)] == [16]


@given(st.data())
def test_merging_parts_is_the_search_of_all(data):
    """Scores of few values, so that ties stand in every place: the order is by score, then by row."""
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    k = data.draw(st.integers(1, 12))
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=sum(sizes), max_size=sum(sizes))), np.float32)
    first_rows, parts, start = [], [], 0
    for size in sizes:
        here = sorted(range(size), key=lambda row: (-scores[start + row], row))[:k]
        pad = k - len(here)
        ids = np.array([[*here, *[-1] * pad]])
        parts.append(TopK(ids, np.array([[*scores[start : start + size][here], *[-np.inf] * pad]], np.float32)))
        first_rows.append(start)
        start += size
    merged = merge_top_k(parts, first_rows, k)
    expected = sorted(range(sum(sizes)), key=lambda row: (-scores[row], row))[:k]
    assert merged.ids[0].tolist() == expected + [-1] * (k - len(expected))
    np.testing.assert_array_equal(merged.scores[0, : len(expected)], scores[expected])
    assert np.isneginf(merged.scores[0, len(expected) :]).all()


@pytest.mark.parametrize("maps", [True, False])
def test_blocks_and_parts_change_nothing(tmp_path, maps):
    items, queries = unit(50, 0), unit(23, 1)
    items[31] = items[7]  # a tie
    whole = ExactSearcher(items).search(QueryBatch(vectors=queries), 9)
    vectors = shards_of(tmp_path, items, 10, "item"), shards_of(tmp_path, queries, 5, "query")
    stage = search(tmp_path, vectors[1], vectors[0], 9, part=20, block=10, maps=maps)
    assert sum(stage.sizes) == 23 * 3
    run(pickle.loads(pickle.dumps(stage)))  # as another process does
    top = stage.merged()
    np.testing.assert_array_equal(top.ids, whole.ids)
    np.testing.assert_array_equal(top.scores, whole.scores)


def test_a_part_that_stays_is_not_searched_again(tmp_path):
    items, queries = unit(40, 0), shards_of(tmp_path, unit(10, 1), 5, "query")
    first = search(tmp_path, queries, shards_of(tmp_path, items, 10, "item"), 5, part=20, block=5, maps=False)
    assert run(first) == [0, 1, 2, 3]
    assert run(search(tmp_path, queries, first.searchers.items, 5, part=20, block=5, maps=False)) == []
    changed = items.copy()
    changed[35] = unit(1, 9)[0]  # in the second part
    second = search(tmp_path, queries, shards_of(tmp_path, changed, 10, "item"), 5, part=20, block=5, maps=False)
    assert run(second) == [2, 3]
    np.testing.assert_array_equal(
        second.merged().ids, ExactSearcher(changed).search(QueryBatch(vectors=unit(10, 1)), 5).ids
    )
    deeper = search(tmp_path, queries, first.searchers.items, 6, part=20, block=5, maps=False)
    assert len(run(deeper)) == 4


def test_a_damaged_shard_is_made_again(tmp_path):
    items, queries = shards_of(tmp_path, unit(20, 0), 10, "item"), shards_of(tmp_path, unit(10, 1), 5, "query")
    stage = search(tmp_path, queries, items, 3, part=20, block=5, maps=False)
    run(stage)
    before = stage.merged()
    path = tmp_path / "search" / f"{stage.names[1]}.npz"
    path.write_bytes(path.read_bytes()[:-100])
    again = pickle.loads(pickle.dumps(stage))
    again._found_whole = set()
    assert run(again) == [1]
    np.testing.assert_array_equal(again.merged().ids, before.ids)
    path.unlink()
    with pytest.raises(MrStError, match="is gone or damaged; run again"):
        again.merged()


@pytest.mark.parametrize("n_changed", [0, 1, 6])
def test_an_earlier_ranking_changes_nothing_that_is_found(tmp_path, n_changed):
    """Items go, come and change places; queries come too. The brute-force search of the new catalogue decides."""
    draw = np.random.default_rng(n_changed)
    old, new_rows = unit(60, 0), unit(n_changed, 5)
    kept = np.sort(draw.permutation(60)[: 60 - n_changed])
    new = np.concatenate([old[kept], new_rows])[draw.permutation(60)]
    asked = unit(24, 1)
    now_asked = np.concatenate([asked[4:], unit(3, 7)])
    rankings = Rankings(ShardFolder(tmp_path / "rankings"), "model")
    first = ExactSearcher(old).search(QueryBatch(vectors=asked), 8)
    rankings.keep("old", old, asked, first)

    earlier = rankings.earlier(new, now_asked, 8)
    assert earlier is not None
    assert len(earlier.changes.added) == n_changed
    assert earlier.known.tolist() == [True] * 20 + [False] * 3
    stage = search(tmp_path, shards_of(tmp_path, now_asked, 6, "query"), shards_of(tmp_path, new, 10, "item"), 8,
                   part=100, block=6, maps=True)  # fmt: skip
    stage.earlier = earlier
    run(stage)
    top, full = stage.merged(), ExactSearcher(new).search(QueryBatch(vectors=now_asked), 8)
    np.testing.assert_array_equal(top.ids, full.ids)
    np.testing.assert_array_equal(top.scores, full.scores)

    assert rankings.earlier(new, now_asked, 9) is None  # another depth
    assert rankings.earlier(unit(60, 3), now_asked, 8) is None  # nothing stayed
    assert Rankings(ShardFolder(tmp_path / "rankings"), "other").earlier(new, now_asked, 8) is None
    rankings.keep("new", new, now_asked, full)
    assert ShardFolder(tmp_path / "rankings").names() == {"model-new"}


# ---- graphs --------------------------------------------------------------------------------------------------------


def graphs(folder: Path, items: Vectors, settings: HnswSettings) -> HnswParts:
    return HnswParts(items, spans_of(items, settings.part_size), settings, str(folder / "index"), str(folder / "maps"))


def test_graphs_are_built_once_and_found_by_content(tmp_path):
    items, settings = unit(120, 0), HnswSettings(part_size=40, expansion_search=64)
    searchers = graphs(tmp_path, shards_of(tmp_path, items, 20, "item"), settings)
    stage = IndexStage(searchers)
    assert run(pickle.loads(pickle.dumps(stage))) == [0, 1, 2]
    assert run(IndexStage(searchers)) == []
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*.usearch")}
    items[100] = unit(1, 9)[0]
    changed = graphs(tmp_path, shards_of(tmp_path, items, 20, "item"), settings)
    assert run(IndexStage(changed)) == [2]
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert run(IndexStage(graphs(tmp_path, changed.items, HnswSettings(part_size=40, connectivity=8)))) == [0, 1, 2]

    path = changed.graph_folder(1) / "shard-000.usearch"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert run(IndexStage(changed)) == [1]


def test_recall_is_reported(tmp_path):
    items, queries = unit(200, 0), unit(30, 1)
    vectors = shards_of(tmp_path, items, 50, "item"), shards_of(tmp_path, queries, 10, "query")
    searchers = graphs(tmp_path, vectors[0], HnswSettings(part_size=100))
    run(IndexStage(searchers))
    stage = SearchStage(vectors[1], searchers, 10, ShardFolder(tmp_path / "search"), 10, str(tmp_path / "maps"))
    run(stage)
    top = stage.merged()
    best = ExactSearcher(items).search(QueryBatch(vectors=queries), 10)
    by_hand = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(top.ids, best.ids, strict=True)])
    recall = RecallStage(vectors[1], searchers, top, 10, ShardFolder(tmp_path / "recall"), str(tmp_path / "maps"))
    run(recall)
    assert recall.report()["value"] == pytest.approx(by_hand)
    assert recall.report()["n"] == 30
    half = TopK(np.where(np.arange(10) < 5, best.ids, -1), np.where(np.arange(10) < 5, best.scores, -np.inf))
    worse = RecallStage(vectors[1], searchers, half, 10, ShardFolder(tmp_path / "recall"), str(tmp_path / "maps"))
    run(worse)
    assert worse.report()["value"] == pytest.approx(0.5)


def test_graph_settings_and_places_are_checked(tmp_path):
    with pytest.raises(UsageError, match="part_size 0"):
        HnswSettings(part_size=0)
    with pytest.raises(UsageError, match="'f16' or 'i8'"):
        HnswSettings(dtype="f32")
    with pytest.raises(UsageError, match="not at a URL"):
        HnswParts(shards_of(tmp_path, unit(4, 0), 4, "item"), [], HnswSettings(), "memory://x", str(tmp_path))


# ---- labels --------------------------------------------------------------------------------------------------------


def shop(first_title: str = "mug 0") -> GradedDataset:
    titles = [first_title, *(f"mug {n}" for n in range(1, 8))]
    return GradedDataset.from_tables(
        queries=[{"query_id": f"q{n}", "text": f"red mug {n}"} for n in range(4)],
        items=[{"item_id": f"i{n}", "title": title} for n, title in enumerate(titles)],
        judgments=[{"query_id": "q0", "item_id": "i0", "grade": 2}],
    )


class Letters:
    """Grades by the letters of the texts, and counts what it is asked."""

    identity = "letters-1"

    def __init__(self):
        self.asked: list[tuple[str, str]] = []

    def grade(self, pairs):
        self.asked += zip(pairs.query_texts, pairs.item_texts, strict=True)
        return Annotations.certain([sum(map(ord, q + i)) % 3 for q, i in self.asked[-len(pairs) :]], 3)


def pairs_of(dataset: GradedDataset) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(4), 8), np.tile(np.arange(8), 4)


def annotate(folder: Path, dataset: GradedDataset, annotator: Letters, rows: slice, chunk: int = 5) -> Annotations:
    queries, items = (column[rows] for column in pairs_of(dataset))
    labels = ShardFolder(folder / "labels")
    keys = pair_keys(dataset, queries, items, 2, 400)
    known = KnownLabelsStage(keys, 3, chunk, labels)
    run(known)
    found = known.result(0)
    left = np.setdiff1d(np.arange(len(queries)), found["rows"])
    stage = AnnotateStage(
        annotator, SharedDataset(dataset, ShardFolder(folder)), queries[left], items[left], keys[left],
        item_text_levels=2, max_chars=400, n_grades=3, chunk_size=chunk, folder=labels,
    )  # fmt: skip
    run(stage)
    grades = np.empty(len(queries), dtype=np.int8)
    grades[left], grades[found["rows"]] = stage.annotations().grades, found["grades"]
    return Annotations.certain(grades, 3)


def test_keys_tell_apart_all_that_is_shown():
    dataset = shop()
    queries, items = pairs_of(dataset)
    keys = pair_keys(dataset, queries, items, 2, 400)
    assert len(np.unique(keys, axis=0)) == 32
    np.testing.assert_array_equal(pair_keys(dataset, queries[::-1], items[::-1], 2, 400), keys[::-1])
    other = pair_keys(shop("cup 0"), queries, items, 2, 400)
    assert ((other != keys).all(axis=1) == (items == 0)).all()
    shorter = pair_keys(dataset, queries, items, 2, 3)
    assert (shorter != keys).all()


def test_keys_are_found(tmp_path):
    known = np.random.default_rng(0).integers(0, 50, (40, 2)).astype(np.uint64)
    known = known[np.unique(known[:, 0], return_index=True)[1]]
    asked = np.concatenate([known[::-2], known + np.array([0, 1], dtype=np.uint64)])
    at = find_keys(asked, known)
    rows = {tuple(key): row for row, key in enumerate(known.tolist())}
    assert at.tolist() == [rows.get(tuple(key), -1) for key in asked.tolist()]
    assert find_keys(asked, known[:0]).tolist() == [-1] * len(asked)


def test_only_new_pairs_are_asked_again(tmp_path):
    first, second, third = Letters(), Letters(), Letters()
    annotate(tmp_path, shop(), first, slice(0, 20))
    assert len(first.asked) == 20
    whole = annotate(tmp_path, shop(), second, slice(8, 32))
    assert len(second.asked) == 12
    np.testing.assert_array_equal(whole.grades, annotate(tmp_path / "fresh", shop(), Letters(), slice(8, 32)).grades)
    changed = annotate(tmp_path, shop("cup 0"), third, slice(0, 32))
    assert {item for _, item in third.asked} == {"cup 0"}
    fresh = annotate(tmp_path / "other", shop("cup 0"), Letters(), slice(0, 32))
    np.testing.assert_array_equal(changed.grades, fresh.grades)


def test_a_killed_round_goes_on_in_the_same_chunks(tmp_path):
    """What the round itself wrote before the kill is not taken for an older round's: its chunks stay as they were."""

    class Dies(Letters):
        def grade(self, pairs):
            if len(self.asked) >= 10:
                raise KeyboardInterrupt
            return super().grade(pairs)

    annotate(tmp_path, shop(), Letters(), slice(0, 8))
    with pytest.raises(KeyboardInterrupt):
        annotate(tmp_path, shop(), Dies(), slice(4, 32))
    names = ShardFolder(tmp_path / "labels").names()
    rest = Letters()
    annotate(tmp_path, shop(), rest, slice(4, 32))
    assert len(rest.asked) == 28 - 4 - 10
    annotate(tmp_path / "unbroken", shop(), Letters(), slice(0, 8))
    annotate(tmp_path / "unbroken", shop(), Letters(), slice(4, 32))
    for folder in (tmp_path, tmp_path / "unbroken"):
        assert names < ShardFolder(folder / "labels").names()
    unbroken = tmp_path / "unbroken" / "labels"
    for path in (tmp_path / "labels").iterdir():
        assert path.read_bytes() == (unbroken / path.name).read_bytes()


def test_other_chunks_and_other_annotators(tmp_path):
    annotate(tmp_path, shop(), Letters(), slice(0, 32), chunk=5)
    again = Letters()
    annotate(tmp_path, shop(), again, slice(0, 32), chunk=7)
    assert again.asked == []


@pytest.mark.parametrize("url", ["{}", "memory://mine-{}"])
def test_a_shared_dataset_is_loaded_from_the_folder(tmp_path, url):
    place = ShardFolder(url.format(tmp_path / "work"))
    shared = SharedDataset(shop(), place)
    assert shared.get() is shared.get()
    there = pickle.loads(pickle.dumps(shared))
    assert there.get().fingerprint == shop().fingerprint
    assert len(pickle.dumps(shared)) < 1000
