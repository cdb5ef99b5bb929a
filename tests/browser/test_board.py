"""The leaderboard's table in Debian's Chromium, opened from disk: every figure here is computed by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hand_made_results import ONE, TWO, write_hand_made
from page_visit import FITS

from mr_st.leaderboard import build_leaderboard

pytestmark = pytest.mark.browser

SIZES = [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")]


@pytest.fixture(scope="module")
def site(tmp_path_factory, samples) -> Path:
    folder = tmp_path_factory.mktemp("table")
    return build_leaderboard([write_hand_made(folder / "results", samples)], folder / "site")


def names(page: Any) -> list[str]:
    return page.locator("tr.model .model-name").all_inner_texts()


def row(page: Any, name: str) -> Any:
    return page.locator("tr.model", has=page.locator(f'.model-name[title$="{name}"]'))


def ranks(page: Any) -> dict[str, str]:
    return dict(zip(names(page), page.locator("tr.model .rank").all_inner_texts(), strict=True))


def cell(page: Any, name: str, column: str) -> Any:
    """The cell below a column's header."""
    heads = page.locator("thead th").evaluate_all("all => all.map(x => x.querySelector('button, span').textContent)")
    return row(page, name).locator("> *").nth(next(i for i, head in enumerate(heads) if head.startswith(column)))


def tick(page: Any, menu: str, label: str) -> None:
    """Change a box of a menu, with the keyboard."""
    box = page.locator(f"#{menu}")
    if not box.evaluate("x => x.open"):
        box.locator("summary").press("Enter")
    box.get_by_label(label, exact=False).first.press("Space")
    page.keyboard.press("Escape")
    assert not box.evaluate("x => x.open")


def download(page: Any, button: str) -> str:
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return Path(found.value.path()).read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "scheme"), SIZES, ids=str)
def test_it_fits_and_everything_that_is_chosen_is_in_the_address(visit, axe, site, width, scheme):
    page = visit(site, width=width, scheme=scheme)
    assert names(page)[:2] == ["beta", "alpha"]
    assert page.evaluate(FITS)
    page.get_by_label("Find").fill("SHOP")
    page.get_by_label("Metric", exact=True).select_option("recall")
    tick(page, "tasks", ONE)
    tick(page, "kinds", "bi-encoder")
    tick(page, "columns", "Licence")
    page.locator("thead").get_by_role("button", name="Model").click()
    row(page, "beta").get_by_role("checkbox").press("Space")
    row(page, "alpha").get_by_role("checkbox").press("Space")
    assert names(page) == ["alpha", "beta"]
    assert page.get_by_role("status").first.inner_text() == "2 of 9 models"
    assert page.evaluate(FITS)
    axe(page)
    seen = page.locator("#view").inner_text()

    again = visit(page.url, width=width, scheme=scheme)
    assert again.locator("#view").inner_text() == seen
    assert again.get_by_label("Find").input_value() == "SHOP"
    assert again.get_by_label("Metric", exact=True).input_value() == "recall"
    assert row(again, "alpha").get_by_role("checkbox").is_checked()
    again.get_by_role("button", name="Clear filters").first.click()
    assert len(names(again)) == 9
    assert "find" not in again.url


def test_ranks_are_ranges_and_only_what_counts_is_ranked(visit, site):
    page = visit(f"{site.as_uri()}#task={ONE}")
    # 0.88-0.92 | 0.76-0.84 and 0.75-0.82 overlap | 0.70, exact | 0.58-0.62 | 0.38-0.42
    assert ranks(page) == {
        "delta": "1", "alpha": "2–3", "beta": "2–3", "exact": "~4", "gamma": "5", "broken": "6",
        "otherwise": "–", "part": "–", "old": "–",
    }  # fmt: skip
    assert cell(page, "alpha", "NDCG@10").inner_text().split() == ["0.800", "0.760", "to", "0.840"]
    assert cell(page, "exact", "NDCG@10").inner_text().split() == ["0.700", "no", "interval"]


def test_the_mean_needs_every_task_and_adds_distances_in_quadrature(visit, site):
    page = visit(site)
    expected = {
        "beta": "0.740 0.715 to 0.765",  # sqrt(0.03² + 0.04²) / 2 = 0.025 either way
        "alpha": "0.700 0.675 to 0.728",  # sqrt(0.04² + 0.03²) / 2 = 0.025 down, sqrt(0.04² + 0.04²) / 2 = 0.028 up
        "exact": "0.625 no interval",
        "gamma": "0.550 0.532 to 0.568",  # sqrt(0.02² + 0.03²) / 2 = 0.018
        "delta": "– 1 of 2 tasks",
    }
    assert names(page)[:4] == ["beta", "alpha", "exact", "gamma"]
    for name, figures in expected.items():
        assert " ".join(cell(page, name, "Mean").inner_text().split()).startswith(figures), name
    found = ranks(page)
    assert [found[name] for name in expected] == ["1–2", "1–2", "~3", "4", "–"]
    page.locator("thead").get_by_role("button", name="Mean").click()
    assert names(page)[:4] == ["gamma", "exact", "alpha", "beta"], "what has no mean stands last, either way"


