"""Texts that are no UTF-8, by row and column: Arrow takes a file's bytes for text as they come."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from mr_st.data.schema import MAX_PROBLEMS
from mr_st.errors import Problem

__all__ = ["find_invalid_utf8"]


def find_invalid_utf8(data: pa.Table | pa.RecordBatch, where: str, n_before: int = 0) -> list[Problem]:
    """Every text that is no UTF-8; of one column the first 1,000 one by one, the rest counted in one more line.

    Args:
        data: Rows as they were read.
        where: The file.
        n_before: How many rows of the file come before these.

    Raises:
        pyarrow.ArrowInvalid: the data is damaged in another way.
    """
    try:
        data.validate(full=True)
        return []
    except pa.ArrowInvalid:
        problems: list[Problem] = []
        for name, column in zip(data.schema.names, data.columns, strict=True):
            problems += _of_column(name, column, where, n_before)
        if not problems:
            raise
        return problems


def _of_column(name: str, column: pa.Array | pa.ChunkedArray, where: str, n_before: int) -> Iterator[Problem]:
    mend = "write the file again in UTF-8"
    n_found, start = 0, n_before
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        for row, value in _invalid(chunk):
            n_found += 1
            if n_found <= MAX_PROBLEMS:
                what = f"{value!r:.60} is no UTF-8"
                yield Problem(where, what, mend, start + row + 1, name, "not UTF-8")
        start += len(chunk)
    if n_found > MAX_PROBLEMS:
        rest = n_found - MAX_PROBLEMS
        yield Problem(where, f"{rest:,} more texts that are no UTF-8", mend, None, name, "not UTF-8", rest)


def _invalid(chunk: pa.Array) -> Iterator[tuple[int, bytes]]:
    """Row (from 0) and bytes of each text that does not decode; of a list, of each that it holds."""
    if pa.types.is_list(chunk.type) or pa.types.is_large_list(chunk.type):
        rows = chunk.value_parent_indices().to_pylist()
        yield from ((rows[at], value) for at, value in _invalid(chunk.flatten()))
        return
    binary = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(chunk.type)
    if binary is None:
        return
    for row, value in enumerate(chunk.view(binary)):
        found = value.as_py()
        try:
            if found is not None:
                found.decode("utf-8")
        except UnicodeDecodeError:
            yield row, found
