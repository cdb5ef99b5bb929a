"""What is wrong with the texts of a table, found batch by batch: long descriptions are never in memory all at once."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa

from mr_st.data.schema import TABLES
from mr_st.data.validation_rules import Tally, shown
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

_BATCH_ROWS = 50_000
_CONTROL = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\ufeff\ufffe\uffff]"  # all but tab, line feed and return
_IN_IDS = "[\\x00-\\x1f\\x7f-\\x9f\ufeff\ufffd\ufffe\uffff]"
_NAMED_WHEN_EMPTY = ("text", "title", "category_path")  # rules of their own name these where they are blank
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


def text_batches(column: pa.ChunkedArray) -> Iterator[tuple[np.ndarray, pl.Series]]:
    """Row numbers (int64, from 0) and texts of a column, some 50,000 rows at a time.

    Args:
        column: Texts, or lists of texts: then every text of a list comes with the list's row.
    """
    start = 0
    for chunk in column.chunks:
        for offset in range(0, len(chunk), _BATCH_ROWS):
            part = chunk.slice(offset, _BATCH_ROWS)
            rows = np.arange(start, start + len(part), dtype=np.int64)
            start += len(part)
            if pa.types.is_list(part.type):
                rows = rows[part.value_parent_indices().to_numpy()]
                part = part.flatten()
            yield rows, pl.Series(part)


def find_text_faults(name: str, table: pa.Table, where: str, max_field_bytes: int) -> Iterator[Problem]:
    """NUL characters and huge fields, in every column of texts.

    Args:
        name: Which of the four tables it is.
        table: Its rows.
        where: What to call it.
        max_field_bytes: The largest text that passes, in bytes of UTF-8.
    """
    for column in _text_columns(name):
        nul = Tally("NUL character", where, column, "remove it; the file may be damaged or in UTF-16")
        huge = Tally("huge field", where, column, "look for a quote that is never closed, or cut the text")
        for rows, texts in text_batches(table[column]):
            if not column.endswith("_id"):  # those have a rule of their own
                _add(nul, rows, texts, texts.str.contains("\0", literal=True), lambda t: f"U+0000 in {shown(t)}")
            sizes = texts.str.len_bytes()
            _add(huge, rows, sizes, sizes > max_field_bytes,
                 lambda n: f"a text of {n:,} bytes where at most {max_field_bytes:,} are expected")  # fmt: skip
        yield from nul.problems()
        yield from huge.problems()


def find_broken_ids(table: pa.Table, column: str, where: str) -> Iterator[Problem]:
    """Ids with control characters or U+FFFD."""
    broken = Tally("broken id", where, column, "correct it; the file may have been read in a wrong encoding")
    for rows, texts in text_batches(table[column]):
        _add(broken, rows, texts, texts.str.strip_chars().str.contains(_IN_IDS), _broken_id)
    yield from broken.problems()


def find_text_notices(name: str, table: pa.Table, where: str) -> Iterator[Problem]:
    """What texts have that may be meant, but seldom is: blanks around them, other normal forms, odd characters."""
    for column in _PROSE.get(name, ()):
        blanks = Tally("blanks around a text", where, column, "remove them (--fix does)")
        nfc = Tally("text not in NFC", where, column, "normalise it (--fix does)")
        control = Tally("control character", where, column, "remove it")
        replaced = Tally("replacement character", where, column, "read the original file in its own encoding")
        empty = Tally("empty category level", where, column, "leave the level out")
        untitled = Tally("empty title", where, column, "give it a title, or leave the item out")
        for rows, texts in text_batches(table[column]):
            stripped = texts.str.strip_chars()
            is_empty = stripped.str.len_bytes() == 0
            if column == "category_path":
                _add(empty, rows, texts, is_empty, lambda t: f"the level {shown(t)} is empty")
            if column == "title":
                _add(untitled, rows, texts, is_empty, lambda t: f"the title {shown(t)} is empty")
            elsewhere = is_empty if column in _NAMED_WHEN_EMPTY else pl.repeat(False, len(texts), eager=True)
            _add(blanks, rows, texts, (stripped != texts) & ~elsewhere, lambda t: f"blanks around {shown(t)}")
            _add(nfc, rows, texts, needs_nfc(texts), lambda t: f"{shown(t)} is not in Unicode normal form C")
            odd = texts.str.contains(_CONTROL) & ~texts.str.contains("\0", literal=True)
            _add(control, rows, texts, odd, _control_character)
            _add(replaced, rows, texts, texts.str.contains("\ufffd", literal=True),
                 lambda t: f"U+FFFD in {shown(t)}")  # fmt: skip
        for tally in (empty, untitled, blanks, nfc, control, replaced):
            yield from tally.problems()


def _text_columns(name: str) -> list[str]:
    return [c.name for c in TABLES[name] if pa.types.is_string(c.type) or pa.types.is_list(c.type)]


def _add(tally: Tally, rows: np.ndarray, values: pl.Series, wrong: pl.Series, what: Callable[..., str]) -> None:
    at = np.flatnonzero(wrong.fill_null(False).to_numpy())
    if len(at):
        first = at[: tally.room]
        found = zip((rows[first] + 1).tolist(), values.gather(first).to_list(), strict=True)
        tally.add(((row, what(value)) for row, value in found), len(at))


def _broken_id(text: str) -> str:
    return f"{_named(text, _IN_IDS)} in the id {shown(text)}"


def _control_character(text: str) -> str:
    return f"{_named(text, _CONTROL)} in {shown(text)}"


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
