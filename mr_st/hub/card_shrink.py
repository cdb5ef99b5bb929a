"""Smaller and faster on a card: what ``mr-st shrink`` measured, as a table and its plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mr_st.hub.card_words import mapping, plain
from mr_st.text.markdown import Markdown, escape, number, signed, table
from mr_st.text.wording import metric_label

__all__ = ["shrink_part"]

_PLOT = "plots/shrink.png"


def shrink_part(model_dir: str | Path, shrink: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template prints of a ``shrink.json``; None where it holds no setting.

    Returns:
        ``protocol`` and ``advice`` (sentences), ``rows`` (a table) and ``plots``: the plot, where it lies in the
        model's folder.
    """
    found = mapping(shrink)
    settings = [row for row in found.get("settings") or [] if isinstance(row, Mapping)]
    if not settings:
        return None
    metric = str(found.get("metric", "ndcg@10"))
    pair = _widest(settings[0])
    grades = "" if pair is None else f" {pair[0]} over {pair[1]}"
    head = ["Setting", "Bytes", metric_label(metric), "Difference"]
    head += [] if pair is None else [f"Margin{grades}", f"AUC{grades}"]
    speeds = {"search_ms": "Search, ms", "encode_texts_per_second": "Texts a second"}
    used = [key for key in speeds if any(row.get(key) is not None for row in settings)]
    rows = [[*_cells(row, metric, pair), *(_speed(row.get(key)) for key in used)] for row in settings]
    protocol = mapping(found.get("protocol"))
    n_queries = protocol.get("n_queries")
    of = f", {n_queries:,} queries" if isinstance(n_queries, int) else ""
    lines = [
        f"Measured on {found.get('task', '')}{of}; bytes are of one vector, the difference is to the first row, with "
        "its 95 % interval"
    ]
    for name, key in (("Search", "search_speed"), ("Encoding", "encode_speed")):
        if protocol.get(key):
            lines.append(f"{name}: {protocol[key]}".strip("."))
    advice = mapping(found.get("recommendation")).get("text")
    return {
        "protocol": Markdown(". ".join(escape(line) for line in lines) + "."),
        "advice": advice,
        "rows": table([*head, *(speeds[key] for key in used)], rows),
        "plots": [{"caption": "Quality against bytes a vector", "path": Markdown(_PLOT)}]
        if (Path(model_dir) / _PLOT).is_file()
        else [],
    }


def _cells(row: Mapping[str, Any], metric: str, pair: tuple[int, int] | None) -> list[Any]:
    difference = mapping(row.get("difference"))
    cells: list[Any] = [
        row.get("name", ""),
        plain(row.get("bytes_per_vector")),
        _value(mapping(row.get("metrics")).get(metric)),
        Markdown(
            f"{signed(difference['value'])} [{signed(difference.get('low'))}, {signed(difference.get('high'))}]"
            if isinstance(difference.get("value"), float)
            else "–"
        ),
    ]
    if pair is not None:
        of_pair: Mapping[str, Any] = next(
            (p for p in row.get("separability") or [] if (p.get("high"), p.get("low")) == pair), {}
        )
        cells += [_value(of_pair.get("margin_average")), _value(of_pair.get("auc_per_query"))]
    return cells


def _value(found: Any) -> Markdown:
    return number(found.get("value") if isinstance(found, Mapping) else found)


def _speed(value: Any) -> Markdown:
    """Three figures of a time or a rate."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return Markdown("–")
    return Markdown(f"{value:,.0f}" if value >= 100 else f"{value:.3g}")


def _widest(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """The pair of grades that are farthest apart."""
    pairs = [(pair["high"], pair["low"]) for pair in row.get("separability") or [] if {"high", "low"} <= set(pair)]
    return max(pairs, key=lambda pair: pair[0] - pair[1], default=None)