def test_what_does_not_count_looks_like_what_it_is(visit, site):
    page = visit(site)
    for name, task, text, why in (
        ("old", TWO, "0.990\nolder data", "data revision fedcba0987654321"),
        ("part", ONE, "0.950\npartial", "30 of 40 queries"),
        ("otherwise", ONE, "0.970\nother protocol", "500 items"),
        ("broken", TWO, "–\nfailed", ""),
        ("delta", TWO, "–", "not evaluated"),
    ):
        found = cell(page, name, task)
        assert found.inner_text().startswith(text), (name, found.inner_text())
        assert why in found.get_attribute("title")
        assert found.get_attribute("title") in found.text_content(), "the reason is read out too"
        assert "0.000" not in found.inner_text()
        assert found.evaluate("x => getComputedStyle(x).backgroundImage") == "none", "no dot"
    assert "gradient" in cell(page, "alpha", ONE).evaluate("x => getComputedStyle(x).backgroundImage")


def test_sorting_keeps_the_focus_and_puts_what_is_missing_last(visit, site):
    page = visit(site)
    header = page.get_by_role("columnheader", name=ONE)
    button = header.get_by_role("button")
    button.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert names(page) == ["delta", "alpha", "beta", "exact", "gamma", "broken", "otherwise", "part", "old"]
    button.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert names(page) == ["broken", "gamma", "exact", "beta", "alpha", "delta", "part", "otherwise", "old"]
    assert button.evaluate("x => x === document.activeElement")
    page.locator("thead").get_by_role("button", name="Size").click()
    assert names(page)[:4] == ["delta", "beta", "exact", "alpha"]
    assert page.locator("th[aria-sort='descending'], th[aria-sort='ascending']").count() == 1


def test_filters_and_the_way_back(visit, site):
    page = visit(site)
    tick(page, "sizes", "50M to 150M")
    assert names(page) == ["beta"]
    tick(page, "sizes", "2B and more")
    assert names(page) == ["beta", "delta"]
    assert ranks(page)["beta"] == "1–2", "a rank is a place among all models"
    tick(page, "kinds", "BM25")
    assert page.locator("#board").is_hidden()
    assert "No model is left" in page.locator("#empty").inner_text()
    page.locator("#empty").get_by_role("button", name="Clear filters").click()
    assert len(names(page)) == 9
    page.get_by_label("Find").fill("big shop")
    assert names(page) == ["beta"], "each word somewhere: the name, the base model"


def test_parts_of_the_queries_and_cut_offs(visit, site):
    page = visit(site)
    page.get_by_label("Queries", exact=True).select_option(label="en")
    page.locator("tr.model .cell").nth(2).wait_for(state="detached")
    assert cell(page, "alpha", "NDCG@10").inner_text().startswith("0.500")
    assert TWO in page.locator("#protocol").inner_text(), "it says where there is no such figure"
    assert page.get_by_label("Queries", exact=True).locator("optgroup").get_attribute("label") == "Locale"
    page.get_by_role("button", name="Clear filters").first.click()
    page.get_by_label("K", exact=True).select_option("50")
    cell(page, "beta", "Mean").get_by_text("0.370").wait_for()
    assert parse_qs(urlsplit(page.url).fragment) == {"k": ["50"]}


def test_columns_to_choose(visit, site):
    page = visit(site)
    page.locator("thead th").first.wait_for()
    assert cell(page, "beta", "Size").inner_text() == "109M"
    assert cell(page, "gamma", "Size").inner_text() == "–"
    tick(page, "columns", "Size")
    tick(page, "columns", "Base model")
    assert page.get_by_role("columnheader", name="Size").count() == 0
    assert cell(page, "beta", "Base model").inner_text() == "base/big"
    tick(page, "columns", "Training data")
    assert cell(page, "beta", "Training data").inner_text() == "none"
    assert cell(page, "alpha", "Training data").inner_text() == "One"


def test_zero_shot_of_the_tasks_shown(visit, site):
    page = visit(site)
    assert cell(page, "beta", "Zero-shot").inner_text() == "yes"
    assert cell(page, "alpha", "Zero-shot").inner_text() == "1 of 2"
    assert cell(page, "gamma", "Zero-shot").inner_text() == "yes", "BM25 learns nothing"
    assert cell(page, "delta", "Zero-shot").inner_text() == "–"
    tick(page, "zero", "on every task shown")
    assert names(page) == ["beta", "gamma"]
    tick(page, "tasks", TWO)
    assert names(page) == ["beta", "alpha", "gamma"]


