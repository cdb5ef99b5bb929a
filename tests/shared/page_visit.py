"""A page in a browser, with what it asked for and what it complained about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FITS = "document.documentElement.scrollWidth <= innerWidth"


class PageVisit:
    """A context of its own (storage and all) with one page.

    Args:
        browser: Of Playwright.
        width: Of the viewport, in pixels.
        scheme: light or dark.
    """

    def __init__(self, browser: Any, width: int = 1400, scheme: str = "light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.page = self.open()

    def open(self, path: Path | None = None) -> Any:
        """Another page of the same context."""
        page = self.context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        if path is not None:
            page.goto(path.as_uri())
        return page

    def close(self) -> None:
        """Close it, and check that nothing ran, complained or left the machine."""
        self.context.close()
        assert self.complaints == []
        assert self.dialogs == []
        assert all(url.startswith(("file://", "data:", "blob:")) for url in self.requests)
