"""What the static pages share: one file each, style and script inside, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from mr_st.files import write_text
from mr_st.text.html import script_json

__all__ = ["write_page"]

_HERE, _TEMPLATES = "mr_st.annotation", "templates"


def write_page(path: str | Path, name: str, data: Any, *, package: str = _HERE, **context: Any) -> Path:
    """Write one HTML file that needs no other: the template ``name.html.j2`` with ``name.js`` and the common style.

    The page's policy lets no other script run than ``name.js``, whatever the texts hold, and loads nothing.

    Args:
        path: The file.
        name: Of the template and the script.
        data: JSON-ready, for the script; texts in it cannot end their element.
        package: Whose folder ``templates`` holds template, script and the page's own style; the common one is here.
        context: What the template takes; escaped unless it is Markup.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    import mr_st

    environment = Environment(loader=PackageLoader(package, _TEMPLATES), autoescape=True, undefined=StrictUndefined)
    script = _asset(package, f"{name}.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(f"{name}.html.j2").render(
        **context,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(_asset(_HERE, "pages.css") + _asset(package, f"{name}.css")),
        script=Markup(script),
        data=script_json(data),
        version=mr_st.__version__,
    )
    write_text(path, page)
    return Path(path)


def _asset(package: str, name: str) -> str:
    return resources.files(package).joinpath(_TEMPLATES, name).read_text(encoding="utf-8")
