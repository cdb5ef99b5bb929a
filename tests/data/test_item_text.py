import pytest

from mr_st.data import format_item

PATH = ["Home", "Kitchen", "Mugs", "Large"]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (0, "Red mug"),
        (1, "Red mug. Category: Home"),
        (2, "Red mug. Category: Home > Kitchen"),
        (4, "Red mug. Category: Home > Kitchen > Mugs > Large"),
        (9, "Red mug. Category: Home > Kitchen > Mugs > Large"),
        (None, "Red mug. Category: Home > Kitchen > Mugs > Large"),
    ],
)
def test_levels(levels, expected):
    assert format_item("Red mug", PATH, levels) == expected


@pytest.mark.parametrize("path", [[], None, ()])
def test_an_item_without_category_is_its_title(path):
    assert format_item("Red mug", path) == "Red mug"


def test_the_cut_counts_characters_of_the_whole_text():
    assert format_item("é" * 398, ["Home"]) == "é" * 398 + ". "
    assert format_item("Red mug", PATH, max_chars=None) == format_item("Red mug", PATH, max_chars=33)
    assert format_item("Red mug", PATH, max_chars=32).endswith("Kitche")
