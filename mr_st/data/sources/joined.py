"""One file with a row for each judgment, taken apart into queries, items and judgments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from mr_st.data.schema import MAX_PROBLEMS
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.table_columns import Draft, Reading, convert
from mr_st.data.sources.text_files import RawTable
from mr_st.errors import Problem

__all__ = ["content_id", "split_joined"]

_CONTENT = {
    "queries": ("text", "locale"),
    "items": ("title", "category_path", "description", "brand", "color", "locale"),
}
_IDS = {"queries": "query_id", "items": "item_id"}


def content_id(*values: object) -> str:
    """The id of what has none: the first 16 hex digits of the SHA-256 of its values as a JSON list.

    Example:
        >>> content_id("red mug", "en-US")
        '6d3bad41d4f836be'
    """
    return hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()[:16]


def split_joined(
    raw: RawTable, names: Mapping[str, Mapping[str, str]], reading: Reading, found: ProblemList
) -> dict[str, Draft]:
    """Drafts of queries, items and judgments from the rows of one file.

    A query's id is made from its text and locale where the file has no column of query ids, an item's from all that
    the file says of it (:func:`content_id`). Where there are ids, all rows of an id must say the same.

    Args:
        raw: The file, a row a judgment.
        names: Name of a table -> our name of a column -> its name in the file.
        reading: How values are read.
        found: Takes the faults.
    """
    drafts: dict[str, Draft] = {}
    ids: dict[str, pa.ChunkedArray] = {}
    for table, column in _IDS.items():
        has_ids = column in names[table] or column in raw.columns
        draft = convert(table, raw, names[table], reading, found, frozenset() if has_ids else frozenset({column}))
        if not has_ids:
            draft = _with_content_ids(table, draft)
            ids[column] = draft.table[column]
        drafts[table] = _one_row_an_id(table, draft, has_ids, found)
    judgments = convert("judgments", raw, names["judgments"], reading, found, frozenset(ids))
    for column, values in ids.items():
        at = judgments.table.column_names.index(column)
        filled = judgments.table.set_column(at, judgments.table.schema.field(column), values)
        judgments = Draft(judgments.where, filled, judgments.names, judgments.broken, judgments.lost)
    return {**drafts, "judgments": judgments}


def _with_content_ids(table: str, draft: Draft) -> Draft:
    content = pl.DataFrame(draft.table.select(list(_CONTENT[table])))
    keys = content.unique(maintain_order=True)
    made = keys.with_columns(pl.Series(_IDS[table], [content_id(*row) for row in keys.iter_rows()], dtype=pl.String))
    joined = content.join(made, on=content.columns, how="left", nulls_equal=True, maintain_order="left")
    ids = joined[_IDS[table]].to_arrow().cast(pa.string())
    at = draft.table.column_names.index(_IDS[table])
    filled = draft.table.set_column(at, draft.table.schema.field(at), pa.chunked_array([ids]))
    return Draft(draft.where, filled, draft.names, draft.broken, draft.lost)


def _one_row_an_id(table: str, draft: Draft, has_ids: bool, found: ProblemList) -> Draft:
    """The first row of each id; a later row that says something else is a fault."""
    column = _IDS[table]
    frame = pl.DataFrame(draft.table).with_row_index("__row__", offset=1)
    is_first = frame[column].is_first_distinct()
    first = frame.filter(is_first).drop_nulls(column)
    checked = [c for c in draft.table.column_names if c != column and c not in draft.broken]
    if column not in draft.broken and not is_first.all():
        if not has_ids:
            checked = [c for c in checked if c not in _CONTENT[table]]
        for other in checked:
            pairs = frame.select("__row__", column, other).join(
                first.select(column, pl.col(other).alias("first"), pl.col("__row__").alias("first_row")), on=column
            )
            if pairs.schema[other] == pl.List(pl.String):
                pairs = pairs.with_columns(pl.col(other, "first").list.join("\0"))
            wrong = pairs.filter(pl.col(other).ne_missing(pl.col("first"))).sort("__row__")
            _say(wrong, column, other, draft, has_ids, found)
    rows = frame.filter(is_first)["__row__"].to_numpy().astype(np.int64)
    return Draft(draft.where, draft.table.filter(is_first.to_arrow()), draft.names, draft.broken, draft.lost, rows)


def _say(wrong: pl.DataFrame, column: str, other: str, draft: Draft, has_ids: bool, found: ProblemList) -> None:
    place = shown(draft.names[other])
    mend = f"give each its own {draft.names[column]}, or write the same in all its rows"
    if not has_ids:
        mend = "write the same in all its rows"
    kind = "ids that stand for two things"
    for row, value, first_row in wrong.select("__row__", column, "first_row").head(MAX_PROBLEMS).iter_rows():
        what = f"{shown(draft.names[column])} {value!r:.60} has another value here than in row {first_row:,}"
        found.add(kind, Problem(draft.where, what, shown(mend, 200), row, place))
    if wrong.height > MAX_PROBLEMS:
        rest = wrong.height - MAX_PROBLEMS
        found.extend([Problem(draft.where, f"{rest:,} more {kind}", shown(mend, 200), None, place, kind, rest)])
