"""JSON lines: one object a line, the same keys in each; every fault with its row."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TextIO

import pyarrow as pa

from mr_st.data.sources.problem_list import ProblemList, shown
from mr_st.errors import Problem

__all__ = ["DECIMAL", "LIST", "NESTED", "TEXT", "TRUTH", "WHOLE", "Kinds", "read_json_lines"]

Kinds = dict[str, tuple[int, int]]
"""Kind of value -> (the first row with it, how many rows have it)."""

TEXT, WHOLE, DECIMAL = "text", "a whole number", "a decimal number"
TRUTH, LIST, NESTED = "true or false", "a list of texts", "a nested value"

_CHUNK_ROWS = 50_000
_KIND_OF = {str: TEXT, int: WHOLE, float: DECIMAL, bool: TRUTH, dict: NESTED}


class _Fault(ValueError):
    """What is wrong with one line, in words."""


def read_json_lines(
    open_text: Callable[[], TextIO], name: str, max_field: int, found: ProblemList
) -> tuple[dict[str, pa.ChunkedArray], dict[str, Kinds]]:
    """Read the columns and, for each, the kinds of values it has (nulls are of none).

    A column of texts, of whole numbers, of numbers, of truths or of lists of texts has that Arrow type; any other
    (nested values, several kinds) holds each value as JSON text.

    Args:
        open_text: Opens the text.
        name: What a message calls the file.
        max_field: Most characters in a text.
        found: Takes the faults; what is returned is of use only if there is none.
    """
    columns: dict[str, _Column] | None = None
    blank: list[int] = []
    row = 0
    with open_text() as stream:
        for row, line in enumerate(stream, start=1):
            if not line.strip():
                blank.append(row)
                continue
            for empty in blank:
                found.add("empty lines", Problem(name, "an empty line", "remove it", empty))
            blank = []
            try:
                record = _parse(line)
            except _Fault as fault:
                found.add("broken lines", Problem(name, str(fault), "write one JSON object a line", row))
                continue
            except RecursionError:
                found.add("broken lines", Problem(name, "nested too deeply", "write plain values", row))
                continue
            if columns is None:
                columns = {key: _Column() for key in record}
                if not record:
                    found.add("empty objects", Problem(name, "an object with no key", "give it columns", row))
            if record.keys() != columns.keys():
                what = _other_keys(record, columns)
                found.add(
                    "rows with other keys", Problem(name, what, "give every row the same keys, null for none", row)
                )
                continue
            if len(line) > max_field:
                _check_lengths(record, name, row, max_field, found)
            for key, value in record.items():
                columns[key].values.append(value)
            if len(next(iter(columns.values()), _Column()).values) >= _CHUNK_ROWS:
                _flush(columns, row, found)
    if columns is None:
        if not found:
            found.add("empty files", Problem(name, "the file is empty", "write one JSON object a line"))
        return {}, {}
    _flush(columns, row - len(blank), found)
    if found:
        return {}, {}
    return {key: column.array() for key, column in columns.items()}, {key: c.kinds for key, c in columns.items()}


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
    except json.JSONDecodeError as error:
        raise _Fault(f"no JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1:,}") from error
    except _Fault:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise _Fault(f"no JSON that can be read ({str(error)[:60]})") from error
    if not isinstance(value, dict):
        kind = {list: "a list", type(None): "null"}.get(type(value)) or _KIND_OF[type(value)]
        raise _Fault(f"{kind} where an object is expected")
    if "\\u0000" in line and any(isinstance(v, str) and "\0" in v for v in value.values()):
        raise _Fault("a text holds a NUL character")
    if "\\u" in line and _has_half_character(value):
        raise _Fault("a text holds half a character (a lone surrogate)")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _Fault(f"the key {shown(repeated)} stands more than once")
    return value


def _constant(word: str) -> Any:
    raise _Fault(f"{word} is no JSON number; null stands for none")


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Fault(f"the number {digits[:20]} is out of range")
    return value


def _has_half_character(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return LIST if all(type(part) is str for part in value) else NESTED
    return _KIND_OF[type(value)]


def _other_keys(record: dict[str, Any], columns: dict[str, _Column]) -> str:
    lacking = ", ".join(shown(key) for key in columns if key not in record)
    further = ", ".join(shown(key) for key in record if key not in columns)
    parts = [f"lacks {lacking[:200]}"] * bool(lacking) + [f"has {further[:200]}"] * bool(further)
    return f"other keys than the first row: {' and '.join(parts)}"


def _check_lengths(record: dict[str, Any], name: str, row: int, max_field: int, found: ProblemList) -> None:
    for key, value in record.items():
        if isinstance(value, str) and len(value) > max_field:
            what = f"{len(value):,} characters; at most {max_field:,} are expected"
            found.add("huge fields", Problem(name, what, "shorten it or raise max_field", row, shown(key)))


class _Column:
    """The values of the chunk that is being read, and what became of those before."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.kinds: Kinds = {}
        self._chunks: list[tuple[pa.Array, bool]] = []  # and whether the chunk is of plain texts

    def flush(self, first_row: int) -> None:
        """Turn the values into Arrow; ``first_row`` is the row of the first one."""
        types = Counter(map(type, self.values))
        del types[type(None)]
        if list in types:
            listed = [_kind(value) if value is not None else None for value in self.values]
            counts: Counter[Any] = Counter(listed)
            del counts[None]
            firsts = {kind: listed.index(kind) for kind in counts}
        else:
            counts = Counter({_KIND_OF[kind]: count for kind, count in types.items()})
            firsts = {
                _KIND_OF[kind]: next(i for i, value in enumerate(self.values) if type(value) is kind) for kind in types
            }
        for kind, count in counts.items():
            first, before = self.kinds.get(kind, (first_row + firsts[kind], 0))
            self.kinds[kind] = (first, before + count)
        self._chunks.append((_arrow(self.values, set(counts)), set(counts) == {TEXT}))
        self.values = []

    def array(self) -> pa.ChunkedArray:
        """All chunks, in the one type that holds them."""
        kinds = set(self.kinds)
        target = _type_of(kinds)
        if kinds <= {WHOLE, DECIMAL} and any(chunk.type == pa.string() for chunk, _ in self._chunks):
            target = pa.string()  # numbers beyond 64 bits
        as_json = target == pa.string() and kinds != {TEXT}
        chunks = [_recast(chunk, target, as_json and is_plain) for chunk, is_plain in self._chunks]
        return pa.chunked_array(chunks, type=target)


