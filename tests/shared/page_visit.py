"""A page in a browser, with what it asked for and what it complained about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

FITS = "document.documentElement.scrollWidth <= innerWidth"


class PageVisit:
    """A context of its own (storage and all) with one page.

    Args:
        browser: Of Playwright.
        width, height: Of the viewport, in pixels.
        scheme: light or dark.
        allowed: How the address of each request must begin, beside ``data:`` and ``blob:``.
        options: Of Playwright's context.
    """

    def __init__(
        self,
        browser: Any,
        width: int = 1400,
        scheme: str = "light",
        height: int = 900,
        allowed: Sequence[str] = ("file://",),
        **options: Any,
    ):
        viewport = {"width": width, "height": height}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        self.allowed = (*allowed, "data:", "blob:")
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.context.set_default_timeout(60_000)
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.on("console", lambda message: self.complaints.append(message.text))
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.context.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page = self.open()

    def open(self, path: Path | None = None) -> Any:
        """Another page of the same context."""
        page = self.context.new_page()
        if path is not None:
            page.goto(path.as_uri())
        return page

    def check(self) -> None:
        """Nothing ran that should not, nothing complained, and no request went elsewhere."""
        assert self.complaints == []
        assert self.dialogs == []
        assert [url for url in self.requests if not url.startswith(self.allowed)] == []

    def close(self) -> None:
        """Close it and check it."""
        self.context.close()
        self.check()
