from __future__ import annotations

import pytest

from mr_st.errors import UsageError
from mr_st.losses import Bands


def test_the_papers_table() -> None:
    bands = Bands.paper()
    assert bands.lower == (None, 0.4, 0.75)
    assert bands.upper == (0.25, 0.6, None)
    assert bands.optimum_up == (None, 0.6, 1.25)
    assert bands.optimum_down == (-0.25, 0.3, None)
    assert Bands.paper(0.4).optimum_down == (-0.25, 0.4, None)


def test_evenly_spaced_gives_the_papers_boundaries_for_three_grades() -> None:
    assert Bands.evenly_spaced(3).lower == Bands.paper().lower
    assert Bands.evenly_spaced(3).upper == Bands.paper().upper
    assert Bands.evenly_spaced(3).optimum_up == Bands.paper().optimum_up


def test_evenly_spaced_for_four_grades_by_hand() -> None:
    # .5 = 3 gaps of 3/4 width + 2 widths: width 2/17, gap 1.5/17
    bands = Bands.evenly_spaced(4)
    assert bands.lower[1:] == pytest.approx([0.25 + 1.5 / 17, 0.25 + 5 / 17, 0.75])
    assert bands.upper[:-1] == pytest.approx([0.25, 0.25 + 3.5 / 17, 0.25 + 7 / 17])
    assert bands.optimum_up[1] == bands.upper[1]
    assert bands.optimum_down[2] == bands.lower[2]


@pytest.mark.parametrize("value", ["paper", 3, 6, Bands.evenly_spaced(5).to_dict(), Bands.paper()])
def test_what_a_recipe_may_say(value: object) -> None:
    assert Bands.of(Bands.of(value).to_dict()) == Bands.of(value)


@pytest.mark.parametrize(
    "bad",
    [
        "even", 1, 2.5, {"lower": [None, 0.5]},
        {"lower": [None, 0.2], "upper": [0.3, None], "optimum_up": [None, 1], "optimum_down": [0, None]},
        {"lower": [None, None], "upper": [0.3, None], "optimum_up": [None, 1], "optimum_down": [0, None]},
        {"lower": [None, 0.5, 0.7], "upper": [0.3, None], "optimum_up": [None, 1], "optimum_down": [0, None]},
    ],
)  # fmt: skip
def test_bad_tables_are_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="bands"):
        Bands.of(bad)
