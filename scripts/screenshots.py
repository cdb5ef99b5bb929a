#!/usr/bin/env python3
"""The leaderboard's pictures in docs/pictures/, taken of a site that is built for it; README and docs show them.

    scripts/screenshots.py
    scripts/screenshots.py --results runs/mine/results --data my-judgments --task MyRetrieval --out /tmp/pictures

Needs Debian's chromium. Without --results: what model_cards/ holds, and build/results_table/results where
scripts/results_table.py has left it.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from doc_pages import DOCS

from mr_st.errors import MrStError
from mr_st.leaderboard import build_leaderboard

ROOT = DOCS.parent
TABLE_RESULTS = ROOT / "build" / "results_table" / "results"
COMPARED = ("table/minilm", "table/stage2", "table/stage1", "table/bm25")
SHOWN_MODEL = "mr-st/mr-minilm-marketplace"
_COLOURS = 128
_SMALLER_ABOVE = 200_000  # bytes


@dataclass(frozen=True)
class Shot:
    """One picture.

    Args:
        name: Of its file.
        page: Address within the site.
        width, height: Of the window, in pixels.
        scheme: light or dark.
        prepare: What is done on the page first.
    """

    name: str
    page: str
    width: int = 1440
    height: int = 900
    scheme: str = "light"
    prepare: Callable[[Any], None] = lambda page: None


def shots(board: dict[str, Any], task_label: str) -> list[Shot]:
    """The pictures of a site."""
    task = next((t for t in board["tasks"] if t["label"] == task_label), board["tasks"][0])
    column = board["tasks"].index(task)
    there = [m for m, details in zip(board["models"], board["details"], strict=True) if "r" in details[column]]
    there = [m for name in COMPARED for m in there if m["name"] == name] or there
    keys = [f"{m['name']} @ {m['revision']}" for m in there]
    model = next((m for m in board["models"] if m["name"] == SHOWN_MODEL), board["models"][0])
    one = "index.html#" + urlencode({"task": task["label"]})
    compare = "compare.html#" + urlencode({"m": keys[:3], "task": task["label"]}, doseq=True)
    pair = "compare.html#" + urlencode({"m": keys[:2], "task": task["label"], "slice": "locale:en-US"}, doseq=True)
    return [
        Shot("table", "index.html"),
        Shot("task", one),
        Shot("task-dark", one, scheme="dark"),
        Shot("task-phone", one, width=390, height=844),
        Shot("compare", compare, height=1200),
        Shot("query", pair, height=1000, prepare=open_query),
        Shot("model", model["page"], height=1200),
        Shot("data", task["page"], height=1200),
    ]


def open_query(page: Any) -> None:
    """Open the query that moved most and bring it into the window."""
    button = page.locator("#compare button.line").first
    button.click()
    button.evaluate("x => x.scrollIntoView({block: 'start'})")
    page.mouse.wheel(0, -80)


def take(site: Path, wanted: Sequence[Shot], out: Path) -> list[Path]:
    """Take pictures of a built site."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    if executable is None:
        raise MrStError("chromium is not installed (apt-get install chromium)")
    out.mkdir(parents=True, exist_ok=True)
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"]
        )
        for shot in wanted:
            page = browser.new_page(
                viewport={"width": shot.width, "height": shot.height},
                color_scheme=shot.scheme,
                reduced_motion="reduce",
                locale="en-US",
                timezone_id="UTC",
            )
            page.goto(f"{site.parent.as_uri()}/{shot.page}")
            page.wait_for_selector("html[data-ready]", state="attached")
            shot.prepare(page)
            page.wait_for_timeout(500)
            path = out / f"{shot.name}.png"
            path.write_bytes(smaller(page.screenshot(animations="disabled", caret="hide")))
            taken.append(path)
            page.close()
        browser.close()
    return taken


def smaller(png: bytes) -> bytes:
    """The picture with a palette; with fewer colours where it is large still."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (_COLOURS, _COLOURS // 2, _COLOURS // 4):
        buffer = io.BytesIO()
        image.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            buffer, "PNG", optimize=True
        )
        if buffer.tell() <= _SMALLER_ABOVE:
            break
    return buffer.getvalue()


def main() -> None:
    """Build the site, take the pictures, print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, action="append", help="a results folder; may be given several times")
    parser.add_argument("--cards", type=Path, default=ROOT / "model_cards")
    parser.add_argument("--data", action="append", default=[], help="a dataset whose texts are shown")
    parser.add_argument("--task", default="MarketplaceRetrieval", help="the task that is shown alone")
    parser.add_argument("--only", nargs="*", help="names of pictures; all without it")
    parser.add_argument("--out", type=Path, default=DOCS / "pictures")
    options = parser.parse_args()
    results = options.results or ([TABLE_RESULTS] if TABLE_RESULTS.is_dir() else [])
    with tempfile.TemporaryDirectory() as folder:
        site = build_leaderboard(results, folder, cards_dir=options.cards, data=options.data)
        text = (site.parent / "data" / "board.js").read_text(encoding="utf-8")
        board = json.loads(text[text.index(",") + 1 : text.rindex(")")])
        wanted = [shot for shot in shots(board, options.task) if not options.only or shot.name in options.only]
        for path in take(site, wanted, options.out):
            print(f"{path.stat().st_size / 1000:6.0f} kB  {path}")


if __name__ == "__main__":
    main()
