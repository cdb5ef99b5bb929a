"""The leaderboard in Debian's Chromium, opened from disk: no console error, no request leaves, everything works."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from page_visit import PageVisit

from mr_st.leaderboard import build_leaderboard

pytestmark = pytest.mark.browser

CARD = "---\nlicense: apache-2.0\n---\n# mr-minilm-marketplace\n\nA card with `code`.\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory, samples) -> Path:
    folder = tmp_path_factory.mktemp("board")
    samples.write_sample(folder / "results")
    card = folder / "cards" / "mr-minilm-marketplace"
    card.mkdir(parents=True)
    (card / "README.md").write_text(CARD)
    return build_leaderboard([folder / "results"], folder / "site", cards_dir=folder / "cards")


class Visit(PageVisit):
    """A page of the leaderboard."""

    def names(self) -> list[str]:
        return self.page.locator("tr.model .name button").evaluate_all("all => all.map(x => x.title)")

    def cells(self, selector: str) -> list[str]:
        return self.page.locator(f"tr.model {selector}").all_inner_texts()

    def choose_task(self, label: str) -> None:
        self.page.locator("#tasks button").get_by_text(label, exact=True).click()


@pytest.fixture
def visit(chromium, request):
    width, scheme = getattr(request, "param", (1440, "light"))
    visit = Visit(chromium, width, scheme)
    yield visit
    visit.close()


@pytest.mark.parametrize(
    "visit",
    [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")],
    indirect=True,
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def test_it_opens_from_disk_fits_and_shows_every_view(visit, site, request):
    page = visit.page
    page.goto(site.as_uri())
    assert len(visit.names()) == 5
    visit.choose_task("MarketplaceRetrieval")
    assert "2,400 items" in page.locator("#protocol").inner_text()
    page.locator("tr.model .name button").first.click()
    assert page.locator("tr.details .multiples svg").count() == 3
    assert page.locator("tr.details h3").all_inner_texts()[0] == "Scores, with 95 % intervals"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    _, scheme = request.node.callspec.params["visit"]
    assert (brightness(ink) > brightness(paper)) == (scheme == "dark")
    assert contrast(ink, paper) > 7
    soft = page.locator("#protocol").evaluate("x => getComputedStyle(x).color")
    assert contrast(soft, paper) > 4.5
    assert len(visit.requests) == 1 + visit.requests.count("data:,")


def test_sorting_puts_what_is_missing_last_either_way(visit, site, samples):
    visit.page.goto(site.as_uri())
    header = visit.page.get_by_role("columnheader", name="ESCIRetrieval")
    absent = {samples.NAMES["control"], "intfloat/e5-small-v2"}
    assert header.get_attribute("aria-sort") == "descending"
    downwards = visit.names()
    assert downwards[:3] == [samples.NAMES[arm] for arm in ("stage2", "stage1", "base")]
    assert set(downwards[3:]) == absent
    visit.page.locator('[data-sort="task:0"]').focus()
    visit.page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert visit.names()[:3] == downwards[:3][::-1]
    assert set(visit.names()[3:]) == absent
    assert visit.page.evaluate("document.activeElement.dataset.sort") == "task:0", "the focus stays on the header"
    row = visit.page.locator("tr.model", has_text="mr-minilm-marketplace-control")
    assert row.locator("td").first.inner_text().strip() == "–"
    assert "0.000" not in row.inner_text()


def test_ranks_are_ranges_where_intervals_overlap(visit, site, samples):
    visit.page.goto(site.as_uri())
    visit.choose_task("ESCIRetrieval")
    intervals = {}
    for arm in ("base", "stage1", "stage2"):
        i = samples.make_report(arm, "ESCIRetrieval", 40, shift=0.1)["ndcg@10"]
        intervals[samples.NAMES[arm]] = (i.low, i.high)
    expected = []
    for name in visit.names()[:3]:
        low, high = intervals[name]
        first = 1 + sum(other_low > high for other_low, _ in intervals.values())
        last = 3 - sum(other_high < low for _, other_high in intervals.values())
        expected.append(str(first) if first == last else f"{first}–{last}")
    assert visit.cells(".rank") == [*expected, "–", "–"]
    assert len(set(expected)) > 1, "the sample must tell some models apart"


def test_metric_k_reference_and_search_change_the_table_and_the_address(visit, site, samples):
    page = visit.page
    page.goto(site.as_uri())
    visit.choose_task("MarketplaceRetrieval")
    page.get_by_label("Metric").select_option("recall/2")
    page.get_by_label("K", exact=True).select_option("50")
    base = samples.make_report("base")
    page.get_by_label("Compare with").select_option(f"{base.model_name} @ {base.revision}")
    report = samples.make_report("stage2")
    row = page.locator("tr.model", has=page.locator(f'[title="{report.model_name}"]'))
    assert row.locator(".score b").inner_text() == f"{report['recall@50/2'].value:.3f}"
    from mr_st.evaluation import compare

    c = compare(base, report, "recall@50/2")
    assert row.locator(".diff").inner_text().split()[0] == f"{c.difference:+.3f}"
    page.get_by_label("Find").fill("STAGE1")
    assert visit.names() == [samples.NAMES["stage1"]]
    assert page.get_by_role("status").inner_text() == "1 of 5 models"
    address = page.url
    page.get_by_label("Find").fill("no such model")
    assert page.get_by_role("status").inner_text() == "No model with that name."

    again = Visit(page.context.browser, 1440, "light")
    again.page.goto(address)
    assert again.names() == [samples.NAMES["stage1"]]
    assert again.page.get_by_label("Metric").input_value() == "recall/2"
    assert again.page.get_by_label("K", exact=True).input_value() == "50"
    again.context.close()


def test_a_result_without_queries_has_a_score_no_interval_and_no_difference(visit, site):
    visit.page.goto(site.as_uri() + "#task=MarketplaceRetrieval")
    row = visit.page.locator("tr.model", has_text="e5-small-v2")
    assert row.locator(".score").inner_text().split("\n") == ["0.581", "no interval"]
    assert row.locator(".diff").inner_text() == "–"
    assert row.locator(".whisker").count() == 0
    assert row.locator(".rank").inner_text().startswith("~")
    row.locator("button").click()
    assert visit.page.locator("tr.details .multiples").count() == 0


def test_the_card_opens_and_leads_back(visit, site):
    page = visit.page
    page.goto(site.as_uri() + "#task=MarketplaceRetrieval")
    page.get_by_role("button", name="mr-st/mr-minilm-marketplace", exact=True).click()
    page.get_by_role("link", name="read the model card").click()
    assert page.get_by_role("heading", level=1).inner_text() == "mr-minilm-marketplace"
    page.get_by_role("link", name="Back to the leaderboard").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Graded relevance leaderboard"


def test_the_csv_holds_what_the_page_shows(visit, site, samples):
    visit.page.goto(site.as_uri() + "#task=ESCIRetrieval")
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Download CSV").click()
    with open(download.value.path(), newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["task"] for row in rows} == {"ESCIRetrieval"}
    report = samples.make_report("stage2", "ESCIRetrieval", 40, shift=0.1)
    mine = {row["metric"]: row for row in rows if row["model"] == report.model_name}
    assert set(mine) == set(report.metrics)
    assert float(mine["ndcg@10"]["low"]) == pytest.approx(report["ndcg@10"].low, abs=1e-5)


def test_the_theme_button_overrides_the_system(visit, site):
    page = visit.page
    page.goto(site.as_uri())
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    button = page.get_by_role("button", name="Theme")
    button.click()
    assert page.evaluate(background) == light
    button.click()
    assert brightness(page.evaluate(background)) < brightness(light)
    button.click()
    assert page.evaluate(background) == light


def test_hostile_names_and_formulas_do_nothing(visit, tmp_path, samples):
    for i in range(9):  # wide as well
        samples.write_mteb_result(tmp_path / "results", model="org/m0", task=f"Task{i}Retrieval{'x' * 50 * (i == 8)}")
    names = ["<img src=x onerror=alert(1)>", "__proto__", "=cmd()", "</script><script>alert(2)</script>", "x" * 5000]
    for i, name in enumerate(names):
        path = samples.write_mteb_result(tmp_path / "results", model=f"org/m{i}", score=0.1 * (i + 1))
        content = json.loads(path.read_text())
        content["scores"]["test"][0]["graded"] = {"model": {"name": name}}
        path.write_text(json.dumps(content))
    page = visit.page
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(build_leaderboard(tmp_path / "results", tmp_path / "site").as_uri())
    assert page.locator("tr.model").count() == len(names) + 1
    for i in range(len(names)):
        page.locator("tr.model .name button").nth(i).click()
    assert page.locator("img").count() == 0
    assert dialogs == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert '"\'=cmd()"' in Path(download.value.path()).read_text()


def brightness(color: str) -> float:
    """Relative luminance of an ``rgb(...)`` colour (WCAG)."""
    parts = [float(x) / 255 for x in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((brightness(a), brightness(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