def _type_of(kinds: set[str]) -> pa.DataType:
    if kinds == {WHOLE}:
        return pa.int64()
    if kinds and kinds <= {WHOLE, DECIMAL}:
        return pa.float64()
    if kinds == {TRUTH}:
        return pa.bool_()
    return pa.list_(pa.string()) if kinds == {LIST} else pa.string()


def _arrow(values: list[Any], kinds: set[str]) -> pa.Array:
    if not kinds:
        return pa.nulls(len(values))
    target = _type_of(kinds)
    if target == pa.string() and kinds != {TEXT}:
        return pa.array([None if v is None else json.dumps(v) for v in values], target)
    try:
        if target == pa.float64():
            values = [None if value is None else float(value) for value in values]
        return pa.array(values, target)
    except OverflowError:  # beyond 64 bits
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _recast(chunk: pa.Array, target: pa.DataType, as_json: bool) -> pa.Array:
    if chunk.type == target and not as_json:
        return chunk
    if target == pa.string() and not pa.types.is_integer(chunk.type):
        return pa.array([None if v is None else json.dumps(v) for v in chunk.to_pylist()], target)
    return chunk.cast(target, safe=False)


def _flush(columns: dict[str, _Column], last_row: int, found: ProblemList) -> None:
    """Close the chunk of every column; the rows of a file without faults follow one another without a gap."""
    for column in columns.values():
        if found:
            column.values = []
        else:
            column.flush(last_row - len(column.values) + 1)
