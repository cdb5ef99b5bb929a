"""Quality against bytes a vector, one point a setting, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.wording import metric_label
from mr_st.measures.figures import OKABE_ITO, panel_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_shrink"]

_MARKERS = {"float32": "o", "float16": "s", "int8": "^", "binary": "D"}
_COLOURS = {"float32": OKABE_ITO[2], "float16": OKABE_ITO[5], "int8": OKABE_ITO[3], "binary": OKABE_ITO[0]}


def plot_shrink(found: Mapping[str, Any]) -> Figure:
    """Each setting's main metric less the full one's, with its paired interval, against bytes a vector.

    Args:
        found: What ``shrink.json`` holds. Settings that change the model and not the size of a vector are left out.
    """
    figure, ((axes,),) = panel_grid(1, 8.6, panel_height=5.2)
    rows = [row for row in found["settings"] if row["encoder"] == "float32"]
    full = rows[0]["metrics"][found["metric"]]["value"]
    least = -found["recommendation"]["most_lost"]
    axes.axhspan(least, -least, color="#EEEEEE", zorder=0)
    axes.axhline(0, color="#555555", linewidth=0.8, linestyle="--", zorder=1)
    at_size: dict[int, int] = {}
    for row in rows:
        size = row["bytes_per_vector"]
        beside = at_size[size] = at_size.get(size, -1) + 1
        x = size * 1.045**beside  # settings of one size stand side by side
        change = row["difference"] or {"value": 0.0, "low": None, "high": None}
        value = change["value"] / full
        low, high = (None if change[key] is None else change[key] / full for key in ("low", "high"))
        colour = _COLOURS[row["dtype"]]
        if low is not None:
            axes.plot([x, x], [low, high], color=colour, linewidth=1.4, alpha=0.8)
        kept = row["rescored_with"] is None
        axes.plot(
            x, value, _MARKERS[row["dtype"]], color=colour, markersize=7, markerfacecolor=colour if kept else "white"
        )
        axes.annotate(
            row["name"],
            (x, value),
            xytext=(5, 4 if beside % 2 == 0 else -11),
            textcoords="offset points",
            fontsize=7.5,
        )
    axes.set_xscale("log", base=2)
    sizes = sorted({row["bytes_per_vector"] for row in rows})
    axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.75)
    shown = [size for size, after in zip(sizes, [*sizes[1:], 0], strict=True) if not 0 < after < 1.25 * size]
    axes.set_xticks(shown, [f"{size:,}" for size in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:+.1%}")
    axes.set_xlabel("bytes a vector, with what is kept for rescoring")
    axes.set_ylabel(f"{metric_label(found['metric'])} against full float32, {full:.3f}")
    axes.set_title(f"{found['model']['name']} on {found['task']}", fontsize=11)
    figure.supxlabel(
        "paired 95 % intervals over queries; grey: within 1 % of full; hollow: candidates scored again",
        fontsize=9, color="#444444",
    )  # fmt: skip
    return figure
