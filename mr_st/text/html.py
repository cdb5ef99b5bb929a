"""Text from elsewhere made safe inside HTML: Markdown that stays Markdown, and JSON inside a script element."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["markdown_html", "script_json"]


def markdown_html(text: str, picture: Callable[[str], str | None] | None = None) -> Markup:
    """Markdown as HTML: HTML in it shows as text.

    Args:
        text: Markdown, tables too.
        picture: Gives the address to show for a picture's source; None for a picture that shows as its description,
            as all do without it.

    Example:
        >>> print(markdown_html("*a* <b>"), end="")
        <p><em>a</em> &lt;b&gt;</p>
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        for child in token.children or []:
            if child.type == "image":
                address = picture(str(child.attrs.get("src", ""))) if picture else None
                if address is None:
                    child.type, child.tag, child.content = "text", "", child.content or "picture"
                else:
                    child.attrs["src"] = address
            elif child.type == "link_open":
                child.attrs["rel"] = "noopener noreferrer"
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
