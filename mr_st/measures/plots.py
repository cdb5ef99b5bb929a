"""Violins: similarity by grade, and margins by grade pair, for several models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from mr_st.measures.densities import silverman_bandwidth
from mr_st.measures.figures import OKABE_ITO, panel_grid, save_figure, title_of
from mr_st.measures.histograms import SimilarityHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OKABE_ITO", "plot_margins", "plot_similarity_by_grade", "save_figure"]

_HALF_WIDTH = 0.4
_MOST_COLUMNS = 4  # panels side by side; more models take further rows


def plot_similarity_by_grade(
    histograms: Mapping[str, SimilarityHistogram],
    grade_names: Sequence[str] = ("irrelevant", "partial", "relevant"),
    thresholds: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """One panel a model, one violin a grade: how the similarities of judged pairs spread, with their medians.

    Args:
        histograms: Model name to its histogram; all of the same grades.
        grade_names: What to call grade 0, 1, ...
        thresholds: Model name to the threshold of each boundary, lowest first (NaN: none): drawn as dashed lines.

    Raises:
        ValueError: no model, a histogram with other grades than are named, or thresholds of another number.

    Source: figure 2 of arXiv 2602.17654.
    """
    n_grades = len(grade_names)
    if not histograms or any(len(h.counts) != n_grades for h in histograms.values()):
        raise ValueError(f"at least one histogram is needed, each over the {n_grades} grades that are named")
    if any(len(of_model) != n_grades - 1 for of_model in (thresholds or {}).values()):
        raise ValueError(f"{n_grades} grades have {n_grades - 1} boundaries, each needs its threshold")
    n_columns = min(len(histograms), _MOST_COLUMNS)
    n_rows = -(-len(histograms) // n_columns)
    panel_width = max(0.95 * n_grades + (1.2 if thresholds else 0.8), 3.0)
    figure, rows = panel_grid(n_columns, panel_width, n_rows)
    panels = [axes for row in rows for axes in row]
    low, high = _occupied(list(histograms.values()))
    for axes, (model, histogram) in zip(panels, histograms.items(), strict=False):
        for grade, counts in enumerate(histogram.counts):
            if counts.sum():
                density = _smooth(counts.astype(float))
                _violin(axes, grade, histogram.centres, density, OKABE_ITO[grade % len(OKABE_ITO)])
                _mark(axes, grade, _quantile(histogram.centres, counts, 0.5), _HALF_WIDTH)
        _threshold_lines(axes, (thresholds or {}).get(model, ()), n_grades, too_near=0.05 * (high - low))
        axes.set_title(title_of(model, int(11 * panel_width)), fontsize=11)
        labels = [
            f"{grade}\n{fill(name, 14)}\nn={n:,}"
            for (grade, name), n in zip(enumerate(grade_names), histogram.counts.sum(axis=1), strict=True)
        ]
        axes.set_xticks(range(n_grades), labels)
        axes.set_xlim(-0.6, n_grades + (0.25 if thresholds else -0.4))
        axes.set_ylim(low, high)
    for axes in panels[len(histograms) :]:
        axes.set_visible(False)
    for row in rows:
        row[0].set_ylabel("similarity of query and item")
    note = "median of each grade: black bar"
    figure.supxlabel(
        f"{note}; dashed: threshold of the greatest F1" if thresholds else note, fontsize=9, color="#444444"
    )
    return figure


def plot_margins(
    margins: Mapping[str, Mapping[tuple[int, int], np.ndarray]], grade_names: Sequence[str] | None = None
) -> Figure:
    """One group a grade pair, in it one violin a model: the margins of the queries, with their means.

    Args:
        margins: Model name to {(high, low): float (n,) margins, NaN where undefined}; all of the same pairs.
        grade_names: What to call grade 0, 1, ...; None calls them by number.

    Raises:
        ValueError: no model, or models with different pairs.

    Source: figure 3 of arXiv 2602.17654.
    """
    pairs = list(next(iter(margins.values()), {}))
    if not pairs or any(set(of_model) != set(pairs) for of_model in margins.values()):
        raise ValueError("at least one model is needed, and all must have margins for the same grade pairs")
    from matplotlib.patches import Patch

    n_models, handles = len(margins), []
    figure, ((axes,),) = panel_grid(1, max(4.5, 0.75 * n_models * len(pairs) + 1.5))
    width = 0.8 / n_models
    for m, (model, of_model) in enumerate(margins.items()):
        colour = OKABE_ITO[(m + 2) % len(OKABE_ITO)]
        for p, pair in enumerate(pairs):
            values = np.asarray(of_model[pair], dtype=float)
            values = values[~np.isnan(values)]
            at = p + (m - (n_models - 1) / 2) * width
            if len(values):
                grid, density = _kernel_density(values)
                _violin(axes, at, grid, density, colour, 0.45 * width)
                _mark(axes, at, float(values.mean()), 0.45 * width)
        handles.append(Patch(facecolor=colour, edgecolor=colour, alpha=0.75, label=title_of(model, 40)))
    axes.axhline(0, color="#555555", linewidth=0.8, linestyle="--", zorder=0)
    labels = [
        f"{_grade(high, grade_names)}\nover {_grade(low, grade_names)}\n{_counts(margins, (high, low))}"
        for high, low in pairs
    ]
    axes.set_xticks(range(len(pairs)), labels)
    axes.set_xlim(-0.6, len(pairs) - 0.4)
    axes.set_ylabel("average margin of a query")
    figure.supxlabel(
        "mean over queries: black bar; a query counts where it has both grades", fontsize=9, color="#444444"
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=min(3, n_models), frameon=False, fontsize=9)
    return figure


def _grade(grade: int, names: Sequence[str] | None) -> str:
    return f"grade {grade}" if names is None else f"{grade} {names[grade]}"


def _counts(margins: Mapping[str, Mapping[tuple[int, int], np.ndarray]], pair: tuple[int, int]) -> str:
    """How many queries have both grades: one number, or the range where models differ."""
    counts = {int(np.count_nonzero(~np.isnan(np.asarray(of[pair], dtype=float)))) for of in margins.values()}
    return f"n={min(counts):,}" if len(counts) == 1 else f"n={min(counts):,} to {max(counts):,}"


def _threshold_lines(axes: Axes, values: Sequence[float], n_grades: int, too_near: float) -> None:
    """A dashed line for each boundary, named in the room right of the violins; the lower of two near ones below it."""
    for boundary, value in enumerate(values, start=1):
        if np.isnan(value):
            continue
        axes.axhline(value, color="#222222", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
        above = any(0 <= other - value < too_near for place, other in enumerate(values, 1) if place != boundary)
        axes.annotate(
            f"\u2265{boundary}: {value:.2f}", (n_grades + 0.22, value), xytext=(0, -2 if above else 2),
            textcoords="offset points", ha="right", va="top" if above else "bottom", fontsize=8.5, color="#222222",
        )  # fmt: skip


def _violin(
    axes: Axes, at: float, grid: np.ndarray, density: np.ndarray, colour: str,
    half_width: float = _HALF_WIDTH,
) -> None:  # fmt: skip
    reach = half_width * density / density.max()
    seen = reach > 0.004 * half_width
    first, last = int(np.argmax(seen)), len(seen) - int(np.argmax(seen[::-1]))
    grid, reach = grid[first:last], reach[first:last]
    axes.fill_betweenx(grid, at - reach, at + reach, facecolor=colour, edgecolor=colour, alpha=0.75, linewidth=0.8)


def _mark(axes: Axes, at: float, value: float, half_width: float) -> None:
    axes.plot([at - 0.5 * half_width, at + 0.5 * half_width], [value, value], color="white", linewidth=3.5)
    axes.plot([at - 0.5 * half_width, at + 0.5 * half_width], [value, value], color="black", linewidth=1.5)


def _smooth(counts: np.ndarray, spread: float = 2.0) -> np.ndarray:
    """Counts blurred by a Gaussian of ``spread`` bins."""
    steps = np.arange(-8, 9)
    if len(counts) < len(steps):
        return counts
    kernel = np.exp(-0.5 * (steps / spread) ** 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="same")


def _kernel_density(values: np.ndarray, n_points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density with Silverman's bandwidth, over the values' range and a little beyond."""
    bandwidth = max(silverman_bandwidth(values), 1e-3)
    grid = np.linspace(values.min() - 2 * bandwidth, values.max() + 2 * bandwidth, n_points)
    return grid, np.exp(-0.5 * ((grid[:, None] - values) / bandwidth) ** 2).sum(axis=1)


def _quantile(centres: np.ndarray, counts: np.ndarray, share: float) -> float:
    return float(centres[np.searchsorted(np.cumsum(counts), share * counts.sum())])


def _occupied(histograms: list[SimilarityHistogram]) -> tuple[float, float]:
    """The similarity range that holds all but a thousandth of the pairs at either end, with some air."""
    lows = [_quantile(h.centres, h.counts.sum(axis=0), 0.001) for h in histograms if h.counts.sum()]
    highs = [_quantile(h.centres, h.counts.sum(axis=0), 0.999) for h in histograms if h.counts.sum()]
    least, greatest = min(lows, default=-1.0), max(highs, default=1.0)
    air = 0.04 * max(greatest - least, 0.5)
    return least - 2 * air, greatest + 2 * air
