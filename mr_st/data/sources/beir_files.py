"""Reading BEIR's files: corpus.jsonl, queries.jsonl and qrels/*.tsv, each of them also as .gz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from mr_st.data.schema import MAX_PROBLEMS
from mr_st.data.sources.parts import Part
from mr_st.errors import DataError, Problem

__all__ = ["BEIR_PATTERNS", "find_file", "is_beir_folder", "qrels_files", "read_jsonl", "read_qrels", "require_files"]

BEIR_PATTERNS = (
    "corpus.jsonl", "corpus.jsonl.gz", "queries.jsonl", "queries.jsonl.gz", "qrels/*.tsv", "qrels/*.tsv.gz",
)  # fmt: skip
"""The files that are read, for a download."""

_CHUNK_ROWS = 50_000
_HEADER = ["query-id", "corpus-id", "score"]
_READ_AGAIN = "write or download it again"


def find_file(folder: Path, name: str) -> Path | None:
    """The file ``name``, or ``name.gz`` where there is none."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def qrels_files(folder: Path) -> dict[str, Path]:
    """Split -> its file of ``qrels/``, by name; a plain file goes before its .gz."""
    found = {
        path.name.removesuffix(".gz").removesuffix(".tsv"): path for path in sorted(folder.glob("qrels/*.tsv.gz"))
    }
    found |= {path.name.removesuffix(".tsv"): path for path in folder.glob("qrels/*.tsv")}
    return dict(sorted(found.items()))


def is_beir_folder(folder: Path) -> bool:
    """Whether a folder has BEIR's corpus and one of its qrels files."""
    return find_file(folder, "corpus.jsonl") is not None and bool(qrels_files(folder))


def read_jsonl(path: Path, keys: dict[str, str], problems: list[Problem]) -> list[Part]:
    """Read one object a line, of texts; ``_id`` (which may be a whole number) and ``text`` are needed.

    Args:
        path: The file, plain or .gz.
        keys: Key of the file's objects -> name of the column; a key that is absent or null gives null.
        problems: Takes each line that is no such object.

    Returns:
        Parts of up to 50,000 rows, as Arrow tables; ``rows`` are the lines of the file.
    """
    parts: list[Part] = []
    n_wrong = 0
    rows: list[int] = []
    values: list[list[str | None]] = []

    def close() -> None:
        columns = [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
        parts.append(Part(path.name, pa.table(columns, names=list(keys.values())), np.array(rows, dtype=np.int64)))

    for number, line in _lines(path, problems):
        fault, fields = _fields(line, list(keys))
        if fault:
            n_wrong += 1
            if n_wrong <= MAX_PROBLEMS:
                problems.append(Problem(path.name, fault, "correct the line", number))
            continue
        rows.append(number)
        values.append(fields)
        if len(rows) == _CHUNK_ROWS:
            close()
            rows, values = [], []
    if rows:
        close()
    if n_wrong > MAX_PROBLEMS:
        problems.append(Problem(path.name, f"{n_wrong - MAX_PROBLEMS:,} more lines like these", "correct them"))
    return parts


def _fields(line: str, keys: list[str]) -> tuple[str, list[str | None]]:
    """What is wrong with a line (nothing: an empty text), and its values."""
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"not valid JSON ({getattr(error, 'msg', 'nested too deep')})", []
    if not isinstance(value, dict):
        return f"a {type(value).__name__} where an object with {', '.join(keys)} is expected", []
    absent = [key for key in ("_id", "text") if value.get(key) is None]
    if absent:
        return f"no {' and no '.join(absent)}; found {', '.join(map(ascii, value))[:100] or 'nothing'}", []
    if isinstance(value["_id"], int) and not isinstance(value["_id"], bool):
        value["_id"] = str(value["_id"])
    fields = [value.get(key) for key in keys]
    for key, field in zip(keys, fields, strict=True):
        if field is not None and not isinstance(field, str):
            return f"{key} is a {type(field).__name__} where text is expected", []
        if field is not None and not _is_utf8(field):
            return f"{key} has half of a surrogate pair, which is no text", []
    return "", fields


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_qrels(path: Path, where: str, problems: list[Problem]) -> Part:
    """Read a tab-separated file of query-id, corpus-id and score under a header line.

    Args:
        path: The file, plain or .gz.
        where: What a message calls it.
        problems: Takes a missing header, and each line that has not three fields.

    Returns:
        Columns query_id, item_id and score, all text; ``rows`` are the lines of the file, the header's is 1.
    """
    columns: list[list[str]] = [[], [], []]
    rows: list[int] = []
    n_wrong = 0
    for number, line in _lines(path, problems, where):
        fields = [field.strip() for field in line.split("\t")]
        if number == 1:
            if [field.lower().replace("_", "-") for field in fields] != _HEADER:
                what = f"{line.strip()!r:.80} where the header line {'<tab>'.join(_HEADER)} is expected"
                problems.append(Problem(where, what, "put the header line first", 1))
            continue
        if len(fields) != 3 or not all(fields):
            n_wrong += 1
            if n_wrong <= MAX_PROBLEMS:
                filled = sum(map(bool, fields))
                what = f"{filled} filled fields of {len(fields)} where query-id, corpus-id and score are expected"
                problems.append(Problem(where, what, "correct the line; fields are separated by one tab", number))
            continue
        rows.append(number)
        for column, field in zip(columns, fields, strict=True):
            column.append(field)
    if n_wrong > MAX_PROBLEMS:
        problems.append(Problem(where, f"{n_wrong - MAX_PROBLEMS:,} more lines like these", "correct them"))
    names = ("query_id", "item_id", "score")
    values = {name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}
    return Part(where, pa.table(values), np.array(rows, dtype=np.int64))


def _lines(path: Path, problems: list[Problem], where: str | None = None) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank; one that is no UTF-8 is a problem and left out."""
    where = where or path.name
    n_wrong = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                    problems.append(
                        Problem(where, "a byte order mark stands first", "save it as UTF-8 without one", 1)
                    )
                    raw = raw[3:]
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    n_wrong += 1
                    if n_wrong <= MAX_PROBLEMS:
                        what = f"not UTF-8 (byte {raw[error.start]:#04x} at column {error.start + 1})"
                        problems.append(Problem(where, what, "save the file as UTF-8", number))
                    continue
                if text.strip():
                    yield number, text
    except (OSError, EOFError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        problems.append(Problem(where, f"cannot be read to its end ({reason})", _READ_AGAIN))
    if n_wrong > MAX_PROBLEMS:
        problems.append(
            Problem(where, f"{n_wrong - MAX_PROBLEMS:,} more lines that are not UTF-8", "save it as UTF-8")
        )


def require_files(folder: Path) -> tuple[Path, Path, dict[str, Path]]:
    """Corpus, queries and qrels of a folder.

    Raises:
        DataError: any of them is missing; it names all that are.
    """
    corpus, queries, qrels = find_file(folder, "corpus.jsonl"), find_file(folder, "queries.jsonl"), qrels_files(folder)
    wanted = {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels or None}
    problems = [
        Problem(name, f"missing in {folder}", "put it there (or its .gz)") for name, path in wanted.items() if not path
    ]
    if problems or corpus is None or queries is None:
        raise DataError(problems)
    return corpus, queries, qrels