def test_choosing_models_leads_to_their_comparison(visit, site):
    page = visit(f"{site.as_uri()}#task={ONE}")
    bar = page.get_by_role("region", name="Models chosen to compare")
    assert bar.is_hidden()
    boxes = [row(page, name).get_by_role("checkbox") for name in ("alpha", "beta", "gamma", "delta", "exact")]
    boxes[0].press("Space")
    assert "Choose one more" in bar.inner_text()
    assert bar.get_by_role("link").is_hidden()
    for box in boxes[1:4]:
        box.press("Space")
    assert boxes[4].is_disabled()
    bar.get_by_role("button", name="gamma").click()
    assert boxes[4].is_enabled()
    bar.get_by_role("link", name="Compare 3").click()
    page.wait_for_url("**/compare.html#*")
    assert parse_qs(urlsplit(page.url).fragment) | {"task": [ONE]} == parse_qs(urlsplit(page.url).fragment)
    assert parse_qs(urlsplit(page.url).fragment)["m"] == [
        f"{n} @ c0ffee" for n in ("shop/alpha", "shop/beta", "other/delta")
    ]


def test_names_and_headers_lead_to_pages(visit, site):
    page = visit(site)
    for link in (row(page, "alpha").locator("a.model-name"), page.locator("thead a.about").first):
        assert (site.parent / link.get_attribute("href")).is_file()


def test_the_downloads_hold_what_the_table_shows(visit, site):
    page = visit(f"{site.as_uri()}#task={ONE}")
    page.get_by_label("Find").fill("shop")
    rows = list(csv.DictReader(download(page, "CSV").splitlines()))
    assert [r["model"] for r in rows] == [f"shop/{n}" for n in names(page)]
    alpha = rows[0]
    assert (alpha["model"], alpha["revision"], alpha["task"], alpha["split"]) == ("shop/alpha", "c0ffee", ONE, "test")
    assert (alpha["metric"], alpha["subset"], alpha["status"], alpha["note"]) == ("ndcg@10", "default", "ok", "")
    assert [float(alpha[key]) for key in ("value", "low", "high", "n")] == [0.8, 0.76, 0.84, 40]
    part = next(r for r in rows if r["model"] == "shop/part")
    assert (part["status"], part["note"], part["value"]) == ("partial", "30 of 40 queries", "0.95")
    old = next(r for r in rows if r["model"] == "shop/old")
    assert (old["status"], old["value"]) == ("missing", "")
    found = json.loads(download(page, "JSON"))["results"]
    assert [r["model"] for r in found] == [r["model"] for r in rows]
    assert found[0] | {"value": 0.8, "low": 0.76, "high": 0.84, "n": 40, "n_parameters": 22713216} == found[0]
    assert next(r for r in found if r["model"] == "shop/old")["value"] is None


def test_an_address_with_nonsense_shows_the_table(visit, site):
    nonsense = "task=__proto__&metric=constructor&k=NaN&subset=%ZZ&kind=x&size=-1&zero=&col=__proto__&sort=task:x&m=x"
    page = visit(f"{site.as_uri()}#{nonsense}&find=%3Cimg%20src=x%20onerror=alert(1)%3E")
    assert "No model is left" in page.locator("#empty").inner_text()
    page.locator("#empty").get_by_role("button").click()
    assert len(names(page)) == 9
    assert page.locator("img").count() == 0
    page.evaluate(f"location.hash = 'task={TWO}'")
    page.locator("thead .task").nth(1).wait_for(state="detached")
    assert names(page)[0] == "beta"


def test_the_link_can_be_copied(visit, site):
    page = visit(site, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Find").fill("beta")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Link copied").wait_for()


def test_the_theme_button_overrides_the_system(visit, site):
    page = visit(site)
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    button = page.get_by_role("button", name="Theme")
    button.click()
    assert page.evaluate(background) == light
    button.click()
    assert page.evaluate(background) != light
    button.click()
    assert page.evaluate(background) == light


def test_hostile_names_stay_text_in_the_table_and_the_csv(visit, tmp_path, samples):
    hostile = ["<img src=x onerror=alert(1)>", "__proto__", "=cmd()", "</script><script>alert(2)</script>", "x" * 5000]
    for i, name in enumerate(hostile):
        path = samples.write_mteb_result(tmp_path / "results", model=f"org/m{i}", score=0.1 * (i + 1))
        content = json.loads(path.read_text())
        content["scores"]["test"][0]["graded"] = {"model": {"name": name}}
        path.write_text(json.dumps(content))
    page = visit(build_leaderboard(tmp_path / "results", tmp_path / "site"), width=390)
    assert page.locator("tr.model").count() == len(hostile)
    assert page.locator("main img").count() == 0
    assert page.evaluate(FITS)
    assert '"\'=cmd()"' in download(page, "CSV")
    row(page, "__proto__").get_by_role("checkbox").check()
    assert "__proto__" in parse_qs(urlsplit(page.url).fragment)["m"][0]


def test_without_script_the_main_scores_are_a_plain_table(visit, site):
    page = visit(site, ready=False, java_script_enabled=False)
    assert page.locator("noscript table tbody tr").count() >= 10
