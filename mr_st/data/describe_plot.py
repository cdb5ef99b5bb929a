"""A dataset at a glance: one figure of small panels, drawn from the tables and from what ``describe`` counts.

Drawn on a figure of its own with the Agg canvas, as in :mod:`mr_st.measures.plots`: no display, no global state.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mr_st.data.describe import describe, judgment_frame, lengths
from mr_st.data.traffic import SEGMENTS
from mr_st.errors import MrStError
from mr_st.measures.plots import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mr_st.data.dataset import GradedDataset

__all__ = ["plot_dataset"]

_COLUMNS = 3
_GREY = "#7F7F7F"
_SPLITS = {"train": "#0072B2", "dev": "#E69F00", "test": "#009E73"}
_TWO = ("#0072B2", "#E69F00")
_MOST_BARS = 8


def plot_dataset(dataset: GradedDataset, facts: dict[str, Any] | None = None) -> Figure:
    """Label shares, judged items per query, lengths, locales, kinds, traffic, unseen and one-grade shares, overlap.

    Panels for which the dataset has nothing (no frequencies, one split only) are left out.

    Args:
        dataset: The dataset.
        facts: ``dataset.describe()``, where it is there already.

    Raises:
        MrStError: the dataset has no judgments.
    """
    if not len(dataset.judgments):
        raise MrStError(f"{dataset.name}: no judgments to plot; judge some pairs first")
    facts = facts or describe(dataset)
    panels: list[Callable[[Axes], None]] = [
        lambda axes: _labels(axes, facts, dataset.scale.names),
        lambda axes: _judged_per_query(axes, dataset, facts),
        lambda axes: _lengths(axes, dataset),
        lambda axes: _locales(axes, facts),
        lambda axes: _kinds(axes, facts),
    ]
    if facts["traffic"]:
        panels.append(lambda axes: _traffic(axes, facts))
    if facts["unseen"]:
        panels.append(lambda axes: _unseen(axes, facts))
    panels.append(lambda axes: _one_grade(axes, facts))
    if facts["overlap"]:
        panels.append(lambda axes: _overlap(axes, facts))
    figure, all_axes = _grid(len(panels))
    for draw, axes in zip(panels, all_axes, strict=True):
        draw(axes)
    counts = facts["counts"]
    figure.suptitle(
        f"{_plain(dataset.name)}: {counts['queries']:,} queries, {counts['items']:,} items, "
        f"{counts['judgments']:,} judgments",
        fontsize=13, x=0.01, ha="left", fontweight="bold",
    )  # fmt: skip
    return figure


def _grid(n: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = ceil(n / _COLUMNS)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(4.6 * _COLUMNS, 3.0 * rows + 0.5), layout=layout)
    FigureCanvasAgg(figure)
    all_axes = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes in all_axes[n:]:
        axes.remove()
    for axes in all_axes[:n]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8.5)
        axes.set_axisbelow(True)
    return figure, all_axes[:n]


def _title(axes: Axes, title: str, grid: str | None = None, legend_columns: int = 0) -> None:
    """The panel's title; below it, where columns are given for one, the legend: it never covers the data."""
    n_lines = 0
    if legend_columns:
        n_lines = ceil(len(axes.get_legend_handles_labels()[1]) / legend_columns)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=legend_columns, frameon=False, fontsize=8,
                    handlelength=1, columnspacing=1.2, borderaxespad=0)  # fmt: skip
    axes.set_title(title + "\n" * n_lines, fontsize=10.5, loc="left")
    if grid:
        axes.grid(axis=grid, color="#DDDDDD", linewidth=0.6)  # type: ignore[arg-type]


def _labels(axes: Axes, facts: dict[str, Any], names: tuple[str, ...]) -> None:
    """One bar a split, cut by the shares of the grades."""
    splits = list(facts["splits"])[::-1]
    left = np.zeros(len(splits))
    for grade, name in enumerate(names):
        shares = np.array([facts["splits"][split]["label_shares"][name] for split in splits])
        colour = OKABE_ITO[grade % len(OKABE_ITO)]
        axes.barh(range(len(splits)), shares, left=left, color=colour, height=0.62, label=_plain(name))
        for row, share in enumerate(shares):
            if share >= 0.07:
                axes.text(left[row] + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8.5,
                          color="black" if grade in (1, 5, 6) else "white")  # fmt: skip
        left += shares
    axes.set_yticks(range(len(splits)), [f"{s}\n{facts['splits'][s]['judgments']:,}" for s in splits])
    _percent_axis(axes, 1.0)
    axes.set_ylim(len(splits) - max(len(splits), 2) - 0.5, len(splits) - 0.5)
    _title(axes, "Label shares by split (judgments)", legend_columns=min(4, len(names)))


