"""Reading one file of any table form (CSV, TSV, JSONL, Parquet): exactly what it says, or every fault it has.

Nothing is repaired and nothing guessed: a number in a CSV file stays the text it was, so "007" is no 7. Accepted are
what can mean one thing only: a UTF-8 byte order mark, line ends of any kind, empty lines at the end.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import pyarrow as pa

from mr_st.data.parquet import read_parquet
from mr_st.data.sources.delimited import read_delimited
from mr_st.data.sources.json_lines import Kinds, read_json_lines
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.errors import DataError, Problem, UsageError

__all__ = ["MAX_FIELD", "SUFFIXES", "RawTable", "is_table_file", "read_table"]

MAX_FIELD = 1 << 20
"""Characters in one field, by default: a longer one is more likely a quote that was never closed than a text."""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz")

_DELIMITERS = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}
_BLOCK = 1 << 20  # bytes read at a time
_LINE_FIELDS = 64  # a line may be this many times as long as a field
_NO_CHARACTER_SET = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"}
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"), (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"), (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)  # fmt: skip
_WIDE = ("utf-16", "utf-32")
_OTHER_FORMS = (
    (b"\x1f\x8b", "gzip-compressed", "add .gz to its name"),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or export the sheet as CSV"),
)


@dataclass(frozen=True)
class RawTable:
    """A file's columns before anything is made of them.

    Args:
        name: What a message calls the file.
        columns: Column name -> its values: texts from CSV and TSV; from JSONL and Parquet whatever type they have.
        n_rows: How many rows there are; row 1 is the first below the header.
        is_text: Whether every value is a text because the form knows nothing else (CSV, TSV).
        kinds: JSONL only: column -> kind of its values -> (the first row of that kind, how many there are).
    """

    name: str
    columns: dict[str, pa.ChunkedArray]
    n_rows: int
    is_text: bool = False
    kinds: dict[str, Kinds] = field(default_factory=dict)


def is_table_file(path: str | Path) -> bool:
    """Whether the file's name ends as one of :data:`SUFFIXES`."""
    return Path(path).name.lower().endswith(SUFFIXES)


def read_table(
    path: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
    max_field: int = MAX_FIELD,
) -> RawTable:
    """Read one file, or say everything that is wrong with it.

    The form follows from the name: .csv, .tsv, .jsonl (or .ndjson), each also with .gz, and .parquet. CSV is that of
    RFC 4180: the first line names the columns, a field in double quotes may hold the delimiter, line ends and doubled
    quotes. A quote inside an unquoted field is a plain character.

    Args:
        path: The file.
        delimiter: One character, or comma, tab, semicolon, pipe, space; None: comma for CSV, tab for TSV.
        encoding: The character set of a text file, as Python names it.
        quoting: False: a double quote is a plain character everywhere, as in tab-separated files without quoting.
        max_field: Most characters that one field may have.

    Raises:
        UsageError: the name ends otherwise, or an option means nothing.
        DataError: the file has faults; ``.problems`` lists them all (of one kind the first 1,000 one by one).
    """
    path = Path(path)
    form, is_packed = _form_of(path)
    separator = _delimiter(delimiter, form)
    codec = _codec(encoding)
    if isinstance(max_field, bool) or not isinstance(max_field, int) or not 0 < max_field < 1 << 31:
        raise UsageError(f"max_field={max_field!r} is no number of characters; give 1 or more")
    name = shown(path.name)
    _check_file(path, name)
    if form == "parquet":
        return _read_parquet(path, name)
    found = ProblemList()
    if not _scan(path, is_packed, codec, name, _LINE_FIELDS * max(max_field, MAX_FIELD), found):
        raise DataError(found.all())

    def open_text() -> TextIO:
        return io.TextIOWrapper(_open(path, is_packed), encoding=codec, errors="replace", newline="")

    kinds: dict[str, Kinds] = {}
    if form == "jsonl":
        columns, kinds = read_json_lines(open_text, name, max_field, found)
    else:
        columns = read_delimited(open_text, name, separator, quoting, max_field, found)
    found.raise_if_any()
    n_rows = len(next(iter(columns.values())))
    return RawTable(name, columns, n_rows, is_text=form != "jsonl", kinds=kinds)


def _form_of(path: Path) -> tuple[str, bool]:
    """csv, tsv, jsonl or parquet; and whether the file is gzip-compressed."""
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise UsageError(f"{shown(str(path), 300)}: no table file; its name must end in {', '.join(SUFFIXES)}")
    is_packed = name.endswith(".gz")
    suffix = name.removesuffix(".gz").rsplit(".", 1)[1]
    return {"ndjson": "jsonl"}.get(suffix, suffix), is_packed


def _delimiter(given: str | None, form: str) -> str:
    if given is None:
        return "\t" if form == "tsv" else ","
    separator = _DELIMITERS.get(given, given) if isinstance(given, str) else ""
    if len(separator) != 1 or separator in '"\r\n\0':
        known = ", ".join(name for name in _DELIMITERS if name.isalpha())
        raise UsageError(f"delimiter={given!r}: give one character, or one of {known}")
    return separator


