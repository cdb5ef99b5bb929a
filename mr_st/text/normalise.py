"""Texts to tokens: Unicode casefold, compatibility forms unified, punctuation as separators."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalise", "tokens", "well_formed"]

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_APOSTROPHES = str.maketrans("", "", "'’ʼ")


def normalise(text: str) -> str:
    """Casefold a text and bring it to Unicode's NFKC form (full-width letters, ligatures and accents unified).

    Example:
        >>> normalise("Größe ＸＬ")
        'grösse xl'
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def well_formed(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which is no character: tokenizers refuse such halves.

    Example:
        >>> well_formed("a mug \\ud800")
        'a mug \ufffd'
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def tokens(text: str) -> list[str]:
    """Split a text into normalised tokens: runs of letters, digits and the marks that belong to them.

    Apostrophes are dropped (``men's`` is ``mens``); all other punctuation separates. Scripts without spaces
    (Japanese, Chinese) are not segmented: a run of such letters is one token.

    Source: ours; the paper (arXiv 2602.17654) does not define its tokens.

    Example:
        >>> tokens("Men's T-Shirt, 100% Cotton")
        ['mens', 't', 'shirt', '100', 'cotton']
    """
    text = normalise(text)
    if text.isascii():
        return _ASCII_WORD.findall(text.replace("'", ""))
    text = text.translate(_APOSTROPHES)
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text).split()
