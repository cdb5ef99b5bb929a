"""What experts answered, read back from the form's files or a spreadsheet's, with every fault named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mr_st.annotation.review.csv_cells import unguarded
from mr_st.annotation.review.sheet import ReviewSheet
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.text_files import read_table
from mr_st.errors import DataError, Problem

__all__ = ["ANSWER_SCHEMA", "AnswersError", "read_answers"]

ANSWER_SCHEMA = {"query_id": pl.String, "item_id": pl.String, "grade": pl.Int8, "expert": pl.String, "note": pl.String}
"""The columns of the answers."""

_KEY = re.compile(r"s([0-9a-f]{12})-([1-9][0-9]{0,8})")
_NUMBER = re.compile(r"([0-9]{1,4})([.,]0+)?")


class AnswersError(DataError):
    """Answers that cannot be taken; ``problems`` lists every fault, the message is the first with a count."""

    def __init__(self, problems: Problem | Sequence[Problem]):
        super().__init__(problems)
        rest = sum(problem.n_faults for problem in self.problems) - 1
        self.args = (f"{self.problems[0]}" + (f" (and {rest:,} more faults)" if rest > 0 else ""),)


def read_answers(paths: str | Path | Sequence[str | Path], sheet: ReviewSheet | str | Path) -> pl.DataFrame:
    """Read the answers of one expert or several.

    A file is what the form's download button wrote, or ``sheet.csv`` as a spreadsheet saved it (comma, semicolon or
    tab between the columns; UTF-8). Only the columns key and grade are needed. A grade is its number or its name. An
    expert is named by the column expert, else by the file's name. A pair without a grade is not an answer and no
    fault: ``sheet.n_unanswered(answers)`` counts them.

    Args:
        paths: One file, or several.
        sheet: The sheet, or its folder.

    Returns:
        query_id, item_id, grade (int8), expert, note: a row for each pair that an expert graded, in the order of the
        sheet and then of the files.

    Raises:
        AnswersError: an unknown key, answers to another sheet, a grade outside the scale, or one pair with two grades
            by one expert; file, row and column are named.
        DataError: a file is missing or no table.
    """
    sheet = sheet if isinstance(sheet, ReviewSheet) else ReviewSheet.load(sheet)
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found = ProblemList()
    given: dict[tuple[int, str], tuple[int, str, str]] = {}  # (pair, expert) -> grade, note, place
    for path in map(Path, paths):
        _read_file(path, sheet, given, found)
    if found:
        raise AnswersError(found.all())
    rows = [
        (*sheet.pairs[pair], grade, expert, note)
        for (pair, expert), (grade, note, _) in sorted(given.items(), key=lambda answer: answer[0][0])
    ]
    return pl.DataFrame(rows, schema=ANSWER_SCHEMA, orient="row")


def _read_file(
    path: Path, sheet: ReviewSheet, given: dict[tuple[int, str], tuple[int, str, str]], found: ProblemList
) -> None:
    table = read_table(path, delimiter=_delimiter(path))
    for column in ("key", "grade"):
        if column not in table.columns:
            what = f"no such column; there are {shown(', '.join(table.columns))}"
            mend = "keep the first line of the sheet as it was"
            found.add("columns", Problem(table.name, what, mend, column=column))
            return
    columns = pl.DataFrame({name: pl.from_arrow(column) for name, column in table.columns.items()})
    columns = columns.select(pl.col(c).cast(pl.String) for c in ("key", "grade", "note", "expert") if c in columns)
    for row, values in enumerate(columns.iter_rows(named=True), start=1):
        pair = _pair(values["key"] or "", sheet, table.name, row, found)
        grade = _grade(values["grade"] or "", sheet, table.name, row, found)
        if pair is None or grade is None:
            continue
        expert = unguarded(values.get("expert") or "").strip() or path.name.split(".")[0]
        note = unguarded(values.get("note") or "")
        place = f"{table.name}, row {row:,}"
        before = given.setdefault((pair, expert), (grade, note, place))
        if before[0] != grade:
            what = f"{shown(expert)} gave this pair grade {grade}, and grade {before[0]} in {before[2]}"
            found.add("two grades", Problem(table.name, what, "leave one of the two rows", row, "grade"))
        elif note and not before[1]:
            given[pair, expert] = (grade, note, before[2])


def _pair(key: str, sheet: ReviewSheet, name: str, row: int, found: ProblemList) -> int | None:
    """The pair's row in the sheet."""
    match = _KEY.fullmatch(unguarded(key).strip())
    if match and match[1] != sheet.hash:
        what = f"{shown(key)} belongs to another sheet ({match[1]}); this one is {sheet.hash}"
        found.add("other sheets", Problem(name, what, "give the answers to the sheet of this folder", row, "key"))
        return None
    if not match or int(match[2]) > len(sheet.pairs):
        what = f"{shown(key)} is no key of the sheet ({sheet.key(0)} to {sheet.key(len(sheet.pairs) - 1)})"
        found.add("keys", Problem(name, what, "copy the key from sheet.csv, or remove the row", row, "key"))
        return None
    return int(match[2]) - 1


def _grade(text: str, sheet: ReviewSheet, name: str, row: int, found: ProblemList) -> int | None:
    text = unguarded(text).strip()
    if not text:
        return None
    names = [known.casefold() for known in sheet.grade_names]
    number = _NUMBER.fullmatch(text)
    if number and int(number[1]) < len(names):
        return int(number[1])
    if names.count(text.casefold()) == 1:
        return names.index(text.casefold())
    scale = ", ".join(f"{grade} {known}" for grade, known in enumerate(sheet.grade_names))
    what = f"grade {shown(text)} is not on the scale ({scale})"
    found.add("grades", Problem(name, what, "give one of these, or leave the cell empty", row, "grade"))
    return None


def _delimiter(path: Path) -> str | None:
    """What separates the columns of a CSV file: a spreadsheet writes what its language is used to."""
    if not path.name.lower().endswith(".csv"):
        return None
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as handle:
            first = handle.readline(10_000)
    except OSError:
        return None  # read_table says what is wrong with the file
    return max(",;\t", key=first.count)
