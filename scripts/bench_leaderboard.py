"""How long the leaderboard takes to build and to answer, at 200 models x 20 tasks, and how large it is.

Generates results (scripts/generated_results.py), builds the site in a process of its own, opens it from disk in
Chromium and measures: when the table can be used (the page's own mark ``mr-ready``), what the first page loads, and
how long a search, a filter and a sort take from the event to the painted table. Best of several, after one warm-up.

Run: python scripts/bench_leaderboard.py [--results DIR] [--docs]   writes docs/leaderboard.json and the table of
docs/leaderboard.md with --docs. Needs Playwright (extra dev) and Debian's Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from doc_pages import DOCS, put_into_docs
from generated_results import generate

_BUILD = """
import json, sys, time
begin = time.perf_counter()
from mr_st.leaderboard import build_site
site = build_site(sys.argv[1], sys.argv[2])
seconds = time.perf_counter() - begin
print(json.dumps({"seconds": seconds, "models": site.n_models, "tasks": site.n_tasks, "cells": site.cells}))
"""

# from the event to the frame after the next, in which the new table has been painted
_ACT = """
async ([kind, value]) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const fire = (node, what) => node.dispatchEvent(new Event(what, { bubbles: true }));
  await painted();
  const begin = performance.now();
  if (kind === "sort") document.querySelectorAll("thead button")[value].click();
  else {
    const node = document.getElementById(kind);
    node.value = value === null ? "" : value;
    fire(node, "input");
    fire(node, "change");
  }
  await painted();
  return performance.now() - begin;
}
"""

_LIMITS = {
    "build_s": 20,
    "interactive_ms": 1500,
    "first_page_mb": 3,
    "search_ms": 100,
    "filter_ms": 100,
    "sort_ms": 100,
}
_TITLES = {
    "build_s": "Build, seconds",
    "interactive_ms": "Interactive from disk, ms",
    "first_page_mb": "First page with all it loads, MB",
    "search_ms": "Search a name, ms",
    "filter_ms": "Filter by a subset, ms",
    "sort_ms": "Sort by a column, ms",
}


def build(results: Path, out: Path, repeats: int) -> dict[str, Any]:
    """Build the site several times, each in a fresh process and folder; the fastest, and all times."""
    runs = []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-c", _BUILD, str(results), str(out)]
        runs.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    best = min(runs, key=lambda run: run["seconds"])
    return best | {"all_seconds": [round(run["seconds"], 2) for run in runs]}


def measure(index: Path, repeats: int) -> dict[str, Any]:
    """What a reader of the first page waits for, in Chromium from disk."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        executable = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        ready, loaded = [], set[Path]()
        for _ in range(repeats + 1):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.on("request", lambda request: loaded.add(Path(unquote(urlsplit(request.url).path))))
            page.goto(index.as_uri())
            page.wait_for_function("document.documentElement.dataset.ready !== undefined", timeout=60_000)
            ready.append(page.evaluate("performance.getEntriesByName('mr-ready')[0].startTime"))
            page.wait_for_timeout(200)
            if len(ready) <= repeats:
                page.close()
        n_bytes = sum(path.stat().st_size for path in loaded if path.is_file())
        times = {
            "search_ms": _times(page, "find", ["model-1", "org-3", "model-19", None], repeats),
            "filter_ms": _times(page, "subset", ["1", "2", "0"], repeats),
            "sort_ms": _times(page, "sort", [1, 2, 3], repeats),
        }
        version = browser.version
        browser.close()
    medians = {name: round(statistics.median(found), 1) for name, found in times.items()}
    worst = {f"{name}_worst": round(max(found), 1) for name, found in times.items()}
    found = {"interactive_ms": round(min(ready[1:]), 0), "interactive_ms_worst": round(max(ready[1:]), 0)}
    return found | {"first_page_mb": round(n_bytes / 1e6, 2), **medians, **worst, "chromium": version}


def _times(page: Any, kind: str, values: list[Any], repeats: int) -> list[float]:
    for value in values:  # the first time loads and compiles
        page.evaluate(_ACT, [kind, value])
        page.wait_for_timeout(150)
    found = []
    for _ in range(repeats):
        for value in values:
            found.append(page.evaluate(_ACT, [kind, value]))
            page.wait_for_timeout(30)
    return found


def table(found: dict[str, Any]) -> str:
    """Figures and their limits as Markdown."""
    lines = ["| | measured | worst | limit |", "|---|---|---|---|"]
    for key, title in _TITLES.items():
        worst = found.get(f"{key}_worst", "")
        lines.append(f"| {title} | {found[key]:g} | {worst} | {_LIMITS[key]} |")
    cells = ", ".join(f"{n:,} {status}" for status, n in sorted(found["cells"].items(), key=lambda pair: -pair[1]))
    lines.append("")
    lines.append(
        f"{found['models']} models x {found['tasks']} tasks ({cells}), {found['n_files']:,} files, "
        f"{found['site_mb']:,} MB; {found['machine']}, Chromium {found['chromium']}. Built "
        f"{len(found['all_seconds'])} times ({', '.join(map(str, found['all_seconds']))} s): the fastest is shown."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="generated results; made in a temporary folder where not given")
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary) / "results"
        if not results.is_dir():
            begin = time.perf_counter()
            generate(results, options.models, options.tasks)
            print(f"generated in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        out = Path(temporary) / "site"
        built = build(results, out, options.repeats)
        sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
        found = {"build_s": round(built["seconds"], 1)} | built | measure(out / "index.html", options.repeats)
        found |= {"n_files": len(sizes), "site_mb": round(sum(sizes) / 1e6)}
        found |= {"machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f} at the end"}
    print(table(found))
    if options.docs:
        (DOCS / "leaderboard.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        put_into_docs(DOCS / "leaderboard.md", "leaderboard", table(found))


if __name__ == "__main__":
    main()
