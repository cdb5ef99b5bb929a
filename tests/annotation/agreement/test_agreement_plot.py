"""The plot of a report: drawn from JSON alone, with the counts that the report has."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mr_st.annotation import Annotations
from mr_st.annotation.agreement import agreement, plot_agreement
from mr_st.measures import save_figure

FIGURES = agreement(
    np.array([0, 0, 0, 0, 1, 1]),
    Annotations(
        [0, 0, 0, 1, 1, 0], [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.1, 0.9, 0], [1, 0, 0]]
    ),
)


def test_cells_carry_counts_and_shares_and_points_the_bins():
    left, right = plot_agreement(json.loads(json.dumps(FIGURES)), ("bad", "fair", "good"), "A title").axes
    cells = [text.get_text() for text in left.texts]
    assert cells[:2] == ["75.0%\n3", "25.0%\n1"]
    assert cells[3:5] == ["50.0%\n1", "50.0%\n1"]
    assert cells[6:] == ["–", "–", "–"]  # no pair is good
    assert left.get_yticklabels()[0].get_text() == "0 bad\nn=4"
    points = next(line for line in right.lines if line.get_label() == "the annotator")
    held = [bin_ for bin_ in FIGURES["calibration"] if bin_["n"]]
    np.testing.assert_allclose(points.get_ydata(), [bin_["accuracy"] for bin_ in held])
    assert sum(bar.get_height() for bar in right.patches) == pytest.approx(1)


def test_the_same_figures_give_the_same_file(tmp_path):
    files = [save_figure(plot_agreement(FIGURES), tmp_path / f"{n}.png").read_bytes() for n in range(2)]
    assert files[0] == files[1]
    assert files[0].startswith(b"\x89PNG")


def test_a_name_for_each_grade():
    with pytest.raises(ValueError, match="2 names for 3 grades"):
        plot_agreement(FIGURES, ("bad", "good"))
