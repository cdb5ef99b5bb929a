"""An annotator at a glance: its confusion matrix beside its reliability diagram.

Drawn on a figure of its own with the Agg canvas, as in :mod:`mr_st.measures.plots`: no display, no global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.measures.plots import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_agreement"]

_GREY = "#7F7F7F"


def plot_agreement(figures: Mapping[str, Any], grade_names: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw the figures that :func:`mr_st.annotation.agreement.agreement` gives, also as read back from a report.

    On the left each true grade's row of the confusion matrix, shaded by its share, with shares and counts. On the
    right accuracy against confidence, bin by bin: points on the diagonal are calibrated, points below it too sure;
    the bars behind show how many pairs each bin holds.

    Args:
        figures: With confusion, calibration, accuracy, expected_calibration_error and n_pairs.
        grade_names: What to call grade 0, 1, ...; their numbers when None.
        title: Of the whole figure.

    Raises:
        ValueError: another number of names than of grades.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    confusion = np.asarray(figures["confusion"], dtype=np.int64)
    names = [str(grade) for grade in range(len(confusion))] if grade_names is None else list(grade_names)
    if len(names) != len(confusion):
        raise ValueError(f"{len(names)} names for {len(confusion)} grades; give one for each")
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _confusion(left, confusion, names, figures)
    _reliability(right, figures)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _confusion(axes: Axes, confusion: np.ndarray, names: list[str], figures: Mapping[str, Any]) -> None:
    counts = confusion.sum(axis=1)
    shares = confusion / np.maximum(counts, 1)[:, None]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for truth, row in enumerate(confusion.tolist()):
        for given, count in enumerate(row):
            share = shares[truth, given]
            axes.text(
                given, truth, f"{share:.1%}\n{count:,}" if counts[truth] else "–", ha="center", va="center",
                color="white" if share > 0.55 else "black", fontsize=9 if len(names) < 6 else 7,
            )  # fmt: skip
    grades = range(len(names))
    axes.set_xticks(grades, [f"{grade}\n{name}" if name != str(grade) else name for grade, name in enumerate(names)])
    axes.set_yticks(
        grades,
        [
            f"{grade} {name}\nn={n:,}" if name != str(grade) else f"{name}\nn={n:,}"
            for grade, (name, n) in enumerate(zip(names, counts.tolist(), strict=True))
        ],
    )
    axes.set_xlabel("the annotator's grade")
    axes.set_ylabel("true grade")
    axes.set_title(f"right {figures['accuracy']:.1%} of {figures['n_pairs']:,} pairs", fontsize=11)
    axes.tick_params(labelsize=9, length=0)
    axes.spines[:].set_visible(False)


def _reliability(axes: Axes, figures: Mapping[str, Any]) -> None:
    bins = figures["calibration"]
    held = [bin_ for bin_ in bins if bin_["n"]]
    n_pairs = max(1, sum(bin_["n"] for bin_ in bins))
    width = 1 / len(bins)
    axes.bar(
        [(at + 0.5) * width for at in range(len(bins))], [bin_["n"] / n_pairs for bin_ in bins], width=0.92 * width,
        color="#DDDDDD", label="share of the pairs",
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="calibrated")
    axes.plot(
        [bin_["confidence"] for bin_ in held], [bin_["accuracy"] for bin_ in held], color=OKABE_ITO[2], marker="o",
        linewidth=1.5, label="the annotator",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.set_title(f"calibration error {figures['expected_calibration_error']:.3f}", fontsize=11)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