def _judged_per_query(axes: Axes, dataset: GradedDataset, facts: dict[str, Any]) -> None:
    frame = judgment_frame(dataset)
    per = {split: frame.filter(pl.col("split") == split).group_by("query").len()["len"].to_numpy()
           for split in facts["splits"]}  # fmt: skip
    edges = _edges(np.concatenate(list(per.values())))
    for split, values in per.items():
        _outline(axes, values, edges, _SPLITS.get(split, _GREY), f"{split}, mean {values.mean():.1f}")
    _log_axis(axes, edges, "judged items of a query")
    _title(axes, "Judged items per query", "y", 3)


def _lengths(axes: Axes, dataset: GradedDataset) -> None:
    values = {"queries": lengths(dataset.queries, "text"), "titles": lengths(dataset.items, "title")}
    described, paths = lengths(dataset.items, "description"), lengths(dataset.items, "category_path")
    if len(described):
        values["descriptions"] = described
    if paths.any():
        values["category paths"] = paths[paths > 0]
    edges = _edges(np.concatenate(list(values.values())), n_bins=40)
    for n, (name, of) in enumerate(values.items()):
        median = f", median {np.median(of):,.0f}" if len(of) else ""
        _outline(axes, of, edges, ("#D55E00", "#0072B2", "#009E73", "#CC79A7")[n], name + median)
    _log_axis(axes, edges, "characters")
    _title(axes, "Lengths", "y", 2)


def _locales(axes: Axes, facts: dict[str, Any]) -> None:
    queries, items = facts["query_locales"], facts["item_locales"]
    tags = sorted({*queries, *items}, key=lambda tag: -(queries.get(tag, 0) + items.get(tag, 0)))
    shares = {
        "queries": _shares_of(queries, tags),
        "items": _shares_of(items, tags),
    }
    _bars(axes, _named(tags), shares, _TWO)
    _title(axes, "Locales", "x", 2)


def _kinds(axes: Axes, facts: dict[str, Any]) -> None:
    kinds, sources = facts["query_kinds"], facts["judgment_sources"]
    rows = [(f"query: {k}", n, sum(kinds.values())) for k, n in list(kinds.items())[:4]]
    rows += [(f"judged by: {k}", n, sum(sources.values())) for k, n in list(sources.items())[:4]]
    rows = rows[::-1]
    colours = [_TWO[0] if name.startswith("query") else _TWO[1] for name, _, _ in rows]
    axes.barh(range(len(rows)), [n / max(of, 1) for _, n, of in rows], color=colours, height=0.62)
    for row, (_, n, of) in enumerate(rows):
        axes.text(n / max(of, 1) + 0.01, row, f"{n / max(of, 1):.1%}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [_plain(name) for name, _, _ in rows])
    axes.set_ylim(len(rows) - max(len(rows), 3) - 0.5, len(rows) - 0.5)
    _percent_axis(axes)
    _title(axes, "Kinds of queries, sources of judgments", "x")


def _traffic(axes: Axes, facts: dict[str, Any]) -> None:
    """Head, torso and tail: their share of the queries, in all and among the judged queries of each split."""
    rows = {"traffic": [facts["traffic"][name]["traffic_share"] for name in SEGMENTS],
            "all queries": [facts["traffic"][name]["query_share"] for name in SEGMENTS]}  # fmt: skip
    for split, counts in facts["segments_by_split"].items():
        total = sum(counts.values())
        if total:
            rows[f"{split} queries"] = [counts[name] / total for name in SEGMENTS]
    names = list(rows)[::-1]
    left = np.zeros(len(names))
    for number, (segment, colour) in enumerate(zip(SEGMENTS, ("#D55E00", "#E69F00", "#56B4E9"), strict=True)):
        shares = np.array([rows[name][number] for name in names])
        axes.barh(range(len(names)), shares, left=left, color=colour, height=0.62, label=segment)
        for row, share in enumerate(shares):
            if share >= 0.07:
                axes.text(left[row] + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8.5)
        left += shares
    axes.set_yticks(range(len(names)), names)
    _percent_axis(axes, 1.0)
    _title(axes, "Head, torso, tail (thirds of the traffic)", legend_columns=3)


def _unseen(axes: Axes, facts: dict[str, Any]) -> None:
    what = {"query ids": "queries_unseen_share", "query texts": "texts_unseen_share", "items": "items_unseen_share"}
    series = {split: [of[key] for key in what.values()] for split, of in facts["unseen"].items()}
    _bars(axes, list(what), series, [_SPLITS.get(split, _GREY) for split in series])
    _title(axes, "Not judged in train", "x", 2)


def _one_grade(axes: Axes, facts: dict[str, Any]) -> None:
    splits = list(facts["splits"])
    of = [facts["splits"][split] for split in splits]
    series = {"queries of one grade": [s["one_grade_share"] for s in of]}
    _bars(axes, splits, series, [_GREY])
    _title(axes, "Queries whose judgments are all of one grade", "x")


def _overlap(axes: Axes, facts: dict[str, Any]) -> None:
    """What two splits share: a table of counts, darker where there is more."""
    pairs, names = list(facts["overlap"]), ("queries", "texts", "items", "pairs")
    counts = np.array([[facts["overlap"][pair][name] for name in names] for pair in pairs], dtype=float)
    shade = np.log1p(counts) / max(np.log1p(counts).max(), 1)
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        axes.text(column, row, f"{int(counts[row, column]):,}", ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(pairs)), pairs)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _title(axes, "Shared by two splits")


