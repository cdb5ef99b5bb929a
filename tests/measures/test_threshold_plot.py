from __future__ import annotations

import numpy as np
import pytest

from mr_st.measures import Interval, similarity_histogram, threshold_curve
from mr_st.measures.threshold_plot import plot_thresholds


def histogram(seed: int = 0, n_grades: int = 3):
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, n_grades, 300)
    return similarity_histogram(np.clip(rng.normal(0.2 * grades, 0.1), -1, 1), grades, n_grades)


def test_one_row_a_boundary_one_panel_a_model() -> None:
    chosen = [Interval(0.1, 0.05, 0.12, 30), Interval(0.3, 0.25, 0.4, 30)]
    histograms = {"a": histogram(0), "b": histogram(1)}
    figure = plot_thresholds(histograms, {"a": chosen, "b": chosen})
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", ""]
    assert [figure.axes[0].get_ylabel(), figure.axes[2].get_ylabel()] == ["1 partial or better", "2 relevant"]
    lines = {line.get_label(): line for line in figure.axes[3].lines}
    curve = threshold_curve(histograms["b"], 2)
    np.testing.assert_array_equal(lines["F1"].get_ydata(), curve.f1)
    np.testing.assert_array_equal(lines["recall"].get_ydata(), curve.recall)
    drawn = ~np.isnan(lines["precision"].get_ydata())
    n_accepted = [histograms["b"].counts[:, place:].sum() for place in range(200)]
    assert drawn.tolist() == [n >= 10 for n in n_accepted]
    np.testing.assert_array_equal(lines["precision"].get_ydata()[drawn], curve.precision[drawn])
    assert lines["greatest F1"].get_xdata()[0] == 0.3
    assert figure.axes[3].texts[0].get_text() == "0.30"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["precision", "recall", "F1", "95 % interval of the threshold", "greatest F1"]


def test_a_boundary_without_pairs_says_so() -> None:
    found = similarity_histogram(np.array([0.1, 0.5]), np.array([0, 1]), 3)
    nan = float("nan")
    figure = plot_thresholds({"a": found}, {"a": [Interval(0.3, nan, nan, 1), Interval(nan, nan, nan, 1)]})
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["0.30", "no such pair"]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one histogram"):
        plot_thresholds({}, {})
    with pytest.raises(ValueError, match="every model needs 2 thresholds"):
        plot_thresholds({"a": histogram()}, {"b": []})
