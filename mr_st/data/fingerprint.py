"""The content hash of an Arrow table: the same for the same rows, however they are chunked, sliced or stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.identity import settings_hash

__all__ = ["batches_hash", "table_hash"]


def table_hash(table: pa.Table) -> str:
    """Hash column names, types and values; row order counts, chunks and metadata do not.

    Example:
        >>> table = pa.table({"x": ["a", "b", None]})
        >>> table_hash(table) == table_hash(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
        True
    """
    return batches_hash(table.schema, table.to_batches())


def batches_hash(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> str:
    """The same of a table that comes batch by batch; one batch at a time is held."""
    hashes = [_ColumnHash(field.type) for field in schema]
    for batch in batches:
        for column_hash, column in zip(hashes, batch.columns, strict=True):
            column_hash.update(column)
    return settings_hash([[name, h.digests()] for name, h in zip(schema.names, hashes, strict=True)])


class _ColumnHash:
    """Three streams: which values are there, how long each is, and their bytes; then the parts of a list."""

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self.n_rows = 0
        self.nulls, self.sizes, self.content = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self.parts = _ColumnHash(kind.value_type) if pa.types.is_list(kind) else None

    def update(self, chunk: pa.Array) -> None:
        self.n_rows += len(chunk)
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        self.nulls.update(np.ascontiguousarray(valid, dtype=np.uint8).data)
        if self.parts is not None:
            self.sizes.update(_lengths(pc.list_value_length(chunk)))
            self.parts.update(chunk.flatten())
        elif pa.types.is_string(self.kind):
            self.sizes.update(_lengths(pc.binary_length(chunk)))
            # a fresh, dense copy: null values own no bytes, and offsets start at 0
            dense = pa.concat_arrays([chunk.drop_null().slice(0, 0), chunk.drop_null()])
            data = dense.buffers()[2]
            if data is not None and len(dense):
                offsets = np.frombuffer(dense.buffers()[1], dtype=np.int32)[
                    dense.offset : dense.offset + len(dense) + 1
                ]
                self.content.update(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
        else:
            values = chunk.fill_null(0) if chunk.null_count else chunk
            self.content.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).data)

    def digests(self) -> list[Any]:
        # the name of a list's inner field depends on where it was read
        kind = str(self.kind) if self.parts is None else "list"
        found: list[Any] = [kind, self.n_rows, *(d.hexdigest() for d in (self.nulls, self.sizes, self.content))]
        return found if self.parts is None else [*found, self.parts.digests()]


def _lengths(lengths: pa.Array) -> memoryview:
    values = pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, dtype=np.int64).data
