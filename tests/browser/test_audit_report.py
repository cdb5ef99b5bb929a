"""The audit's page in Debian's Chromium, opened from disk: it fits, filters, turns pages, and runs nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from page_visit import FITS, PageVisit

from mr_st.annotation.audit import write_audit_report
from mr_st.annotation.audit.flags import LITTLE

pytestmark = pytest.mark.browser

NAMES = ("irrelevant", "partial", "relevant")
HOSTILE = ["<script>window.hacked = 1</script>", '"><img src=x onerror=alert(1)>', "مصباح ‮x", "y" * 5000]


def _sample() -> ModuleType:
    path = Path(__file__).parents[1] / "annotation" / "audit" / "test_audit_report.py"
    spec = importlib.util.spec_from_file_location("audit_report_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A report of 130 pairs: 120 changed, 7 kept, 3 open; the first four have hostile texts."""
    sample = _sample()
    n = 130
    texts = [*HOSTILE, *(f"query number {k}" for k in range(n - len(HOSTILE)))]
    pairs = sample.flagged(
        query_id=[f"q{k}" for k in range(n)], item_id=["i"] * n, grade=[2] * n, reason=[LITTLE] * n,
        impressions=[1234] * n, clicks=list(range(n)), purchases=[0] * n, expected=[float(k) for k in range(n)],
        query=texts, item=texts, judges=[[0, 1]] * n, experts=[[0, 0]] * n, final=[0] * 120 + [2] * 7 + [None] * 3,
    )  # fmt: skip
    named = sample.report(dataset={"name": HOSTILE[0], "fingerprint": "abc", "splits": None})
    return write_audit_report(tmp_path_factory.mktemp("report"), named, pairs, sample.OTHERS, grade_names=NAMES)


@pytest.fixture
def visit(chromium, request):
    width, scheme = getattr(request, "param", (1400, "light"))
    visit = PageVisit(chromium, width, scheme)
    yield visit
    visit.close()


def status(page: Any) -> str:
    return page.locator("#status").inner_text()


@pytest.mark.parametrize(
    "visit",
    [(390, "light"), (390, "dark"), (1400, "light"), (1400, "dark")],
    indirect=True,
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def test_it_fits_and_shows_everything(visit, site, request):
    page = visit.page
    page.goto(site.as_uri())
    assert page.evaluate(FITS), "the page scrolls sideways"
    _, scheme = request.node.callspec.params["visit"]
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    assert (sum(map(int, ink[4:-1].split(", "))) > sum(map(int, paper[4:-1].split(", ")))) == (scheme == "dark")
    assert page.locator("h1").inner_text() == f"Label audit of {HOSTILE[0]}"
    assert page.locator(".panels svg").count() == 3
    assert page.locator("#rows tr").count() == 50
    assert page.get_by_text("81.8 %").is_visible()
    cut = "all => all.filter(x => x.scrollWidth > x.clientWidth + 1).map(x => x.textContent)"
    assert page.locator(".steps :is(td, th):visible, .errors :is(td, th):visible").evaluate_all(cut) == []


def test_pages_filters_and_search(visit, site):
    page = visit.page
    page.goto(site.as_uri())
    assert status(page) == "1 to 50 of 120 pairs"
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    assert status(page) == "101 to 120 of 120 pairs"
    assert page.get_by_role("button", name="Next").is_disabled()
    page.get_by_label("Show").select_option("open")
    assert status(page) == "1 to 3 of 3 pairs"
    assert page.locator("#rows tr").first.locator("td").all_inner_texts()[3:] == [
        "2 relevant", "0 irrelevant, 1 partial", "0 irrelevant", "–",
    ]  # fmt: skip
    page.get_by_label("Show").select_option("all")
    page.get_by_label("Find").fill("NUMBER Q77")
    assert status(page) == "1 to 1 of 1 pair"
    assert "77 clicks, 0 bought of 1,234 shown" in page.locator("#rows tr").inner_text()
    page.locator("#label").select_option("0")
    assert status(page) == "No such pair."


def test_hostile_texts_show_as_texts(visit, site):
    page = visit.page
    page.goto(site.as_uri())
    page.get_by_label("Show").select_option("all")
    shown = page.locator("#rows tr td:first-child").all_text_contents()
    assert [text.removesuffix("more") for text in shown[: len(HOSTILE)]] == HOSTILE
    long = page.locator("#rows tr").nth(HOSTILE.index("y" * 5000)).locator("td").first
    assert long.bounding_box()["height"] < 200
    long.get_by_role("button", name="more").press("Enter")
    assert long.get_by_role("button", name="less").is_visible()
    assert long.bounding_box()["height"] > 1000
    assert page.evaluate(FITS)
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked") is None
