"""Anybody's judgments: three files (queries, items, judgments) or one joined file, as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import TABLES
from mr_st.data.sources.drafts import assemble
from mr_st.data.sources.joined import split_joined
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.splits import check_shares, draw_splits
from mr_st.data.sources.table_columns import Draft, Reading, convert, grade_labels
from mr_st.data.sources.text_files import MAX_FIELD, SUFFIXES, RawTable, is_table_file, read_table
from mr_st.data.validation import MAX_FIELD_BYTES
from mr_st.data.validation_locales import find_locale_fault
from mr_st.errors import DataError, Problem, UsageError
from mr_st.grades import THREE_GRADES, GradeScale

__all__ = ["drawn", "is_table_path", "load_table", "scale_of"]

logger = logging.getLogger(__name__)

_NEEDED = ("queries", "items", "judgments")


def is_table_path(path: str | Path) -> bool:
    """Whether a path is a table file, or a folder with two or more of queries, items and judgments as such files."""
    path = Path(path)
    if not path.is_dir():
        return is_table_file(path)
    present = {table for table in _NEEDED if _files_of(path, table)}
    return len(present) >= 2


def load_table(
    path: str | Path | None = None,
    *,
    queries: str | Path | None = None,
    items: str | Path | None = None,
    judgments: str | Path | None = None,
    engagement: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    grade_map: Mapping[Any, int] | None = None,
    grades: Sequence[str] | None = None,
    gains: Sequence[float] | None = None,
    split: str | bool | None = None,
    dev_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    category_separator: str = " > ",
    locale: str = "und",
    delimiter: str | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
    max_field: int = MAX_FIELD,
    name: str | None = None,
    license: str = "unknown",
    validate: bool = True,
) -> GradedDataset:
    """Load judgments from table files of any of the forms that ``read_table`` knows; each file may have another.

    The columns are those of a ``GradedDataset``, or are mapped to them. Three files: a row a query, an item, a
    judgment. One joined file: a row a judgment, with the query's text and the item's title in it; queries and items
    are gathered from the rows, and ids are made from their content where there are none.

    In CSV and TSV an empty field is an empty text in the columns that must be there (ids, text, title) and no value
    in the others. Ids are kept as they are written. Numbers are plain: digits, a point, no separator of thousands.

    Args:
        path: A folder with queries, items, judgments (and engagement) as .csv, .tsv, .jsonl, .parquet or packed
            with gzip; or one joined file. Or give the files one by one:
        queries: File of the queries; required are query_id and text.
        items: File of the items; item_id and title.
        judgments: File of the judgments; query_id, item_id and grade. Alone it is a joined file.
        engagement: File of the engagement, or None.
        columns: Our name of a column -> its name in the files, for all tables or for one: ``{"text": "search_term",
            "items.locale": "language"}``.
        grade_map: Label -> grade, e.g. ``{"Exact": 2, "Partial": 1, "Irrelevant": 0}``; every label of the file must
            be in it. None: the labels are the grades.
        grades: Names of the grades, lowest first; None for irrelevant, partial, relevant.
        gains: Their gains, lowest first; None for equal steps from 0 to 1.
        split: Name of the column that says train, dev or test. None: the column ``split`` where there is one, else
            whole queries are drawn. False: they are drawn in any case.
        dev_share: Share of the queries drawn for dev, in [0, 1).
        test_share: Share drawn for test.
        seed: Which queries are drawn, together with their ids.
        category_separator: What stands between the levels of ``category_path`` where that is a text; blanks around a
            level do not count.
        locale: BCP-47 tag for files that have no such column.
        delimiter: One character, or comma, tab, semicolon, pipe, space; None: comma for CSV, tab for TSV.
        encoding: The character set of the text files.
        quoting: False: double quotes are plain characters.
        max_field: Most characters in one field.
        name: What to call the dataset; None: the folder's or the file's name.
        license: An SPDX id or a name.
        validate: Also check what the values say. What keeps a file from being read is raised in any case.

    Raises:
        UsageError: an option means nothing, or the files are not named.
        DataError: the files have faults; ``.problems`` lists those of all of them, with file, row and column.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     joined = Path(folder, "shop.csv")
        ...     _ = joined.write_text("search,title,label\\nred mug,Red mug,Exact\\nred mug,Blue hat,Irrelevant\\n")
        ...     labels = {"Exact": 2, "Irrelevant": 0}
        ...     dataset = load_table(joined, columns={"text": "search", "grade": "label"}, grade_map=labels)
        >>> dataset
        GradedDataset('shop': 1 queries, 2 items, 2 judgments, grades 0..2 (irrelevant, partial, relevant))
    """
    scale = scale_of(grades, gains)
    reading = Reading(grade_labels(grade_map, scale), scale, _separator(category_separator), locale=_locale(locale))
    check_shares(dev_share, test_share)
    given = {"queries": queries, "items": items, "judgments": judgments, "engagement": engagement}
    files = _files(path, given)
    names = _column_names(columns, split)
    found = ProblemList()
    raws: dict[str, RawTable] = {}
    for table, file in files.items():
        try:
            raws[table] = read_table(
                file, delimiter=delimiter, encoding=encoding, quoting=quoting, max_field=max_field
            )
        except DataError as error:
            found.extend(error.problems)
    drafts: dict[str, Draft] = {}
    for table, raw in raws.items():
        if table == "joined":
            drafts |= split_joined(raw, names, reading, found)
        else:
            drafts[table] = convert(table, raw, names[table], reading, found)
    _tell_unused(raws, drafts)
    is_drawn = False
    if "judgments" in drafts:
        raw = raws.get("judgments") or raws["joined"]
        is_drawn = split is False or ("split" not in names["judgments"] and "split" not in raw.columns)
        if is_drawn:
            drafts["judgments"] = drawn(drafts["judgments"], dev_share, test_share, seed)
    source: dict[str, Any] = {
        "name": "table",
        "files": {table: Path(file).name for table, file in files.items()},
        "columns": dict(columns or {}),
        "grade_map": dict(reading.grade_labels or {}),
        "split": {"dev_share": dev_share, "test_share": test_share, "seed": seed} if is_drawn else "column",
    }
    home = path if path is not None else files.get("judgments", files.get("joined", Path()))
    title = name or _stem(Path(os.path.abspath(Path(home).expanduser())).name)
    return assemble(
        drafts, found, scale, title, license, source, validate,
        MAX_FIELD_BYTES if max_field <= MAX_FIELD else 4 * max_field,
    )  # fmt: skip


def scale_of(grades: Sequence[str] | None, gains: Sequence[float] | None) -> GradeScale:
    """The scale of these names and gains.

    Raises:
        UsageError: they are no scale.
    """
    if grades is None and gains is None:
        return THREE_GRADES
    try:
        names = THREE_GRADES.names if grades is None else tuple(grades)
        if isinstance(grades, str) or not all(isinstance(name, str) for name in names):
            raise ValueError("grades must be a list of names")
        steps = max(len(names) - 1, 1)
        return GradeScale(names, tuple(i / steps for i in range(len(names))) if gains is None else tuple(gains))
    except (TypeError, ValueError) as error:
        mend = "give e.g. grades=[no, maybe, yes] gains=[0, 0.5, 1]"
        raise UsageError(f"grades={grades!r:.80}, gains={gains!r:.80}: {error}; {mend}") from error


def drawn(judgments: Draft, dev_share: float, test_share: float, seed: int) -> Draft:
    """The judgments with a split drawn for each query (:func:`mr_st.data.sources.splits.draw_splits`)."""
    ids = pl.Series(judgments.table["query_id"])
    split_of = draw_splits(ids.drop_nulls().unique().to_list(), dev_share, test_share, seed)
    splits = ids.replace_strict(split_of, default="train", return_dtype=pl.String).to_arrow().cast(pa.string())
    at = judgments.table.column_names.index("split")
    table = judgments.table.set_column(at, judgments.table.schema.field(at), pa.chunked_array([splits]))
    return Draft(judgments.where, table, judgments.names, judgments.broken - {"split"}, judgments.lost, judgments.rows)


# ---- options --------------------------------------------------------------------------------------------------------


def _files(path: str | Path | None, given: Mapping[str, str | Path | None]) -> dict[str, Path]:
    """Name of a table -> its file; ``joined`` for a file that holds the first three.

    Raises:
        UsageError: the files are not named, or by two ways.
        DataError: a folder lacks a file or has one twice.
    """
    named = {table: _path(file, table) for table, file in given.items() if file is not None}
    if path is not None:
        path = _path(path, "path")
        if set(named) - {"engagement"}:
            raise UsageError(f"path and {', '.join(named)} are given; give a folder or joined file, or three files")
        return (_in_folder(path) if path.is_dir() else {"joined": path}) | named
    missing = [table for table in _NEEDED if table not in named]
    if missing == ["queries", "items"]:
        return {("joined" if table == "judgments" else table): file for table, file in named.items()}
    if missing:
        raise UsageError(f"table: {', '.join(missing)} missing; give path=, or queries=, items= and judgments=")
    return named


def _in_folder(folder: Path) -> dict[str, Path]:
    problems: list[Problem] = []
    files: dict[str, Path] = {}
    for table in TABLES:
        there = _files_of(folder, table)
        if len(there) == 1:
            files[table] = there[0]
        elif there:
            what = f"{', '.join(file.name for file in there)} are all there"
            problems.append(Problem(shown(folder.name), what, f"keep one, or name it: {table}=FILE", column=None))
        elif table in _NEEDED:
            what = f"no file of the {table}"
            mend = f"put {table}.csv (or {', '.join(SUFFIXES[1:5])}) there"
            problems.append(Problem(shown(folder.name), what, mend))
    if problems:
        raise DataError(problems)
    return files


def _files_of(folder: Path, table: str) -> list[Path]:
    candidates = (folder / f"{table}{suffix}" for suffix in SUFFIXES)
    return [file for file in candidates if os.path.lexists(file)]


def _path(value: str | Path, what: str) -> Path:
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise UsageError(f"{what}={value!r} is no path; give the name of a file")
    return Path(value).expanduser()


def _column_names(columns: Mapping[str, str] | None, split: str | bool | None) -> dict[str, dict[str, str]]:
    """Name of a table -> our name of a column -> its name in the file, for the columns that are mapped."""
    if columns is not None and not isinstance(columns, Mapping):
        raise UsageError(f"columns={columns!r:.80}: give a mapping such as {{text: search_term}}")
    if split is True or not isinstance(split, (str, bool, type(None))) or split == "":
        raise UsageError(f"split={split!r}: name the column, or give false to draw the splits")
    names: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    ordered = sorted((columns or {}).items(), key=lambda pair: "." in str(pair[0]))  # those of one table come last
    for key, their in ordered:
        table, dot, column = str(key).rpartition(".")
        holders = [t for t in TABLES if (not dot or t == table) and column in {c.name for c in TABLES[t]}]
        if not holders:
            known = ", ".join(dict.fromkeys(c.name for t in TABLES for c in TABLES[t]))
            raise UsageError(f"columns: {key!r} is none of our columns; they are {known}, or e.g. queries.text")
        if not isinstance(their, str):
            raise UsageError(f"columns: {key!r} is mapped to {their!r}, which is no name of a column; quote it")
        for holder in holders:
            names[holder][column] = their
    if isinstance(split, str):
        names["judgments"]["split"] = split
    return names


def _separator(separator: str) -> str:
    if not isinstance(separator, str) or not separator.strip():
        raise UsageError(f"category_separator={separator!r}: give what stands between the levels, e.g. ' > '")
    return separator


def _locale(locale: str) -> str:
    fault = find_locale_fault(locale) if isinstance(locale, str) else ("", f"{locale!r} is no text", "quote it")
    if fault:
        raise UsageError(f"locale: {fault[1]}; {fault[2]}")
    return locale


def _stem(name: str) -> str:
    lower = name.lower()
    return next((name[: -len(suffix)] for suffix in sorted(SUFFIXES, key=len, reverse=True) if lower.endswith(suffix)),
                name) or "dataset"  # fmt: skip


def _tell_unused(raws: Mapping[str, RawTable], drafts: Mapping[str, Draft]) -> None:
    for table, raw in raws.items():
        of = drafts.values() if table == "joined" else [drafts[table]]
        used = {their for draft in of for their in draft.names.values()}
        unused = [shown(column) for column in raw.columns if column not in used]
        if unused:
            logger.warning("%s: columns that are not used: %s", raw.name, ", ".join(unused))
