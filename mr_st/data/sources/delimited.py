"""CSV and TSV, read with Python's own strict parser: texts as they stand, and every fault with row and line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TextIO

import pyarrow as pa

from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.errors import Problem

__all__ = ["read_delimited"]

_CHUNK_ROWS = 50_000  # rows turned into Arrow at a time
_RESTARTS = 20  # broken quotes after which reading starts anew on the next line, so that later faults are found too
_CANDIDATES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe"}


def read_delimited(
    open_text: Callable[[], TextIO],
    name: str,
    delimiter: str,
    quoting: bool,
    max_field: int,
    found: ProblemList,
) -> dict[str, pa.ChunkedArray]:
    """Read the columns of a delimited text, all as texts.

    Args:
        open_text: Opens the text, line ends untouched.
        name: What a message calls the file.
        delimiter: One character.
        quoting: Whether a double quote at the start of a field opens a quoted field.
        max_field: Most characters in a field.
        found: Takes the faults; what is returned is of use only if there is none.
    """
    dialect: dict[str, Any] = {"delimiter": delimiter, "strict": True}
    if not quoting:
        dialect["quoting"] = csv.QUOTE_NONE
    parser = _Parser(open_text, name, dialect, max_field, found)
    with _field_limit(max_field):
        return parser.run()


@contextmanager
def _field_limit(max_field: int) -> Iterator[None]:
    """The csv module keeps its limit for the whole process: set it, and put it back."""
    before = csv.field_size_limit(max_field)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Parser:
    def __init__(
        self, open_text: Callable[[], TextIO], name: str, dialect: dict[str, Any], max_field: int, found: ProblemList
    ):
        self._open_text, self._name, self._dialect = open_text, name, dialect
        self._max_field, self._found = max_field, found
        self._header: list[str] | None = None
        self._n_rows = 0
        self._rows: list[list[str]] = []
        self._blank: list[tuple[int, int]] = []  # (row, line) of empty lines: a fault unless they end the file
        self._chunks: list[list[pa.Array]] = []

    def run(self) -> dict[str, pa.ChunkedArray]:
        start: int | None = 0
        for left in range(_RESTARTS, -1, -1):
            if start is not None:
                start = self._read_from(start, can_restart=left > 0)
        if self._header is None:
            if not self._found:
                self._add("empty files", None, "the file is empty", "write a header and at least one row")
            return {}
        if self._n_rows == len(self._blank) and not self._found:
            self._add("files without rows", None, "a header but no rows", "give at least one row")
        self._flush()
        if self._found:
            return {}
        columns = [list(parts) for parts in zip(*self._chunks, strict=True)]
        return {
            column: pa.chunked_array(parts, pa.string()) for column, parts in zip(self._header, columns, strict=True)
        }

    def _read_from(self, skip: int, can_restart: bool) -> int | None:
        """Read on after ``skip`` lines; returns the number of lines to skip where it must start anew, or None."""
        with self._open_text() as stream:
            for _ in islice(stream, skip):
                pass
            reader = csv.reader(stream, **self._dialect)
            while True:
                start = skip + reader.line_num + 1
                try:
                    row = next(reader)
                except StopIteration:
                    return None
                except csv.Error as error:
                    end = skip + reader.line_num
                    self._broken(str(error), start, end)
                    if self._header is None:
                        return None
                    if end > start:  # which of these lines are rows can only be found by reading them anew
                        return start if can_restart else None
                    continue
                if self._header is None:
                    if row and not self._take_header(row):
                        return None
                    continue
                self._take_row(row, start)

    def _take_header(self, row: list[str]) -> bool:
        """Check the column names; False: the file is not cut up rightly, and its rows say nothing."""
        delimiter = self._dialect["delimiter"]
        self._header = row
        if len(row) == 1:
            for other, word in _CANDIDATES.items():
                if other != delimiter and other in row[0]:
                    used = _CANDIDATES.get(delimiter, repr(delimiter))
                    what = f"one column {shown(row[0])!s} when cut at each {used}; the delimiter seems to be a {word}"
                    self._add("wrong delimiters", None, what, f"pass delimiter={word}")
                    return False
        for number, column in enumerate(row, start=1):
            if not column.strip():
                what = f"column {number:,} has no name"
                self._add("nameless columns", None, what, "name it, or write the file without an index column")
            elif row.index(column) != number - 1:
                what = f"columns {row.index(column) + 1:,} and {number:,} have the same name"
                self._add("repeated names", None, what, "give each column its own name", column)
        return True

    def _take_row(self, row: list[str], line: int) -> None:
        self._n_rows += 1
        if not row:
            self._blank.append((self._n_rows, line))
            return
        header = self._header or []
        self._refuse_blank()
        if len(row) != len(header):
            what = f"{_count(len(row), 'field')} where the header has {len(header):,} (line {line:,})"
            mend = "put a field that holds the delimiter in double quotes, or give every column a field"
            self._add("ragged rows", self._n_rows, what, mend)
        elif not self._found:
            self._rows.append(row)
            if len(self._rows) >= _CHUNK_ROWS:
                self._flush()

    def _broken(self, error: str, start: int, end: int) -> None:
        """A record that the parser gave up on."""
        row: int | None = None
        if self._header is None:
            place = "the header"
        else:
            self._refuse_blank()
            self._n_rows += 1
            row, place = self._n_rows, f"line {start:,}"
        if "field larger" in error:
            what = f"{place}: a field is longer than {self._max_field:,} characters"
            mend = "shorten it or raise max_field"
            if end > start:
                what += f" (it runs on to line {end:,})"
                mend = "close its quote, shorten it or raise max_field"
            self._add("huge fields", row, what, mend)
        elif "unexpected end" in error:
            what = f"{place}: a double quote opens a field that is never closed"
            self._add("unclosed quotes", row, what, "close it, or pass quoting=false if quotes are plain characters")
        else:
            what = f"{place}: text follows a closing double quote"
            if end > start:
                what = f"{place}: a quoted field runs on to line {end:,}, where text follows its closing double quote"
            mend = "double the quotes inside a quoted field, or pass quoting=false if quotes are plain characters"
            self._add("misplaced quotes", row, what, mend)

    def _refuse_blank(self) -> None:
        for row, line in self._blank:
            self._add("empty lines", row, f"line {line:,} is empty", "remove it")
        self._blank = []

    def _flush(self) -> None:
        if self._rows and not self._found:
            self._chunks.append([pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)])
        self._rows = []

    def _add(self, kind: str, row: int | None, what: str, mend: str, column: str | None = None) -> None:
        self._found.add(kind, Problem(self._name, what, mend, row, None if column is None else shown(column)))


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"
