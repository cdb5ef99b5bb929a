import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.data import format_item
from mr_st.data.item_text import format_items

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


@given(
    st.lists(st.tuples(st.text(max_size=12), st.none() | st.lists(st.text(max_size=5), max_size=4)), max_size=8),
    st.none() | st.integers(0, 5),
    st.none() | st.integers(0, 40),
)
def test_many_items_get_the_texts_they_get_one_by_one(rows, levels, max_chars) -> None:
    titles = pa.chunked_array([pa.array([title], pa.string()) for title, _ in rows], pa.string())
    paths = pa.chunked_array([pa.array([path], pa.list_(pa.string())) for _, path in rows], pa.list_(pa.string()))
    expected = [format_item(title, path, levels, max_chars) for title, path in rows]
    assert format_items(titles, paths, levels, max_chars) == expected
