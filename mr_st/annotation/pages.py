"""What the static pages share: one file each, style and script inside, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.files import write_text

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["rendered_markdown", "write_page"]

_TEMPLATES = "templates"


def write_page(path: str | Path, name: str, data: Any, **context: Any) -> Path:
    """Write one HTML file that needs no other: the template ``name.html.j2`` with ``name.js`` and the common style.

    The page's policy lets no other script run than ``name.js``, whatever the texts hold, and loads nothing.

    Args:
        path: The file.
        name: Of the template and the script.
        data: JSON-ready, for the script; texts in it cannot end their element.
        context: What the template takes; escaped unless it is Markup.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    import mr_st

    environment = Environment(
        loader=PackageLoader("mr_st.annotation", _TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    script = _asset(f"{name}.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(f"{name}.html.j2").render(
        **context,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(_asset("pages.css") + _asset(f"{name}.css")),
        script=Markup(script),
        data=_script_json(data),
        version=mr_st.__version__,
    )
    write_text(path, page)
    return Path(path)


def rendered_markdown(text: str) -> Markup:
    """Markdown as HTML: HTML in it shows as text, and a picture as its description."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        for child in token.children or []:
            if child.type == "image":
                child.type, child.tag, child.content = "text", "", child.content or "picture"
            elif child.type == "link_open":
                child.attrs["rel"] = "noopener noreferrer"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _asset(name: str) -> str:
    return resources.files("mr_st.annotation").joinpath(_TEMPLATES, name).read_text(encoding="utf-8")


def _script_json(data: Any) -> Markup:
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
