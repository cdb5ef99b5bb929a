"""Parquet in bounded pieces: the same rows, and one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mr_st.data import parquet
from mr_st.data.parquet import parquet_batches, parquet_schema, read_parquet, write_parquet
from mr_st.errors import DataError, MrStError

TABLE = pa.table({"n": list(range(1_000)), "t": [f"text {row}" for row in range(1_000)]})


def test_batches_do_not_follow_the_row_groups(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet", row_group_size=700)
    batches = list(parquet_batches(tmp_path / "t.parquet", batch_rows=64))
    assert max(map(len, batches)) == 64
    assert pa.Table.from_batches(batches) == TABLE
    (column,) = {batch.schema.names[0] for batch in parquet_batches(tmp_path / "t.parquet", ["t", "absent"])}
    assert column == "t"
    assert parquet_schema(tmp_path / "t.parquet").names == ["n", "t"]


def test_row_groups_are_bounded_in_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 250)
    write_parquet(path, TABLE.to_batches(max_chunksize=100), TABLE.schema)
    assert pq.read_table(path) == TABLE
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [200] * 5
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1)
    write_parquet(path, TABLE.to_batches(max_chunksize=100), TABLE.schema)
    assert pq.read_metadata(path).num_row_groups == 10
    write_parquet(path, [], TABLE.schema)
    assert pq.read_table(path) == TABLE.slice(0, 0)


def test_a_truncated_file_is_named_by_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(TABLE, path)
    path.write_bytes(path.read_bytes()[:-9])
    for read in (read_parquet, parquet_schema, lambda path: list(parquet_batches(path))):
        with pytest.raises(DataError, match=r"^t\.parquet: not a readable Parquet file") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_text_that_is_no_utf8_is_found_in_any_batch(tmp_path: Path) -> None:
    bad = pa.array([b"fine"] * 100 + [b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"t": bad}), tmp_path / "t.parquet")
    batches = parquet_batches(tmp_path / "t.parquet", batch_rows=10)
    assert len(next(batches)) == 10
    with pytest.raises(DataError, match=r"UTF-?8"):
        list(batches)


def test_a_file_that_cannot_be_written_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(MrStError, match=r"cannot be written \(No such file or directory\)"):
        write_parquet(tmp_path / "absent" / "t.parquet", TABLE.to_batches(), TABLE.schema)
