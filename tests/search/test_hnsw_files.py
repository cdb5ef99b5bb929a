import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.identity import array_hash, file_hash
from mr_st.search import QueryBatch
from mr_st.search.hnsw import HnswSearcher
from mr_st.search.hnsw_shard import build_shard, shard_rows, shard_vectors_hash


def unit_rows(n: int, d: int = 32, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    return unit_rows(2_000)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_hash(path) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("dtype", ["f16", "i8"])
def test_the_same_vectors_give_the_same_bytes_however_many_threads(tmp_path, items, dtype):
    for name, threads in (("a", 1), ("b", 3)):
        HnswSearcher.build(items, tmp_path / name, dtype=dtype, n_shards=3, threads=threads)
    for shard in (2, 0, 1):  # one by one, in any order, as an engine's workers would
        assert build_shard(items, tmp_path / "c", shard, n_shards=3, dtype=dtype)
    assert len(hashes(tmp_path / "a")) == 6
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b") == hashes(tmp_path / "c")


def test_a_memory_map_gives_the_bytes_of_the_array(tmp_path, items):
    np.save(tmp_path / "items.npy", items)
    HnswSearcher.build(items, tmp_path / "a")
    HnswSearcher.build(np.load(tmp_path / "items.npy", mmap_mode="r"), tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_a_rerun_builds_nothing_that_lies_there(tmp_path, items):
    HnswSearcher.build(items, tmp_path, n_shards=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert not build_shard(items, tmp_path, 1, n_shards=2)
    HnswSearcher.build(items, tmp_path, n_shards=2)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("change", ["vectors", "dtype", "connectivity", "expansion_add", "n_shards"])
def test_other_vectors_or_settings_are_built_anew(tmp_path, items, change):
    HnswSearcher.build(items, tmp_path / "a", n_shards=3)
    other = {"dtype": "i8", "connectivity": 8, "expansion_add": 40, "n_shards": 2}
    vectors = unit_rows(2_000, seed=5) if change == "vectors" else items
    settings = {"n_shards": 3} | ({} if change == "vectors" else {change: other[change]})
    HnswSearcher.build(vectors, tmp_path / "a", **settings)
    HnswSearcher.build(vectors, tmp_path / "b", **settings)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")  # and nothing of the old index is left


def test_an_irreproducible_build_is_not_taken_for_a_reproducible_one(tmp_path, items):
    HnswSearcher.build(items, tmp_path, threads=2, reproducible=False)
    assert json.loads((tmp_path / "shard-000.json").read_text())["reproducible"] is False
    assert not build_shard(items, tmp_path, threads=2)
    assert build_shard(items, tmp_path)
    assert not build_shard(items, tmp_path, threads=2)  # what is reproducible is good enough


BUILD = """
import sys, numpy as np
from mr_st.search.hnsw import HnswSearcher
HnswSearcher.build(np.load(sys.argv[1], mmap_mode="r"), sys.argv[2], n_shards=8, dtype="i8")
"""


def test_a_killed_build_goes_on_and_gives_the_same_bytes(tmp_path):
    items = unit_rows(16_000)
    np.save(tmp_path / "items.npy", items)
    HnswSearcher.build(items, tmp_path / "whole", n_shards=8, dtype="i8")
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(tmp_path / "items.npy"), str(folder)])
    deadline = time.monotonic() + 120
    while not (folder / "shard-002.json").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert 3 <= len(finished) < 8
    with pytest.raises(MrStError, match="not finished"):
        HnswSearcher.load(folder)
    HnswSearcher.build(items, folder, n_shards=8, dtype="i8")
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items())
    whole = {name: value for name, value in hashes(folder).items() if not name.startswith(".tmp-")}
    assert whole == hashes(tmp_path / "whole")


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "flip":
        data[len(data) // 2] ^= 0xFF
    elif how == "junk":
        data = bytearray(b"junk" * 100)
    elif how == "empty":
        data = bytearray()
    path.unlink() if how == "gone" else path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "flip", "junk", "empty", "gone"])
