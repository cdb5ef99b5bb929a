"""The comparison: choosing, differences as Python has them, queries and their lists, charts; at 390 and 1440 px."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from board_site import TASK
from page_visit import FITS

from mr_st.evaluation import GradedReport, compare, compare_several

pytestmark = pytest.mark.browser

OURS = ("mr-st/mr-minilm-marketplace", "mr-st/mr-minilm-marketplace-control", "mr-st/mr-minilm-marketplace-stage1",
        "sentence-transformers/all-MiniLM-L6-v2")  # fmt: skip


def reports(site: Path, names: tuple[str, ...], task: str = TASK) -> list[GradedReport]:
    results = site.parent.parent / "results"
    return [
        GradedReport.load(path)
        for name in names
        for path in sorted(results.glob(f"{name.replace('/', '__')}/*/{task}.json"))
    ]


def address(site: Path, names: tuple[str, ...], task: str = TASK, **more: str) -> str:
    keys = [f"{r.model_name} @ {r.revision}" for r in reports(site, names, task)]
    assert len(keys) == len(names)
    return (site.parent / "compare.html").as_uri() + "#" + urlencode({"m": keys, "task": task, **more}, doseq=True)


def row_of(page: Any, task: str, place: int = 0) -> dict[str, str]:
    """A row of the table by task, cell by cell."""
    body = page.locator(".differences").first.locator(
        "tbody", has=page.get_by_role("rowheader", name=task, exact=True)
    )
    row = body.locator("tr").nth(place)
    return {name: row.locator(f"td.{name}").inner_text() for name in ("means", "diff", "pvalue", "verdict", "won")}


def numbers(text: str) -> list[float]:
    return [float(x.replace("−", "-")) for x in re.findall(r"[+−]?\d*\.?\d+", text)]


def state_of(page: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).fragment)


def test_differences_are_those_of_python(visit, board_site):
    page = visit(address(board_site, OURS))
    baseline, *others = reports(board_site, OURS)
    for place, found in enumerate(compare_several(baseline, others, "ndcg@10")):
        row = row_of(page, TASK, place)
        b, a = numbers(row["means"])
        difference, low, high = numbers(row["diff"])
        assert (a, b) == (pytest.approx(found.value_a, abs=6e-4), pytest.approx(found.value_b, abs=6e-4))
        assert difference == pytest.approx(found.difference, abs=6e-4)
        assert (low, high) == (pytest.approx(found.low, abs=4e-3), pytest.approx(found.high, abs=4e-3))
        won, tied, lost, n = numbers(row["won"])
        assert (won, tied, lost, n) == (found.wins, found.ties, found.losses, found.n)


def test_verdict_and_p_of_one_comparison_are_those_of_python(visit, board_site):
    pair = (OURS[3], OURS[0])
    page = visit(address(board_site, pair, by="locale"))
    found = compare(*reports(board_site, pair), metric="ndcg@10")
    assert page.locator(".differences").first.locator("tbody tr").count() >= 1
    assert row_of(page, TASK)["verdict"] == found.verdict == "better"
    assert "<" in row_of(page, TASK)["pvalue"] or numbers(row_of(page, TASK)["pvalue"])[0] < 0.05


def test_a_small_slice_gets_no_verdict(visit, board_site):
    page = visit(address(board_site, OURS[:2], by="locale"))
    slices = page.get_by_role("table", name=re.compile("by slice"))
    for row in slices.locator("tbody tr").all():
        n = int(numbers(row.locator("td.won").inner_text())[3])
        assert (row.locator("td.verdict").inner_text() == "too few queries") == (n < 10)
        assert (row.locator(".whisker").count() == 0) == (n < 10)


def test_start_suggests_the_two_best(visit, board_site):
    page = visit(board_site.parent / "compare.html")
    page.get_by_role("button", name=f"The two best on {TASK}").click()
    page.wait_for_selector(".differences")
    assert [key.split(" @ ")[0] for key in state_of(page)["m"]][1] == OURS[0]
    assert row_of(page, TASK)["verdict"]


def test_models_are_picked_with_the_keyboard(visit, board_site):
    page = visit(address(board_site, OURS[:2]))
    page.get_by_role("combobox", name="Add model C").focus()
    page.keyboard.type("stage1 market")
    assert page.locator("#pick-list [role=option]:visible").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.chosen-models li').length === 3")
    assert page.evaluate("document.activeElement.id") == "pick"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.locator("#pick-list [role=option]:visible").count() == 0
    page.keyboard.type("all-MiniLM")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.chosen-models li').length === 4")
    assert page.locator("#pick").is_disabled()
    assert len(state_of(page)["m"]) == 4
    page.get_by_role("button", name=f"Remove {OURS[2]}").click()
    page.wait_for_function("document.querySelectorAll('.chosen-models li').length === 3")
    assert not page.locator("#pick").is_disabled()


def test_another_baseline_turns_the_sign(visit, board_site):
    page = visit(address(board_site, OURS[:2]))
    before = numbers(row_of(page, TASK)["diff"])[0]
    page.get_by_role("button", name="Make baseline").click()
    page.wait_for_function("(old) => document.querySelector('.differences .diff span').textContent !== old", arg="")
    page.wait_for_function("!document.querySelector('[aria-busy]')")
    assert numbers(row_of(page, TASK)["diff"])[0] == pytest.approx(-before)
    assert state_of(page)["m"][0].startswith(OURS[1])


def test_a_link_shows_what_the_sender_saw(visit, board_site):
    page = visit(address(board_site, OURS[:3]))
    page.get_by_label("Metric").select_option(label="Recall@10")
    page.wait_for_function("location.hash.includes('recall')")
    page.get_by_label("Queries", exact=True).select_option(index=1)
    page.wait_for_function("location.hash.includes('slice=')")
    page.get_by_role("button", name=re.compile("stage1")).last.click()
    page.locator(".line").first.click()
    page.wait_for_selector(".ranking li")
    parts = ".chosen-models, .differences, .moved-lists"
    shown = page.locator(parts).all_inner_texts()
    other = visit(page.url)
    other.wait_for_selector(".ranking li")
    assert other.locator(parts).all_inner_texts() == shown
    assert state_of(other) == state_of(page)
    assert {"m", "task", "metric", "slice", "pair", "q"} <= set(state_of(other))


def test_what_the_address_says_wrongly_is_ignored(visit, board_site):
    keys = [f"{r.model_name} @ {r.revision}" for r in reports(board_site, OURS)]
    nonsense = {
        "task": "<b>",
        "metric": "__proto__",
        "slice": "traffic:<img src=x>",
        "q": "nobody",
        "by": "x",
        "pair": "Z",
    }
    given = {"m": ["__proto__", keys[0], keys[0], *keys, "x" * 3000], **nonsense}
    page = visit((board_site.parent / "compare.html").as_uri() + "#" + urlencode(given, doseq=True))
    page.wait_for_selector(".differences")
    assert state_of(page)["m"] == keys
    assert state_of(page)["metric"] == ["ndcg@10"]
    assert not {"slice", "q", "pair"} & set(state_of(page))


def test_a_query_opens_with_the_keyboard_and_shows_every_list(visit, board_site):
    page = visit(address(board_site, OURS))
    line = page.locator(".line").first
    line.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".ranking li")
    assert line.get_attribute("aria-expanded") == "true"
    assert page.locator(".ranking").count() == 4
    grades = page.locator(".ranking li .swatch").all_inner_texts()
    assert {text.split()[0] for text in grades} <= {"0", "1", "2", "?"}
    said = page.locator(".ranking li .swatch .sr").all_inner_texts()
    assert {"not judged"} <= set(said) or all("grade" in text for text in said)
    shared = page.locator(".ranking").first.locator("li", has=page.locator(".else:not(.only)")).first
    shared.hover()
    assert page.locator(".ranking").nth(0).locator("li.lit").count() == 1
    assert page.locator("li.lit").count() >= 2
    assert len(set(page.locator("li.lit .title").all_inner_texts())) == 1
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.parentElement === document.querySelectorAll('.ranking ol')[1]")
    assert page.evaluate("document.activeElement.querySelector('.rank').textContent") == "2"
    line.focus()
    page.keyboard.press("Enter")
    assert page.locator(".ranking").count() == 0
    assert "q" not in state_of(page)


def test_queries_are_found_by_word_and_by_id(visit, board_site):
    page = visit(address(board_site, OURS[:2]))
    query = reports(board_site, OURS[:1])[0].per_query["query_id"].to_pylist()[3]
    page.get_by_label("Search all queries").fill(query)
    page.get_by_role("heading", name="Queries found").wait_for()
    page.locator(".line").first.click()
    page.wait_for_selector(".ranking li")
    text = page.locator(".line .text").first.inner_text()
    page.get_by_label("Search all queries").fill(text.upper())
    page.wait_for_function("!document.querySelector('.ranking')")
    assert text in page.locator(".line .text").all_inner_texts()
    page.get_by_label("Search all queries").fill("no such words at all")
    page.get_by_text("No query has these words.").wait_for()


def test_on_a_phone_lists_stand_below_each_other(visit, board_site):
    page = visit(address(board_site, OURS[:2]), width=390)
    page.locator(".line").first.click()
    page.wait_for_selector(".ranking li")
    first, second = (page.locator(".ranking").nth(i).bounding_box() for i in range(2))
    assert second["y"] >= first["y"] + first["height"]
    assert page.evaluate(FITS)


def test_a_model_that_cannot_be_compared_says_why(visit, board_site):
    name = "intfloat/e5-small-v2"
    page = visit(address(board_site, OURS[:2]))
    page.get_by_role("combobox", name="Add model C").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.chosen-models li').length === 3")
    page.get_by_text("C: not evaluated on this task").first.wait_for()


def test_charts_are_drawn_when_they_come_near_and_follow_the_theme(visit, board_site):
    page = visit(address(board_site, OURS[:3]), height=600)
    assert not any(url.endswith("vega.js") for url in page.visit.requests)
    page.get_by_role("heading", name="Quality and its cost").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.chart-stage svg').length >= 2")
    area = page.locator(".chart-stage .mark-area path").first
    light = area.get_attribute("fill")
    page.get_by_role("button", name=re.compile("Theme")).click()
    page.get_by_role("button", name=re.compile("Theme")).click()
    page.wait_for_function(
        "(old) => document.querySelector('.chart-stage .mark-area path')?.getAttribute('fill') !== old", arg=light
    )
    page.locator(".chart-numbers summary").first.click()
    assert page.locator(".chart-numbers").first.get_by_role("row").count() == 10  # a head, 3 models of 3 grades
    assert all(page.get_by_role("img", name=re.compile("Similarity by grade of")).all())
