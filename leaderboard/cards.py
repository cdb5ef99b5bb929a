"""Model cards beside the leaderboard: found in their folders, rendered to plain HTML pages with their pictures."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mr_st.leaderboard.plain import plain_text
from mr_st.text.html import markdown_html

__all__ = ["Card", "Recipe", "find_cards", "read_recipe", "render_card"]

_METADATA = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_LOADS = re.compile(r"""SentenceTransformer\(\s*["']([^"'\n]{1,200})["']""")
_LINK = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)
_LONGEST_CARD, _LONGEST_METADATA, _LONGEST_RECIPE = 400_000, 100_000, 64_000  # characters
_LARGEST_PICTURE = 10_000_000  # bytes
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


@dataclass(frozen=True)
class Recipe:
    """A recipe.yaml as text; ``is_cut`` where it is longer than a page should be."""

    text: str
    is_cut: bool


def find_cards(folder: str | Path) -> list[Card]:
    """The cards in a folder of model folders, or in one model's own folder.

    Where a card does not say its training data, the source of the recipe beside it stands in its metadata.
    """
    folder = Path(folder)
    cards = []
    for path in sorted([*folder.glob("README.md"), *folder.glob("*/README.md")]):
        text = _text_of(path, _LONGEST_CARD)
        if text is None:
            continue
        metadata, body = _split(text)
        if "datasets" not in metadata and (source := _source(path.with_name("recipe.yaml"))):
            metadata = {**metadata, "datasets": [source]}
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

    return markdown_html(card.body, picture, link=lambda to: bool(_LINK.fullmatch(to)), level=3), copied


def read_recipe(card: Card) -> Recipe | None:
    """The recipe beside a card, None where there is none."""
    text = _text_of(card.folder / "recipe.yaml", _LONGEST_RECIPE + 1)
    return None if text is None else Recipe(text[:_LONGEST_RECIPE], len(text) > _LONGEST_RECIPE)


def _text_of(path: Path, longest: int) -> str | None:
    """The start of a text file inside its folder, None where it is none."""
    try:
        if not path.is_file() or path.resolve().parent != path.parent.resolve():
            return None
        with path.open(encoding="utf-8", errors="replace") as file:
            return plain_text(file.read(longest))
    except OSError:
        return None


def _source(path: Path) -> str | None:
    """What a recipe trained on: a source's name, a Hub id, or the last part of a path."""
    text = _text_of(path, _LONGEST_RECIPE)
    recipe = _yaml(text) if text is not None else None
    data = recipe.get("data") if isinstance(recipe, dict) else None
    source = data.get("source") if isinstance(data, dict) else None
    if not isinstance(source, str) or not source.strip():
        return None
    return source if source.count("/") == 1 and source[0] not in "./~" else source.rstrip("/").rpartition("/")[2]


def _yaml(text: str) -> Any:
    """What YAML holds; None where it cannot be read."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError):  # a date of no calendar, and so on
        return None


def _split(text: str) -> tuple[dict[str, Any], str]:
    match = _METADATA.match(text)
    if not match:
        return {}, text
    metadata = _yaml(match[1]) if len(match[1]) <= _LONGEST_METADATA else None
    return (metadata if isinstance(metadata, dict) else {}), text[match.end() :]


def _picture(folder: Path, source: str) -> Path | None:
    """The file of a picture inside the card's folder; None for anything else."""
    if not re.fullmatch(r"[\w./-]+", source) or Path(source).suffix.lower() not in _PICTURES:
        return None
    root, path = folder.resolve(), (folder / source).resolve()
    is_picture = root in path.parents and path.is_file() and path.stat().st_size <= _LARGEST_PICTURE
    return path if is_picture else None
