"""The figure: its panels, and that it can be drawn of anything."""

from __future__ import annotations

import pytest

from mr_st.data import GradedDataset
from mr_st.data.describe_plot import plot_dataset
from mr_st.errors import MrStError
from mr_st.measures.plots import save_figure

ALWAYS = {"Label shares by split (judgments)", "Judged items per query", "Lengths", "Locales",
          "Kinds of queries, sources of judgments", "Queries whose judgments are all of one grade"}  # fmt: skip
WHERE_THERE_IS = {"Head, torso, tail (thirds of the traffic)", "Not judged in train", "Shared by two splits"}


def titles(figure) -> set[str]:
    return {axes.get_title(loc="left").strip() for axes in figure.axes}


def test_every_panel_of_a_marketplace():
    shop = GradedDataset.load("marketplace", size="tiny")
    figure = plot_dataset(shop)
    assert titles(figure) == ALWAYS | WHERE_THERE_IS
    assert figure.get_suptitle() == "marketplace: 40 queries, 250 items, " + f"{len(shop.judgments):,} judgments"
    labels = next(axes for axes in figure.axes if "Label shares" in axes.get_title(loc="left"))
    widths = [bar.get_width() for bar in labels.patches]
    shares = [of["label_shares"][name] for name in shop.scale.names
              for of in reversed(list(shop.describe()["splits"].values()))]  # fmt: skip
    assert widths == pytest.approx(shares)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_dataset_of_one_pair(tmp_path, ending):
    dataset = GradedDataset.from_tables(
        [{"query_id": "q", "text": "x"}], [{"item_id": "a", "title": "$x^2$", "locale": "$\\frac{$"}],
        [{"query_id": "q", "item_id": "a", "grade": 2, "source": "llm:$\\bad{"}], name="a $\\frac{ name\n",
    )  # fmt: skip
    figure = plot_dataset(dataset)
    assert titles(figure) == ALWAYS
    path = save_figure(figure, tmp_path / f"shop.{ending}")
    assert path.stat().st_size > 5_000


def test_many_locales_are_summed_up():
    tags = ["en", "es", "fr", "de", "ja", "it", "pt", "nl", "pl", "sv"]
    dataset = GradedDataset.from_tables(
        [{"query_id": tag, "text": "x", "locale": tag} for tag in tags], [{"item_id": "a", "title": "A"}],
        [{"query_id": tag, "item_id": "a", "grade": 1} for tag in tags],
    )  # fmt: skip
    locales = next(axes for axes in plot_dataset(dataset).axes if axes.get_title(loc="left").strip() == "Locales")
    assert [label.get_text() for label in locales.get_yticklabels()][-1] == "3 others"


def test_no_judgments_is_said(tables):
    tables["judgments"] = []
    with pytest.raises(MrStError, match="no judgments to plot"):
        plot_dataset(GradedDataset.from_tables(**tables))
