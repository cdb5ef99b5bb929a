from __future__ import annotations

import numpy as np
import pytest

from mr_st.measures import Interval, save_figure
from mr_st.measures.forest import ForestRow, plot_forest

ROWS = [
    ForestRow("all queries", Interval(0.02, 0.01, 0.03, 1400), 0.0004),
    ForestRow("head", Interval(-0.05, -0.09, -0.01, 40), 0.01, "traffic"),
    ForestRow("tail", Interval(0.01, -0.02, 0.04, 60), 0.4, "traffic"),
    ForestRow("a $very$ long label " * 5, Interval(0.3, np.nan, np.nan, 4), None, "locale"),
]


def test_points_intervals_and_figures_beside_them() -> None:
    axes = plot_forest(ROWS, title="b against a", p_label="p (Holm)").axes[0]
    texts = [text.get_text() for text in axes.texts]
    beside = ["1,400", "<.001", "40", ".010", "60", ".400", "4", "too few"]
    assert texts == [*beside, "traffic", "locale", "queries", "p (Holm)"]
    bars = {tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}
    assert {(0.01, 0.03), (-0.09, -0.01), (-0.02, 0.04)} <= bars
    markers = {float(line.get_xdata()[0]): line for line in axes.lines if len(line.get_xdata()) == 1}
    assert {x: line.get_marker() for x, line in markers.items()} == {0.02: ">", -0.05: "<", 0.01: "o", 0.3: "x"}
    assert markers[0.01].get_markerfacecolor() == "white"
    low, high = axes.get_xlim()
    assert low < -0.09
    assert high > 0.3
    ys = [line.get_ydata()[0] for line in (markers[0.02], markers[-0.05], markers[0.01], markers[0.3])]
    assert ys == sorted(ys)
    assert axes.yaxis_inverted(), "the first row stands on top"


def test_a_label_fits_and_is_no_mathematics(tmp_path) -> None:
    figure = plot_forest(ROWS)
    label = figure.axes[0].get_yticklabels()[3].get_text()
    assert len(label.replace("\\", "")) == 44
    assert label.startswith(r"a \$very\$ long")
    once, again = (save_figure(plot_forest(ROWS), tmp_path / f"{i}.png").read_bytes() for i in (1, 2))
    assert once == again


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        plot_forest([])
