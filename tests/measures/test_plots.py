from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mr_st.measures import plot_margins, plot_similarity_by_grade, save_figure, similarity_histogram


def histogram(seed: int = 0, n_grades: int = 3):
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, n_grades, 300)
    return similarity_histogram(np.clip(rng.normal(0.2 * grades, 0.1), -1, 1), grades, n_grades)


def test_one_panel_a_model_one_violin_a_grade() -> None:
    figure = plot_similarity_by_grade({"base": histogram(0), "stage 2": histogram(1)})
    assert [axes.get_title() for axes in figure.axes] == ["base", "stage 2"]
    assert [len(axes.collections) for axes in figure.axes] == [3, 3]
    colours = {tuple(c.get_facecolor()[0]) for c in figure.axes[0].collections}
    assert len(colours) == 3
    assert "relevant" in figure.axes[0].get_xticklabels()[2].get_text()


def test_the_violin_lies_where_the_similarities_are() -> None:
    similarities = np.concatenate([np.full(50, 0.1), np.full(50, 0.8)])
    found = similarity_histogram(similarities, np.repeat([0, 1], 50), 2)
    figure = plot_similarity_by_grade({"m": found}, ("no", "yes"))
    for collection, centre in zip(figure.axes[0].collections, (0.1, 0.8), strict=True):
        heights = collection.get_paths()[0].vertices[:, 1]
        assert heights.min() > centre - 0.1
        assert heights.max() < centre + 0.1


def test_a_grade_without_pairs_has_no_violin() -> None:
    found = similarity_histogram(np.array([0.5, 0.6]), np.array([0, 2]), 3)
    assert len(plot_similarity_by_grade({"m": found}).axes[0].collections) == 2


def test_thresholds_are_lines_named_beside_the_violins() -> None:
    figure = plot_similarity_by_grade({"m": histogram(), "n": histogram(1)}, thresholds={"m": [0.1, 0.3]})
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert heights == [0.1, 0.3]
    assert [text.get_text() for text in figure.axes[0].texts] == ["\u22651: 0.10", "\u22652: 0.30"]
    assert not figure.axes[1].texts
    one_missing = plot_similarity_by_grade({"m": histogram()}, thresholds={"m": [0.1, np.nan]})
    assert [text.get_text() for text in one_missing.axes[0].texts] == ["\u22651: 0.10"]


def test_names_of_near_thresholds_do_not_cover_each_other() -> None:
    figure = plot_similarity_by_grade({"m": histogram()}, thresholds={"m": [0.299, 0.3]})
    figure.canvas.draw()
    first, second = (text.get_window_extent() for text in figure.axes[0].texts)
    assert not first.overlaps(second)


def test_more_models_than_fit_side_by_side_take_rows() -> None:
    figure = plot_similarity_by_grade({f"lab/model-{i}": histogram(i) for i in range(6)})
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == [f"lab/model-{i}" for i in range(6)]
    assert [axes.get_visible() for axes in figure.axes] == [True] * 6 + [False] * 2


def test_margins_of_several_models() -> None:
    rng = np.random.default_rng(0)
    values = {(2, 0): np.append(rng.normal(size=30), np.nan), (1, 0): np.array([0.1]), (2, 1): np.full(5, 0.2)}
    figure = plot_margins({"a": values, "b": values})
    assert len(figure.axes[0].collections) == 6
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a", "b"]
    assert figure.axes[0].get_xticklabels()[0].get_text() == "grade 2\nover grade 0\nn=30"


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_saved_files_are_figures(tmp_path, ending: str) -> None:
    path = save_figure(plot_similarity_by_grade({"m": histogram()}), tmp_path / "new" / f"figure.{ending}")
    start = path.read_bytes()[:100]
    assert {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending] in start


def test_the_same_figure_gives_the_same_png(tmp_path) -> None:
    once, again = (
        save_figure(plot_similarity_by_grade({"m": histogram()}), tmp_path / f"{i}.png").read_bytes() for i in (1, 2)
    )
    assert once == again


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one histogram"):
        plot_similarity_by_grade({})
    with pytest.raises(ValueError, match="over the 3 grades"):
        plot_similarity_by_grade({"m": histogram(n_grades=4)})
    with pytest.raises(ValueError, match="3 grades have 2 boundaries"):
        plot_similarity_by_grade({"m": histogram()}, thresholds={"m": [0.3]})
    with pytest.raises(ValueError, match="same grade pairs"):
        plot_margins({"a": {(2, 0): np.zeros(3)}, "b": {(2, 1): np.zeros(3)}})
    with pytest.raises(ValueError, match="at least one model"):
        plot_margins({})


def test_pyplot_is_never_loaded() -> None:
    script = (
        "import sys, numpy as np; from mr_st.measures import *; assert 'matplotlib' not in sys.modules;"
        "plot_margins({'m': {(1, 0): np.arange(3.0)}}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
