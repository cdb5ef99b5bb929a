"""Model cards beside the leaderboard: found in their folders, rendered to plain HTML pages with their pictures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mr_st.text.html import markdown_html

__all__ = ["Card", "find_cards", "render_card"]

_METADATA = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_LOADS = re.compile(r"""SentenceTransformer\(\s*["']([^"'\n]{1,200})["']""")
_PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".webp"}


@dataclass(frozen=True)
class Card:
    """A card in its folder.

    Args:
        folder: Holds README.md.
        names: What the card calls its model: the id it loads, the name in its metadata, its folder's name.
        metadata: Its metadata block; empty where it has none that can be read.
        body: Its Markdown without the metadata.
    """

    folder: Path
    names: frozenset[str]
    metadata: dict[str, Any]
    body: str

    def is_of(self, model: str) -> bool:
        """Whether this card describes a model of that name, with or without its organisation."""
        return model in self.names or model.rsplit("/", 1)[-1] in self.names


def find_cards(folder: str | Path) -> list[Card]:
    """The cards in a folder of model folders, or in one model's own folder."""
    folder = Path(folder)
    cards = []
    for path in sorted([*folder.glob("README.md"), *folder.glob("*/README.md")]):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        metadata, body = _split(text)
        index = metadata.get("model-index")
        entry = index[0] if isinstance(index, list) and index and isinstance(index[0], dict) else {}
        names = {path.parent.name, str(entry.get("name") or ""), *_LOADS.findall(body)[:1]} - {""}
        cards.append(Card(path.parent, frozenset(names), metadata, body))
    return cards


def render_card(card: Card, out_dir: Path) -> tuple[Markup, list[str]]:
    """The card's body as HTML, raw HTML in it shown as text, its pictures copied to ``out_dir``.

    Returns:
        The HTML and the names of the copied pictures. Pictures from elsewhere are replaced by their description.
    """
    copied: list[str] = []

    def picture(address: str) -> str | None:
        source = _picture(card.folder, address)
        if source is None:
            return None
        name = f"{len(copied)}-{source.name}"
        out_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, out_dir / name)
        copied.append(name)
        return f"{out_dir.name}/{name}"

    return markdown_html(card.body, picture), copied


def _split(text: str) -> tuple[dict[str, Any], str]:
    match = _METADATA.match(text)
    if not match:
        return {}, text
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError:
        metadata = None
    return (metadata if isinstance(metadata, dict) else {}), text[match.end() :]


def _picture(folder: Path, source: str) -> Path | None:
    """The file of a picture inside the card's folder; None for anything else."""
    if not re.fullmatch(r"[\w./-]+", source) or Path(source).suffix.lower() not in _PICTURES:
        return None
    root, path = folder.resolve(), (folder / source).resolve()
    return path if root in path.parents and path.is_file() else None


def first_known(values: Sequence[Any]) -> str | None:
    """The first of some values that is text, or a list's first text."""
    for value in values:
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str) and value:
            return value
    return None
