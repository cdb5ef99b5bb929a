"""A results folder from somebody else, looked at before anything in it is believed: names, sizes, JSON, tables."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation.naming import safe_name

__all__ = ["META", "HandedFolder", "handed_folders", "read_strict_json", "table_columns"]

META = "model_meta.json"
TABLES = ("per_query", "run", "similarities")
"""The tables that may stand beside a result."""

MAX_FILES = 5_000
MAX_NAME = 200
MAX_JSON_BYTES = 16 << 20
MAX_TABLE_BYTES = 512 << 20
MAX_TOTAL_BYTES = 4 << 30
_MAX_UNPACKED_BYTES = 2 << 30
_MAX_DEPTH = 50
_LAYOUT = "{org__name}/{revision}/{Task}.json"


@dataclass(frozen=True)
class HandedFolder:
    """The results of one revision of one model, as they lie in the folder that was handed in.

    Args:
        path: The revision's folder.
        model_folder: Name of the folder above: ``org__name``.
        revision: Name of the folder.
        tasks: Stem of each result's JSON, sorted.
        files: Names of all files, sorted.
    """

    path: Path
    model_folder: str
    revision: str
    tasks: tuple[str, ...]
    files: tuple[str, ...]


def handed_folders(folder: Path) -> list[HandedFolder]:
    """What a folder that was handed in holds, by names and sizes alone; nothing is read.

    Raises:
        UsageError: no such folder.
        MrStError: anything that is no result's: a link, a device, a hidden or foreign file, a name that could leave
            the folder or act as markup, a file that is too large, another depth than ``org__name/revision/``.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give the results folder, which holds {_LAYOUT}")
    found: list[HandedFolder] = []
    budget = _Budget()
    for model in _entries(folder, folder, folders=True):
        for revision in _entries(Path(model.path), folder, folders=True):
            names = []
            for entry in _entries(Path(revision.path), folder, folders=False):
                budget.take(entry, folder)
                names.append(entry.name)
            found.append(_as_results(Path(revision.path), model.name, revision.name, names, folder))
    if not found:
        raise MrStError(f"{folder}: holds no result; give the results folder, which holds {_LAYOUT}")
    return found


