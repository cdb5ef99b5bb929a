"""Figures: similarity by grade and margins by grade pair, as violins, for several models side by side.

Drawn with matplotlib's Agg canvas on figures of their own: no display, and no global pyplot state. Colours are those
of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.measures.histograms import SimilarityHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OKABE_ITO", "plot_margins", "plot_similarity_by_grade", "save_figure"]

OKABE_ITO = ("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Colour-blind-safe colours: grade 0, 1, 2, ...; also used for models. Source: Okabe and Ito, 2008."""

_HALF_WIDTH = 0.4


def plot_similarity_by_grade(
    histograms: Mapping[str, SimilarityHistogram], grade_names: Sequence[str] = ("irrelevant", "partial", "relevant")
) -> Figure:
    """One panel a model, one violin a grade: how the similarities of judged pairs spread, with their medians.

    Args:
        histograms: Model name to its histogram; all of the same grades.
        grade_names: What to call grade 0, 1, ...

    Raises:
        ValueError: no model, or a histogram with other grades than are named.

    Source: figure 2 of arXiv 2602.17654.
    """
    if not histograms or any(len(h.counts) != len(grade_names) for h in histograms.values()):
        raise ValueError(f"at least one histogram is needed, each over the {len(grade_names)} grades that are named")
    figure, panels = _panels(len(histograms), panel_width=0.9 * len(grade_names) + 0.8)
    low, high = _occupied(list(histograms.values()))
    for axes, (model, histogram) in zip(panels, histograms.items(), strict=True):
        for grade, counts in enumerate(histogram.counts):
            if counts.sum():
                density = _smooth(counts.astype(float))
                _violin(axes, grade, histogram.centres, density, OKABE_ITO[grade % len(OKABE_ITO)])
                _mark(axes, grade, _quantile(histogram.centres, counts, 0.5), _HALF_WIDTH)
        axes.set_title(fill(model, 12 + 8 * len(grade_names) // 3), fontsize=11)
        labels = [f"{grade}\n{name}\nn={n:,}" for (grade, name), n in
                  zip(enumerate(grade_names), histogram.counts.sum(axis=1), strict=True)]  # fmt: skip
        axes.set_xticks(range(len(grade_names)), labels)
        axes.set_xlim(-0.6, len(grade_names) - 0.4)
        axes.set_ylim(low, high)
    panels[0].set_ylabel("similarity of query and item")
    return figure


def plot_margins(margins: Mapping[str, Mapping[tuple[int, int], np.ndarray]]) -> Figure:
    """One group a grade pair, in it one violin a model: the margins of the queries, with their means.

    Args:
        margins: Model name to {(high, low): float (n,) margins, NaN where undefined}; all of the same pairs.

    Raises:
        ValueError: no model, or models with different pairs.

    Source: figure 3 of arXiv 2602.17654.
    """
    pairs = list(next(iter(margins.values()), {}))
    if not pairs or any(set(of_model) != set(pairs) for of_model in margins.values()):
        raise ValueError("at least one model is needed, and all must have margins for the same grade pairs")
    n_models = len(margins)
    figure, (axes,) = _panels(1, panel_width=max(4.5, 0.75 * n_models * len(pairs) + 1.5))
    width = 0.8 / n_models
    for m, (model, of_model) in enumerate(margins.items()):
        colour = OKABE_ITO[(m + 2) % len(OKABE_ITO)]
        for p, pair in enumerate(pairs):
            values = np.asarray(of_model[pair], dtype=float)
            values = values[~np.isnan(values)]
            at = p + (m - (n_models - 1) / 2) * width
            if len(values):
                grid, density = _kernel_density(values)
                _violin(axes, at, grid, density, colour, 0.45 * width, label=model if p == 0 else None)
                _mark(axes, at, float(values.mean()), 0.45 * width)
    axes.axhline(0, color="#555555", linewidth=0.8, linestyle="--", zorder=0)
    first = next(iter(margins.values()))
    counts = [np.count_nonzero(~np.isnan(np.asarray(first[pair], dtype=float))) for pair in pairs]
    labels = [f"grade {high} over {low}\nn={n:,}" for (high, low), n in zip(pairs, counts, strict=True)]
    axes.set_xticks(range(len(pairs)), labels)
    axes.set_xlim(-0.6, len(pairs) - 0.4)
    axes.set_ylabel("margin of a query")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.02 + 0.08 * -(-n_models // 4)), ncols=min(4, n_models),
                frameon=False)  # fmt: skip
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a figure as PNG, SVG or PDF, by the file's ending; the same figure gives the same PNG bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    undated: dict[str, Any] = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(path, dpi=dpi, metadata=undated.get(path.suffix.lower()))
    return path


def _panels(n: int, panel_width: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(panel_width * n + 0.6, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, n, sharey=True, squeeze=False)[0])
    for axes in panels:
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    return figure, panels


def _violin(
    axes: Axes, at: float, grid: np.ndarray, density: np.ndarray, colour: str,
    half_width: float = _HALF_WIDTH, label: str | None = None,
) -> None:  # fmt: skip
    reach = half_width * density / density.max()
    seen = reach > 0.004 * half_width
    first, last = int(np.argmax(seen)), len(seen) - int(np.argmax(seen[::-1]))
    grid, reach = grid[first:last], reach[first:last]
    axes.fill_betweenx(
        grid, at - reach, at + reach, facecolor=colour, edgecolor=colour, alpha=0.75, linewidth=0.8, label=label
    )


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
    spread = min(values.std(), np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.34 or values.std())
    bandwidth = max(0.9 * spread * len(values) ** -0.2, 1e-3)
    grid = np.linspace(values.min() - 2 * bandwidth, values.max() + 2 * bandwidth, n_points)
    return grid, np.exp(-0.5 * ((grid[:, None] - values) / bandwidth) ** 2).sum(axis=1)


def _quantile(centres: np.ndarray, counts: np.ndarray, share: float) -> float:
    return float(centres[np.searchsorted(np.cumsum(counts), share * counts.sum())])


def _occupied(histograms: list[SimilarityHistogram]) -> tuple[float, float]:
    """The similarity range that holds all but a thousandth of the pairs at either end, with some air."""
    lows = [_quantile(h.centres, h.counts.sum(axis=0), 0.001) for h in histograms if h.counts.sum()]
    highs = [_quantile(h.centres, h.counts.sum(axis=0), 0.999) for h in histograms if h.counts.sum()]
    return max(-1.02, min(lows, default=-1) - 0.08), min(1.02, max(highs, default=1) + 0.08)
