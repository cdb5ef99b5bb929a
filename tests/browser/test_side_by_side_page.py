"""The side-by-side page in Debian's Chromium, opened from disk: it fits, sorts, searches, and runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_visit import FITS, PageVisit
from word_shop import WordSystem, word_shop

from mr_st.evaluation import Collection
from mr_st.evaluation.side_by_side import SideBySide, run_side_by_side
from mr_st.evaluation.side_by_side_page import write_side_by_side_page

pytestmark = pytest.mark.browser

HOSTILE = ["<script>window.hacked = 1</script>", '"><img src=x onerror=alert(1)>', "مصباح ‮x", "y" * 3000]


@pytest.fixture(scope="module")
def found() -> tuple[SideBySide, Any, Any]:
    collection = Collection.from_dataset(word_shop())
    return run_side_by_side(
        WordSystem("shop/old"), WordSystem(f"shop/{'long-' * 12}name", deepest=4), collection, n_resamples=20
    )


@pytest.fixture(scope="module")
def site(found: tuple[SideBySide, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 queries; the four that moved most, and four items, have hostile texts."""
    side, control, treatment = found
    shop = word_shop()
    texts = dict(zip(shop.queries["query_id"], shop.queries["text"], strict=True))
    titles = dict(zip(shop.items["item_id"], shop.items["title"], strict=True))
    texts |= dict(zip((side.query_ids[row] for row in side.most_moved()[:4]), HOSTILE, strict=True))
    first = control.run.filter(control.run["query_id"].to_numpy() == side.query_ids[side.most_moved()[0]])
    titles |= dict(zip(first["item_id"].to_pylist()[:4], HOSTILE, strict=True))
    return write_side_by_side_page(
        tmp_path_factory.mktemp("site") / "side.html", side, control, treatment, query_texts=texts, titles=titles
    )


@pytest.fixture
def visit(chromium, request):
    width, scheme = getattr(request, "param", (1440, "light"))
    visit = PageVisit(chromium, width, scheme)
    yield visit
    visit.close()


def status(page: Any) -> str:
    return page.locator("#status").inner_text()


def changes(page: Any) -> list[float]:
    return [float(text.replace("−", "-")) for text in page.locator(".change b").all_inner_texts()]


@pytest.mark.parametrize(
    "visit",
    [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")],
    indirect=True,
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def test_it_fits_and_shows_everything(visit, site, found, request):
    page = visit.page
    page.goto(site.as_uri())
    assert page.evaluate(FITS), "the page scrolls sideways"
    width, scheme = request.node.callspec.params["visit"]
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    assert (sum(map(int, ink[4:-1].split(", "))) > sum(map(int, paper[4:-1].split(", ")))) == (scheme == "dark")
    assert page.locator("h1").inner_text() == "Side by side: GradedRetrieval"
    assert page.locator(".swaps li").all_inner_texts() == ["the system (bm25): deepest 1000 -> 4"]
    assert page.locator(".figures tbody tr").count() == 9
    assert f"{found[0].traffic.control:.4f}" in page.locator(".figures").inner_text()
    lists = page.locator(".query").nth(5).locator(".arm")
    boxes = [lists.nth(i).bounding_box() for i in (0, 1)]
    assert (boxes[0]["y"] < boxes[1]["y"]) == (width == 390), "a phone shows one list below the other"
    cut = "all => all.filter(x => x.scrollWidth > x.clientWidth + 1).map(x => x.textContent)"
    assert page.locator(".figures :is(td, th):visible, .grade:visible").evaluate_all(cut) == []


def test_lists_have_grades_and_what_moved_in_words(visit, site, found):
    side, control, treatment = found
    page = visit.page
    page.goto(site.as_uri())
    row = side.most_moved()[6]
    card = page.locator(".query").nth(6)
    query_id = side.query_ids[row]
    for arm, report in enumerate((control, treatment)):
        run = [r for r in report.run.to_pylist() if r["query_id"] == query_id and r["rank"] <= 10]
        expected = ["not judged" if r["grade"] is None else f"{r['grade']} {report.protocol['grades'][r['grade']]}"
                    for r in run]  # fmt: skip
        assert card.locator(".arm").nth(arm).locator(".grade").all_inner_texts() == expected
    assert card.locator(".arm").nth(0).locator(".was").all_inner_texts() == [""] * 4 + ["gone"] * 6
    assert f"drawn {side.sample.draws[row]:,} time" in card.inner_text()
    colours = page.locator(".grade:not(.unjudged)").evaluate_all(
        "all => [...new Set(all.map(x => x.textContent + getComputedStyle(x, '::before').backgroundColor))]"
    )
    assert len({colour.split("rgb")[1] for colour in colours}) == len(colours) == 3


def test_sorting_filters_search_and_pages(visit, site, found):
    side = found[0]
    page = visit.page
    page.goto(site.as_uri())
    n = len(side.most_moved())
    assert status(page) == f"1 to 20 of {n} queries"
    rows = side.most_moved()[:20]
    assert changes(page) == pytest.approx((side.b - side.a)[rows].tolist(), abs=6e-5)
    page.get_by_role("button", name="Next").click()
    assert status(page) == f"21 to 40 of {n} queries"
    page.get_by_label("Sort").select_option("frequent")
    assert status(page) == f"1 to 20 of {n} queries"
    drawn = page.locator(".query-head .soft").all_inner_texts()
    assert drawn[0].startswith(f"drawn {side.sample.draws.max():,} times")
    page.get_by_label("Sort").select_option("lost")
    assert changes(page) == sorted(changes(page))
    page.get_by_label("Show").select_option("lost")
    n_lost = int(((side.b - side.a < -1e-9) & (side.sample.draws > 0)).sum())
    assert 0 < n_lost < n
    assert status(page).endswith(f"of {n_lost} queries")
    page.get_by_label("Show").select_option("all")
    page.get_by_label("Find").fill("Q17")
    assert status(page) == "1 to 1 of 1 query"
    page.get_by_label("Find").fill("no such words")
    assert status(page) == "No such query."


def test_it_works_by_keyboard(visit, site):
    page = visit.page
    page.goto(site.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "which"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("mug")
    page.wait_for_function("document.getElementById('status').textContent.includes('of')")
    assert page.locator(".query").count() > 0
    page.get_by_label("Find").fill("")
    page.get_by_role("button", name="Next").press("Enter")
    assert status(page).startswith("21 to 40")


def test_hostile_texts_show_as_texts(visit, site):
    page = visit.page
    page.goto(site.as_uri())
    assert page.locator(".query h3").all_text_contents()[:4] == HOSTILE
    titles = page.locator(".query").first.locator(".arm").first.locator(".title").all_text_contents()
    assert titles[:4] == HOSTILE
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(FITS)
