"""A file that names pairs to be labelled: query_id and item_id, a row a pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.schema import arrow_table
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.text_files import RawTable, read_table
from mr_st.errors import Problem

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["read_pairs"]


def read_pairs(path: str | Path, dataset: GradedDataset) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that a file names, as rows of a dataset.

    Args:
        path: CSV, TSV, JSONL or Parquet, also with .gz, with the columns query_id and item_id; others are passed over.
        dataset: Where queries and items are.

    Returns:
        int64 (n,) rows of the queries and of the items, in the file's order; a pair that is named again stands once.

    Raises:
        UsageError: no table file.
        DataError: the file has faults, lacks a column, or names a query or item that is not in the dataset.
    """
    table = read_table(path)
    found = ProblemList()
    query_rows = _rows(table, "query_id", arrow_table(dataset.queries)["query_id"], found)
    item_rows = _rows(table, "item_id", arrow_table(dataset.items)["item_id"], found)
    found.raise_if_any()
    _, first = np.unique(np.column_stack([query_rows, item_rows]), axis=0, return_index=True)
    first.sort()
    return query_rows[first], item_rows[first]


def _rows(table: RawTable, column: str, known: pa.ChunkedArray, found: ProblemList) -> np.ndarray:
    if column not in table.columns:
        there = ", ".join(shown(name) for name in table.columns) or "none"
        found.add("missing columns", Problem(table.name, f"missing; found {there}", "add or rename it", None, column))
        return np.empty(0, dtype=np.int64)
    try:
        ids = pc.cast(table.columns[column], pa.string())
    except pa.ArrowException:
        what = f"values of type {table.columns[column].type}; expected texts or whole numbers"
        found.add("columns of another type", Problem(table.name, what, "write the ids as texts", None, column))
        return np.empty(0, dtype=np.int64)
    rows = pc.fill_null(pc.index_in(ids, value_set=known), -1).to_numpy().astype(np.int64)
    what = column.removesuffix("_id")
    for row in np.flatnonzero(rows < 0).tolist():
        fault, mend = f"no {what} has the id {shown(str(ids[row].as_py()))}", f"give ids of the dataset's {what} table"
        found.add(f"unknown {what} ids", Problem(table.name, fault, mend, row + 1, column))
    return rows
