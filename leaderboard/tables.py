"""Read the same columns of many small Parquet files at once, and one by one where that cannot be done.

Opening and decoding a file by itself costs more than what is in it. Polars reads many together in a third of the time,
but all of them must be whole and of the types that reports are saved with; foreign and damaged ones are read alone, so
that they harm nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["DAMAGED", "read_columns", "read_many"]

DAMAGED = (OSError, ValueError, KeyError, OverflowError, pa.ArrowException)
"""What reading and taking apart a table that somebody else wrote may raise."""

_MOST_ROWS = 50_000_000  # far more than a result has
_MOST_BYTES = 2**26  # on disk, of what is read at once
_FILE = "\0file"


def read_many(
    paths: Iterable[Path], columns: Mapping[str, pl.DataType], up_to: tuple[str, int] | None = None
) -> Iterator[pa.Table | None]:
    """Some columns of each file, those that it has.

    Args:
        paths: Of the files, or of nothing.
        columns: Names to the types that they are saved with. A file may hold other types: its table does then too.
            A column that a file lacks is lacking, or holds nulls only.
        up_to: A column of numbers and the greatest that is wanted; rows above it and without one are left out.

    Yields:
        A table for each file; None where there is none or it is damaged.
    """
    for some in _portions(paths):
        there = [path for path in some if path.is_file()]
        together = _together(there, columns, up_to) if len(there) > 1 else None
        if together is None:
            together = {path: read_columns(path, list(columns), up_to) for path in there}
        yield from map(together.get, some)


def read_columns(path: Path, names: Sequence[str], up_to: tuple[str, int] | None = None) -> pa.Table | None:
    """Those of some columns that one file has; see :func:`read_many`."""
    if not path.is_file():
        return None
    try:
        file = pq.ParquetFile(pa.memory_map(str(path)), pre_buffer=False)
        if file.metadata.num_rows > _MOST_ROWS:
            return None
        there = set(file.schema_arrow.names)
        table = file.read([name for name in names if name in there], use_threads=False)
        if up_to is not None:
            table = table.filter(pc.less_equal(table[up_to[0]].cast(pa.int64()), up_to[1]))
    except DAMAGED:
        return None
    return table


def _portions(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """The files in portions of a size that memory holds."""
    portion: list[Path] = []
    n_bytes = 0
    for path in paths:
        size = path.stat().st_size if path.is_file() else 0
        if portion and n_bytes + size > _MOST_BYTES:
            yield portion
            portion, n_bytes = [], 0
        portion.append(path)
        n_bytes += size
    yield portion


def _together(
    paths: Sequence[Path], columns: Mapping[str, pl.DataType], up_to: tuple[str, int] | None
) -> dict[Path, pa.Table] | None:
    """All files by one read; None where one of them does not fit the others."""
    try:
        lazy = pl.scan_parquet(
            [str(path) for path in paths], schema=dict(columns), missing_columns="insert", extra_columns="ignore",
            include_file_paths=_FILE, glob=False, hive_partitioning=False, n_rows=_MOST_ROWS, cache=False,
        )  # fmt: skip
        if up_to is not None:
            lazy = lazy.filter(pl.col(up_to[0]) <= up_to[1])
        rows = lazy.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    if rows.height >= _MOST_ROWS:
        return None
    runs = rows[_FILE].rle().struct.unnest()
    table = rows.drop(_FILE).to_arrow()
    parts: dict[Path, pa.Table] = {}
    start = 0
    for n, name in zip(runs["len"].to_list(), runs["value"].to_list(), strict=True):
        parts[Path(name)] = table.slice(start, n)
        start += n
    # a file without rows gives none of them, and so does one whose name came back otherwise
    return parts if len(parts) == len(paths) and set(parts) == set(paths) else None
