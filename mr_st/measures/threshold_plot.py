"""Precision, recall and F1 against the threshold, for each boundary between grades and each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mr_st.measures.figures import OKABE_ITO, panel_grid, title_of
from mr_st.measures.histograms import SimilarityHistogram, threshold_curve
from mr_st.measures.significance import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_thresholds"]

_FEWEST = 10  # precision of fewer accepted pairs is noise
_COLOURS = {"precision": OKABE_ITO[2], "recall": OKABE_ITO[0], "F1": OKABE_ITO[7]}


def plot_thresholds(
    histograms: Mapping[str, SimilarityHistogram],
    thresholds: Mapping[str, Sequence[Interval]],
    grade_names: Sequence[str] = ("irrelevant", "partial", "relevant"),
) -> Figure:
    """One row a boundary, one panel a model: what each threshold gives, the chosen one with its interval.

    Precision is drawn as far as ten pairs or more are accepted.

    Args:
        histograms: Model name to its histogram; all of the same grades.
        thresholds: Model name to the threshold of each boundary, lowest first; NaN: none.
        grade_names: What to call grade 0, 1, ...

    Raises:
        ValueError: no model, a histogram with other grades than are named, or a model without its thresholds.

    Source: ours.
    """
    n_grades = len(grade_names)
    if not histograms or any(len(h.counts) != n_grades for h in histograms.values()):
        raise ValueError(f"at least one histogram is needed, each over the {n_grades} grades that are named")
    if any(len(thresholds.get(model, ())) != n_grades - 1 for model in histograms):
        raise ValueError(f"every model needs {n_grades - 1} thresholds, one for each boundary of {n_grades} grades")
    figure, rows = panel_grid(len(histograms), 3.3, n_grades - 1, 2.9)
    for boundary, row in enumerate(rows, start=1):
        for axes, (model, histogram) in zip(row, histograms.items(), strict=True):
            _draw(axes, histogram, boundary, thresholds[model][boundary - 1])
            if boundary == 1:
                axes.set_title(title_of(model, 34), fontsize=11)
            if boundary == n_grades - 1:
                axes.set_xlabel("similarity from which pairs are accepted", fontsize=9)
        row[0].set_ylabel(_wanted(boundary, grade_names))
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, histogram: SimilarityHistogram, boundary: int, threshold: Interval) -> None:
    curve = threshold_curve(histogram, boundary)
    accepted = np.cumsum(histogram.counts.sum(axis=0)[::-1])[::-1]
    precision = np.where(accepted >= _FEWEST, curve.precision, np.nan)
    for name, values in (("precision", precision), ("recall", curve.recall), ("F1", curve.f1)):
        axes.plot(curve.thresholds, values, color=_COLOURS[name], linewidth=2.0 if name == "F1" else 1.3, label=name)
    within = np.flatnonzero(histogram.counts.sum(axis=0))
    if len(within):
        step = histogram.edges[1] - histogram.edges[0]
        axes.set_xlim(histogram.edges[within[0]] - 2 * step, histogram.edges[within[-1] + 1] + 2 * step)
    axes.set_ylim(0, 1.02)
    if np.isnan(threshold.value):
        axes.text(0.5, 0.5, "no such pair", ha="center", va="center", transform=axes.transAxes, color="#444444")
        return
    if not np.isnan(threshold.low):
        axes.axvspan(threshold.low, threshold.high, color="#BBBBBB", alpha=0.5, linewidth=0, zorder=0,
                     label="95 % interval of the threshold")  # fmt: skip
    axes.axvline(threshold.value, color="#222222", linewidth=1.0, linestyle=(0, (4, 3)), label="greatest F1")
    left = threshold.value > sum(axes.get_xlim()) / 2
    axes.annotate(
        f"{threshold.value:.2f}", (threshold.value, 0.03), xytext=(-3 if left else 3, 0), textcoords="offset points",
        ha="right" if left else "left", fontsize=9,
    )  # fmt: skip


def _wanted(boundary: int, grade_names: Sequence[str]) -> str:
    last = boundary == len(grade_names) - 1
    return f"{boundary} {grade_names[boundary]}" + ("" if last else " or better")
