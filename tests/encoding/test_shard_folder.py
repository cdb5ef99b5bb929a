"""ShardFolder: a shard is whole or not there, here and on other file systems, whatever happens to its bytes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mr_st.encoding import ShardFolder
from mr_st.errors import MrStError

ARRAYS = {"ids": np.arange(6), "scores": np.linspace(0, 1, 6, dtype=np.float16).reshape(2, 3)}


@pytest.fixture(params=["path", "file url", "memory"])
def folder(request, tmp_path: Path) -> ShardFolder:
    return ShardFolder(
        {"path": tmp_path / "a", "file url": f"file://{tmp_path}/a", "memory": f"memory://{tmp_path}/a"}[request.param]
    )


def assert_whole(arrays):
    assert arrays is not None
    assert sorted(arrays) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_what_is_written_is_read(folder):
    assert folder.names() == set()
    assert (folder.has("0-6"), folder.read("0-6")) == (False, None)
    folder.write("0-6", **ARRAYS)
    assert_whole(folder.read("0-6"))
    assert folder.has("0-6")
    assert folder.names() == {"0-6"}
    assert list(folder.read("0-6", only=["scores"])) == ["scores"]


def test_a_folder_inside(folder):
    (folder / "inner").write("x", a=np.ones(1))
    assert (folder / "inner").names() == {"x"}
    assert folder.names() == set()


def test_what_it_holds_is_described_once(folder):
    folder.describe({"side": "item"})
    folder.describe({"side": "query"})
    assert folder.names() == set()
    if folder.is_local:
        text = Path(folder.url.removeprefix("file://"), "about.json").read_text()
        assert text == '{\n  "side": "item"\n}\n'


def test_only_files_of_this_machine_are_local(tmp_path):
    assert ShardFolder(tmp_path).is_local
    assert ShardFolder(f"file://{tmp_path}").is_local
    assert not ShardFolder(f"memory://{tmp_path}").is_local


def test_the_same_arrays_are_the_same_bytes(tmp_path):
    folder = ShardFolder(tmp_path)
    folder.write("a", **ARRAYS)
    os.utime(tmp_path / "a.npz", (0, 0))
    folder.write("b", **ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_no_flipped_bit_goes_unseen(tmp_path):
    folder = ShardFolder(tmp_path)
    folder.write("a", **ARRAYS)
    path = tmp_path / "a.npz"
    whole = path.read_bytes()
    n_found = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        arrays = folder.read("a")
        n_found += arrays is None
        if arrays is not None:  # a flip where nothing lies: a date, an unused flag
            assert_whole(arrays)
        else:
            assert not path.exists()
    assert n_found > len(whole) / 2


@pytest.mark.parametrize("n_bytes", [0, 1, 100, -1])
def test_a_shard_cut_short_is_removed(tmp_path, n_bytes, caplog):
    folder = ShardFolder(tmp_path)
    folder.write("a", **ARRAYS)
    path = tmp_path / "a.npz"
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert folder.read("a") is None
    assert "shard a is damaged" in caplog.text
    assert folder.names() == set()


def test_nothing_is_unpickled(tmp_path):
    folder = ShardFolder(tmp_path)
    np.savez(tmp_path / "a.npz", ids=np.array([{"a": 1}], dtype=object))
    assert folder.read("a") is None


def test_what_a_killed_writer_left_is_not_read(tmp_path):
    folder = ShardFolder(tmp_path)
    folder.write("a", **ARRAYS)
    (tmp_path / ".tmp-b.npz-123-abcd").write_bytes(b"half a shard")
    (tmp_path / ".tmp-c.npz").write_bytes(b"half a shard")
    assert folder.names() == {"a"}
    assert folder.read("b") is None


def _write_many(url: str, value: int) -> None:
    for _ in range(30):
        ShardFolder(url).write("a", rows=np.full(20_000, value))


def test_writers_of_one_shard_do_not_mix(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), value)) for value in (1, 2, 3)]
    for writer in writers:
        writer.start()
    folder, seen = ShardFolder(tmp_path), 0
    while any(writer.is_alive() for writer in writers):
        arrays = folder.read("a")
        if arrays is not None:
            assert len(np.unique(arrays["rows"])) == 1
            seen += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    from fsspec.implementations.local import LocalFileOpener

    folder = ShardFolder(tmp_path)
    folder.write("a", **ARRAYS)

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileOpener, "write", full, raising=False)
        for name in ("a", "b"):
            with pytest.raises(MrStError, match=r"cannot write here \(No space left on device, .*finished shards"):
                folder.write(name, rows=np.zeros(1000))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert_whole(folder.read("a"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system of its own can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full(small_disk):
    folder = ShardFolder(small_disk)
    for name in "abcdef":
        try:
            folder.write(name, rows=np.zeros(300_000, dtype=np.uint8))
        except MrStError as error:
            assert "No space left" in str(error)  # noqa: PT017 (which write fails is the file system's business)
            break
    else:
        pytest.fail("a disk of 1 MiB took 1.8 MB")
    assert {path.name for path in small_disk.iterdir()} == {f"{name}.npz" for name in folder.names()}
    assert len(folder.read("a")["rows"]) == 300_000


def test_a_disk_that_is_read_only(small_disk):
    folder = ShardFolder(small_disk)
    folder.write("a", **ARRAYS)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(MrStError, match=r"cannot write here .*Read-only"):
        folder.write("b", **ARRAYS)
    assert_whole(folder.read("a"))


@pytest.mark.parametrize("place", ["/proc/mr_st", "file"])
def test_a_folder_that_cannot_be(tmp_path, place):
    (tmp_path / "file").write_text("")
    folder = ShardFolder(place if place.startswith("/") else tmp_path / place)
    assert folder.read("a") is None
    with pytest.raises(MrStError, match="cannot write here"):
        folder.write("a", **ARRAYS)


def test_a_shard_that_cannot_be_read(tmp_path):
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(MrStError, match=r"cannot read shard a \(Is a directory\)"):
        ShardFolder(tmp_path).read("a")
