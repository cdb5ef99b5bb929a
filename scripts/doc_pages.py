"""What the scripts that write figures into docs/ share: marked places of a page, and the cells of tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"


def put_into_docs(path: Path, marker: str, table: str) -> None:
    """Replace what stands between the markers ``<!-- table: ... -->`` and ``<!-- end: ... -->``."""
    begin, end = f"<!-- table: {marker} -->", f"<!-- end: {marker} -->"
    pattern = re.escape(begin) + r".*?" + re.escape(end)
    text, n = re.subn(pattern, lambda _: f"{begin}\n{table}\n{end}", path.read_text(encoding="utf-8"), flags=re.S)
    if n != 1:
        raise SystemExit(f"{path}: the markers {begin} and {end} are not there once; put them where the table goes")
    path.write_text(text, encoding="utf-8")


def read_json_or_nothing(path: Path) -> dict[str, Any]:
    """What a file of figures holds; nothing where it is not there yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def interval_cell(figure: Mapping[str, Any], form: str = ".3f", none: str = "") -> str:
    """A figure with its interval, e.g. ``0.648 [0.614, 0.683]``.

    Args:
        figure: value, low, high; low None where there is no interval.
        form: How a number is written, e.g. ``+.3f`` or ``.1%``.
        none: What stands where there is no value.
    """
    if figure["value"] is None:
        return none
    if figure["low"] is None:
        return f"{figure['value']:{form}}"
    return f"{figure['value']:{form}} [{figure['low']:{form}}, {figure['high']:{form}}]"


def p_cell(p: float) -> str:
    """A p-value, e.g. ``<.001`` or ``.032``."""
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"
