"""What all figures share: colours, panels, and saving.

Drawn with matplotlib's Agg canvas on figures of their own: no display, and no global pyplot state. Colours are those
of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OKABE_ITO", "panel_grid", "save_figure", "title_of"]

OKABE_ITO = ("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Colour-blind-safe colours: grade 0, 1, 2, ...; also used for models. Source: Okabe and Ito, 2008."""


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a figure as PNG (at ``dpi``), SVG or PDF, by the ending of ``path``; same figure, same PNG."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    undated: dict[str, Any] = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(path, dpi=dpi, metadata=undated.get(path.suffix.lower()))
    return path


def title_of(name: str, width: int) -> str:
    """A model's name in lines of about ``width`` characters, broken behind its organisation where it is long.

    Example:
        >>> title_of("sentence-transformers/all-MiniLM-L6-v2", 30)
        'sentence-transformers/\\nall-MiniLM-L6-v2'
    """
    parts = name.split("/", 1) if len(name) > width else [name]
    lines = [*(part + "/" for part in parts[:-1]), parts[-1]]
    return "\n".join(fill(line, width, break_on_hyphens=len(line) > width) for line in lines)


def panel_grid(
    n_columns: int, panel_width: float, n_rows: int = 1, panel_height: float = 4.2
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure of panels in rows, each with a light grid; sizes in inches.

    Returns:
        The figure, and its rows of panels, which share their y axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(panel_width * n_columns + 0.6, panel_height * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    rows = [list(row) for row in figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)]
    for axes in (axes for row in rows for axes in row):
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    return figure, rows
