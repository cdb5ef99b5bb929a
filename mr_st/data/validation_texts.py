"""What is wrong with the texts of a table, found batch by batch: long descriptions are never in memory all at once."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from datasets import Dataset

from mr_st.data.schema import TABLES
from mr_st.data.spool import table_batches
from mr_st.data.validation_rules import Tally, listed, shown
from mr_st.errors import Problem

__all__ = [
    "MAX_FIELD_BYTES",
    "clean",
    "find_broken_ids",
    "find_text_faults",
    "find_text_notices",
    "needs_nfc",
    "text_batches",
]

MAX_FIELD_BYTES = 1 << 20
"""The largest text that passes, in bytes of UTF-8."""

_CONTROL = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\ufeff\ufffe\uffff]"  # all but tab, line feed and return
_IN_IDS = "[\\x00-\\x1f\\x7f-\\x9f\ufeff\ufffd\ufffe\uffff]"
_NAMED_WHEN_EMPTY = ("text", "title", "category_path")  # rules of their own name these where they are blank
_NOTICES = {
    "empty category level": "leave the level out",
    "empty title": "give it a title, or leave the item out",
    "blanks around a text": "remove them (--fix does)",
    "text not in NFC": "normalise it (--fix does)",
    "control character": "remove it",
    "replacement character": "read the original file in its own encoding",
}
_PROSE = {"queries": ("text",), "items": ("title", "category_path", "description", "brand", "color")}


def clean(values: pl.Series) -> pl.Series:
    """Texts without surrounding blanks (Unicode White_Space) and in normal form C; nulls stay."""
    return values.str.strip_chars().str.normalize("NFC")


def needs_nfc(values: pl.Series) -> pl.Series:
    """bool (n,): which texts are not in Unicode normal form C; False for nulls."""
    # normalising is slow, so only texts with a character that it can change, alone or with its neighbour, go there
    wrong = values.str.contains(_changeable()).fill_null(False).to_numpy().copy()
    at = np.flatnonzero(wrong)
    if len(at):
        some = values.gather(at)
        wrong[at] = (some.str.normalize("NFC") != some).to_numpy()
    return pl.Series(wrong)


def text_batches(dataset: Dataset, columns: Sequence[str]) -> Iterator[tuple[str, np.ndarray, pl.Series]]:
    """Column by column of batch by batch: its name, row numbers (int64, from 0) and texts.

    Args:
        dataset: A table.
        columns: Columns of texts, or of lists of texts: then every text of a list comes with the list's row.
    """
    start = 0
    for batch in table_batches(dataset, columns):
        rows = np.arange(start, start + batch.num_rows, dtype=np.int64)
        start += batch.num_rows
        for name, part in zip(columns, batch.columns, strict=True):
            if pa.types.is_list(part.type):
                yield name, rows[part.value_parent_indices().to_numpy()], pl.Series(part.flatten())
            else:
                yield name, rows, pl.Series(part)


def find_text_faults(name: str, dataset: Dataset, where: str, max_field_bytes: int) -> Iterator[Problem]:
    """NUL characters and huge fields, in every column of texts.

    Args:
        name: Which of the four tables it is.
        dataset: Its rows.
        where: What to call it.
        max_field_bytes: The largest text that passes, in bytes of UTF-8.
    """
    columns = [c.name for c in TABLES[name] if pa.types.is_string(c.type) or pa.types.is_list(c.type)]
    nul = {c: Tally("NUL character", where, c, "remove it; the file may be damaged or in UTF-16") for c in columns}
    huge = {
        c: Tally("huge field", where, c, "look for a quote that is never closed, or cut the text") for c in columns
    }
    for column, rows, texts in text_batches(dataset, columns):
        if not column.endswith("_id"):  # those have a rule of their own
            wrong = texts.str.contains("\0", literal=True)
            _add(nul[column], rows, texts, wrong, lambda t: f"U+0000 in {shown(t)}")
        sizes = texts.str.len_bytes()
        _add(huge[column], rows, sizes, sizes > max_field_bytes,
             lambda n: f"a text of {n:,} bytes where at most {max_field_bytes:,} are expected")  # fmt: skip
    for column in columns:
        yield from nul[column].problems()
        yield from huge[column].problems()


def find_broken_ids(ids: pl.DataFrame, column: str, where: str) -> Iterator[Problem]:
    """Ids with control characters or U+FFFD.

    Args:
        ids: The column, and the row numbers in ``ROW``.
        column: query_id or item_id.
        where: What to call the table.
    """
    wrong = ids.filter(pl.col(column).str.strip_chars().str.contains(_IN_IDS))
    mend = "correct it; the file may have been read in a wrong encoding"
    yield from listed("broken id", wrong, where, column, lambda t: f"{_named(t, _IN_IDS)} in the id {shown(t)}", mend)


def find_text_notices(name: str, dataset: Dataset, where: str) -> Iterator[Problem]:
    """What texts have that may be meant, but seldom is: blanks around them, other normal forms, odd characters."""
    columns = _PROSE.get(name, ())
    tallies = {column: [Tally(rule, where, column, mend) for rule, mend in _NOTICES.items()] for column in columns}
    for column, rows, texts in text_batches(dataset, columns):
        level, title, blanks, nfc, control, replaced = tallies[column]
        stripped = texts.str.strip_chars()
        is_empty = stripped.str.len_bytes() == 0
        if column == "category_path":
            _add(level, rows, texts, is_empty, lambda t: f"the level {shown(t)} is empty")
        if column == "title":
            _add(title, rows, texts, is_empty, lambda t: f"the title {shown(t)} is empty")
        is_named = is_empty if column in _NAMED_WHEN_EMPTY else pl.repeat(False, len(texts), eager=True)
        _add(blanks, rows, texts, (stripped != texts) & ~is_named, lambda t: f"blanks around {shown(t)}")
        _add(nfc, rows, texts, needs_nfc(texts), lambda t: f"{shown(t)} is not in Unicode normal form C")
        odd = texts.str.contains(_CONTROL) & ~texts.str.contains("\0", literal=True)
        _add(control, rows, texts, odd, lambda t: f"{_named(t, _CONTROL)} in {shown(t)}")
        wrong = texts.str.contains("\ufffd", literal=True)
        _add(replaced, rows, texts, wrong, lambda t: f"U+FFFD in {shown(t)}")
    for tally in (tally for column in columns for tally in tallies[column]):
        yield from tally.problems()


def _add(tally: Tally, rows: np.ndarray, values: pl.Series, wrong: pl.Series, what: Callable[..., str]) -> None:
    at = np.flatnonzero(wrong.fill_null(False).to_numpy())
    if len(at):
        first = at[: tally.room]
        found = zip((rows[first] + 1).tolist(), values.gather(first).to_list(), strict=True)
        tally.add(((row, what(value)) for row, value in found), len(at))


def _named(text: str, characters: str) -> str:
    found = re.search(characters, text.strip() or text)
    return f"U+{ord(found[0]):04X}" if found else "a control character"


@cache
def _changeable() -> str:
    """A character class that holds whatever normal form C can change, alone or by what stands before it."""
    changed = [c for c in range(0x80, sys.maxunicode + 1) if not unicodedata.is_normalized("NFC", chr(c))]
    ranges: list[list[int]] = []
    for c in changed:
        if 0xD800 <= c <= 0xDFFF:
            continue
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    jamo = "\\x{1160}-\\x{11FF}"
    return "[\\p{M}" + jamo + "".join(f"\\x{{{low:X}}}-\\x{{{high:X}}}" for low, high in ranges) + "]"