@pytest.mark.parametrize("name", ["shard-001.usearch", "shard-001.json"])
def test_damage_is_one_clear_line_and_a_rebuild_mends_it(tmp_path, items, name, how):
    HnswSearcher.build(items, tmp_path, n_shards=2)
    before = hashes(tmp_path)
    damage(tmp_path / name, how)
    with pytest.raises(MrStError, match="shard-001") as error:
        HnswSearcher.load(tmp_path)
    assert "\n" not in str(error.value)
    HnswSearcher.build(items, tmp_path, n_shards=2)
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("how", ["cut", "junk", "empty", "gone"])
@pytest.mark.parametrize("view", [True, False])
def test_what_is_cut_is_found_also_unchecked(tmp_path, items, how, view):
    HnswSearcher.build(items, tmp_path)
    damage(tmp_path / "shard-000.usearch", how)
    with pytest.raises(MrStError, match=r"shard-000.usearch: .*build the index again"):
        HnswSearcher.load(tmp_path, check=False, view=view)


@pytest.mark.parametrize(
    "change",
    [{"kind": "other"}, {"format": 2}, {"shard": 5}, {"scale": 3.0}, {"n_shards": 0}, {"dimension": None},
     {"graph": 1}, {"graph": {"dtype": "f64"}}, {"dimension": 16}, {"n_items": 99}, {"more": 1}],
)  # fmt: skip
def test_a_record_that_says_otherwise_is_refused(tmp_path, items, change):
    HnswSearcher.build(items, tmp_path)
    path = tmp_path / "shard-000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MrStError, match="shard-000"):
        HnswSearcher.load(tmp_path)


def test_foreign_vectors_are_refused(tmp_path, items):
    HnswSearcher.build(items, tmp_path, n_shards=2)
    other = items.copy()
    other[1_500] = items[0]
    with pytest.raises(MrStError, match="rows 1,000 to 2,000 were built from other vectors"):
        HnswSearcher.load(tmp_path, vectors=other)
    HnswSearcher.load(tmp_path, vectors=other, shards=[0])  # whose rows are the same
    with pytest.raises(MrStError, match="another dtype"):
        HnswSearcher.load(tmp_path, vectors=items.astype(np.float16))
    for wrong in (items[:1_999], items[:, :16]):
        with pytest.raises(MrStError, match="built from vectors"):
            HnswSearcher.load(tmp_path, vectors=wrong, check=False)


def test_shards_of_two_indexes_are_not_mixed(tmp_path, items):
    HnswSearcher.build(items, tmp_path / "a", n_shards=2)
    HnswSearcher.build(items, tmp_path / "b", n_shards=2, connectivity=8)
    for suffix in ("json", "usearch"):
        os.replace(tmp_path / "b" / f"shard-001.{suffix}", tmp_path / "a" / f"shard-001.{suffix}")
    with pytest.raises(MrStError, match=r"shard-001.json: belongs to another index"):
        HnswSearcher.load(tmp_path / "a")
    with pytest.raises(UsageError, match="expected some of 0 to 1"):
        HnswSearcher.load(HnswSearcher.build(items, tmp_path / "c", n_shards=2).folder, shards=[2])


def test_searching_a_mapped_index_changes_no_file(tmp_path, items):
    HnswSearcher.build(items, tmp_path, dtype="i8")
    for path in tmp_path.iterdir():
        path.chmod(0o444)
    before = hashes(tmp_path)
    searchers = [HnswSearcher.load(tmp_path, vectors=items) for _ in range(2)]  # two may map it at once
    found = [searcher.search(QueryBatch(vectors=items[:50]), 5) for searcher in searchers]
    np.testing.assert_array_equal(found[0].ids, found[1].ids)
    assert hashes(tmp_path) == before


def test_a_file_where_the_folder_should_be_is_one_clear_line(tmp_path, items):
    (tmp_path / "index").write_text("in the way")
    with pytest.raises(MrStError, match="index: cannot write here"):
        HnswSearcher.build(items, tmp_path / "index")


def test_a_full_disk_is_one_clear_line_and_leaves_no_half_shard(tmp_path, items, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(MrStError, match="No space left on device"):
        patch.setattr(os, "fsync", full)
        HnswSearcher.build(items, tmp_path)
    assert not list(tmp_path.iterdir())
    HnswSearcher.build(items, tmp_path)


def test_shards_are_contiguous_and_cover_all_rows():
    for n_items, n_shards in ((10, 3), (7, 7), (1_000_001, 8), (1, 1)):
        rows = [shard_rows(n_items, n_shards, shard) for shard in range(n_shards)]
        assert (rows[0][0], rows[-1][1]) == (0, n_items)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(rows))
        sizes = [last - first for first, last in rows]
        assert min(sizes) >= max(1, max(sizes) - 1)


def test_the_hash_of_rows_is_that_of_the_array(items):
    assert shard_vectors_hash(items, 100, 900) == array_hash(items[100:900])
