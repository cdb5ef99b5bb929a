"""Spooled tables: the same rows as in memory, on disk only while the process lives."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from datasets.table import InMemoryTable, MemoryMappedTable
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset, build_instances, spool
from mr_st.data.schema import arrow_schema, to_table
from mr_st.data.spool import cache_folder, spool_table, table_batches
from mr_st.errors import MrStError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    spool._process_folder.cache_clear()
    yield tmp_path / "cache" / "mr_st"
    spool._process_folder.cache_clear()


def items(n: int, size: int) -> Iterator[pa.RecordBatch]:
    """``n`` items in batches of ``size``."""
    for start in range(0, n, size):
        rows = range(start, min(start + size, n))
        table, _ = to_table(
            "items",
            {
                "item_id": [f"i{row}" for row in rows],
                "title": [f"title {row} é" * (row % 5) for row in rows],
                "category_path": [["a", "b", "c"][: row % 4] for row in rows],
                "description": [None if row % 3 else "long " * (row % 40) for row in rows],
            },
        )
        yield from table.to_batches()


def test_a_large_table_is_mapped_from_a_file_and_equals_the_one_in_memory(cache: Path) -> None:
    spooled = spool_table("items", items(50_000, 700), memory_bytes=2**20)
    held = spool_table("items", items(50_000, 50_000))
    assert isinstance(spooled.data, MemoryMappedTable)
    assert isinstance(held.data, InMemoryTable)
    assert Path(spooled.data.path).parent.parent == cache / "spool"
    assert max(map(len, spooled.data.to_batches())) <= spool.BATCH_ROWS
    queries = [{"query_id": "q", "text": "title"}]
    judgments = [{"query_id": "q", "item_id": f"i{row}", "grade": row % 3} for row in range(0, 50_000, 7)]
    one, other = (GradedDataset.from_tables(queries, table, judgments, name="d") for table in (spooled, held))
    assert one.items.data is spooled.data  # not copied
    assert one.fingerprint == other.fingerprint
    assert one.problems() == other.problems() == []
    assert one.describe() == other.describe()
    assert one.item_texts() == other.item_texts()
    assert one.judged_pairs("train").item_rows.tolist() == other.judged_pairs("train").item_rows.tolist()
    assert one.split("train").fingerprint == other.split("train").fingerprint
    rows = [49_999, 3, 20_000]
    assert one.items[rows] == other.items[rows]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 40), max_size=8),
    memory_bytes=st.integers(0, 4_000),
    columns=st.none() | st.lists(st.sampled_from(arrow_schema("items").names), min_size=1, unique=True),
    rows=st.integers(1, 30),
)
def test_rows_come_back_in_order_whatever_the_pieces(monkeypatch, sizes, memory_bytes, columns, rows) -> None:
    monkeypatch.setattr(spool, "BATCH_ROWS", rows)
    monkeypatch.setattr(spool, "_WINDOW_BYTES", 512)
    whole = pa.Table.from_batches(items(sum(sizes), 1000), schema=arrow_schema("items"))
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    pieces = [whole.slice(start, size) for start, size in zip(starts, sizes, strict=True)]
    table = spool_table("items", pieces, memory_bytes=memory_bytes)
    assert table.data.table.equals(whole)
    found = list(table_batches(table, columns))
    expected = whole if columns is None else whole.select(columns)
    assert pa.Table.from_batches(found, schema=expected.schema).equals(expected)
    assert all(batch.num_rows <= rows for batch in found)


def test_a_selection_goes_by_its_own_rows_not_by_the_file() -> None:
    table = spool_table("items", items(100, 30), memory_bytes=0)
    for part, rows in ((table.select([5, 3]), [5, 3]), (table.select(range(10, 20)), list(range(10, 20)))):
        found = [row for batch in table_batches(part, ["item_id"]) for row in batch.column(0).to_pylist()]
        assert found == [f"i{row}" for row in rows]
    columns = table.select_columns(["title", "item_id"])
    assert next(table_batches(columns)).schema.names == ["title", "item_id"]


def test_it_pickles_by_its_path_and_instances_resolve_in_worker_processes() -> None:
    from torch.utils.data import DataLoader

    table = spool_table("items", items(60, 9), memory_bytes=0)
    assert len(pickle.dumps(table)) < 5_000
    dataset = GradedDataset.from_tables(
        [{"query_id": q, "text": f"query {q}"} for q in range(12)],
        table,
        [{"query_id": q, "item_id": f"i{5 * q + r}", "grade": r % 3} for q in range(12) for r in range(5)],
    )
    instances = build_instances(dataset)
    expected = [instances[row] for row in range(len(instances))]
    for n_workers, context in ((0, None), (1, "fork"), (2, "fork"), (1, "spawn")):  # spawning is slow: once
        loader = DataLoader(
            instances, batch_size=3, num_workers=n_workers, collate_fn=list, multiprocessing_context=context
        )
        assert [row for batch in loader for row in batch] == expected


def test_another_schema_is_refused() -> None:
    with pytest.raises(UsageError, match="items: a batch has the columns item_id int64; give item_id string, title"):
        spool_table("items", [pa.table({"item_id": [1]})])
    schema = pa.schema([("n", pa.int32())])
    numbers = spool_table("n", [pa.table({"n": pa.array([1, 2], pa.int32())})], schema=schema, memory_bytes=0)
    assert numbers["n"][:] == [1, 2]


def test_a_source_that_breaks_off_leaves_no_file(cache: Path) -> None:
    def breaking() -> Iterator[pa.RecordBatch]:
        yield from items(3000, 1000)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        spool_table("items", breaking(), memory_bytes=0)
    assert list(cache.rglob("*.arrow")) == []


def test_a_cache_folder_that_cannot_be_written_gives_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.write_text("a file stands where the folder should be")
    with pytest.raises(MrStError, match="set HF_DATASETS_CACHE to a folder with room") as error:
        spool_table("items", items(10, 5), memory_bytes=0)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_gives_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "table.arrow"
    target.symlink_to("/dev/full")  # what is removed afterwards is this link
    with pytest.raises(MrStError, match=r"cannot write table\.arrow \(.*[Nn]o space left.*\); free some space"):
        spool.write_arrow(target, items(20_000, 5_000), arrow_schema("items"))
    assert not target.is_symlink()
    assert Path("/dev/full").exists()


_CHILD = """
import os, sys, datasets, pyarrow as pa
from pathlib import Path
datasets.config.HF_DATASETS_CACHE = Path(sys.argv[1])
from mr_st.data.spool import spool_table
schema = pa.schema([("n", pa.int64())])
table = spool_table("n", [pa.table({"n": list(range(1000))})], schema=schema, memory_bytes=0)
if os.fork() == 0:
    sys.exit(0)  # a child that ends must not take the file with it
os.wait()
assert table.data.path and os.path.exists(table.data.path)
print(os.path.dirname(table.data.path))
if sys.argv[2] == "killed":
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
"""


def test_files_go_with_their_process_and_a_killed_ones_with_the_next(cache: Path) -> None:
    def run(how: str) -> Path:
        command = [sys.executable, "-c", _CHILD, str(cache.parent), how]
        return Path(subprocess.run(command, capture_output=True, text=True).stdout.strip())

    ended = run("ended")
    assert ended.parent == cache / "spool"
    assert not ended.exists()
    killed = run("killed")
    assert list(killed.glob("*.arrow"))
    run("ended")
    assert killed.exists()  # too young to be told from one whose process is just starting
    old = time.time() - 7200
    os.utime(killed, (old, old))
    in_use = cache / "spool" / "in_use"
    in_use.mkdir()
    with FileLock(in_use / "in-use.lock"):
        os.utime(in_use, (old, old))
        run("ended")
        assert in_use.exists()
    assert not killed.exists()


def test_the_cache_folder_is_that_of_datasets(cache: Path) -> None:
    assert cache_folder() == cache
