"""Sample results, and Debian's Chromium under Playwright, without network: `visit` opens a page, `axe` examines it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from board_site import build_board_site
from page_visit import PageVisit

_AXE = Path(__file__).parents[2] / "build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
_GRAVE = ("serious", "critical")
_RUN_AXE = """() => axe.run(document, {resultTypes: ["violations"], preload: false}).then((found) =>
    found.violations.map((v) => ({
        id: v.id, impact: v.impact, help: v.help, n: v.nodes.length,
        nodes: v.nodes.slice(0, 5).map((node) => [node.target.flat().join(" "), node.failureSummary]),
    })))"""


def _of_the_leaderboard_tests(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "leaderboard" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The module sample_results, which makes result folders."""
    return _of_the_leaderboard_tests("sample_results")


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    """The module hostile_results, which makes a result folder of hostile names and broken files."""
    return _of_the_leaderboard_tests("hostile_results")


@pytest.fixture(scope="session")
def board_site(tmp_path_factory: pytest.TempPathFactory, samples: ModuleType) -> Path:
    """index.html of a leaderboard with everything on it; see tests/shared/board_site.py."""
    return build_board_site(tmp_path_factory.mktemp("board"), samples)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; the tests skip where Chromium or Playwright is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page: ``visit(path_or_url, width=1440, height=900, scheme="light")`` gives Playwright's page.

    Each call has a context (storage) of its own. A page of the leaderboard is waited for (``html[data-ready]``);
    ``ready=False`` does not wait. ``page.visit`` is the :class:`PageVisit`. At the end of the test: nothing complained
    and no request left the site's folder, or its server where it was opened by an address.
    """
    visits: list[PageVisit] = []

    def open_page(
        where: Path | str,
        width: int = 1440,
        height: int = 900,
        scheme: str = "light",
        ready: bool = True,
        **options: Any,
    ) -> Any:
        address = where.as_uri() if isinstance(where, Path) else where
        found = PageVisit(chromium, width, scheme, height, allowed=(_site_of(address),), **options)
        visits.append(found)
        page = found.page
        page.visit = found
        page.set_default_timeout(20_000)
        page.goto(address)
        if ready and page.locator("script[data-root]").count():
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for each in visits:
        each.context.close()
    for each in visits:
        each.check()


@pytest.fixture(scope="session")
def axe() -> Callable[[Any], None]:
    """Examine a page with axe-core: no violation that is serious or critical."""
    if not _AXE.is_file():
        pytest.skip("axe-core is not installed (scripts/test puts it into build/npm; needs npm)")
    source = _AXE.read_text(encoding="utf-8")

    def examine(page: Any) -> None:
        page.evaluate(f"() => {{ if (!window.axe) {{ {source}\n }} }}")
        faults = [fault for fault in page.evaluate(_RUN_AXE) if fault["impact"] in _GRAVE]
        assert not faults, f"axe-core on {page.url}\n" + "\n".join(map(_told, faults))

    return examine


def _told(fault: dict[str, Any]) -> str:
    nodes = "".join(f"\n    {target}: {' '.join(why.split())[:300]}" for target, why in fault["nodes"])
    return f"{fault['impact']} {fault['id']}: {fault['help']} ({fault['n']} places){nodes}"


def _site_of(address: str) -> str:
    """What a page may ask for: below the nearest folder that holds an index.html, or the server that it came from."""
    if not address.startswith("file://"):
        return "/".join(address.split("/", 3)[:3]) + "/"
    folder = Path(unquote(urlsplit(address).path)).parent
    root = next((f for f in (folder, *folder.parents) if (f / "index.html").is_file()), folder)
    return root.as_uri() + "/"
