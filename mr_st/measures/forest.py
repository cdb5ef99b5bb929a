"""A forest plot: differences with their intervals, one line each, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mr_st.measures.plots import OKABE_ITO
from mr_st.measures.significance import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ForestRow", "plot_forest"]

_BETTER, _WORSE, _OPEN = OKABE_ITO[2], OKABE_ITO[0], "#666666"
_WIDEST = 44  # characters of a label


@dataclass(frozen=True)
class ForestRow:
    """One line of the plot.

    Args:
        label: What the difference is over.
        interval: The difference; NaN ends where the queries were too few for an interval.
        p_value: Its (corrected) p-value; None or NaN where it was not tested.
        group: Lines of one group stand together under its name; empty for none.
    """

    label: str
    interval: Interval
    p_value: float | None = None
    group: str = ""


def plot_forest(rows: Sequence[ForestRow], *, title: str = "", axis: str = "difference", p_label: str = "p") -> Figure:
    """Differences as points with their intervals, the number of queries and the p-value beside each.

    A filled marker means p < .05, and its colour and shape say which way; a hollow one that no difference is shown; a
    small cross that there were too few queries to tell.

    Args:
        rows: From top to bottom; rows of one group follow each other.
        title: Above the plot.
        axis: What the differences are of.
        p_label: Over the column of p-values, e.g. what they are corrected by.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("at least one row is needed")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places, headings, at = [], [], 0.0
    for i, row in enumerate(rows):
        if row.group and (i == 0 or row.group != rows[i - 1].group):
            at += 0.35 if i else 0.0
            headings.append((at, row.group))
            at += 1.0
        places.append(at)
        at += 1.0
    figure = Figure(figsize=(8.2, 1.35 + 0.32 * at + (0.35 if title else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvline(0, color="#555555", linewidth=0.9, zorder=1)
    for y, row in zip(places, rows, strict=True):
        _draw(axes, y, row)
    for y, name in headings:
        axes.text(-0.01, y, _short(name), transform=axes.get_yaxis_transform(), ha="right", va="center",
                  fontsize=9, fontweight="bold")  # fmt: skip
    for x, head in ((1.02, "queries"), (1.18, p_label)):
        axes.text(x, -0.9, head, transform=axes.get_yaxis_transform(), fontsize=9, color="#555555", va="center")
    low, high = _reach(rows)
    axes.set_xlim(low, high)
    axes.set_ylim(at - 0.4, -1.3)
    axes.set_yticks(places, [_short(row.label) for row in rows], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"{axis}; bars: 95 % intervals; filled: {p_label} < .05", fontsize=9)
    if title:
        axes.set_title(title, fontsize=11, loc="left")
    return figure


def _draw(axes: Axes, y: float, row: ForestRow) -> None:
    interval = row.interval
    p = np.nan if row.p_value is None else row.p_value
    is_shown = p < 0.05
    colour = (_BETTER if interval.value > 0 else _WORSE) if is_shown else _OPEN
    if np.isnan(interval.low):
        axes.plot(interval.value, y, marker="x", color=_OPEN, markersize=5, zorder=3)
    else:
        axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=1.8, zorder=2, solid_capstyle="butt")
        marker = (">" if interval.value > 0 else "<") if is_shown else "o"
        axes.plot(interval.value, y, marker=marker, color=colour, markersize=7, zorder=3,
                  markerfacecolor=colour if is_shown else "white")  # fmt: skip
    beside = axes.get_yaxis_transform()
    axes.text(1.02, y, f"{interval.n:,}", transform=beside, fontsize=9, va="center")
    text = "too few" if np.isnan(p) else "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"
    axes.text(1.18, y, text, transform=beside, fontsize=9, va="center")


def _reach(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """The range of the axis: all points and intervals, and 0, with some air."""
    ends = np.array([[r.interval.value, r.interval.low, r.interval.high] for r in rows]).ravel()
    ends = np.append(ends[np.isfinite(ends)], 0.0)
    air = 0.06 * max(float(np.ptp(ends)), 0.01)
    return float(ends.min()) - air, float(ends.max()) + air


def _short(text: str) -> str:
    """A label that fits, with nothing that matplotlib takes for mathematics."""
    text = " ".join(text.split())
    return (text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…").replace("$", r"\$")
