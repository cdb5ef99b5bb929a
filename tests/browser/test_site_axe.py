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
PAGES = ["all tasks", "one task", "compare nothing", "compare two", "compare four", "a query", "a model", "a task"]


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
        "compare two": f"{root}/compare.html#" + urlencode(compare, doseq=True),
        "compare four": f"{root}/compare.html#" + urlencode(compare | {"m": keys[:4]}, doseq=True),
        "a query": f"{root}/compare.html#" + urlencode(compare, doseq=True),
        "a model": f"{root}/" + next(m["page"] for m in models if m["name"] == "mr-st/mr-minilm-marketplace"),
        "a task": f"{root}/{task['page']}",
    }[kind]


@pytest.mark.parametrize(("width", "scheme"), SIZES, ids=lambda x: str(x))
@pytest.mark.parametrize("kind", PAGES)
def test_no_serious_fault_and_no_scroll_sideways(visit, axe, board_site, kind, width, scheme):
    page = visit(address_of(board_site, kind), width=width, scheme=scheme)
    if kind == "a query":
        open_a_query(page)
    assert page.evaluate(FITS), "the page scrolls sideways"
    axe(page)


def open_a_query(page: Any) -> None:
    page.locator("#compare .query button, #compare .query summary").first.click()


@pytest.mark.parametrize("kind", PAGES)
def test_served_on_loopback_it_asks_that_server_only(visit, board_site, kind):
    with make_server(board_site.parent, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        root = f"http://127.0.0.1:{server.server_port}"
        page = visit(address_of(board_site, kind).replace(board_site.parent.as_uri(), root))
        assert page.locator("h1").first.inner_text()
        assert len(page.visit.requests) > 2
        server.shutdown()
        thread.join()
