"""The content hash of an Arrow table: the same for the same rows, however they are chunked, sliced or stored."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.identity import settings_hash

__all__ = ["table_hash"]


def table_hash(table: pa.Table) -> str:
    """Hash column names, types and values; row order counts, chunks and metadata do not.

    Example:
        >>> table = pa.table({"x": ["a", "b", None]})
        >>> table_hash(table) == table_hash(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
        True
    """
    return settings_hash(
        [[name, _column_hash(column)] for name, column in zip(table.column_names, table.columns, strict=True)]
    )


def _column_hash(column: pa.ChunkedArray) -> list[Any]:
    """Three streams: which values are there, how long each is, and their bytes; then the parts of a list."""
    nulls, sizes, content = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    parts: list[pa.Array] = []
    is_list, is_text = pa.types.is_list(column.type), pa.types.is_string(column.type)
    for chunk in column.chunks:
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        nulls.update(np.ascontiguousarray(valid, dtype=np.uint8).data)
        if is_list:
            sizes.update(_lengths(pc.list_value_length(chunk)))
            parts.append(chunk.flatten())
        elif is_text:
            sizes.update(_lengths(pc.binary_length(chunk)))
            # a fresh, dense copy: null values own no bytes, and offsets start at 0
            dense = pa.concat_arrays([chunk.drop_null().slice(0, 0), chunk.drop_null()])
            data = dense.buffers()[2]
            if data is not None and len(dense):
                offsets = np.frombuffer(dense.buffers()[1], dtype=np.int32)[
                    dense.offset : dense.offset + len(dense) + 1
                ]
                content.update(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
        else:
            values = chunk.fill_null(0) if chunk.null_count else chunk
            content.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).data)
    kind = "list" if is_list else str(column.type)  # the name of a list's inner field depends on where it was read
    digests: list[Any] = [kind, len(column), *(d.hexdigest() for d in (nulls, sizes, content))]
    if is_list:
        digests.append(_column_hash(pa.chunked_array(parts, type=column.type.value_type)))
    return digests


def _lengths(lengths: pa.Array) -> memoryview:
    values = pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, dtype=np.int64).data
