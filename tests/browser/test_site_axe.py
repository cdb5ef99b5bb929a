"""Every kind of page of the leaderboard, narrow and wide, light and dark: no serious fault, no scroll sideways."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from board_site import TASK
from page_visit import FITS

from mr_st.leaderboard.serve import make_server

pytestmark = pytest.mark.browser

SIZES = [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")]
PAGES = ["all tasks", "compare nothing", "one task", "compare four", "a model", "a query", "a task"]
"""In an order in which no page follows itself: then only the hash would change, and nothing be loaded."""


def board_of(site: Path) -> dict[str, Any]:
    """What data/board.js holds."""
    text = (site.parent / "data" / "board.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix('MR.put("board",').rstrip().removesuffix(");"))


def address_of(site: Path, kind: str) -> str:
    """A page of that kind with everything on it that it can have."""
    board = board_of(site)
    task = next(t for t in board["tasks"] if t["name"] == TASK)
    models = sorted((m for m in board["models"] if "/" in m["name"]), key=lambda m: "e5" in m["name"])
    keys = [f"{m['name']} @ {m['revision']}" for m in models]
    root = site.parent.as_uri()
    compare = {"m": keys[:2], "task": task["label"]}
    return {
        "all tasks": f"{root}/index.html",
        "one task": f"{root}/index.html#" + urlencode({"task": task["label"]}),
        "compare nothing": f"{root}/compare.html",
        "compare four": f"{root}/compare.html#" + urlencode(compare | {"m": keys[:4]}, doseq=True),
        "a query": f"{root}/compare.html#" + urlencode(compare, doseq=True),
        "a model": f"{root}/" + next(m["page"] for m in models if m["name"] == "mr-st/mr-minilm-marketplace"),
        "a task": f"{root}/{task['page']}",
    }[kind]


def go_to(page: Any, address: str, kind: str) -> None:
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    if kind == "a query":
        page.locator("#compare button.line").first.click()
        page.locator("#compare button.line[aria-expanded=true]").wait_for()
    if kind == "compare four":
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")  # charts are drawn when they come near
        page.locator("#compare svg").first.wait_for()


@pytest.mark.parametrize(("width", "scheme"), SIZES, ids=lambda x: str(x))
def test_no_serious_fault_and_no_scroll_sideways(visit, axe, board_site, width, scheme):
    page = visit(board_site, width=width, scheme=scheme)
    faults = []
    for kind in PAGES:
        go_to(page, address_of(board_site, kind), kind)
        assert page.evaluate(FITS), f"{kind} scrolls sideways"
        try:
            axe(page)
        except AssertionError as error:
            faults.append(f"{kind}: {error}")
    assert not faults, "\n".join(faults)


def test_served_on_loopback_it_asks_that_server_only(visit, board_site):
    with make_server(board_site.parent, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        root = f"http://127.0.0.1:{server.server_port}"
        page = visit(f"{root}/index.html")
        for kind in PAGES:
            go_to(page, address_of(board_site, kind).replace(board_site.parent.as_uri(), root), kind)
        assert {url.split("/")[3] for url in page.visit.requests if url.startswith(root)} > {
            "data",
            "assets",
            "models",
        }
        server.shutdown()
        thread.join()
