"""A leaderboard of hostile results in Debian's Chromium: every page opens, shows names as text, and runs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest
from page_visit import FITS

from mr_st.leaderboard import build_leaderboard

pytestmark = pytest.mark.browser

NO_ELEMENT_OF_THEIRS = (
    "document.querySelectorAll('main script, main iframe, main img[src=x], main object').length === 0"
)
LINKS = "[...document.querySelectorAll('a[href]')].map((a) => a.protocol)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, hostile: ModuleType) -> Path:
    source = hostile.write_hostile(tmp_path_factory.mktemp("hostile") / "source")
    return build_leaderboard(
        source / "results",
        source.parent / "site",
        cards_dir=source / "cards",
        title=hostile.NAMES[0],
        data=[hostile.hostile_data()],
    )


@pytest.fixture(scope="module")
def board(site: Path) -> dict[str, Any]:
    text = (site.parent / "data" / "board.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix('MR.put("board",').rstrip().removesuffix(");"))


def one_line(text: str) -> str:
    """As a browser shows it: white space folded."""
    return " ".join(text.split())


def check(page: Any) -> None:
    assert page.evaluate(FITS), f"{page.url} scrolls sideways"
    assert page.evaluate(NO_ELEMENT_OF_THEIRS)
    assert set(page.evaluate(LINKS)) <= {"file:", "https:", "http:", "mailto:"}
    page.visit.check()


def test_the_table_names_every_model_and_what_it_left_out(visit, site, board, hostile):
    page = visit(site)
    shown = page.locator("#main").inner_text()
    folded = one_line(page.locator("#main").text_content())
    assert page.locator("h1").inner_text() == hostile.NAMES[0]
    for model in board["models"]:
        assert one_line(model["label"]) in folded or one_line(model["short"]) in folded, model["label"]
    for file, (_, reason) in hostile.BROKEN.items():
        assert f"broken/1/{file}" in folded
        assert reason in shown
    check(page)
    for task in board["tasks"]:
        page.goto(site.as_uri() + "#" + urlencode({"task": task["label"]}))
        check(page)


def test_every_page_of_a_model_and_of_a_task_opens(visit, site, board):
    page = visit(site)
    for entry in [*board["models"], *board["tasks"]]:
        page.goto((site.parent / entry["page"]).as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        heading = one_line(page.locator("h1").first.inner_text())
        assert heading in (one_line(entry["label"]), one_line(entry["name"])), entry["label"]
        check(page)


def test_compare_shows_hostile_queries_items_and_slices(visit, site, board, hostile):
    ours = [m for m, details in zip(board["models"], board["details"], strict=True) if any("q" in d for d in details)]
    keys = [f"{m['name']} @ {m['revision']}" for m in ours[:4]]
    page = visit(site.parent.joinpath("compare.html").as_uri() + "#" + urlencode({"m": keys}, doseq=True))
    shown = one_line(page.locator("#main").text_content())
    for model in ours[:4]:
        assert one_line(model["short"]) in shown or one_line(model["label"]) in shown
    check(page)


@pytest.mark.parametrize("page_name", ["index.html", "compare.html"])
def test_a_state_that_is_nonsense_opens_too(visit, site, hostile, page_name):
    address = (site.parent / page_name).as_uri() + "#"
    keys = ("m", "task", "metric", "k", "subset", "slice", "find", "kind", "sort", "cols", "query", "__proto__")
    states = [urlencode(dict.fromkeys((*keys, name[:50]), name[:1000])) for name in hostile.NAMES]
    page = visit(address + states[0], 390)
    for state in states:  # the hash alone changes
        page.goto(address + state)
    check(page)
    page.goto("about:blank")
    page.goto(address + "&".join(states))
    page.wait_for_selector("html[data-ready]", state="attached")
    check(page)
