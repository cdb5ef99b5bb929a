"""The table of a shrink report: the same cells for the terminal, for Markdown and for a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mr_st.text.markdown import Markdown, escape, flatten
from mr_st.text.markdown import table as markdown_table
from mr_st.text.wording import metric_label, protocol_line

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["cells", "columns", "heading", "markdown", "markdown_rows", "notes", "table"]

_MILLION = 1_000_000


def columns(found: Mapping[str, Any]) -> list[str]:
    """The heads of the table's columns."""
    names = ["Setting", "Dims", "Bytes", "A million", metric_label(found["metric"]), "Difference", "p (Holm)"]
    names += [metric_label(name) for name in found["settings"][0]["metrics"] if name != found["metric"]]
    for pair in _neighbours(found["settings"][0]):
        grades = f"{pair['high']} over {pair['low']}"
        names += [f"Margin {grades}", f"worst {grades}", f"AUC {grades}", f"overlap {grades}"]
    return [*names, "Search, ms", "Texts/s"]


def cells(found: Mapping[str, Any]) -> list[list[str]]:
    """The table's rows, as text; a dash for what was not measured."""
    return [_row(row, found["metric"]) for row in found["settings"]]


def markdown(found: Mapping[str, Any]) -> str:
    """The whole report as Markdown: what was measured, the table, the recommendation.

    Args:
        found: What ``shrink.json`` holds.
    """
    about = ". ".join(escape(part) for part in heading(found))
    lines = [f"{about}.", "", markdown_rows(found), "", found["recommendation"]["text"], ""]
    lines += [f"- {name}: {text}" for name, text in notes(found).items()]
    return "\n".join(lines) + "\n"


def markdown_rows(found: Mapping[str, Any]) -> str:
    """The table alone, in Markdown."""
    return markdown_table(columns(found), [[Markdown(cell) for cell in row] for row in cells(found)])


def heading(found: Mapping[str, Any]) -> tuple[str, str]:
    """Which model was measured on what, and how."""
    return f"{found['model']['name']} on {found['task']}", protocol_line(found["protocol"])


def notes(found: Mapping[str, Any]) -> dict[str, str]:
    """How the figures were made, and what could not be measured."""
    protocol = found["protocol"]
    told = {name: protocol[name] for name in ("truncation", "calibration", "similarity", "rescoring", "comparison")}
    told |= {name.replace("_", " "): protocol[name] for name in ("search_speed", "encode_speed") if name in protocol}
    return told | {f"{name} not measured": escape(why) for name, why in found["left_out"].items()}


def table(found: Mapping[str, Any]) -> Group:
    """The report for a terminal: quality, size and speed, and below them how far the grades stand apart."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    names, rows = columns(found), cells(found)
    apart = [at for at, name in enumerate(names) if " over " in name]
    tables = []
    for shown in ([at for at in range(len(names)) if at not in apart], [0, *apart]):
        drawn = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for at in shown:
            drawn.add_column(Text(names[at]), justify="right" if at else "left")
        for row in rows:
            drawn.add_row(*(Text(row[at]) for at in shown))
        tables.append(drawn)
    told = Text(found["recommendation"]["text"], style="bold")
    return Group(Text(". ".join(map(flatten, heading(found)))), Text(), tables[0], Text(), tables[1], Text(), told)


def _row(row: Mapping[str, Any], metric: str) -> list[str]:
    difference, million = row["difference"], row["bytes_per_vector"] * _MILLION / 2**30
    texts = [
        row["name"],
        str(row["dims"]),
        f"{row['bytes_per_vector']:,}",
        f"{million:.2f} GiB",
        _interval(row["metrics"][metric], ".4f"),
        _interval(difference, "+.4f") if difference else "",
        _p(difference) if difference else "",
        *(_interval(value, ".3f") for name, value in row["metrics"].items() if name != metric),
    ]
    for pair in _neighbours(row):
        figures = [pair[name] for name in ("margin_average", "margin_worst", "auc_pooled", "overlap")]
        texts += ["-" if figure is None or figure["value"] is None else f"{figure['value']:.3f}" for figure in figures]
    texts.append("-" if row["search_ms"] is None else f"{row['search_ms']:.3f}")
    speed = row["encode_texts_per_second"]
    return [*texts, "-" if speed is None else f"{speed:,.0f}"]


def _neighbours(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [pair for pair in row["separability"] if pair["high"] == pair["low"] + 1]


def _interval(figure: Mapping[str, Any], form: str) -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:{form}}"
    return f"{figure['value']:{form}} [{figure['low']:{form}}, {figure['high']:{form}}]"


def _p(difference: Mapping[str, Any]) -> str:
    p = difference["p_value"] if difference["p_holm"] is None else difference["p_holm"]
    return "-" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"
