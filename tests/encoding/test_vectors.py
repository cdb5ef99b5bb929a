"""Vectors: rows of shards in order, in memory or mapped; the mapped file is whole or made again."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mr_st.encoding import ShardFolder, Vectors
from mr_st.errors import MrStError

ROWS = np.arange(21, dtype=np.float16).reshape(7, 3)


def written(url: object, dtype: str = "float16") -> Vectors:
    folder = ShardFolder(str(url))
    for name, first, last in (("x", 0, 3), ("a", 3, 6), ("m", 6, 7)):
        folder.write(name, vectors=ROWS[first:last].astype(dtype), keys=np.zeros((last - first, 16), dtype=np.uint8))
    return Vectors(folder, ["x", "a", "m"], [3, 3, 1], 3, dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("url", ["{}/shards", "memory://{}/shards"])
def test_rows_stand_in_the_order_of_the_names(tmp_path, url, dtype):
    vectors = pickle.loads(pickle.dumps(written(url.format(tmp_path), dtype)))
    assert len(vectors) == 7
    assert vectors.offsets.tolist() == [0, 3, 6, 7]
    np.testing.assert_array_equal(vectors.load(), ROWS)
    np.testing.assert_array_equal(vectors.load(1, 3), ROWS[3:])
    np.testing.assert_array_equal(vectors.load(0, 1), ROWS[:3])
    assert vectors.load(2, 2).shape == (0, 3)
    mapped = vectors.map(tmp_path / "maps")
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert mapped.dtype == vectors.load().dtype == dtype
    np.testing.assert_array_equal(mapped, ROWS)


def test_the_map_is_made_once(tmp_path):
    vectors = written(tmp_path / "shards")
    vectors.map(tmp_path)
    for shard in (tmp_path / "shards").iterdir():
        shard.unlink()
    np.testing.assert_array_equal(vectors.map(tmp_path), ROWS)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_map_is_made_again(tmp_path, damage, caplog):
    vectors = written(tmp_path / "shards")
    vectors.map(tmp_path)
    (path,) = tmp_path.glob("*.npy")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"flip": data, "truncate": data[:-7], "empty": b""}[damage])
    np.testing.assert_array_equal(vectors.map(tmp_path), ROWS)
    assert "damaged" in caplog.text
    assert [path.name for path in tmp_path.glob("*.np*")] == [path.name]


def test_identity_is_what_they_were_made_from(tmp_path):
    folder = ShardFolder(tmp_path)
    one = Vectors(folder, ["a", "b"], [3, 3], 8)
    assert one.identity == Vectors(ShardFolder(tmp_path / "moved"), ["a", "b"], [3, 3], 8).identity
    others = [
        Vectors(folder, ["b", "a"], [3, 3], 8),
        Vectors(folder, ["a", "b"], [3, 2], 8),
        Vectors(folder, ["a", "b"], [3, 3], 7),
        Vectors(folder, ["a", "b"], [3, 3], 8, "float32"),
    ]
    assert len({one.identity, *(other.identity for other in others)}) == 5


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_shard_that_is_not_whole_is_named(tmp_path, damage):
    vectors = written(tmp_path / "shards")
    path = tmp_path / "shards" / "a.npz"
    data = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(data.replace(ROWS[3:6].tobytes(), bytes(18)))
    with pytest.raises(MrStError, match="shard a is missing or damaged; run again"):
        vectors.load()
    with pytest.raises(MrStError, match="shard a is missing"):
        vectors.map(tmp_path)
    assert list(tmp_path.glob("*.npy")) == []
    np.testing.assert_array_equal(vectors.load(0, 1), ROWS[:3])


def test_a_shard_of_another_shape_is_refused(tmp_path):
    vectors = written(tmp_path / "shards")
    vectors.folder.write("a", vectors=ROWS[:2])
    with pytest.raises(MrStError, match=r"shard a holds float16 \(2, 3\), expected float16 \(3, 3\)"):
        vectors.load()


def test_no_rows(tmp_path):
    vectors = Vectors(ShardFolder(tmp_path / "shards"), [], [], 5)
    assert vectors.load().shape == vectors.map(tmp_path).shape == (0, 5)
    assert len(vectors) == 0


def test_memory_is_a_shards_while_the_map_is_made(tmp_path):
    folder, shard = ShardFolder(tmp_path / "shards"), np.ones((2000, 64), dtype=np.float16)
    names = [f"{number:02d}" for number in range(40)]
    for name in names:
        folder.write(name, vectors=shard)
    vectors = Vectors(folder, names, [2000] * 40, 64)
    tracemalloc.start()
    mapped = vectors.map(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mapped.nbytes == 40 * shard.nbytes
    assert peak < 8 * shard.nbytes


def test_a_folder_that_cannot_be_written(tmp_path):
    vectors = written(tmp_path / "shards")
    (tmp_path / "file").write_text("")
    with pytest.raises(MrStError, match="cannot write here"):
        vectors.map(Path(tmp_path / "file"))
