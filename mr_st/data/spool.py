"""Tables larger than memory: batches go to an Arrow file in a cache folder, and come back memory-mapped."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import datasets
import pyarrow as pa
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import MemoryMappedTable
from filelock import FileLock, Timeout

from mr_st.data.schema import arrow_schema, arrow_table, to_dataset
from mr_st.errors import MrStError, UsageError

__all__ = ["BATCH_ROWS", "cache_folder", "map_arrow", "spool_table", "system_reason", "table_batches", "write_arrow"]

BATCH_ROWS = 8_192
"""Rows of a batch: small enough that no text column of it comes near the 2 GiB that 32-bit offsets reach."""

_MEMORY_BYTES = _WINDOW_BYTES = 64 * 2**20
_LOCK = "in-use.lock"
_SWEPT_AFTER = 3_600.0  # seconds; a folder that is younger may be one whose process is about to take its lock


def spool_table(
    name: str,
    batches: Iterable[pa.RecordBatch | pa.Table],
    *,
    schema: pa.Schema | None = None,
    memory_bytes: int = _MEMORY_BYTES,
) -> Dataset:
    """A ``datasets.Dataset`` of the batches, which are read once, in order, and never all in memory.

    A table of up to ``memory_bytes`` stays in memory. A larger one goes to an Arrow file and is memory-mapped; the
    file lies in this process's own folder below :func:`cache_folder` and is removed when the process ends (what a
    killed process left is removed by the next one). To keep the rows, save them: ``GradedDataset.save`` streams.

    Args:
        name: queries, items, judgments or engagement; with ``schema``, any name.
        batches: Rows in the schema, in pieces of any size.
        schema: Another schema than that of table ``name``.
        memory_bytes: Up to which size (bytes of the Arrow buffers) the rows stay in memory.

    Raises:
        UsageError: a batch has another schema.
        MrStError: the cache folder cannot be written, or is full.

    Example:
        >>> table = spool_table("queries", (), memory_bytes=0)
        >>> table.column_names[:3], len(table)
        (['query_id', 'text', 'locale'], 0)
    """
    schema = arrow_schema(name) if schema is None else schema
    checked = _in_schema(batches, schema, name)
    held: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in checked:
        held.append(batch)
        n_bytes += batch.nbytes
        if n_bytes > memory_bytes:
            break
    else:
        return to_dataset(pa.Table.from_batches(held, schema=schema).combine_chunks())
    path = _process_folder() / f"{name}-{os.urandom(8).hex()}.arrow"

    def everything() -> Iterator[pa.RecordBatch]:
        while held:
            yield held.pop(0)
        yield from checked

    write_arrow(path, everything(), schema)
    return map_arrow(path)


def write_arrow(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Write batches of one schema as an Arrow stream, cut to :data:`BATCH_ROWS`; returns the number of rows.

    Raises:
        MrStError: it cannot be written; what was written is removed.
    """
    n_rows = 0
    try:
        with _told(path), pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                for start in range(0, len(batch), BATCH_ROWS):
                    writer.write_batch(batch.slice(start, BATCH_ROWS))
                n_rows += len(batch)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return n_rows


def map_arrow(path: Path) -> Dataset:
    """Open what :func:`write_arrow` wrote; no row is read before it is asked for. Pickled, it goes by its path."""
    return Dataset(MemoryMappedTable.from_file(str(path)), fingerprint=generate_random_fingerprint())


def table_batches(dataset: Dataset, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows in order, batch by batch, in bounded memory: for one pass over all of them.

    Every page of a memory map that was touched counts as the process's memory until the system wants it back, so a
    pass over ``dataset`` itself grows to the size of its file. Here the file is mapped anew every 64 MiB: what was
    passed is let go of when the caller drops it. Columns that are not asked for are not read.

    Args:
        dataset: Any table.
        columns: Which columns; None for all.
    """
    path = _file_of(dataset)
    names = dataset.column_names if columns is None else list(columns)
    if path is None:
        yield from arrow_table(dataset).select(names).to_batches(max_chunksize=BATCH_ROWS)
        return
    with pa.memory_map(str(path)) as source:
        schema = pa.ipc.open_stream(source).schema
        position = source.tell()
    for _ in range(0, path.stat().st_size, _WINDOW_BYTES):
        with pa.memory_map(str(path)) as source:
            source.seek(position)
            stop = position + _WINDOW_BYTES
            while position < stop:
                try:
                    message = pa.ipc.read_message(source)
                except EOFError:  # the end of the stream
                    return
                position = source.tell()
                yield pa.ipc.read_record_batch(message, schema).select(names).replace_schema_metadata(None)


def cache_folder() -> Path:
    """Where Arrow files go: ``mr_st`` in the cache folder of ``datasets`` (the environment's HF_DATASETS_CACHE)."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "mr_st"


def _in_schema(batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema, name: str) -> Iterator[pa.RecordBatch]:
    for piece in batches:
        if not piece.schema.equals(schema):
            found = ", ".join(f"{field.name} {field.type}" for field in piece.schema)
            expected = ", ".join(f"{field.name} {field.type}" for field in schema)
            raise UsageError(f"{name}: a batch has the columns {found}; give {expected}")
        for batch in piece.to_batches() if isinstance(piece, pa.Table) else [piece]:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _file_of(dataset: Dataset) -> Path | None:
    """The Arrow file whose rows are exactly those of ``dataset``; None where there is none."""
    data = dataset.data
    whole = dataset._indices is None and isinstance(data, MemoryMappedTable)
    if not whole or any(replay[0] != "replace_schema_metadata" for replay in data.replays):
        return None
    return Path(data.path) if Path(data.path).is_file() else None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write into one line."""
    try:
        yield
    except OSError as error:
        mend = "free some space, or set HF_DATASETS_CACHE to a folder with room"
        raise MrStError(f"{path.parent}: cannot write {path.name} ({system_reason(error)}); {mend}") from error


def system_reason(error: OSError) -> str:
    """What the system says of a failure, in its own few words; Arrow's errors carry only the number."""
    return os.strerror(error.errno) if error.errno else (str(error).splitlines() or [type(error).__name__])[0]


@cache
def _process_folder() -> Path:
    """This process's folder for spooled tables, removed when it ends."""
    parent = cache_folder() / "spool"
    with _told(parent / "spool"):
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not a forked child
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that were killed: nobody holds their locks."""
    for folder in parent.iterdir():
        try:
            if time.time() - folder.stat().st_mtime < _SWEPT_AFTER:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue
