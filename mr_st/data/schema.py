"""The four tables: their columns, types and defaults, and the cast that brings any table into this form."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable

from mr_st.errors import Problem, UsageError

__all__ = ["MAX_PROBLEMS", "SPLITS", "TABLES", "Column", "arrow_schema", "arrow_table", "to_dataset", "to_table"]

logger = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")
MAX_PROBLEMS = 1000
"""Faults of one kind in one column that are listed one by one; the rest are counted in one more line."""

_BATCH_ROWS = 50_000  # rows cast at a time, so that a column of more than 2 GiB of text keeps 32-bit offsets


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, whether it may hold nulls, and what stands in where a table lacks it."""

    name: str
    type: pa.DataType
    required: bool = False
    nullable: bool = False
    default: Any = None

    @property
    def holds_ids(self) -> bool:
        """Ids may come as whole numbers and are kept as text."""
        return self.name.endswith("_id")


_TEXT = pa.string()
_QUERY_ID = Column("query_id", _TEXT, required=True)
_ITEM_ID = Column("item_id", _TEXT, required=True)
_LOCALE = Column("locale", _TEXT, default="und")

TABLES: dict[str, tuple[Column, ...]] = {
    "queries": (
        _QUERY_ID,
        Column("text", _TEXT, required=True),
        _LOCALE,
        Column("frequency", pa.float64(), nullable=True),
        Column("kind", _TEXT, default="organic"),
        Column("source_query_id", _TEXT, nullable=True),
    ),
    "items": (
        _ITEM_ID,
        Column("title", _TEXT, required=True),
        Column("category_path", pa.list_(_TEXT), default=[]),
        Column("description", _TEXT, nullable=True),
        Column("brand", _TEXT, nullable=True),
        Column("color", _TEXT, nullable=True),
        _LOCALE,
    ),
    "judgments": (
        _QUERY_ID,
        _ITEM_ID,
        Column("grade", pa.int8(), required=True),
        Column("split", _TEXT, default="train"),
        Column("source", _TEXT, default="human"),
        Column("confidence", pa.float32(), nullable=True),
    ),
    "engagement": (
        _QUERY_ID,
        _ITEM_ID,
        Column("impressions", pa.int64(), required=True),
        Column("clicks", pa.int64(), required=True),
        Column("add_to_carts", pa.int64(), default=0),
        Column("purchases", pa.int64(), default=0),
    ),
}


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of one of the four tables."""
    return pa.schema([(column.name, column.type) for column in TABLES[table]])


def arrow_table(dataset: Dataset) -> pa.Table:
    """The rows of a ``datasets.Dataset`` as an Arrow table (no copy where it has no index mapping)."""
    if dataset._indices is None:
        return dataset.data.table
    return dataset.with_format("arrow")[:]


def to_dataset(table: pa.Table) -> Dataset:
    """Wrap an Arrow table, without the hash of its whole content that ``datasets`` would take by itself."""
    return Dataset(InMemoryTable(table.replace_schema_metadata(None)), fingerprint=generate_random_fingerprint())


def to_table(name: str, value: Any, where: str | None = None) -> tuple[pa.Table, list[Problem]]:
    """Bring ``value`` into the schema of table ``name``: fill absent optional columns, cast the others, drop the rest.

    Args:
        name: queries, items, judgments or engagement.
        value: A polars or pandas frame, an Arrow table, a ``datasets.Dataset``, a list of dicts, or a dict of lists.
        where: What to call the table in a problem; its name when None.

    Returns:
        The table, and every fault that kept a column from its type (such a column comes back as nulls).

    Raises:
        UsageError: ``value`` is no table.
    """
    where = where or name
    columns = TABLES[name]
    given = _columns(value, {column.name: column.default for column in columns}, where)
    n_rows = max((len(column) for column in given.values()), default=0)
    problems: list[Problem] = []
    unknown = [key for key in given if key not in {column.name for column in columns}]
    if unknown:
        logger.warning("%s: columns that are not used: %s", where, ", ".join(map(str, unknown)))
    cast: list[pa.ChunkedArray] = []
    for column in columns:
        if column.name in given:
            array, faults = _cast(given[column.name], column, where)
            problems += faults
        elif column.required and given:
            what = f"missing; found {', '.join(map(str, given))}"
            problems.append(Problem(where, what, "add or rename it", None, column.name, "missing column"))
            array = pa.chunked_array([pa.nulls(n_rows, column.type)])
        else:
            array = _constant(column, n_rows)
        cast.append(array)
    return pa.table(cast, schema=arrow_schema(name)), problems


def _constant(column: Column, n_rows: int) -> pa.ChunkedArray:
    if column.default is None or not n_rows:
        return pa.chunked_array([pa.nulls(n_rows, column.type)])
    return pa.chunked_array([pa.repeat(pa.scalar(column.default, type=column.type), n_rows)])


def _columns(value: Any, defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The columns of any table-like value: Arrow arrays, or lists that are still to be typed."""
    if isinstance(value, Dataset):
        value = arrow_table(value)
    elif hasattr(value, "collect") and hasattr(value, "sink_parquet"):  # polars.LazyFrame
        value = value.collect()
    if isinstance(value, pa.RecordBatch):
        value = pa.Table.from_batches([value])
    elif hasattr(value, "iter_rows") and hasattr(value, "to_arrow"):  # polars.DataFrame
        value = value.to_arrow()
    elif hasattr(value, "iloc"):  # pandas.DataFrame; a column of mixed types goes through a list, to name the row
        return {str(key): _of_pandas(value[key]) for key in value}
    if isinstance(value, pa.Table):
        return dict(zip(value.column_names, value.columns, strict=True))
    if isinstance(value, Mapping):
        lists = {str(key): list(column) for key, column in value.items()}
        if len({len(column) for column in lists.values()}) > 1:
            raise UsageError(f"{where}: the columns differ in length; give one value for each row")
        return lists
    if isinstance(value, (list, tuple)) and all(isinstance(row, Mapping) for row in value):
        keys = list(dict.fromkeys(key for row in value for key in row))
        return {str(key): [row.get(key, defaults.get(key)) for row in value] for key in keys}
    raise UsageError(
        f"{where}: a {type(value).__name__} is no table; give a polars or pandas frame, Arrow table or list of dicts"
    )


def _of_pandas(series: Any) -> Any:
    if series.dtype == object:
        return series.tolist()
    return pa.chunked_array(pa.array(series, from_pandas=True))


def _cast(values: Any, column: Column, where: str) -> tuple[pa.ChunkedArray, list[Problem]]:
    if isinstance(values, list):
        return _cast_list(values, column, where)
    source = values.type
    if source == column.type:
        array = values
    elif not _castable(source, column):
        what = f"type {source} where {_name(column)} is expected"
        problem = Problem(where, what, "convert the column", None, column.name, "wrong type")
        return pa.chunked_array([pa.nulls(len(values), column.type)]), [problem]
    else:
        try:
            array = _cast_in_batches(values, column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return _cast_list(values.to_pylist(), column, where)
    if pa.types.is_list(column.type) and array.null_count:
        array = pc.fill_null(array, pa.scalar([], type=column.type))
    return array, []


def _cast_in_batches(values: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    chunks = [
        chunk.slice(start, _BATCH_ROWS).cast(target)
        for chunk in values.chunks
        for start in range(0, len(chunk), _BATCH_ROWS)
    ]
    return pa.chunked_array(chunks, type=target)


def _castable(source: pa.DataType, column: Column) -> bool:
    kinds = pa.types
    if kinds.is_dictionary(source):
        source = source.value_type
    if kinds.is_null(source):
        return True
    if kinds.is_list(column.type):
        listed = kinds.is_list(source) or kinds.is_large_list(source) or kinds.is_fixed_size_list(source)
        return listed and (_is_text(source.value_type) or kinds.is_null(source.value_type))
    if kinds.is_string(column.type):
        return _is_text(source) or (column.holds_ids and kinds.is_integer(source))
    return kinds.is_integer(source) or kinds.is_floating(source)


def _is_text(source: pa.DataType) -> bool:
    return pa.types.is_string(source) or pa.types.is_large_string(source) or pa.types.is_string_view(source)


def _cast_list(values: list[Any], column: Column, where: str) -> tuple[pa.ChunkedArray, list[Problem]]:
    """Cast Python values one by one, naming each that does not fit."""
    out: list[Any] = []
    problems: list[Problem] = []
    n_wrong = 0
    for row, value in enumerate(values, start=1):
        try:
            out.append(_python_value(value, column))
        except (TypeError, ValueError, OverflowError):
            out.append(None)
            n_wrong += 1
            if n_wrong <= MAX_PROBLEMS:
                what = f"{value!r:.60} ({type(value).__name__}) where {_name(column)} is expected"
                problems.append(Problem(where, what, "correct the value", row, column.name, "wrong type"))
    if n_wrong > MAX_PROBLEMS:
        rest = n_wrong - MAX_PROBLEMS
        what = f"{rest:,} more values of a wrong type"
        problems.append(Problem(where, what, "convert the column", None, column.name, "wrong type", rest))
    chunks = [pa.array(out[i : i + _BATCH_ROWS], type=column.type) for i in range(0, len(out), _BATCH_ROWS)]
    return pa.chunked_array(chunks, type=column.type), problems


def _python_value(value: Any, column: Column) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if pa.types.is_list(column.type):
        if value is None:
            return []
        if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
            raise TypeError
        return list(value)
    if value is None or (isinstance(value, float) and value != value and not pa.types.is_floating(column.type)):
        return None
    if pa.types.is_string(column.type):
        if isinstance(value, int) and not isinstance(value, bool) and column.holds_ids:
            return str(value)
        if not isinstance(value, str):
            raise TypeError
        value.encode()  # a lone surrogate is no text
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if pa.types.is_floating(column.type):
        return float(value)
    if int(value) != value:
        raise ValueError
    return pa.scalar(int(value), type=column.type).as_py()


def _name(column: Column) -> str:
    kinds = pa.types
    if kinds.is_list(column.type):
        return "a list of texts"
    if kinds.is_string(column.type):
        return "text or a whole number" if column.holds_ids else "text"
    if kinds.is_floating(column.type):
        return "a number"
    return "a small whole number" if column.type == pa.int8() else "a whole number"
