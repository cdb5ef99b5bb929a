"""Guidelines: the form of the file, errors that name the row, and versions by content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation import Guideline
from mr_st.annotation.guideline import BUNDLED_GUIDELINES
from mr_st.errors import DataError

FORM = """# Relevance

## Grade 0: no

Something else.

## Grade 1: yes

What was asked for.

## Examples

| query | item | grade | why |
| --- | --- | --- | --- |
| red mug | Red Mug | 1 | all holds |
| red mug | Blue Lamp | 0 | another kind |

## Notes

| word | meaning |
| --- | --- |
| mug | a cup |
"""


@pytest.mark.parametrize("name", BUNDLED_GUIDELINES)
def test_bundled_guidelines_have_the_projects_scale_and_examples_of_every_grade(name):
    guideline = Guideline.load(name)
    assert guideline.grade_names == ("irrelevant", "partial", "relevant")
    assert {example.grade for example in guideline.examples} == {0, 1, 2}
    assert guideline.name == name


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "mine.md").write_text(FORM)
    guideline = Guideline.load(tmp_path / "mine.md")
    assert (guideline.name, guideline.n_grades, guideline.grade_names) == ("mine", 2, ("no", "yes"))
    assert [(e.query, e.item, e.grade, e.why) for e in guideline.examples] == [
        ("red mug", "Red Mug", 1, "all holds"), ("red mug", "Blue Lamp", 0, "another kind"),
    ]  # fmt: skip
    assert guideline.text == FORM


def test_the_version_follows_the_words_not_the_name_or_the_line_ends():
    version = Guideline.parse(FORM, "a.md").version
    assert version == Guideline.parse(FORM.replace("\n", "\r\n"), "b.md").version
    assert version != Guideline.parse(FORM.replace("Something", "Anything")).version


def test_examples_are_not_needed():
    assert Guideline.parse(FORM[: FORM.index("## Examples")]).examples == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("## Grade 1: yes", "## Yes", r"found grades: 0;"),
        ("## Grade 1: yes", "## Grade 2: yes", r"found grades: 0, 2;"),
        ("## Grade 1: yes", "## Grade 0: yes", r"row 7: grade 0 has two sections"),
        ("| Red Mug | 1 |", "| Red Mug | 2 |", r"row 15: an example has grade '2'; the sections define 0\.\.1"),
        ("| Red Mug | 1 |", "| Red Mug | yes |", r"row 15: an example has grade 'yes'"),
        ("| red mug | Blue Lamp |", "|  | Blue Lamp |", r"row 16: an example without a query or an item"),
        ("| query | item | grade | why |", "| query | item | label | why |", r"row 11: the section Examples needs"),
    ],
)
def test_faults_are_named_with_their_row(old, new, message):
    assert old in FORM
    with pytest.raises(DataError, match=message) as error:
        Guideline.parse(FORM.replace(old, new, 1), "mine.md")
    assert str(error.value).startswith("mine.md")
    assert "\n" not in str(error.value)


def test_examples_without_a_table():
    with pytest.raises(DataError, match="row 11: the section Examples needs a table"):
        Guideline.parse(FORM[: FORM.index("| query")])


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the guideline.*three_grades"):
        Guideline.load(tmp_path / "nothing.md")
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        Guideline.load(tmp_path / "bytes.md")


_CELL = st.text("abc äß0", min_size=1, max_size=8).map(str.strip).filter(bool)
_NAMES = st.lists(st.text("abcdé", min_size=1, max_size=9), min_size=2, max_size=6)


@given(names=_NAMES, data=st.data())
def test_what_is_written_in_the_form_is_read_back(names, data):
    rows = data.draw(st.lists(st.tuples(_CELL, _CELL, st.integers(0, len(names) - 1), _CELL), max_size=5))
    sections = "".join(f"## Grade {grade}: {name}\n\nWords.\n\n" for grade, name in enumerate(names))
    table = "".join(f"| {q} | {i} | {grade} | {why} |\n" for q, i, grade, why in rows)
    text = f"# Title\n\n{sections}## Examples\n\n| query | item | grade | why |\n| --- | --- | --- | --- |\n{table}"
    guideline = Guideline.parse(text)
    assert guideline.grade_names == tuple(names)
    assert [(e.query, e.item, e.grade, e.why) for e in guideline.examples] == rows


@given(st.text(st.sampled_from("#| -\n012 Grade:Examplesquryitmwh"), max_size=200))
def test_no_text_ends_in_anything_but_a_guideline_or_a_named_fault(text):
    try:
        guideline = Guideline.parse(text)
    except DataError as error:
        fault = str(error)
    else:
        fault = ""
        assert guideline.n_grades >= 2
    assert not fault or fault.startswith("guideline.md")
