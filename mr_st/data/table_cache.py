"""Big Parquet files opened as memory-mapped Arrow files, which are made on the first opening and kept.

An entry is found by what the Parquet file is, never by its name: size, modification and change time, and the hash of
its footer; a file that was written anew has another entry. A receipt beside the Arrow file says how large it is and
when it was written; where the two do not agree, or the file cannot be read, it is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from filelock import FileLock

from mr_st.data.parquet import parquet_batches, parquet_schema
from mr_st.data.schema import MAX_PROBLEMS, TABLES, arrow_schema, to_table
from mr_st.data.spool import cache_folder, map_arrow, write_arrow
from mr_st.errors import DataError, MrStError, Problem
from mr_st.files import atomic_path, ensure_writable, write_json
from mr_st.identity import file_hash, settings_hash

__all__ = ["cached_table", "checked_key", "file_identity", "is_big", "is_checked", "remember_checked"]

logger = logging.getLogger(__name__)

BIG_BYTES, BIG_ROWS = 64 * 2**20, 1_000_000
_FORMAT = 1
_UNUSED_AFTER = 24 * 3600.0  # seconds


def is_big(path: Path) -> bool:
    """Whether a Parquet file is large enough to be opened by way of this cache: 64 MiB unpacked, or a million rows.

    A file that is missing or damaged is not big: who reads it will say what is wrong.
    """
    try:
        with pq.ParquetFile(path) as file:
            groups = (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            n_bytes = max(path.stat().st_size, sum(groups))
            return n_bytes > BIG_BYTES or file.metadata.num_rows > BIG_ROWS
    except (pa.ArrowException, OSError):
        return False


def cached_table(name: str, path: Path, anew: bool = False) -> Dataset:
    """The table of a Parquet file in the schema of table ``name``, memory-mapped.

    Args:
        name: queries, items, judgments or engagement.
        path: The Parquet file.
        anew: Read the Parquet file, whatever the cache has.

    Raises:
        DataError: the file is damaged, a column is missing, or columns or values have a wrong type; every fault is
            listed.
        MrStError: the cache folder cannot be written or is full, or the file changed while it was read.
    """
    identity = file_identity(path)
    key = settings_hash([identity, name, str(arrow_schema(name)), _FORMAT])
    folder = cache_folder() / "tables"
    arrow, receipt = folder / f"{key}.arrow", folder / f"{key}.json"
    if not anew and (found := _open(arrow, receipt, name)) is not None:
        return found
    ensure_writable(folder)
    with FileLock(folder / f"{key}.lock"):  # of several processes, one writes
        if not anew and (found := _open(arrow, receipt, name)) is not None:
            return found
        _make_room(folder, path)
        with atomic_path(arrow) as temporary:
            n_rows = write_arrow(temporary, _cast(name, path), arrow_schema(name))
        if file_identity(path) != identity:
            arrow.unlink(missing_ok=True)
            raise MrStError(f"{path}: changed while it was read; load it again when it is written")
        stat = arrow.stat()
        facts = {"source": str(path.resolve()), "rows": n_rows, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        write_json(receipt, facts)
        found = _open(arrow, receipt, name)
    if found is None:
        raise MrStError(f"{arrow}: cannot be read back; check the disk, or set HF_DATASETS_CACHE to another folder")
    return found


def file_identity(path: Path) -> list[Any]:
    """Size, modification and change time (ns), and the hash of the last 64 KiB, where Parquet's footer stands.

    No other file has all four by accident; a file that is edited in place gets a new change time even where its
    modification time is set back.
    """
    stat = path.stat()
    with open(path, "rb") as handle:
        handle.seek(max(0, stat.st_size - 2**16))
        footer = hashlib.sha256(handle.read()).hexdigest()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, footer]


def checked_key(paths: Mapping[str, Path], scale: Mapping[str, Any]) -> str:
    """The identity of a saved dataset's files and of the rules that they are checked by.

    Args:
        paths: Name of a table -> its Parquet file.
        scale: The grade scale, as a mapping.
    """
    here = Path(__file__).parent  # rules of another version check anew
    code = {path.name: file_hash(path) for path in [*here.glob("validation*.py"), here / "schema.py"]}
    return settings_hash([{name: file_identity(path) for name, path in paths.items()}, scale, code])


def is_checked(key: str) -> bool:
    """Whether the files behind this key were found to have no fault."""
    return (cache_folder() / "checked" / key).is_file()


def remember_checked(key: str) -> None:
    """Note that the files behind this key have no fault. A note that cannot be written is done without."""
    folder = cache_folder() / "checked"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / key).touch()
    except OSError as error:
        logger.info("%s: the check is not remembered (%s)", folder, error)


def _open(arrow: Path, receipt: Path, name: str) -> Dataset | None:
    """The entry, or None where there is none or it is damaged."""
    try:
        facts = json.loads(receipt.read_text(encoding="utf-8"))
        stat = arrow.stat()
        if [facts["bytes"], facts["mtime_ns"]] != [stat.st_size, stat.st_mtime_ns]:
            return None
        found = map_arrow(arrow)
        if len(found) != facts["rows"] or not found.data.table.schema.equals(arrow_schema(name)):
            return None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    with suppress(OSError):
        os.utime(receipt)  # it is in use
    return found


def _cast(name: str, path: Path) -> Iterator[pa.RecordBatch]:
    """The file's rows in the schema, or every fault that keeps them from it."""
    _, problems = to_table(name, parquet_schema(path).empty_table(), where=path.name)
    if problems:
        raise DataError(problems)
    n_rows = n_more = 0
    for batch in parquet_batches(path, [column.name for column in TABLES[name]]):
        table, faults = to_table(name, batch, where=path.name)
        room = max(0, MAX_PROBLEMS - len(problems))
        problems += [f if f.row is None else replace(f, row=f.row + n_rows) for f in faults[:room]]
        n_more += len(faults[room:])
        n_rows += len(batch)
        if not problems:
            yield from table.to_batches()
    if n_more:
        problems.append(Problem(path.name, f"{n_more:,} more values of a wrong type", "convert the columns"))
    if problems:
        raise DataError(problems)


def _make_room(folder: Path, path: Path) -> None:
    """Remove entries of this file as it was before, and of files that are gone, if nobody opened them for a day."""
    for receipt in folder.glob("*.json"):
        try:
            source = Path(json.loads(receipt.read_text(encoding="utf-8"))["source"])
            is_unused = time.time() - receipt.stat().st_mtime > _UNUSED_AFTER
            if is_unused and (source == path.resolve() or not source.exists()):
                receipt.unlink()
                receipt.with_suffix(".arrow").unlink(missing_ok=True)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    for leftover in folder.glob(".tmp-*"):  # of a process that was killed
        try:
            if time.time() - leftover.stat().st_mtime > _UNUSED_AFTER:
                leftover.unlink()
        except OSError:
            continue
