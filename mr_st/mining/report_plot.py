"""A mining round in one figure: by rank, what the annotator made of the pairs that nobody had judged.

Drawn with the Agg canvas on a figure of its own, as in :mod:`mr_st.measures.plots`: no display, no global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError
from mr_st.measures.plots import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_round"]

_PALE = 0.38  # opacity of what was not taken


def plot_round(report: Mapping[str, Any], grade_names: Sequence[str] | None = None) -> Figure:
    """By tenth of the ranks, the stacked shares of the grades among annotated pairs; what was taken in full colour.

    Save it with :func:`mr_st.measures.plots.save_figure`.

    Args:
        report: ``RefinementSet.report``.
        grade_names: What to call grade 0, 1, ...; None: "grade 0" and so on.

    Raises:
        MrStError: the round annotated no pair.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = report["pairs"]
    if not pairs["annotated"]:
        raise MrStError("the mining round annotated no pair, so there is nothing to plot; raise k")
    names = [name.replace("$", r"\$") for name in grade_names or map("grade {}".format, pairs["annotated_by_grade"])]
    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    groups = [of for of in pairs["by_rank_decile"] if of["pairs"]]
    _bars(axes, groups, names)
    _boundary(axes, groups, pairs["last_negative_rank"])
    axes.set_xticks(range(len(groups)), [_place(of) for of in groups])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_xlabel("rank, and how many annotated pairs stand there", fontsize=9)
    axes.set_ylabel("share of the annotated pairs", fontsize=9)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    _legend(axes, names)
    figure.suptitle(_title(pairs), fontsize=10.5, x=0.01, ha="left", fontweight="bold")
    return figure


def _title(pairs: Mapping[str, Any]) -> str:
    naive, last = pairs["would_be_negatives"]["to_boundary"], pairs["last_negative_rank"]
    if not naive["pairs"]:
        naive, last = pairs["would_be_negatives"]["to_k"], pairs["k"]
    between = "" if naive["low"] is None else f" [{naive['low']:.1%}, {naive['high']:.1%}]"
    return (
        f"False negatives: {naive['share_positive']:.1%}{between} of the unjudged pairs to rank {last:,} "
        f"are graded 1 or more\n({naive['pairs']:,} pairs of {naive['queries']:,} queries, all of them negatives to a "
        "miner without an annotator)"
    )


def _bars(axes: Axes, groups: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """One bar a tenth: each grade's share, first what was taken of it, then the rest, paler."""
    from matplotlib.patheffects import withStroke

    legible = [withStroke(linewidth=2, foreground="white", alpha=0.6)]
    totals = np.array([of["pairs"] for of in groups], dtype=float)
    bottom = np.zeros(len(groups))
    for grade in range(len(names)):
        colour = OKABE_ITO[grade % len(OKABE_ITO)]
        share = np.array([of["by_grade"][str(grade)] for of in groups]) / totals
        taken = np.array([of["taken_by_grade"][str(grade)] for of in groups]) / totals
        axes.bar(range(len(groups)), taken, bottom=bottom, color=colour, width=0.86)
        axes.bar(range(len(groups)), share - taken, bottom=bottom + taken, color=colour, alpha=_PALE, width=0.86)
        for at, height in enumerate(share):
            if height >= 0.06:
                axes.text(at, bottom[at] + height / 2, f"{height:.0%}", ha="center", va="center", fontsize=8,
                          path_effects=legible)  # fmt: skip
        bottom += share


def _boundary(axes: Axes, groups: Sequence[Mapping[str, Any]], last: int) -> None:
    """A line behind the last rank of hard negatives, within a bar where it is within a tenth."""
    at = -0.5
    for number, of in enumerate(groups):
        first, end = of["first_rank"], of["last_rank"]
        if last >= end:
            at = number + 0.5
        elif last >= first:
            at = number - 0.5 + (last - first + 1) / (end - first + 1)
            break
    axes.axvline(at, color="black", linewidth=1.6, linestyle="--")
    axes.annotate(f"boundary: rank {last:,}", (at, 1.0), xytext=(0, 3), textcoords="offset points",
                  xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8.5)  # fmt: skip


def _legend(axes: Axes, names: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=OKABE_ITO[grade % len(OKABE_ITO)], label=name) for grade, name in enumerate(names)]
    handles += [Patch(color="#444444", label="taken"), Patch(color="#444444", alpha=_PALE, label="not taken")]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5)


def _place(of: Mapping[str, Any]) -> str:
    first, last = of["first_rank"], of["last_rank"]
    return f"{first:,}\N{EN DASH}{last:,}\n{of['pairs']:,}" if first < last else f"{last:,}\n{of['pairs']:,}"
