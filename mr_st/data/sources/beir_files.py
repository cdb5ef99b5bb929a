"""Reading BEIR's files: corpus.jsonl, queries.jsonl and qrels/*.tsv, each of them also as .gz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from mr_st.data.sources.parts import Part
from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.data.sources.text_files import RawTable, read_table
from mr_st.errors import DataError, Problem

__all__ = ["BEIR_PATTERNS", "QRELS_NAMES", "beir_files", "is_beir_folder", "read_jsonl", "read_qrels"]

BEIR_PATTERNS = (
    "corpus.jsonl", "corpus.jsonl.gz", "queries.jsonl", "queries.jsonl.gz", "qrels/*.tsv", "qrels/*.tsv.gz",
)  # fmt: skip
"""The files that are read, for a download."""

QRELS_NAMES = {"query_id": "query-id", "item_id": "corpus-id", "grade": "score"}
"""Our name of a column -> its name in qrels."""

_CHUNK_ROWS = 50_000


def beir_files(folder: Path) -> tuple[Path | None, Path | None, dict[str, Path]]:
    """Corpus, queries, and split -> qrels of a folder; a plain file goes before its .gz."""

    def find(name: str) -> Path | None:
        return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)

    qrels = {path.name.removesuffix(".tsv.gz"): path for path in sorted(folder.glob("qrels/*.tsv.gz"))}
    qrels |= {path.name.removesuffix(".tsv"): path for path in sorted(folder.glob("qrels/*.tsv"))}
    return find("corpus.jsonl"), find("queries.jsonl"), dict(sorted(qrels.items()))


def is_beir_folder(folder: Path) -> bool:
    """Whether a folder has BEIR's corpus and at least one of its qrels files."""
    corpus, _, qrels = beir_files(folder)
    return corpus is not None and bool(qrels)


def read_jsonl(path: Path, keys: dict[str, str], found: ProblemList) -> list[Part]:
    """Read one object a line, of texts; ``_id`` (which may be a whole number) and ``text`` are needed.

    Unlike in a table's JSON lines, rows may have different further keys: BEIR's ``metadata`` is anything.

    Args:
        path: The file, plain or .gz.
        keys: Key of the file's objects -> name of the column; a key that is absent or null gives null.
        found: Takes each line that is no such object.

    Returns:
        Parts of up to 50,000 rows, as Arrow tables; ``rows`` are the lines of the file.
    """
    parts: list[Part] = []
    rows: list[int] = []
    values: list[list[str | None]] = []

    def close() -> None:
        columns = [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
        parts.append(Part(path.name, pa.table(columns, names=list(keys.values())), np.array(rows, dtype=np.int64)))

    for number, line in _lines(path, found):
        fault, fields = _fields(line, list(keys))
        if fault:
            found.add("broken lines", Problem(path.name, fault, "write one JSON object a line", number))
            continue
        rows.append(number)
        values.append(fields)
        if len(rows) == _CHUNK_ROWS:
            close()
            rows, values = [], []
    if rows:
        close()
    return parts


def _fields(line: str, keys: list[str]) -> tuple[str, list[str | None]]:
    """What is wrong with a line (nothing: an empty text), and its values."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({getattr(error, 'msg', 'nested too deeply or a number too long')})", []
    if not isinstance(value, dict):
        return f"a {type(value).__name__} where an object with {', '.join(keys)} is expected", []
    absent = [key for key in ("_id", "text") if value.get(key) is None]
    if absent:
        have = ", ".join(shown(key, 40) for key in list(value)[:10])
        return f"no {' and no '.join(absent)}; found {have or 'nothing'}", []
    if isinstance(value["_id"], int) and not isinstance(value["_id"], bool):
        value["_id"] = str(value["_id"])
    fields = [value.get(key) for key in keys]
    for key, field in zip(keys, fields, strict=True):
        if field is not None and not isinstance(field, str):
            return f"{key} is a {type(field).__name__} where text is expected", []
        if field is not None and not _is_whole_text(field):
            return f"{key} holds half a character (a lone surrogate)", []
    return "", fields


def _is_whole_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path, found: ProblemList) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank; one that is no UTF-8 is a problem and left out."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    what = f"byte {error.start + 1:,} (0x{raw[error.start]:02X}) is not UTF-8"
                    problem = Problem(path.name, what, "save the file as UTF-8", number)
                    found.add("lines that cannot be decoded", problem)
                    continue
                if text.strip():
                    yield number, text
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot be read to its end ({(str(error).splitlines() or [type(error).__name__])[0][:80]})"
        found.add("unreadable files", Problem(path.name, what, "write or download it again"))


def read_qrels(path: Path, found: ProblemList) -> RawTable | None:
    """Read tab-separated query-id, corpus-id and score under a header line; None where that cannot be done.

    Args:
        path: The file, plain or .gz.
        found: Takes its faults.
    """
    where = f"qrels/{path.name}"
    try:
        raw = read_table(path, delimiter="tab", quoting=False)
    except DataError as error:
        found.extend(replace(problem, where=where) for problem in error.problems)
        return None
    absent = [name for name in QRELS_NAMES.values() if name not in raw.columns]
    if absent:
        have = ", ".join(shown(name, 40) for name in list(raw.columns)[:10])
        what = f"no column {' and no '.join(absent)}; the first line is {have}"
        found.add("headers", Problem(where, what, f"put the header line {'<tab>'.join(QRELS_NAMES.values())} first"))
        return None
    return replace(raw, name=where)
