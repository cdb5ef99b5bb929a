"""Texts that are nearly the same: the same words in another order, or one letter apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mr_st.text import edit_distance, tokens

__all__ = ["near_texts"]

_SHORTEST = 6  # a letter more or less makes another word of a shorter text


def near_texts(texts: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """For each text the first of the others that is nearly the same, but not the same.

    Case, punctuation and the order of the words do not count. Beyond that, one letter may be missing, added, changed,
    or changed places with its neighbour, in texts of six characters or more; digits must agree (``phone 12`` and
    ``phone 13`` are two things).

    Args:
        texts: n texts; what is kept in memory grows with these.
        others: m texts.

    Returns:
        Row of ``texts`` to row of ``others``.

    Source: ours; candidates as in symmetric deletion (Garbe, 2012).

    Example:
        >>> near_texts(["red mug", "usb hub"], ["USB hub", "mug, red!", "rde mug"])
        {0: 1}
    """
    rows_of: dict[str, list[int]] = {}
    plain = [" ".join(tokens(text)) for text in texts]
    for row, text in enumerate(plain):
        for key in _keys(text):
            rows_of.setdefault(key, []).append(row)
    found: dict[int, int] = {}
    for other_row, raw in enumerate(others):
        other = " ".join(tokens(raw))
        for row in dict.fromkeys(row for key in _keys(other) for row in rows_of.get(key, ())):
            if row not in found and plain[row] != other and _are_near(plain[row], other):
                found[row] = other_row
    return dict(sorted(found.items()))


def _keys(text: str) -> Iterator[str]:
    words = text.split()
    yield "\0".join(sorted(words))
    if len(text) >= _SHORTEST - 1:
        yield text
        for at, letter in enumerate(text):
            if not letter.isdigit():
                yield text[:at] + text[at + 1 :]


def _are_near(a: str, b: str) -> bool:
    if sorted(a.split()) == sorted(b.split()):
        return True
    digits = ["".join(c for c in text if c.isdigit()) for text in (a, b)]
    return max(len(a), len(b)) >= _SHORTEST and digits[0] == digits[1] and edit_distance(a, b) <= 1
