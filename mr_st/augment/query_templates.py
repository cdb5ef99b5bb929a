"""How shoppers of each language put a thing, its brand and its colour into a query. Ours; data only."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["FALLBACK", "LANGUAGES", "Language"]


@dataclass(frozen=True)
class Language:
    """One language's templates, and what is needed to find the noun of a title.

    Args:
        templates: With slots ``{noun}``, ``{brand}`` and ``{color}``; one is used where the item has what it names.
        links: Words that end the name of the thing in a title ("with", "for").
        inner: Words that may stand inside a noun phrase, never at its ends ("de").
        is_head_first: The thing comes first and what it is like after ("taza de café").
        has_spaces: Words are set apart by spaces.
    """

    templates: tuple[str, ...]
    links: frozenset[str] = field(default_factory=frozenset)
    inner: frozenset[str] = field(default_factory=frozenset)
    is_head_first: bool = False
    has_spaces: bool = True


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LANGUAGES: dict[str, Language] = {
    "en": Language(
        (
            "{noun}",
            "{color} {noun}",
            "{brand} {noun}",
            "{noun} {brand}",
            "{noun} in {color}",
            "{brand} {color} {noun}",
            "{color} {noun} {brand}",
            "{noun} by {brand}",
        ),
        _words("with for by from in of without w/ compatible fits goes featuring includes better"),
        _words("and & the a an"),
    ),
    "es": Language(
        (
            "{noun}",
            "{noun} {color}",
            "{noun} {brand}",
            "{noun} color {color}",
            "{brand} {noun}",
            "{noun} {color} {brand}",
            "{noun} de {brand}",
            "{noun} de color {color}",
        ),
        _words("con para por desde sin compatible incluye en"),
        _words("de del la el los las y e a un una"),
        is_head_first=True,
    ),
    "fr": Language(
        (
            "{noun}",
            "{noun} {color}",
            "{noun} {brand}",
            "{noun} couleur {color}",
            "{brand} {noun}",
            "{noun} {color} {brand}",
            "{noun} de {brand}",
            "{noun} marque {brand}",
        ),
        _words("avec pour par sans compatible inclus en dans chez"),
        _words("de du des la le les et à au aux un une d l"),
        is_head_first=True,
    ),
    "de": Language(
        (
            "{noun}",
            "{noun} {color}",
            "{brand} {noun}",
            "{noun} {brand}",
            "{noun} in {color}",
            "{brand} {noun} {color}",
            "{noun} von {brand}",
            "{noun} Farbe {color}",
        ),
        _words("mit für von aus ohne in im kompatibel inklusive inkl passend zum zur"),
        _words("und & der die das ein eine"),
        is_head_first=True,  # sellers put the (compound) noun first, material and finish after
    ),
    "ja": Language(
        (
            "{noun}",
            "{noun} {color}",
            "{brand} {noun}",
            "{noun} {brand}",
            "{color}の{noun}",
            "{brand} {noun} {color}",
            "{brand}の{noun}",
            "{noun} {color} {brand}",
        ),
        has_spaces=False,
    ),
}

FALLBACK = Language(("{brand} {noun}", "{noun}", "{noun} {brand}"))
"""For any other language: attributes side by side, no words of its own."""
