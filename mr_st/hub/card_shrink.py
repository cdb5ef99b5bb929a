"""Smaller and faster on a card: what ``mr-st shrink`` measured, as a table and its plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mr_st.hub.card_words import as_interval, interval_cell, mapping, plain, words
from mr_st.text.markdown import Markdown, number, table

__all__ = ["shrink_part"]


def shrink_part(model_dir: str | Path, shrink: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The protocol in a sentence, the table, and the plot where it lies in the model's folder; None without rows."""
    rows = [row for row in (shrink or {}).get("rows") or [] if isinstance(row, Mapping)]
    if not rows:
        return None
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(key)) for key in keys] for row in rows]
    plot = Path(model_dir) / "plots" / "shrink.png"
    return {
        "protocol": plain(mapping((shrink or {}).get("protocol"))),
        "rows": table([words(key) for key in keys], cells),
        "plots": [{"caption": "Quality against bytes a vector", "path": Markdown("plots/shrink.png")}]
        if plot.is_file()
        else [],
    }


def _cell(value: Any) -> Any:
    if as_interval(value) is not None:
        return interval_cell(value)
    return number(value) if isinstance(value, float) else plain(value)
