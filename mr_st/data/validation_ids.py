"""What is wrong with ids: their own form, and whether each names a row that is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.validation_rules import ROW, Tally, listed, shown
from mr_st.data.validation_texts import clean, find_broken_ids, needs_nfc
from mr_st.errors import Problem

__all__ = ["clean_forms", "find_id_faults", "find_number_like_ids", "find_unknown_ids", "whole_rows"]

_FLOAT = r"^[+-]?[0-9]+\.0+$"


def find_id_faults(table: pa.Table, column: str, where: str) -> Iterator[Problem]:
    """What is wrong with the ids of queries or items, in the table that gives them.

    Args:
        table: The queries or the items.
        column: query_id or item_id.
        where: What to call the table.
    """
    ids = pl.DataFrame({column: pl.Series(table[column])}).with_row_index(ROW, offset=1).drop_nulls(column)
    value = pl.col(column)
    yield from _repeated(ids, table, column, where)
    yield from find_broken_ids(ids, column, where)
    is_empty = value.str.strip_chars().str.len_bytes() == 0
    yield from listed(
        "empty id", ids.filter(is_empty), where, column, lambda _: "the id is an empty text", "give it an id"
    )
    odd = ids.filter(~is_empty & ((value.str.strip_chars() != value) | needs_nfc(ids[column])))
    if odd.is_empty():
        return
    is_stuck = ~clean(odd[column]).is_in(clean_forms(ids[column]).implode())
    yield from listed(
        "look-alike ids", odd.filter(is_stuck), where, column,
        lambda i: f"{shown(i)} differs from another id only by blanks around it or in Unicode normal form",
        "give each row an id that a person can tell apart",
    )  # fmt: skip
    odd = odd.filter(~is_stuck)
    stripped = odd.filter(value.str.strip_chars() != value)
    yield from listed(
        "blanks around an id", stripped, where, column, lambda i: f"blanks around the id {shown(i)}",
        "remove them (--fix does)",
    )  # fmt: skip
    yield from listed(
        "id not in NFC", odd.filter(needs_nfc(odd[column].str.strip_chars())), where, column,
        lambda i: f"the id {shown(i)} is not in Unicode normal form C", "normalise it (--fix does)",
    )  # fmt: skip


def clean_forms(ids: pl.Series) -> pl.Series:
    """The ids without surrounding blanks and in normal form C, but those forms that two ids share or that are empty.

    An id may be mended when its clean form is among these: then no two ids become one.
    """
    cleaned = clean(ids.drop_nulls().unique())
    return cleaned.filter(~cleaned.is_duplicated() & (cleaned.str.len_bytes() > 0))


def find_number_like_ids(table: pa.Table, column: str, where: str) -> Iterator[Problem]:
    """Ids such as 1.0 beside 1: mostly one id that went through a column of floats."""
    ids = pl.DataFrame({column: pl.Series(table[column])}).with_row_index(ROW, offset=1)
    floats = ids.filter(pl.col(column).str.contains(_FLOAT)).with_columns(whole=_whole(pl.col(column)))
    wrong = floats.filter(pl.col("whole").is_in(ids[column].drop_nulls().unique().implode()))
    yield from listed(
        "number-like ids", wrong, where, column, lambda i, whole: f"{shown(i)} stands beside {shown(whole)}",
        "if they are one, write both as whole numbers", column, "whole",
    )  # fmt: skip


def whole_rows(table: pa.Table) -> pl.Series:
    """bool (n,): which rows equal an earlier row in every column."""
    frame = pl.DataFrame(table)
    return ~frame.select(pl.struct(pl.all()).is_first_distinct()).to_series()


def find_unknown_ids(
    table: pa.Table, column: str, rows: np.ndarray, known: pa.ChunkedArray, where: str, known_where: str
) -> Iterator[Problem]:
    """Ids that name no row of the table that gives them.

    Args:
        table: The judgments or the engagement.
        column: query_id or item_id.
        rows: int64 (n,) rows of the ids in ``known``; -1 for the unknown.
        known: The ids that are there.
        where: What to call ``table``.
        known_where: What to call the table that gives the ids.
    """
    is_wrong = (rows < 0) & pc.is_valid(table[column]).to_numpy(zero_copy_only=False)
    at = np.flatnonzero(is_wrong)
    if not len(at):
        return
    mend = f"add it to {known_where} or remove the row"
    tally = Tally("unknown id", where, column, mend)
    ids = pl.Series(table[column].take(pa.array(at[: tally.room])))
    near = _nearest(ids, known)
    found = ((int(row) + 1, f"{shown(i)} is not in {known_where}{near.get(i, '')}")
             for row, i in zip(at, ids, strict=False))  # fmt: skip
    tally.add(found, len(at))
    yield from tally.problems()


def _nearest(ids: pl.Series, known: pa.ChunkedArray) -> dict[str, str]:
    """What to say of unknown ids for which another spelling is known."""
    here = pl.Series(known)
    wanted = pl.DataFrame({"id": ids.unique()})
    wanted = wanted.with_columns(clean=clean(wanted["id"]), whole=_whole(pl.col("id")), float=pl.col("id") + ".0")
    spellings = pl.concat([wanted["clean"], wanted["whole"], wanted["float"]]).drop_nulls().unique()
    present = set(spellings.filter(spellings.is_in(here.implode())))
    hints: dict[str, str] = {}
    for text, cleaned, whole, as_float in wanted.iter_rows():
        if cleaned in present:
            hints[text] = f"; {shown(cleaned)} is (--fix mends it)"
        elif whole in present or as_float in present:
            hints[text] = f"; {shown(whole if whole in present else as_float)} is (write both as whole numbers)"
    return hints


def _whole(ids: pl.Expr) -> pl.Expr:
    return pl.when(ids.str.contains(_FLOAT)).then(ids.str.replace(r"\.0+$", "")).otherwise(None)


def _repeated(ids: pl.DataFrame, table: pa.Table, column: str, where: str) -> Iterator[Problem]:
    repeated = ids.filter(pl.col(column).is_duplicated())
    if repeated.is_empty():
        return
    is_whole = whole_rows(table.take(pa.array(repeated[ROW].to_numpy().astype(np.int64) - 1)))
    repeated = repeated.with_columns(first=pl.col(ROW).min().over(column), is_whole=is_whole)
    repeated = repeated.filter(pl.col(ROW) != pl.col("first"))
    duplicates = repeated.filter("is_whole")
    yield from listed(
        "duplicate row", duplicates, where, column,
        lambda i, first: f"{shown(i)} stands in row {first:,} already, with the same values",
        "remove the row (--fix does)", column, "first",
    )  # fmt: skip
    yield from listed(
        "repeated id", repeated.filter(~pl.col("is_whole")), where, column,
        lambda i, first: f"{shown(i)} stands in row {first:,} already", "give each row its own id", column, "first",
    )  # fmt: skip
