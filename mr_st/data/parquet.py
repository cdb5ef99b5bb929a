"""Parquet files, whole or batch by batch; whatever is wrong with one is said in one line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import EACCES, EISDIR, ELOOP, ENAMETOOLONG, EPERM
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mr_st.data.spool import BATCH_ROWS, system_reason
from mr_st.data.utf8 import find_invalid_utf8
from mr_st.errors import DataError, MrStError, Problem

__all__ = ["parquet_batches", "parquet_schema", "read_parquet", "write_parquet"]

_GROUP_ROWS, _GROUP_BYTES = 65_536, 64 * 2**20
_READ_BYTES = 2**20
_NO_WAY_IN = (EACCES, EISDIR, ELOOP, ENAMETOOLONG, EPERM)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file into memory.

    Args:
        path: The file.
        columns: Which columns to read; those that the file lacks are passed over.

    Raises:
        DataError: the file is missing, unreadable, truncated, no Parquet, or holds texts that are no UTF-8 (each is
            named by row and column).
    """
    with _explained(path), pq.ParquetFile(path, memory_map=True) as file:
        table = file.read(columns=_present(file, columns))
        problems = find_invalid_utf8(table, path.name)
    if problems:
        raise DataError(problems)
    return table


def parquet_batches(
    path: Path, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file batch by batch, in bounded memory however large its row groups are.

    Args:
        path: The file.
        columns: Which columns to read; those that the file lacks are passed over.
        batch_rows: Rows of a batch; the last of a row group may have fewer.

    Raises:
        DataError: as :func:`read_parquet`, once the damaged part is reached.
    """
    problems: list[Problem] = []
    n_rows = 0
    with _explained(path), pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_rows, columns=_present(file, columns)):
            problems += find_invalid_utf8(batch, path.name, n_rows)
            n_rows += len(batch)
            if not problems:
                yield batch
    if problems:
        raise DataError(problems)


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        DataError: the file is missing, unreadable, truncated or no Parquet.
    """
    with _explained(path), pq.ParquetFile(path) as file:
        return file.schema_arrow


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write batches as Parquet (zstd); a row group has at most 65,536 rows and about 64 MiB.

    Raises:
        MrStError: the disk is full or the file cannot be written.
    """
    try:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            group: list[pa.RecordBatch] = []
            n_rows = n_bytes = 0
            for batch in batches:
                if group and (n_rows + len(batch) > _GROUP_ROWS or n_bytes + batch.nbytes > _GROUP_BYTES):
                    writer.write_table(pa.Table.from_batches(group, schema=schema))
                    group, n_rows, n_bytes = [], 0, 0
                group.append(batch)
                n_rows += len(batch)
                n_bytes += batch.nbytes
            writer.write_table(pa.Table.from_batches(group, schema=schema))
    except OSError as error:
        mend = "free some space there, or choose another folder"
        raise MrStError(f"{path}: cannot be written ({system_reason(error)}); {mend}") from error


def _present(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else [name for name in columns if name in file.schema_arrow.names]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(Problem(path.name, f"the file is missing in {path.parent}", "put it there")) from error
    except (pa.ArrowException, OSError) as error:
        errno = getattr(error, "errno", None)
        if errno in _NO_WAY_IN:
            what = f"cannot be opened ({os.strerror(errno)})"
            raise DataError(Problem(path.name, what, "mend the path or its permissions")) from error
        what = f"not a readable Parquet file ({_first_line(error)})"
        raise DataError(Problem(path.name, what, "write or download it again")) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
