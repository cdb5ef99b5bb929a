"""Text from elsewhere made safe inside HTML: Markdown that stays Markdown, and JSON inside a script element."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["markdown_html", "script_json"]


def markdown_html(
    text: str,
    picture: Callable[[str], str | None] | None = None,
    *,
    link: Callable[[str], bool] | None = None,
    level: int = 1,
) -> Markup:
    """Markdown as HTML: HTML in it shows as text.

    Args:
        text: Markdown, tables too.
        picture: Gives the address to show for a picture's source; None for a picture that shows as its description,
            as all do without it.
        link: Whether a link may lead to an address; without it all do that Markdown allows (no ``javascript:``). A
            link that may not shows as its text.
        level: Of the highest heading; the others follow, down to 6.

    Example:
        >>> print(markdown_html("*a* <b>"), end="")
        <p><em>a</em> &lt;b&gt;</p>
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    shift = level - min((int(token.tag[1]) for token in tokens if token.type == "heading_open"), default=level)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + max(shift, 0), 6)}"
        is_dead = False  # links do not nest
        for child in token.children or []:
            if child.type == "image":
                address = picture(str(child.attrs.get("src", ""))) if picture else None
                if address is None:
                    child.type, child.tag, child.content = "text", "", child.content or "picture"
                else:
                    child.attrs["src"] = address
            elif child.type == "link_open":
                is_dead = link is not None and not link(str(child.attrs.get("href", "")))
                if is_dead:
                    child.type, child.tag, child.content = "text", "", ""
                else:
                    child.attrs["rel"] = "noopener noreferrer"
            elif child.type == "link_close" and is_dead:
                child.type, child.tag, child.content = "text", "", ""
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def script_json(data: Any) -> Markup:
    """JSON that cannot end its script element or start another, whatever its texts hold.

    Example:
        >>> print(script_json(["</script>"]))
        ["\\u003c/script\\u003e"]
    """
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