def _codec(encoding: str) -> str:
    """The codec's own name; UTF-8 with or without its byte order mark is one thing."""
    try:
        info = codecs.lookup(encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(f"encoding={encoding!r} is unknown; give e.g. utf-8, utf-16, cp1252 or shift_jis") from error
    if not getattr(info, "_is_text_encoding", True) or info.name in _NO_CHARACTER_SET:
        raise UsageError(f"encoding={encoding!r} is no character set; give e.g. utf-8, utf-16, cp1252 or shift_jis")
    return "utf-8-sig" if info.name == "utf-8" else info.name


def _check_file(path: Path, name: str) -> None:
    """Refuse what is not a file that can be opened."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(Problem(name, "a folder stands here, not a file", "name the file in it"))
        if not stat.S_ISREG(mode):
            raise DataError(Problem(name, "neither a file nor a link to one", "name a file"))
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        what = "a link to a file that is not there" if path.is_symlink() else "the file is missing"
        raise DataError(Problem(name, what, "correct the path or put it there")) from error
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise DataError(Problem(name, f"cannot be read ({reason})", "mend the path or its permissions")) from error


def _open(path: Path, is_packed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if is_packed else open(path, "rb")


def _read_parquet(path: Path, name: str) -> RawTable:
    table = read_parquet(path)
    names = table.column_names
    found = ProblemList()
    for column in dict.fromkeys(names):
        if names.count(column) > 1:
            what = f"{names.count(column)} columns have this name"
            found.add("repeated names", Problem(name, what, "give each column its own name", column=shown(column)))
    if not table.num_rows:
        found.add("files without rows", Problem(name, "no rows", "give at least one row"))
    found.raise_if_any()
    return RawTable(name, dict(zip(names, table.columns, strict=True)), table.num_rows)


def _scan(path: Path, is_packed: bool, codec: str, name: str, max_line: int, found: ProblemList) -> bool:
    """Read all bytes once, for what would keep the file from being text; False: there is no use in parsing it."""
    decoder = codecs.getincrementaldecoder(codec)("strict")
    line, length, size, nulls, first_null = 1, 0, 0, 0, 0
    is_decoded = True
    try:
        with _open(path, is_packed) as stream:
            while True:
                block = stream.read(_BLOCK)
                if not size and (other := _other_form(block, codec)):
                    found.add("forms", Problem(name, *other))
                    return False
                size += len(block)
                try:
                    text = decoder.decode(block, final=not block) if is_decoded else block.decode("latin-1")
                except UnicodeError:
                    is_decoded, text = False, block.decode("latin-1")  # the rest is read for its other faults
                if "\0" in text:
                    first_null = first_null or line + text[: text.index("\0")].count("\n")
                    nulls += text.count("\0")
                line += text.count("\n")
                last = max(text.rfind("\n"), text.rfind("\r"))
                length = len(text) - last - 1 if last >= 0 else length + len(text)
                if length > max_line:
                    what = f"line {line:,} is longer than {max_line:,} characters"
                    found.add("long lines", Problem(name, what, "check that it is a text file with line ends"))
                    return False
                if not block:
                    break
            if not is_decoded:
                stream.seek(0)
                _undecodable(stream, codec, name, found)
                if codec.startswith(_WIDE):
                    return False
    except EOFError:
        what = f"the gzip file ends too early, after {size:,} unpacked bytes"
        found.add("truncated files", Problem(name, what, "write or download it again"))
        return False
    except (OSError, zlib.error) as error:
        what = f"cannot be unpacked ({str(error)[:80]})" if is_packed else f"cannot be read ({str(error)[:80]})"
        found.add("unreadable files", Problem(name, what, "write or download it again"))
        return False
    if nulls:
        what = f"{nulls:,} NUL characters, the first in line {first_null:,}"
        found.add("NUL characters", Problem(name, what, "remove them; a UTF-16 file needs encoding=utf-16"))
    if not size:
        found.add("empty files", Problem(name, "the file is empty", "write a header and at least one row"))
    return bool(size)


def _other_form(start: bytes, codec: str) -> tuple[str, str] | None:
    """What the first bytes show the file to be, if no text in ``codec``; and the mend."""
    for mark, what, mend in _OTHER_FORMS:
        if start.startswith(mark):
            return f"the file is {what}", mend
    if codec.startswith(_WIDE):
        return None
    for mark, what, encoding in _WIDE_MARKS:
        if start.startswith(mark):
            return f"the file starts with a {what} byte order mark", f"save it as UTF-8 or pass encoding={encoding}"
    return None


def _undecodable(stream: BinaryIO, codec: str, name: str, found: ProblemList) -> None:
    """Name the first bad byte of every line; in UTF-16 and UTF-32, where lines cannot be told, of the file."""
    expected = {"utf-8-sig": "UTF-8"}.get(codec, codec)
    mend = f"save the file as UTF-8 or pass its real encoding instead of {expected}, e.g. encoding=cp1252"
    lines = iter([stream.read()]) if codec.startswith(_WIDE) else iter(stream)
    offset = 0
    for number, line in enumerate(lines, start=1):
        try:
            line.decode("utf-8" if codec == "utf-8-sig" else codec)
        except UnicodeDecodeError as error:
            at = min(error.start, len(line) - 1)
            what = f"line {number:,}, byte {at + 1:,} (0x{line[at]:02X}, offset {offset + at:,}) is not {expected}"
            found.add("lines that cannot be decoded", Problem(name, what, mend))
        offset += len(line)
    if not found:  # only the whole shows it: UTF-16 without its byte order mark, an unfinished escape sequence
        found.add("files that cannot be decoded", Problem(name, f"the file is not {expected}", mend))
