"""What kind of thing an item is, in a few words of its title or its leaf category."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mr_st.augment.query_templates import FALLBACK, LANGUAGES, Language
from mr_st.augment.query_writer import ItemFeatures
from mr_st.text.normalise import normalise, tokens

__all__ = ["noun_phrases", "short_attribute"]

MAX_NOUN_WORDS = 3
_MAX_UNSPACED = 12  # characters of a noun in a script without spaces

_SEPARATORS = re.compile(r"\s[-–—/:]+\s|[,;|()\[\]{}【】（）「」『』・，、：!！?？*]|:\s|\s{2,}")
_LEVEL_PARTS = re.compile(r"[,&/、・]|\s(?:and|y|et|und)\s")
# what Japanese sellers put before the name
_BLURB = re.compile("送料|無料|公式|限定|新品|ポイント|セール|あす楽|正規|即納|楽天|話題")
_UNITS = frozenset("v w l g oz ml cl cm mm kg lb lbs ft qt fl inch inches gallon pc pcs".split())
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")


def noun_phrases(item: ItemFeatures) -> list[str]:
    """Short names of the thing, the longest first, without brand, colour, sizes and model numbers; none twice.

    Where a word of the leaf category stands in the title, the phrase ends there (begins there, in languages that put
    the thing first). Else it is the end (the beginning) of the title's first part; without one, the leaf category.

    Example:
        >>> noun_phrases(ItemFeatures("a", "Acme Red Coffee Mug with Lid, 12 oz", ("Home", "Mugs"), "Acme", "red"))
        ['coffee mug', 'mug']
        >>> noun_phrases(ItemFeatures("b", "Taza de café roja 300 ml", ("Hogar", "Tazas"), None, "roja", "es-ES"))
        ['taza de café', 'taza']
    """
    language = LANGUAGES.get(item.language, FALLBACK)
    leaf = [part.strip() for part in _LEVEL_PARTS.split(item.category_path[-1])] if item.category_path else []
    leaf = [part for part in leaf if part]
    left_out = {*tokens(item.brand or ""), *tokens(item.color or "")}
    segments = [segment.strip() for segment in _SEPARATORS.split(item.title) if segment.strip()]
    if not language.has_spaces or _is_unspaced(item.title):
        return _unspaced(segments, leaf, left_out)
    found: list[str] = []
    for segment in segments:
        words = _cut(segment, language, left_out)
        at = _place_of(leaf, words, language.is_head_first)
        if at is not None:
            found = _spans(words, at, language)
            break
    if not found:
        words = next((words for s in segments if (words := _cut(s, language, left_out))), [])
        found = _spans(words, 0 if language.is_head_first else len(words) - 1, language) if words else []
    if not found:
        found = list(dict.fromkeys(name for part in leaf if (name := " ".join(_WORD.findall(normalise(part))))))
    return found


def short_attribute(value: str | None, max_words: int = 3) -> str | None:
    """A brand or colour as a shopper would type it: its first part, lower case; None where it is long or no word.

    Example:
        >>> short_attribute("Black/Silver"), short_attribute("  "), short_attribute("03 - x" * 9)
        ('black', None, None)
    """
    first = re.split(r"[,/|;()]|\s-\s", normalise(value or "").strip())[0].strip()
    fits = bool(_WORD.search(first)) and len(first.split()) <= max_words and len(first) <= 30
    return " ".join(first.split()) if fits else None


def _cut(segment: str, language: Language, left_out: set[str]) -> list[str]:
    """The segment's words up to the first linking one, without those to leave out and those with digits."""
    kept: list[str] = []
    for word in normalise(segment).split():
        bare = word.strip("\"'’.™®©+~-")
        if bare in language.links and kept:
            break
        if bare in language.links or not _WORD.fullmatch(bare) or {bare, *tokens(bare)} & (left_out | _UNITS):
            continue
        kept.append(bare)
    while kept and kept[0] in language.inner:
        kept.pop(0)
    while kept and kept[-1] in language.inner:
        kept.pop()
    return kept


def _place_of(leaf: Sequence[str], words: Sequence[str], is_head_first: bool) -> int | None:
    """Where in the words the last word of a leaf's part stands, in whatever number ("mugs", "mug")."""
    for part in leaf:
        named = _WORD.findall(normalise(part))
        for wanted in named[-1:] + named[:1]:
            for place in range(len(words) - 1, -1, -1):
                if _is_same_noun(wanted, words[place]):
                    is_cut_short = not is_head_first and place == len(words) - 2  # "power" of "power bank"
                    return place + 1 if is_cut_short else place
    return None


def _is_same_noun(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    shared = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    return shared >= 3 and shared >= max(len(one), len(other)) - 2


def _spans(words: Sequence[str], at: int, language: Language) -> list[str]:
    """Phrases that start (languages that put the thing first) or end at a place, longest first."""
    found: list[str] = []
    for length in range(MAX_NOUN_WORDS, 0, -1):
        span = words[at : at + length] if language.is_head_first else words[max(0, at + 1 - length) : at + 1]
        phrase = " ".join(span)
        if span[0] not in language.inner and span[-1] not in language.inner and phrase not in found:
            found.append(phrase)
    return found


def _is_unspaced(title: str) -> bool:
    return len(title) > 20 and " " not in title


def _unspaced(segments: Sequence[str], leaf: Sequence[str], left_out: set[str]) -> list[str]:
    """Leaf parts and the first piece of the title that is no brand, colour, number or blurb, in the title's script."""
    pieces = [piece for segment in segments for piece in segment.split() if not _BLURB.search(piece)]
    names = [*_names(leaf, left_out), *_names(pieces, left_out)[:1]]
    return list(dict.fromkeys(names)) or [normalise(part) for part in leaf if tokens(part)]


def _names(pieces: Sequence[str], left_out: set[str]) -> list[str]:
    names = (normalise(piece) for piece in pieces if not piece.isascii())
    fits = (name for name in names if 2 <= len(name) <= _MAX_UNSPACED and not re.search(r"\d", name))
    return [name for name in fits if tokens(name) and not set(tokens(name)) & left_out]
