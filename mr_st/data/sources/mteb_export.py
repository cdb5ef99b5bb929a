"""Reading back what ``GradedDataset.to_mteb`` wrote: the same tables, to the last null."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from mr_st.data.dataset import GradedDataset
from mr_st.data.mteb_form import (
    CORPUS_FILE,
    ENGAGEMENT_FILE,
    EXPORT_SETTINGS,
    ITEM_DETAILS_FILE,
    QUERIES_FILE,
    QUERY_DETAILS_FILE,
    qrels_file,
)
from mr_st.data.parquet import read_parquet
from mr_st.data.schema import SPLITS, arrow_table, to_dataset, to_table
from mr_st.data.sources.parts import Part, in_their_files, stack
from mr_st.data.storage import read_settings
from mr_st.data.table_cache import cached_table, is_big
from mr_st.data.validation import find_problems
from mr_st.errors import DataError, Problem

__all__ = ["EXPORT_FILES", "is_export_folder", "load_export"]

EXPORT_FILES = (
    EXPORT_SETTINGS, CORPUS_FILE, QUERIES_FILE, ITEM_DETAILS_FILE, QUERY_DETAILS_FILE, ENGAGEMENT_FILE,
    *map(qrels_file, SPLITS),
)  # fmt: skip
"""Every file that an export can have, for a download."""

_QRELS = ["query-id", "corpus-id", "score", "source", "confidence", "row"]
_MEND = "write the folder again with GradedDataset.to_mteb"


def is_export_folder(folder: Path) -> bool:
    """Whether ``GradedDataset.to_mteb`` wrote the folder."""
    return (folder / EXPORT_SETTINGS).is_file()


def load_export(folder: Path, validate: bool = True) -> GradedDataset:
    """Read an export whole: the grades from the qrels, titles from the details, in the rows' first order.

    Args:
        folder: What ``GradedDataset.to_mteb`` wrote.
        validate: Also check what the values say.

    Raises:
        DataError: a file is missing or damaged, the details do not belong to corpus and queries, or the data has
            faults; ``.problems`` lists them all.
    """
    problems: list[Problem] = []
    settings = _read_settings(folder, problems)
    tables: dict[str, pa.Table] = {}
    splits = settings.pop("splits", [])
    has_engagement = settings.pop("has_engagement", False)
    columns = {CORPUS_FILE: ["_id"], QUERIES_FILE: ["_id", "text"]} | dict.fromkeys(map(qrels_file, splits), _QRELS)
    names = [*columns, ITEM_DETAILS_FILE, QUERY_DETAILS_FILE, *([ENGAGEMENT_FILE] if has_engagement else [])]
    for name in names:
        try:
            tables[name] = _read(folder / name, columns.get(name))
        except DataError as error:
            problems += [replace(problem, where=name) for problem in error.problems]
    for name, needed in columns.items():
        absent = [column for column in needed if name in tables and column not in tables[name].column_names]
        problems += [Problem(name, "missing", _MEND, column=column) for column in absent]
    if problems:
        raise DataError(problems)
    _check_same_ids(tables, CORPUS_FILE, ITEM_DETAILS_FILE, "item_id", problems)
    _check_same_ids(tables, QUERIES_FILE, QUERY_DETAILS_FILE, "query_id", problems)
    if problems:
        raise DataError(problems)

    queries = tables[QUERY_DETAILS_FILE].append_column("text", tables[QUERIES_FILE]["text"])
    parts = [_judgments(tables[qrels_file(split)], split) for split in splits]
    judgments, places, faults = stack("judgments", parts)
    problems += faults
    typed = {"judgments": judgments}
    for table, name, value in (
        ("queries", QUERY_DETAILS_FILE, queries),
        ("items", ITEM_DETAILS_FILE, tables[ITEM_DETAILS_FILE]),
        ("engagement", ENGAGEMENT_FILE, tables.get(ENGAGEMENT_FILE)),
    ):
        if value is not None:
            typed[table], faults = to_table(table, value, where=name)
            problems += faults
    if problems:
        raise DataError(problems)
    dataset = _dataset(typed, settings)
    if validate and (problems := find_problems(dataset)):
        files = {"queries": QUERY_DETAILS_FILE, "items": ITEM_DETAILS_FILE, "engagement": ENGAGEMENT_FILE}
        problems = in_their_files(problems, {"judgments": places})
        raise DataError([replace(problem, where=files.get(problem.where, problem.where)) for problem in problems])
    if splits:
        order = pc.sort_indices(pa.concat_tables([tables[qrels_file(s)].select(["row"]) for s in splits])["row"])
        typed["judgments"] = judgments.take(order)
        dataset = _dataset(typed, settings)
    return dataset


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    """A table of the export; large item details stay on disk."""
    if path.name == Path(ITEM_DETAILS_FILE).name and path.is_file() and is_big(path):
        return arrow_table(cached_table("items", path))
    return read_parquet(path, columns)


def _dataset(typed: dict[str, pa.Table], settings: dict[str, Any]) -> GradedDataset:
    return GradedDataset(**{name: to_dataset(table) for name, table in typed.items()}, **settings)


def _judgments(table: pa.Table, split: str) -> Part:
    values = {
        "query_id": table["query-id"],
        "item_id": table["corpus-id"],
        "grade": table["score"],
        "split": pa.repeat(split, len(table)),
        "source": table["source"],
        "confidence": table["confidence"],
    }
    return Part(qrels_file(split), pa.table(values))


def _check_same_ids(
    tables: dict[str, pa.Table], file: str, details: str, column: str, problems: list[Problem]
) -> None:
    """The details must stand row by row beside what MTEB reads."""
    named = tables[details]
    if column not in named.column_names:
        problems.append(Problem(details, "missing", _MEND, column=column))
        return
    here, there = tables[file]["_id"], named[column]
    if len(here) != len(there):
        problems.append(Problem(details, f"{len(there):,} rows where {file} has {len(here):,}", _MEND))
        return
    try:
        ids, other_ids = here.cast(pa.string()), there.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        problems.append(Problem(file, f"type {here.type} where {details} has {there.type}", _MEND, column="_id"))
        return
    wrong = pc.index(pc.fill_null(pc.equal(ids, other_ids), False), False).as_py()
    if wrong >= 0:
        what = f"{ids[wrong].as_py()!r} where {details} has {other_ids[wrong].as_py()!r}"
        problems.append(Problem(file, what, _MEND, wrong + 1, "_id"))


def _read_settings(folder: Path, problems: list[Problem]) -> dict[str, Any]:
    path = folder / EXPORT_SETTINGS
    try:
        settings = read_settings(path)
    except DataError as error:
        problems += error.problems
        return {}
    more = yaml.safe_load(path.read_text(encoding="utf-8"))
    splits = more.get("splits")
    if not isinstance(splits, list) or not all(split in SPLITS for split in splits):
        problems.append(Problem(path.name, f"{splits!r:.60} where a list of {', '.join(SPLITS)} is expected", _MEND))
        return {}
    return {**settings, "splits": splits, "has_engagement": bool(more.get("has_engagement"))}
