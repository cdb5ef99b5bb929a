"""Data as script files: a page opened from disk may not fetch, but it may load scripts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.text.html import script_json

__all__ = ["packed", "write_script", "write_scripts"]


def write_script(folder: Path, name: str, value: Any) -> None:
    """Write ``data/{name}.js``: one call, ``MR.put(name, value)``."""
    write_scripts(folder, name, {name: value})


def write_scripts(folder: Path, file: str, values: Mapping[str, Any]) -> None:
    """Write ``data/{file}.js``: a call ``MR.put(name, value)`` for each of some values."""
    path = folder / "data" / f"{file}.js"
    text = "".join(f"MR.put({json.dumps(name)},{script_json(value)});\n" for name, value in values.items())
    try:
        path.write_text(text, encoding="utf-8")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def packed(array: np.ndarray, dtype: str) -> str:
    """Numbers as base64 of little-endian ``dtype``."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()).decode()
