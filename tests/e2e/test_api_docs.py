"""The API reference: every public name is described, every example runs, and no page has a link that leads nowhere."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import re
import runpy
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("pdoc", reason="pdoc comes with the extra `dev`")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "docs"
CANNOT_RUN = {
    "mr_st.encoding.encode_stage",  # a real model
    "mr_st.hub.shrink",  # minutes of measuring
    "mr_st.mining.engines.ray",  # a cluster
}
LOADS = {"href", "src", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.loaded += re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)
        self.loaded = [one if isinstance(one, str) else one[0] or one[1] for one in self.loaded]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in LOADS and value is not None:
                (self.links if tag == "a" else self.loaded).append(value)


def broken_links(folder: Path) -> list[str]:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    wrong = []
    for path, page in sorted(pages.items()):
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in pages[target].anchors):
                wrong.append(f"{path.relative_to(folder)}: {link}")
        wrong += [
            f"{path.relative_to(folder)} loads {one[:80]}"
            for one in page.loaded
            if urlsplit(one).netloc or urlsplit(one).scheme not in ("", "data")
        ]
    return wrong


@pytest.mark.slow
def test_the_pages_are_built_with_no_broken_link_and_ask_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    out = tmp_path.resolve() / "api"
    assert runpy.run_path(str(SCRIPT))["build"](out) == []
    assert broken_links(out) == []
    text = (out / "mr_st.html").read_text(encoding="utf-8") + (out / "search.js").read_text(encoding="utf-8")
    scripts = re.sub(r"/\*.*?\*/", "", "".join(re.findall(r"<script.*?</script>", text, re.DOTALL)), flags=re.DOTALL)
    assert not re.search(r"""(?:fetch|import|open)\(\s*["'`]https?:|\.src\s*=\s*["'`]https?:""", scripts)
    page = Page((out / "mr_st.html").read_text(encoding="utf-8"))
    assert {"GradedSupConLoss", "GradedDataset.load", "mine"} <= page.anchors
    assert "mr_st/leaderboard.html" in page.links
    assert "mr_st/tasks.html" in page.links
    hnsw = (out / "mr_st" / "search" / "hnsw.html").read_text(encoding="utf-8")
    assert '<a href="recall.html#measure_recall"><code>mr_st.search.recall.measure_recall()</code></a>' in hnsw
    for path in sorted(out.rglob("*.html")):
        role = r"<code>~\w|:(?:attr|class|data|exc|func|meth|mod):(?:`|<code>).*"
        unread = re.findall(role, path.read_text("utf-8"))
        assert not unread, path


def test_broken_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="#up">4</a>'
        '<a href="https://example.org">5</a><script src="//cdn.example.org/x.js"></script><img src="data:,x">'
    )
    (tmp_path / "b.html").write_text(
        '<p id="there"></p><style>p { background: url(https://example.org/x.png) }</style>'
    )
    assert broken_links(tmp_path) == [
        "a.html: b.html#gone", "a.html: c.html", "a.html: #up", "a.html loads //cdn.example.org/x.js",
        "b.html loads https://example.org/x.png",
    ]  # fmt: skip


def test_a_folder_of_something_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SystemExit, match="something else"):
        runpy.run_path(str(SCRIPT))["build"](tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@cache
def public_modules() -> list[ModuleType]:
    return runpy.run_path(str(SCRIPT))["public_modules"]()


def public_names(modules: list[ModuleType]) -> Iterator[tuple[str, Any]]:
    """Our own classes and functions that ``__all__`` names, each once, by the place where it is defined."""
    seen = set()
    for module in modules:
        for name in module.__all__:
            found = vars(module)[name]
            home = str(getattr(found, "__module__", ""))
            where = f"{home}.{getattr(found, '__qualname__', name)}"
            if (inspect.isclass(found) or inspect.isroutine(found)) and home.startswith("mr_st") and where not in seen:
                seen.add(where)
                yield where, found


def own_members(of: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class defines itself."""
    for name, member in vars(of).items():
        is_described = isinstance(member, (classmethod, staticmethod, property)) or inspect.isfunction(member)
        if is_described and not name.startswith("_"):
            yield name, getattr(of, name) if not isinstance(member, property) else member


def docstring(found: Any) -> str:
    text = inspect.getdoc(found) or ""
    is_generated = inspect.isclass(found) and text.startswith(f"{found.__name__}(")
    is_inherited = inspect.isclass(found) and "__doc__" not in vars(found)
    return "" if is_generated or is_inherited else text


def test_every_public_name_has_a_docstring() -> None:
    lacking = [module.__name__ for module in public_modules() if not module.__doc__]
    n = 0
    for where, found in public_names(public_modules()):
        n += 1
        if not docstring(found):
            lacking.append(where)
        if inspect.isclass(found):
            lacking += [f"{where}.{name}" for name, member in own_members(found) if not docstring(member)]
    assert n > 900
    assert lacking == []


def undescribed(found: Any) -> list[str]:
    """The parameters of which neither the docstring nor, for a class, one that it derives from says anything."""
    is_raised = inspect.isclass(found) and issubclass(found, BaseException)
    if is_raised or getattr(found, "_is_protocol", False) or "Made with :meth:" in docstring(found):
        return []  # a caller makes none of these
    text = "".join(docstring(one) for one in (inspect.getmro(found) if inspect.isclass(found) else [found]))
    if inspect.isclass(found):
        text += inspect.getdoc(found.__init__) or ""
    named = {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    }
    parameters = [one.name for one in inspect.signature(found).parameters.values() if one.kind in named]
    return [name for name in parameters if not re.search(rf"\b{re.escape(name)}\b", text)]


def test_every_argument_of_what_a_package_offers_is_described() -> None:
    """Of the functions and classes that the ``__init__`` files and the files beside the first of them offer."""
    offered = [one for one in public_modules() if hasattr(one, "__path__") or one.__name__.count(".") == 1]
    names = list(public_names(offered))
    assert len(names) > 200
    lacking = [f"{where}: {name}" for where, found in names for name in undescribed(found)]
    assert lacking == []


def test_what_is_not_described_is_seen() -> None:
    def one_of(first: int, second: int) -> int:
        """Take the ``first``, or the seconds."""
        return first or second

    class Bare:
        def method(self) -> None: ...

    assert undescribed(one_of) == ["second"]
    assert not docstring(Bare)
    assert [name for name, _ in own_members(Bare)] == ["method"]


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    n, skipped, failed = 0, set(), []
    for module in public_modules():
        for test in doctest.DocTestFinder().find(module):
            if any(example.options.get(doctest.SKIP) for example in test.examples):
                skipped.add(module.__name__)
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                result = doctest.DocTestRunner().run(test)
            n += result.attempted
            if result.failed:
                failed.append(said.getvalue())
    assert not failed, "\n".join(failed)
    assert n > 300
    assert skipped <= CANNOT_RUN, "an example that cannot run is listed in CANNOT_RUN with why"
