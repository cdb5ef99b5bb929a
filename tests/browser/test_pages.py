"""The pages of a model and of a task in Debian's Chromium, opened from disk: charts, copying, widths, themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_visit import FITS

pytestmark = pytest.mark.browser

LIGHT_AND_DARK = [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")]


def page_file(board_site: Path, folder: str, name: str) -> Path:
    (path,) = (board_site.parent / folder).glob(f"{name}-????????.html")
    return path


@pytest.mark.parametrize(("width", "scheme"), LIGHT_AND_DARK)
def test_a_model_s_page_fits_and_draws_its_charts_where_they_are_seen(visit, axe, board_site, width, scheme):
    page = visit(page_file(board_site, "models", "mr-st-mr-minilm-marketplace"), width=width, scheme=scheme)
    assert page.evaluate(FITS), "the page scrolls sideways"
    page.locator(".charts").first.scroll_into_view_if_needed()
    charts = page.locator(".charts").first.locator(".chart-stage svg")
    charts.nth(1).wait_for()
    names = page.locator(".charts").first.locator(".chart-stage").evaluate_all("all => all.map(x => x.ariaLabel)")
    assert names == [
        "How the similarities of judged pairs of ShopRetrieval spread, by grade",
        "How the margins between grades spread over the queries of ShopRetrieval",
    ]
    assert page.evaluate(FITS)
    axe(page)


def test_a_closed_task_draws_when_it_is_opened(visit, board_site):
    page = visit(page_file(board_site, "models", "sentence-transformers-all-minilm-l6-v2"))
    closed = page.locator("#separability details:not([open])").filter(has=page.locator(".charts")).last
    task = closed.locator(".charts").get_attribute("data-task")
    page.locator("#separability details[open] .charts").scroll_into_view_if_needed()
    page.locator("#separability details[open] .chart-stage svg").first.wait_for()
    assert not [url for url in page.visit.requests if f"/data/cells/{task}-" in url], "its charts wait"
    closed.locator("summary").first.click()
    page.locator(f'.charts[data-task="{task}"] .chart-stage svg').nth(1).wait_for()


@pytest.mark.parametrize(("width", "scheme"), LIGHT_AND_DARK)
def test_a_task_s_page_fits_and_leads_on(visit, axe, board_site, width, scheme):
    page = visit(page_file(board_site, "tasks", "shopretrieval"), width=width, scheme=scheme)
    assert page.evaluate(FITS)
    ink, paper = page.evaluate(
        "[document.body, document.documentElement].map((x, i) => getComputedStyle(x)[['color', 'backgroundColor'][i]])"
    )
    assert (sum(map(int, ink[4:-1].split(","))) > sum(map(int, paper[4:-1].split(",")))) == (scheme == "dark")
    axe(page)
    page.get_by_role("link", name="mr-st/mr-minilm-marketplace", exact=True).click()
    assert page.get_by_role("heading", level=1).inner_text() == "mr-st/mr-minilm-marketplace"


def test_code_can_be_copied(visit, board_site):
    page = visit(page_file(board_site, "models", "mr-st-mr-minilm-marketplace"), permissions=["clipboard-read"])
    button = page.locator("#load .copy").first
    button.click()
    button.get_by_text("Copied").or_(button.get_by_text("Selected")).wait_for()
    if button.inner_text() == "Copied":
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("#load pre").first.inner_text() + "\n"


def test_everything_but_charts_is_there_without_javascript(visit, board_site):
    page = visit(
        page_file(board_site, "models", "mr-st-mr-minilm-marketplace"), ready=False, java_script_enabled=False
    )
    assert page.get_by_role("row", name="ShopRetrieval").locator("b").inner_text() == "0.654"
    assert page.get_by_role("table").count() >= 2
    assert "SentenceTransformer(" in page.locator("#load pre").inner_text()
    assert page.locator("#card table").count() == 1
    page.locator("#results details summary").first.click()
    assert page.get_by_role("row", name="Recall, grade ≥ 2").first.is_visible()


def test_a_link_leads_to_the_comparison_with_this_model(visit, board_site):
    page = visit(page_file(board_site, "models", "mr-st-mr-minilm-marketplace"))
    page.get_by_role("link", name="Compare with the best on ShopRetrieval").click()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert "mr-minilm-marketplace" in page.locator("main").inner_text()
    assert "ShopRetrieval" in page.locator("main").inner_text()
