"""Texts cut for the spelling channel: grapheme clusters, runs of one script, and what is never touched."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = ["Piece", "case_key", "clusters", "is_movable", "is_plain", "pieces"]

UNITS = frozenset(
    "mm cm dm km mg kg oz lb lbs ml cl dl fl gal qt pt inch inches ft yd sqft gb tb mb kb mah wh kwh watt watts volt "
    "volts hz khz mhz ghz rpm psi dpi ppm spf uv xs xxs xl xxl xxxl pcs pc ct pk zoll pouces pouce pulgadas pulgada "
    "stk stück piezas unidades pièces セット センチ ミリ メートル キロ グラム リットル インチ ワット".split()
)
"""Units, sizes and counts: one slip makes another measure of them."""

_APOSTROPHES = "'’ʼ"
_CONNECTORS = "-‐‑./_&+"  # what holds a model number together
_JOINING = frozenset("\u200c\u200d\uff9e\uff9f\u0e33\u0eb3")  # joiners, half-width voicing, Thai and Lao am


@dataclass(frozen=True)
class Piece:
    """A run of one script.

    Args:
        clusters: Its grapheme clusters.
        script: ``word`` (letters of any script with an alphabet or syllables), ``hiragana``, ``katakana``, ``han``,
            or ``other`` (punctuation, symbols).
        is_protected: Nothing in it may be changed.
    """

    clusters: tuple[str, ...]
    script: str
    is_protected: bool

    @property
    def text(self) -> str:
        """The run as it stands in the text."""
        return "".join(self.clusters)


def clusters(text: str) -> list[str]:
    """Split a text into grapheme clusters: letters with their marks, Hangul blocks, conjuncts, emoji sequences.

    Source: the main rules of Unicode Standard Annex 29; where in doubt the cluster is the longer one.

    Example:
        >>> [len(cluster) for cluster in clusters("e\\u0301a👍🏽")]
        [2, 1, 2]
    """
    if text.isascii():
        return list(text)
    found: list[str] = []
    for character in text:
        if found and _belongs(found[-1], character):
            found[-1] += character
        else:
            found.append(character)
    return found


def _belongs(before: str, character: str) -> bool:
    """Whether ``character`` goes on with the cluster ``before``."""
    last = before[-1]
    if character.isascii() or last.isspace() or unicodedata.category(last) == "Cc":
        return False
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf" or character in _JOINING or "\U0001f3fb" <= character <= "\U0001f3ff":
        return True
    if last == "\u200d" or (unicodedata.combining(last) == 9 and category == "Lo"):
        return True
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return len(before) == 1 and "\U0001f1e6" <= last <= "\U0001f1ff"
    if "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb":  # Hangul vowels and finals
        return _is_hangul(last)
    leads = "\u1100" <= last <= "\u115f" or "\ua960" <= last <= "\ua97c"
    return leads and _is_hangul(character)


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\ua960" <= character <= "\ua97c" or "\uac00" <= character <= "\ud7fb"


def pieces(chunk: str, protect: bool = True) -> list[Piece]:
    """Cut a text without blanks into runs of one script; joined, they give the text back.

    Args:
        chunk: NFC text without blanks.
        protect: Leave alone what holds a digit (with all that hyphens and points join to it), units and sizes, and
            single letters of an alphabet.
    """
    runs: list[tuple[str, list[str]]] = []
    found = clusters(chunk)
    for at, cluster in enumerate(found):
        script = _script(cluster)
        before = runs[-1][0] if runs else ""
        if cluster[0] == "ー" and before in ("hiragana", "katakana"):
            script = before
        elif cluster in _APOSTROPHES and before == "word" and at + 1 < len(found):
            script = "word" if _script(found[at + 1]) == "word" else "other"
        elif cluster in _CONNECTORS:
            script = "connector"
        if script == before:
            runs[-1][1].append(cluster)
        else:
            runs.append((script, [cluster]))
    has_digit = _near_digits(runs)
    return [
        Piece(
            tuple(run),
            "other" if script == "connector" else script,
            script in ("other", "connector") or (protect and (digit or _is_measure(script, run))),
        )
        for (script, run), digit in zip(runs, has_digit, strict=True)
    ]


def _near_digits(runs: list[tuple[str, list[str]]]) -> list[bool]:
    """Whether a run, or one that connectors join to it, has a digit."""
    flags = [script == "word" and any(c[0].isnumeric() for c in run) for script, run in runs]
    start = 0
    for end in range(len(runs) + 1):
        if end == len(runs) or runs[end][0] not in ("word", "connector"):
            flags[start:end] = [any(flags[start:end])] * (end - start)
            start = end + 1
    return flags


def _is_measure(script: str, run: list[str]) -> bool:
    return (script == "word" and len(run) == 1) or "".join(run).lower() in UNITS


def _script(cluster: str) -> str:
    first = cluster[0]
    if first.isascii():
        return "word" if first.isalnum() else "other"
    if "\u3041" <= first <= "\u3096" or first in "ゝゞ":
        return "hiragana"
    if "\u30a1" <= first <= "\u30fa" or "\u30fc" <= first <= "\u30fe" or "\uff66" <= first <= "\uff9d":
        return "katakana"
    if "\u3400" <= first <= "\u9fff" or first in "々〆〇" or "\uf900" <= first <= "\ufaff":
        return "han"
    if "\U00020000" <= first <= "\U0003ffff":
        return "han"
    return "word" if unicodedata.category(first)[0] in "LN" else "other"


def case_key(cluster: str) -> str:
    """The lower-case form of a cluster, where it leads back to the cluster; else the cluster."""
    lower = cluster.lower()
    return lower if len(lower) == len(cluster) and lower.upper() == cluster else cluster


def is_movable(cluster: str) -> bool:
    """Whether a cluster may be dropped, doubled or swapped without running together with its neighbours."""
    if cluster.isascii():
        return True
    is_part = cluster[0] in _JOINING or "\u1100" <= cluster[0] <= "\u11ff" or "\ua960" <= cluster[0] <= "\ua97c"
    is_part = is_part or "\ud7b0" <= cluster[0] <= "\ud7fb"
    return not is_part and cluster[-1] != "\u200d" and unicodedata.combining(cluster[-1]) != 9


def is_plain(cluster: str) -> bool:
    """Whether a cluster can stand anywhere by itself: no blank, no control, no mark without its letter."""
    return unicodedata.category(cluster[0])[0] not in "MCZ" and is_movable(cluster)
