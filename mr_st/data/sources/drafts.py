"""From drafts of the four tables to a dataset, with every fault in the words of the files it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import TABLES, arrow_schema, to_dataset
from mr_st.data.sources.parts import Part, Places, in_their_files
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.table_columns import Draft
from mr_st.data.validation import MAX_FIELD_BYTES, find_problems
from mr_st.errors import DataError, Problem
from mr_st.grades import GradeScale

__all__ = ["assemble"]

_HOMES = {"query_id": "queries", "item_id": "items"}


def assemble(
    drafts: Mapping[str, Draft],
    found: ProblemList,
    scale: GradeScale,
    name: str,
    license: str,
    source: dict[str, Any],
    validate: bool = True,
    max_field_bytes: int = MAX_FIELD_BYTES,
) -> GradedDataset:
    """Make the dataset, or raise every fault of every file.

    Args:
        drafts: Name of a table -> its draft; a table whose file could not be read is missing.
        found: The faults met while reading; they are always raised.
        scale: What the grades mean.
        name: What to call the dataset.
        license: An SPDX id or a name.
        source: How it was made, YAML-ready.
        validate: Also look for faults in what the values say.
        max_field_bytes: The largest text that passes, in bytes of UTF-8.

    Raises:
        DataError: with every fault.
    """
    tables = {table: drafts[table].table if table in drafts else arrow_schema(table).empty_table() for table in TABLES}
    if "engagement" not in drafts:
        del tables["engagement"]
    datasets = {table: to_dataset(value) for table, value in tables.items()}
    dataset = GradedDataset(**datasets, scale=scale, name=name, license=license, source=source)
    read = found.all()
    if validate:
        problems = [p for p in find_problems(dataset, max_field_bytes=max_field_bytes) if not _follows(p, drafts)]
        places = {table: Places([Part(draft.where, None, draft.rows)], [0]) for table, draft in drafts.items()}
        placed = in_their_files([_named(p, drafts) for p in problems], places)
        read += [p if p.row is not None else replace(p, where=drafts[p.where].where) for p in placed]
    if read:
        raise DataError(list(dict.fromkeys(read)))
    return dataset


def _follows(problem: Problem, drafts: Mapping[str, Draft]) -> bool:
    """Whether a fault is there only because a file, a column or a value could not be read."""
    draft = drafts.get(problem.where)
    if draft is None or problem.column in draft.broken:
        return True
    lost = draft.lost.get(problem.column or "") if problem.rule == "null" else None
    if lost is not None:
        row = problem.row if draft.rows is None or problem.row is None else draft.rows[problem.row - 1]
        return row is None or bool((lost == row).any())
    home = drafts.get(_HOMES.get(problem.column or "", "")) if problem.rule == "unknown id" else draft
    return home is None or (problem.rule == "unknown id" and problem.column in home.broken)


def _named(problem: Problem, drafts: Mapping[str, Draft]) -> Problem:
    """The fault with the column's name in the file."""
    column = problem.column
    return (
        problem if column is None else replace(problem, column=shown(drafts[problem.where].names.get(column, column)))
    )
