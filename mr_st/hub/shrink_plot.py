"""Quality against bytes a vector, one point a setting, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mr_st.measures.figures import OKABE_ITO, panel_grid
from mr_st.text.wording import metric_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_shrink"]

_MARKERS = {"float32": "o", "float16": "s", "int8": "^", "binary": "D"}
_COLOURS = {"float32": OKABE_ITO[2], "float16": OKABE_ITO[5], "int8": OKABE_ITO[3], "binary": OKABE_ITO[0]}
_STEP = 1.06  # between settings of one size that would hide each other


def plot_shrink(found: Mapping[str, Any]) -> Figure:
    """Each setting's main metric less the full one's, with its paired interval, against bytes a vector.

    Args:
        found: What ``shrink.json`` holds. Settings that change the model and not the size of a vector are left out.
    """
    figure, ((axes,),) = panel_grid(1, 8.6, panel_height=5.2)
    rows = [row for row in found["settings"] if row["encoder"] == "float32"]
    full = rows[0]["metrics"][found["metric"]]["value"] or 1.0
    least = -found["recommendation"]["most_lost"]
    axes.axhspan(least, -least, color="#EEEEEE", zorder=0)
    axes.axhline(0, color="#555555", linewidth=0.8, linestyle="--", zorder=1)
    changes = [row["difference"] or {"value": 0.0, "low": None, "high": None} for row in rows]
    shares = [[None if one[key] is None else one[key] / full for key in ("value", "low", "high")] for one in changes]
    lowest = min(share for of_row in shares for share in of_row if share is not None)
    near = max(0.05, -lowest) / 25
    placed: list[tuple[float, float]] = []
    for row, (value, low, high) in zip(rows, shares, strict=True):
        x, y = float(row["bytes_per_vector"]), float(value or 0.0)
        while any(abs(y - at_y) < near and max(x, at_x) / min(x, at_x) < _STEP for at_x, at_y in placed):
            x *= _STEP
        placed.append((x, y))
        colour = _COLOURS[row["dtype"]]
        if low is not None and high is not None:
            axes.plot([x, x], [low, high], color=colour, linewidth=1.4, alpha=0.8)
        inside = colour if row["rescored_with"] is None else "white"
        axes.plot(x, y, _MARKERS[row["dtype"]], color=colour, markersize=7, markerfacecolor=inside)
        steep = y > 2 * least  # many settings cost nothing: their names stand aslant above the line
        left = row["dtype"] == "int8" and not steep
        axes.annotate(
            row["name"], (x, y), xytext=(0, 7) if steep else (-6 if left else 6, -3), textcoords="offset points",
            fontsize=7.5, rotation=50 if steep else 0, rotation_mode="anchor", ha="right" if left else "left",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    sizes = sorted({row["bytes_per_vector"] for row in rows})
    axes.set_xlim(sizes[0] / 1.9, sizes[-1] * 1.9)
    axes.set_ylim(lowest - 2 * near, max(0.05, -lowest) * 0.36)
    shown = sorted({row["bytes_searched"] for row in rows if row["rescored_with"] is None})
    axes.set_xticks(shown, [f"{size:,}" for size in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:+g} %" if abs(share) > 1e-9 else "0")
    axes.set_xlabel("bytes a vector, with what is kept for rescoring")
    axes.set_ylabel(f"{metric_label(found['metric'])} against full float32, {full:.3f}")
    axes.set_title(f"{found['model']['name']} on {found['task']}", fontsize=11)
    figure.supxlabel(
        "paired 95 % intervals over queries; grey: within 1 % of full; hollow: candidates scored again",
        fontsize=9, color="#444444",
    )  # fmt: skip
    return figure
