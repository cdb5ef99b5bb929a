"""Tables put together from several files, each row remembering which file it came from, for messages that name it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from mr_st.data.schema import arrow_schema, to_table
from mr_st.errors import Problem

__all__ = ["Part", "Places", "in_their_files", "stack", "with_value_problems"]


@dataclass(frozen=True)
class Part:
    """Some rows of one file.

    Args:
        where: What a message calls the file.
        values: The rows, in any form that ``to_table`` takes; columns that the schema does not know are not allowed.
        rows: int64 (n,), the row of the file where each stands, counted from 1; None for 1, 2, 3, ...
    """

    where: str
    values: Any
    rows: np.ndarray | None = None

    def row(self, index: int) -> int:
        """The row of the file of the part's row ``index``, counted from 0."""
        return index + 1 if self.rows is None else int(self.rows[index])


@dataclass(frozen=True)
class Places:
    """Where each row of a stacked table came from.

    Args:
        parts: The parts, in order.
        starts: (n_parts,) the first row of each in the table, counted from 0.
    """

    parts: Sequence[Part]
    starts: Sequence[int]

    def of(self, row: int) -> tuple[str, int]:
        """File and row of the table's ``row``, counted from 1."""
        part = bisect_right(self.starts, row - 1) - 1
        return self.parts[part].where, self.parts[part].row(row - 1 - self.starts[part])


def stack(name: str, parts: Sequence[Part]) -> tuple[pa.Table, Places, list[Problem]]:
    """Bring every part into the schema of table ``name`` and put them one below the other.

    Returns:
        The table, where its rows came from, and every value of a wrong type.
    """
    tables, starts, problems, n_rows = [], [], [], 0
    kept = []
    for part in parts:
        table, faults = to_table(name, part.values, where=part.where)
        problems += [f if f.row is None else replace(f, row=part.row(f.row - 1)) for f in faults]
        if len(table):
            kept.append(part)
            starts.append(n_rows)
            tables.append(table)
            n_rows += len(table)
    table = pa.concat_tables(tables) if tables else arrow_schema(name).empty_table()
    return table, Places(kept, starts), problems


def in_their_files(problems: Sequence[Problem], places: Mapping[str, Places]) -> list[Problem]:
    """Problems that ``find_problems`` found in stacked tables, with the file and row of each.

    Args:
        problems: What it found; a table's name stands in ``where``.
        places: Name of a table -> where its rows came from; problems of other tables stay as they are.
    """
    return [_in_its_file(p, places[p.where]) if p.where in places else p for p in problems]


def _in_its_file(problem: Problem, places: Places) -> Problem:
    if problem.row is None or not places.parts:
        return problem
    where, row = places.of(problem.row)

    def other(match: re.Match[str]) -> str:
        file, other_row = places.of(int(match[1].replace(",", "")))
        return f"stands in {'' if file == where else f'{file}, '}row {other_row:,} already"

    what = re.sub(r"stands in row ([\d,]+) already", other, problem.what)
    return replace(problem, where=where, row=row, what=what)


def with_value_problems(
    read: Sequence[Problem], found: Sequence[Problem], places: Mapping[str, Places]
) -> list[Problem]:
    """All problems of one pass, without those of the values that only follow from what could not be read.

    A line that could not be read leaves a null, or an id that the judgments name in vain.

    Args:
        read: Problems met while reading; what they concern is missing from the tables or null.
        found: What ``find_problems`` found in the tables, in their files.
        places: Name of a table -> where its rows came from.
    """
    known = {(problem.where, problem.row) for problem in read}
    broken = {problem.where for problem in read}
    broken_columns = {problem.where for problem in read if problem.column is not None}
    lost = {
        column
        for table, column in (("queries", "query_id"), ("items", "item_id"))
        if broken & {part.where for part in places[table].parts} or not places[table].parts
    }
    kept = list(read)
    for problem in found:
        follows = (
            (problem.where, problem.row) in known
            or (problem.rule == "null" and problem.where in broken_columns)
            or (problem.rule == "unknown id" and problem.column in lost)
            or (problem.rule == "empty table" and bool(read))
        )
        if not follows:
            kept.append(problem)
    return kept