def _bars(axes: Axes, names: list[str], series: dict[str, list[float]], colours: Any) -> None:
    """Grouped horizontal bars of shares, the first name on top, each with its figure."""
    height = 0.78 / len(series)
    for n, ((label, values), colour) in enumerate(zip(series.items(), colours, strict=True)):
        at = np.arange(len(names)) + (n - (len(series) - 1) / 2) * height
        axes.barh(at, values, height=height * 0.92, color=colour, label=label)
        for y, value in zip(at, values, strict=True):
            axes.text(value + 0.01, y, f"{value:.1%}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 3) - 0.5, -0.5)
    _percent_axis(axes)


def _percent_axis(axes: Axes, end: float = 1.15) -> None:
    axes.set_xlim(0, end)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")


def _edges(values: np.ndarray, n_bins: int = 30) -> np.ndarray:
    """Bin edges, equal on a log scale, around the whole numbers that are there; no bin is narrower than 1."""
    values = np.maximum(values, 1) if len(values) else np.ones(1)
    low, high = int(values.min()), int(values.max())
    return np.unique(np.round(np.geomspace(low, max(high, low + 1) + 1, n_bins + 1))) - 0.5


def _outline(axes: Axes, values: np.ndarray, edges: np.ndarray, colour: str, label: str) -> None:
    """A histogram as shares, its area shaded."""
    counts, _ = np.histogram(np.maximum(values, 1), bins=edges)
    shares = counts / max(len(values), 1)
    axes.stairs(shares, edges, color=colour, linewidth=1.4, label=label)
    axes.stairs(shares, edges, color=colour, fill=True, alpha=0.18)


def _log_axis(axes: Axes, edges: np.ndarray, label: str) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if edges[-1] < 50 * edges[0] else (1.0,)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.xaxis.set_minor_formatter(lambda x, _: "")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.set_xlabel(label, fontsize=9)


def _shares_of(counts: dict[str, int], tags: list[str]) -> list[float]:
    total = max(sum(counts.values()), 1)
    shares = [counts.get(tag, 0) / total for tag in tags[:_MOST_BARS]]
    return shares if len(tags) <= _MOST_BARS else [*shares, sum(counts.get(t, 0) for t in tags[_MOST_BARS:]) / total]


def _named(tags: list[str]) -> list[str]:
    names = [_plain(tag) for tag in tags[:_MOST_BARS]]
    return names if len(tags) <= _MOST_BARS else [*names, f"{len(tags) - _MOST_BARS} others"]


def _plain(text: str, most: int = 40) -> str:
    """A name out of the data as a figure can show it: one line, no mathematics, cut."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("$", "\\$")
    return text if len(text) <= most else text[: most - 1] + "…"