def read_strict_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds one mapping.

    Raises:
        MrStError: no JSON, NaN or infinity, a key twice, nested too deeply, or no mapping.
    """
    try:
        value = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_no_number,
            parse_float=_finite,
            object_pairs_hook=_no_key_twice,
        )
    except RecursionError as error:
        raise MrStError(f"{path.name}: nested too deeply; hand in what mr-st evaluate wrote") from error
    except (OSError, ValueError) as error:
        raise MrStError(f"{path.name}: not valid JSON ({error}); hand in what mr-st evaluate wrote") from error
    if not isinstance(value, dict) or _depth(value) > _MAX_DEPTH:
        raise MrStError(f"{path.name}: no JSON mapping of a result; hand in what mr-st evaluate wrote")
    return value


def table_columns(path: Path, columns: Mapping[str, pa.DataType], rest: pa.DataType | None, max_rows: int) -> pa.Table:
    """A Parquet table of known columns, read without unpacking what would not fit.

    Args:
        path: The file.
        columns: Columns that must be there, and their types.
        rest: The type of all other columns; None where there may be none.
        max_rows: More rows are refused before they are read.

    Raises:
        MrStError: no Parquet, other columns, or too large.
    """
    name, mend = path.name, "hand in what mr-st evaluate wrote"
    texts = [column for column, kind in columns.items() if pa.types.is_string(kind)]
    try:
        file = pq.ParquetFile(path, read_dictionary=texts)  # a text that is repeated is unpacked once
        schema, facts = file.schema_arrow, file.metadata
        unpacked = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        if facts.num_rows > max_rows:
            raise MrStError(f"{name}: {facts.num_rows:,} rows where at most {max_rows:,} can be; {mend}")
        if unpacked > _MAX_UNPACKED_BYTES:
            raise MrStError(f"{name}: {unpacked:,} bytes unpacked, above {_MAX_UNPACKED_BYTES:,}; {mend}")
        _check_schema(name, schema, columns, rest)
        table = file.read()
        for column in texts:
            _check_lengths(name, column, table[column])
        return table.cast(pa.schema([(f, columns.get(f, rest)) for f in table.column_names]))
    except (OSError, ValueError, pa.ArrowException, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MrStError(f"{name}: cannot be read as Parquet ({reason:.120}); {mend}") from error


class _Budget:
    """Counts files and bytes, and refuses what is beyond the limits."""

    def __init__(self) -> None:
        self.n_files = self.n_bytes = 0

    def take(self, entry: os.DirEntry[str], root: Path) -> None:
        size = entry.stat(follow_symlinks=False).st_size
        self.n_files += 1
        self.n_bytes += size
        most = MAX_JSON_BYTES if entry.name.endswith(".json") else MAX_TABLE_BYTES
        place = Path(entry.path).relative_to(root)
        if size > most:
            raise MrStError(f"{place}: {size:,} bytes, above the limit of {most:,}; hand in less")
        if self.n_files > MAX_FILES or self.n_bytes > MAX_TOTAL_BYTES:
            raise MrStError(f"{root}: more than {MAX_FILES:,} files or {MAX_TOTAL_BYTES:,} bytes; hand it in by model")


def _entries(folder: Path, root: Path, folders: bool) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, all of them folders or all of them plain files."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        place = ascii(str(Path(entry.path).relative_to(root)))[1:-1]
        shown = place if len(place) <= 120 else place[:117] + "..."
        if len(entry.name) > MAX_NAME:
            raise MrStError(f"{shown}: a name of more than {MAX_NAME} characters; hand in what mr-st evaluate wrote")
        try:
            safe_name(entry.name, "the name")
        except UsageError as error:
            raise MrStError(f"{shown}: hidden, or not a name of a result ({_LAYOUT}); remove it") from error
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise MrStError(f"{shown}: a link; hand in the file itself")
        if folders and not stat.S_ISDIR(mode):
            raise MrStError(f"{shown}: no folder; give the results folder, which holds {_LAYOUT}")
        if not folders and not stat.S_ISREG(mode):
            raise MrStError(f"{shown}: no plain file; a result is {_LAYOUT}, with its tables beside it")
    return entries


def _as_results(path: Path, model: str, revision: str, names: Sequence[str], root: Path) -> HandedFolder:
    place = path.relative_to(root)
    tasks = [name.removesuffix(".json") for name in names if name.endswith(".json") and name != META]
    if not tasks or META not in names:
        raise MrStError(f"{place}: lacks {META if tasks else 'a result'}; hand in what mr-st evaluate wrote")
    for name in names:
        if name.endswith(".json"):
            continue
        task, _, rest = next(((t, *name.partition(f"{t}.")[1:]) for t in tasks if name.startswith(f"{t}.")), ("",) * 3)
        parts = rest.rsplit(".", 2)
        if not task or len(parts) != 3 or parts[1] not in TABLES or parts[2] != "parquet":
            raise MrStError(f"{place / name}: not a file of a result; remove it")
    return HandedFolder(path, model, revision, tuple(tasks), tuple(names))


def _check_schema(name: str, schema: pa.Schema, columns: Mapping[str, pa.DataType], rest: pa.DataType | None) -> None:
    mend = "hand in what mr-st evaluate wrote"
    if len(set(schema.names)) != len(schema.names):
        raise MrStError(f"{name}: a column twice; {mend}")
    for column, kind in columns.items():
        if column not in schema.names:
            raise MrStError(f"{name}: column {column} is missing; {mend}")
        if not _same_kind(schema.field(column).type, kind):
            raise MrStError(f"{name}: column {column} is {schema.field(column).type}, expected {kind}; {mend}")
    for column in schema.names:
        if column not in columns and (rest is None or not schema.field(column).type.equals(rest)):
            raise MrStError(f"{name}: column {ascii(column)[:60]} does not belong there; {mend}")


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(found.equals(wanted))


def _check_lengths(name: str, column: str, values: pa.ChunkedArray) -> None:
    for chunk in values.chunks:
        lengths = pa.compute.utf8_length(chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk)
        if (pa.compute.max(lengths).as_py() or 0) > 10 * MAX_NAME:
            raise MrStError(f"{name}: column {column} holds a text of more than {10 * MAX_NAME:,} characters")


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        value, depth = waiting.pop()
        deepest = max(deepest, depth)
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(child, depth + 1) for child in children]
    return deepest
