"""From the columns of a file to one of the four tables: names mapped, texts read as numbers, labels as grades."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.schema import MAX_PROBLEMS, TABLES, Column, to_table
from mr_st.data.sources.json_lines import DECIMAL, LIST, TEXT, WHOLE, Kinds
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.text_files import RawTable
from mr_st.errors import Problem, UsageError
from mr_st.grades import GradeScale

__all__ = ["Draft", "Reading", "convert", "grade_labels"]

logger = logging.getLogger(__name__)

_WHOLE = r"^[+-]?[0-9]+(\.0+)?$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_THOUSANDS = r"^[+-]?[0-9]{1,3}([,.'\u00a0\u202f _][0-9]{3})+$"


@dataclass(frozen=True)
class Reading:
    """How the values of a file are to be read.

    Args:
        grade_labels: Label -> grade, from :func:`grade_labels`; None where the labels are the grades.
        scale: What the grades mean.
        category_separator: What stands between the levels of a category path that is one text.
        drop_empty_levels: Whether a category level of blanks only is left out; else it is a fault.
        locale: The locale where a file has no such column.
    """

    grade_labels: Mapping[str, int] | None
    scale: GradeScale
    category_separator: str = " > "
    drop_empty_levels: bool = False
    locale: str = "und"


@dataclass(frozen=True)
class Draft:
    """One of the four tables as a file gives it.

    Args:
        where: What a message calls the file.
        table: The rows, in the schema.
        names: Our name of a column -> its name in the file.
        broken: Our names of the columns that could not be read at all and are null.
        lost: Our name of a column -> int64, the rows of the file, from 1, whose value could not be read and is null.
        rows: int64 (n,), the row of the file where each stands, from 1; None for 1, 2, 3, ...
    """

    where: str
    table: pa.Table
    names: dict[str, str]
    broken: frozenset[str] = frozenset()
    lost: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None


def grade_labels(grade_map: Mapping[Any, Any] | None, scale: GradeScale) -> dict[str, int] | None:
    """A grade map with its labels as the texts that a file holds.

    Raises:
        UsageError: it is no mapping, a label is neither a text nor a number, or a grade is not of the scale.
    """
    if grade_map is None:
        return None
    if not isinstance(grade_map, Mapping) or not grade_map:
        raise UsageError(
            f"grade_map={grade_map!r:.80}: give a mapping such as {{Exact: 2, Partial: 1, Irrelevant: 0}}"
        )
    labels: dict[str, int] = {}
    for label, grade in grade_map.items():
        if isinstance(label, bool) or not isinstance(label, (str, int, float)):
            raise UsageError(f"grade_map: the label {label!r} is no text; write it in quotes (YAML reads yes as true)")
        if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade < scale.n_grades:
            raise UsageError(f"grade_map: {label!r} is mapped to {grade!r}, which is no grade of the scale {scale}")
        text = _number_text(label) if isinstance(label, (int, float)) else label
        if labels.setdefault(text, grade) != grade:
            raise UsageError(f"grade_map: the label {text!r} stands twice, with two grades")
    return labels


def convert(
    name: str,
    raw: RawTable,
    names: Mapping[str, str],
    reading: Reading,
    found: ProblemList,
    absent: frozenset[str] = frozenset(),
) -> Draft:
    """Bring the columns of a file into the schema of table ``name``.

    Args:
        name: queries, items, judgments or engagement.
        raw: What the file holds.
        names: Our name of a column -> its name in the file; columns that are not named have our own names.
        reading: How values are read.
        found: Takes the faults; a value that has one becomes null.
        absent: Required columns that may be missing because something else makes them; they become null.
    """
    given: dict[str, Any] = {}
    broken: set[str] = set()
    used = {column.name: names.get(column.name, column.name) for column in TABLES[name]}
    for column in TABLES[name]:
        their = used[column.name]
        if their in raw.columns:
            values = _values(raw, column, their, reading, found)
            if values is None:
                broken.add(column.name)
                values = pa.nulls(raw.n_rows)
            given[column.name] = values
        elif column.name in names or (column.required and column.name not in absent):
            broken.add(column.name)
            _missing(raw, column.name, names, found)
            given[column.name] = pa.nulls(raw.n_rows)
        elif column.required:
            given[column.name] = pa.nulls(raw.n_rows)
        elif column.name == "locale":
            given[column.name] = pa.repeat(pa.scalar(reading.locale), raw.n_rows)
    table, faults = to_table(name, pa.table(given), where=raw.name)
    broken |= {fault.column for fault in faults if fault.row is None and fault.column}
    found.extend(replace(f, column=shown(used.get(f.column or "", f.column or ""))) for f in faults)
    lost = {
        column: _lost(raw.columns[used[column]], table[column])
        for column in given
        if found and column not in broken and used[column] in raw.columns and not pa.types.is_list(table[column].type)
    }
    return Draft(
        raw.name, table, used, frozenset(broken), {column: rows for column, rows in lost.items() if len(rows)}
    )


def _lost(before: pa.ChunkedArray, after: pa.ChunkedArray) -> np.ndarray:
    """The rows that had a value and have none."""
    had = before.is_valid().to_numpy()
    if _is_text(before.type):
        had &= (_series(before) != "").fill_null(False).to_numpy()
    return np.flatnonzero(had & after.is_null().to_numpy()) + 1


def _missing(raw: RawTable, column: str, names: Mapping[str, str], found: ProblemList) -> None:
    have = ", ".join(shown(name, 40) for name in list(raw.columns)[:20])
    their = names.get(column, column)
    mend = f"add it, or name the column that holds it: columns={{{column}: ITS NAME}}"
    if column in names:
        mend = "correct its name"
    found.add("missing columns", Problem(raw.name, f"missing; found {have}", mend, column=shown(their)))


def _values(raw: RawTable, column: Column, their: str, reading: Reading, found: ProblemList) -> Any:
    """The values of one column, typed as far as texts are concerned; None where the whole column is at fault."""
    values = raw.columns[their]
    where, place = raw.name, shown(their)
    kinds = raw.kinds.get(their)
    if kinds and not _fits(kinds, column):
        found.add("columns of a wrong kind", _of_wrong_kind(kinds, column, where, place))
        return None
    is_text = _is_text(values.type)
    if column.name == "grade" and (reading.grade_labels is not None or is_text):
        return _grades(values, where, place, reading, found) if _is_label(values.type) else values
    if pa.types.is_list(column.type):
        return _paths(values, where, place, reading, found) if is_text else values
    if not is_text:
        return values
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _numbers(values, pa.types.is_integer(column.type), where, place, found)
    if raw.is_text and not column.required:
        return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return values


# ---- kinds of values in JSON lines ----------------------------------------------------------------------------------


def _fits(kinds: Kinds, column: Column) -> bool:
    found = set(kinds)
    if column.holds_ids:
        return found in ({TEXT}, {WHOLE})
    if pa.types.is_string(column.type):
        return found == {TEXT}
    if pa.types.is_list(column.type):
        return found in ({LIST}, {TEXT})
    return found == {TEXT} or found <= {WHOLE, DECIMAL}


def _of_wrong_kind(kinds: Kinds, column: Column, where: str, place: str) -> Problem:
    expected = "a number or a label" if column.name == "grade" else "a number"
    mend = "write numbers, without quotes"
    if column.holds_ids:
        expected, mend = "ids, all of them texts or all of them whole numbers,", "write every id as a text"
    elif pa.types.is_string(column.type):
        expected, mend = "text", "write every value as a text"
    elif pa.types.is_list(column.type):
        expected, mend = "a list of texts", "write every value as a list of texts"
    ordered = sorted(kinds.items(), key=lambda item: item[1][0])
    have = ", ".join(f"{kind} (first in row {row:,}, {count:,} in all)" for kind, (row, count) in ordered)
    row = ordered[min(1, len(ordered) - 1)][1][0]
    verb = "is" if len(ordered) == 1 and ordered[0][1][1] == 1 else "are"
    what = f"{have} where {expected} {verb} expected" if len(ordered) == 1 else f"of several kinds: {have}"
    return Problem(where, what, mend, row, place)


# ---- numbers, labels and category paths -----------------------------------------------------------------------------


def _is_text(source: pa.DataType) -> bool:
    if pa.types.is_dictionary(source):
        source = source.value_type
    return pa.types.is_string(source) or pa.types.is_large_string(source) or pa.types.is_string_view(source)


def _is_label(source: pa.DataType) -> bool:
    return _is_text(source) or pa.types.is_integer(source) or pa.types.is_floating(source)


def _number_text(value: float) -> str:
    """A number as a label: whole ones without a point."""
    return str(int(value)) if value == value and abs(value) < 1e15 and value == int(value) else str(value)


def _series(values: pa.ChunkedArray) -> pl.Series:
    """The texts as polars holds them."""
    series = pl.Series(values)
    return series if series.dtype == pl.String else series.cast(pl.String)


def _numbers(values: pa.ChunkedArray, is_whole: bool, where: str, place: str, found: ProblemList) -> pa.ChunkedArray:
    texts = _series(values).alias("text")
    frame = texts.to_frame().with_columns(number=_parsed(pl.col("text"), is_whole))
    wrong = frame.with_row_index("row", offset=1).filter(
        pl.col("number").is_null() & pl.col("text").is_not_null() & (pl.col("text") != "")
    )
    expected = "a whole number" if is_whole else "a number"
    for row, text in wrong.select("row", "text").head(MAX_PROBLEMS).iter_rows():
        found.add("values that are no number", _no_number(text, expected, where, place, row))
    if wrong.height > MAX_PROBLEMS:
        rest, mend = wrong.height - MAX_PROBLEMS, "correct the values"
        found.extend([Problem(where, f"{rest:,} more values that are no number", mend, None, place,
                              "values that are no number", rest)])  # fmt: skip
    return _chunked(frame["number"])


def _parsed(text: pl.Expr, is_whole: bool) -> pl.Expr:
    """The number that a text is, null where it is none. Only plain ASCII numbers are, so that none is guessed at."""
    plain = pl.when(text.str.contains(_WHOLE if is_whole else _NUMBER)).then(text.str.strip_prefix("+"))
    if is_whole:
        return plain.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
    number = plain.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _no_number(text: str, expected: str, where: str, place: str, row: int | None) -> Problem:
    mend = "correct the value"
    if pl.Series([text]).str.contains(_THOUSANDS).item():
        mend = "write it without a separator of thousands"
    return Problem(where, f"{text!r:.60} where {expected} is expected", mend, row, place)


def _grades(values: pa.ChunkedArray, where: str, place: str, reading: Reading, found: ProblemList) -> pa.ChunkedArray:
    """Grades from labels: one problem for each label that is none, with its first row and how often it stands."""
    if _is_text(values.type):
        labels = _series(values)
    else:
        numbers = pl.Series(values)
        numbers = numbers.fill_nan(None) if numbers.dtype.is_float() else numbers
        distinct = numbers.drop_nulls().unique()
        written = {number: _number_text(number) for number in distinct}
        labels = numbers.replace_strict(written, default=None, return_dtype=pl.String)
    frame = labels.alias("label").to_frame().with_row_index("row", offset=1).drop_nulls("label")
    counts = frame.group_by("label").agg(row=pl.col("row").min(), n=pl.len()).sort("row")
    grade_of: dict[str, int] = dict(reading.grade_labels or {})
    for label, row, n in counts.iter_rows():
        if label in grade_of or (label == "" and reading.grade_labels is None):
            continue
        grade = None
        if reading.grade_labels is None:
            grade = pl.select(_parsed(pl.lit(label), is_whole=True)).item()
        if grade is not None and -128 <= grade <= 127:
            grade_of[label] = grade
        else:
            found.add("unknown labels", _unknown_label(label, row, n, where, place, reading))
    return _chunked(labels.replace_strict(grade_of, default=None, return_dtype=pl.Int8))


def _unknown_label(label: str, row: int, n: int, where: str, place: str, reading: Reading) -> Problem:
    times = "once" if n == 1 else f"{n:,} times, first here"
    if reading.grade_labels is not None:
        known = ", ".join(shown(known, 30) for known in list(reading.grade_labels)[:20])
        what, mend = f"the label {label!r:.60} ({times}) is not in the grade map ({known})", "add it to grade_map"
    else:
        what = f"the label {label!r:.60} ({times}) is no grade of the scale {reading.scale}"
        mend = f"map your labels: grade_map={{{shown(label, 30)}: GRADE, ...}}"
        if pl.Series([label]).str.contains(_THOUSANDS).item():
            mend = "write it without a separator of thousands"
    return Problem(where, what, mend, row, place, n_faults=n)


def _paths(values: pa.ChunkedArray, where: str, place: str, reading: Reading, found: ProblemList) -> pa.ChunkedArray:
    """Category paths from texts; a text without any letter is the empty path."""
    texts = _series(values).alias("text")
    separator = reading.category_separator
    levels = pl.col("text").str.split(separator).list.eval(pl.element().str.strip_chars())
    frame = texts.to_frame().with_columns(
        levels=pl.when(pl.col("text").str.strip_chars() == "").then(pl.lit([], pl.List(pl.String))).otherwise(levels)
    )
    if reading.drop_empty_levels:
        kept = pl.col("levels").list.eval(pl.element().filter(pl.element() != ""))
        return _chunked(frame.select(kept).to_series())
    wrong = frame.with_row_index("row", offset=1).filter(pl.col("levels").list.contains(""))
    for row, text in wrong.select("row", "text").iter_rows():
        what = f"{text!r:.80} has an empty level between two {separator!r}"
        found.add("empty category levels", Problem(where, what, "leave the level out", row, place))
    return _chunked(frame["levels"])


def _chunked(series: pl.Series) -> pa.ChunkedArray:
    array = series.to_arrow()
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
