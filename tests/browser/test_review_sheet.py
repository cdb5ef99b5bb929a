"""The review form in Debian's Chromium, opened from disk: filled in by mouse and keys, kept, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_visit import FITS, PageVisit

from mr_st.annotation import Guideline, PairTable
from mr_st.annotation.review import ReviewSheet, read_answers, write_review_sheet

pytestmark = pytest.mark.browser

GUIDELINE = Guideline.load("three_grades")
PAIRS = [
    ("q1", "red desk lamp", "a", "Lumeno LED Desk Lamp, Black. Category: Office > Lighting"),
    ("q1", "red desk lamp", "b", "Corvane Desk Lamp, Red, Dimmable. Category: Office > Lighting"),
    ("q2", "running shoes", "c", "Water Bottle, 1 l. Category: Kitchen > Drinkware"),
    ("q3", "espresso machine", "d", "Water Filter Cartridge for Espresso Machines. Category: Kitchen > Coffee"),
]
HOSTILE = [
    "<script>window.hacked = 1; alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "=HYPERLINK(\"http://example.com\",'x')",
    "مصباح مكتب أحمر ‮desrever",
    "👟🏃‍♀️ läuft \U0001f1e9\U0001f1ea {{ 7 * 7 }} ${1}",
    "x" * 5000,
    "line one\nline two\ttab",
    "__proto__",
]


def make(folder: Path, rows: list[tuple[str, str, str, str]] = PAIRS, **options: Any) -> ReviewSheet:
    columns = [list(column) for column in zip(*rows, strict=True)]
    pairs = PairTable(columns[0], columns[2], columns[1], columns[3], ["en-US"] * len(rows))
    return write_review_sheet(folder / "review", pairs, GUIDELINE, **options)


@pytest.fixture
def visit(chromium, request):
    width, scheme = getattr(request, "param", (1400, "light"))
    visit = PageVisit(chromium, width, scheme)
    yield visit
    visit.close()


def grade_button(page: Any, grade: int) -> Any:
    return page.get_by_role("button", name=f"{grade} {GUIDELINE.grade_names[grade]}", exact=True)


def shown(page: Any) -> tuple[str, str]:
    return page.locator("#query").inner_text(), page.locator("#item").inner_text()


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as found:
        page.get_by_role("button", name="Download answers").first.click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_mouse_keys_reload_and_the_answers_back(visit, tmp_path):
    sheet = make(tmp_path)
    text_of = {(q, i): (query, item) for q, query, i, item in PAIRS}
    page = visit.page
    page.goto(sheet.html.as_uri())
    page.get_by_label("Your name").fill("Ann Ötzi")
    assert shown(page) == text_of[sheet.pairs[0]]
    grade_button(page, 2).click()
    assert shown(page) == text_of[sheet.pairs[1]]
    page.keyboard.press("n")
    page.keyboard.type('-5 "odd", s 2\n=x')
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    page.keyboard.press("s")
    assert page.locator("#count").inner_text() == "2 of 4 pairs graded"

    page.reload()
    assert page.get_by_label("Your name").input_value() == "Ann Ötzi"
    assert shown(page) == text_of[sheet.pairs[3]], "it goes on where it was left"
    page.keyboard.press("1")
    assert page.get_by_role("heading", name="End of the sheet").is_visible()
    assert page.locator("#counts dd").all_inner_texts() == ["3", "1", "0"]
    page.get_by_role("button", name="First pair without a grade").click()
    assert shown(page) == text_of[sheet.pairs[2]]
    assert page.locator("#state").inner_text() == "Skipped"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#state").inner_text() == "Graded"
    assert grade_button(page, 0).get_attribute("aria-pressed") == "true"
    assert page.get_by_label("Note").input_value() == '-5 "odd", s 2\n=x'
    page.get_by_role("button", name="Back").click()
    page.keyboard.press("1")  # a change of mind

    path = download(page, tmp_path)
    assert path.name == "answers-ann-o-tzi.csv"
    answers = read_answers(path, sheet)
    assert answers.rows() == [
        (*sheet.pairs[0], 1, "Ann Ötzi", ""),
        (*sheet.pairs[1], 0, "Ann Ötzi", '-5 "odd", s 2\n=x'),
        (*sheet.pairs[3], 1, "Ann Ötzi", ""),
    ]
    assert sheet.n_unanswered(answers) == 1


def test_it_can_be_filled_in_without_a_mouse(visit, tmp_path):
    sheet = make(tmp_path)
    page = visit.page
    page.goto(sheet.html.as_uri())
    for _ in range(3):  # past the link to the guideline
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "expert":
            break
    page.keyboard.type("Ben 2")
    assert page.locator("#count").inner_text() == "0 of 4 pairs graded", "digits in a text field are text"
    page.keyboard.press("Escape")
    grades = [2, 0, 1, 2]
    for grade in grades:
        page.keyboard.press(str(grade))
    assert page.get_by_role("heading", name="All pairs are graded").is_visible()
    assert page.evaluate("document.activeElement.id") == "end"
    with page.expect_download() as found:
        page.locator("#end-download").focus()
        page.keyboard.press("Enter")
    found.value.save_as(tmp_path / "ben.csv")
    assert read_answers(tmp_path / "ben.csv", sheet)["grade"].to_list() == grades


def test_a_name_is_asked_for_and_clearing_asks_again(visit, tmp_path):
    page = visit.page
    page.goto(make(tmp_path).html.as_uri())
    page.keyboard.press("2")
    page.get_by_role("button", name="Download answers").first.click()
    assert "Enter your name first" in page.get_by_role("status").inner_text()
    assert page.evaluate("document.activeElement.id") == "expert"
    page.get_by_role("button", name="Clear all answers").click()
    assert page.locator("#count").inner_text() == "1 of 4 pairs graded"
    page.get_by_role("button", name="Really clear all answers?").click()
    assert page.locator("#count").inner_text() == "0 of 4 pairs graded"
    page.reload()
    assert page.locator("#count").inner_text() == "0 of 4 pairs graded"


def test_sheets_do_not_mix_and_two_tabs_do(visit, tmp_path):
    first, second = make(tmp_path / "1"), make(tmp_path / "2", shuffle_seed=5)
    visit.page.goto(first.html.as_uri())
    visit.page.keyboard.press("2")
    tab = visit.open(first.html)
    assert tab.locator("#count").inner_text() == "1 of 4 pairs graded"
    tab.keyboard.press("1")
    visit.page.wait_for_function("document.getElementById('count').textContent.startsWith('2 of')")
    assert visit.open(second.html).locator("#count").inner_text() == "0 of 4 pairs graded"


def test_hostile_texts_show_as_texts(visit, tmp_path):
    rows = [(f"q{n}", text, f"i{n}", text) for n, text in enumerate(HOSTILE)]
    sheet = make(tmp_path, rows, title=HOSTILE[1])
    page = visit.page
    page.goto(sheet.html.as_uri())
    page.get_by_label("Your name").fill("@<b>")
    seen = []
    for _ in rows:
        seen.append(page.locator("#item").text_content())
        assert page.locator("#query").text_content() == seen[-1]
        assert page.evaluate(FITS)
        page.get_by_label("Note").fill(seen[-1][:200])
        grade_button(page, 1).click()
    assert sorted(seen) == sorted(HOSTILE)
    assert page.locator("h1").first.inner_text() == HOSTILE[1]
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked") is None
    answers = read_answers(download(page, tmp_path), sheet)
    assert answers["expert"].unique().to_list() == ["@<b>"]
    assert answers["note"].to_list() == [text[:200] for text in seen]


@pytest.mark.parametrize(
    "visit",
    [(390, "light"), (390, "dark"), (1400, "light"), (1400, "dark")],
    indirect=True,
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def test_it_fits_and_can_be_read(visit, tmp_path, request):
    page = visit.page
    page.goto(make(tmp_path).html.as_uri())
    assert page.evaluate(FITS), "the page scrolls sideways"
    width, scheme = request.node.callspec.params["visit"]
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    ink, paper = (sum(map(int, colour[4:-1].split(", "))) for colour in colours)
    assert (ink > paper) == (scheme == "dark")
    assert abs(ink - paper) > 500
    for grade in range(3):
        box = grade_button(page, grade).bounding_box()
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= 900, "the grades stand on the first screen"
    assert page.get_by_role("heading", name="Grade 2: relevant").is_visible()
    page.keyboard.press("2")
    page.reload()
    assert page.locator("#guideline").evaluate("x => x.open") == (width > 1000)
