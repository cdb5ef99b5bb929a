"""What writes queries from items: a small protocol, what it is shown of an item, and what passes as a query."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from mr_st.data.dataset import GradedDataset
from mr_st.text.normalise import tokens

__all__ = ["MAX_QUERY_CHARS", "MAX_QUERY_WORDS", "ItemFeatures", "QueryWriter", "item_features", "parse_query"]

MAX_QUERY_CHARS = 80
MAX_QUERY_WORDS = 12

_JOINERS = "\u200c\u200d"  # zero-width, and part of how Persian, Hindi and others are spelt
_LIST_MARK = re.compile(r"^(?:[-*•]+\s+|\(?\d{1,2}[.):]\s+)")
_LABEL = re.compile(r"^(?:search\s+)?quer(?:y|ies)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'`“”„‟‘’«»「」『』"
_MARKUP = re.compile(r"[<>{}]|\\u00|https?:|www\.", re.IGNORECASE)


@dataclass(frozen=True)
class ItemFeatures:
    """What a writer is shown of an item.

    Args:
        item_id: Its id.
        title: Its name.
        category_path: Its place in the taxonomy, broadest level first; may be empty.
        brand: Its brand, or None.
        color: Its colour in the seller's words, or None.
        locale: BCP-47; the language to write in.
    """

    item_id: str
    title: str
    category_path: tuple[str, ...] = ()
    brand: str | None = None
    color: str | None = None
    locale: str = "und"

    @property
    def language(self) -> str:
        """The locale's first part, lower case: ``es`` of ``es-MX``."""
        return self.locale.replace("_", "-").partition("-")[0].lower()


@runtime_checkable
class QueryWriter(Protocol):
    """Anything that writes queries for items.

    ``identity`` is short text without spaces that changes whenever a query may change. A writer may also offer
    ``dropped``, a mapping from a reason to how many texts its last call left out.
    """

    @property
    def identity(self) -> str:
        """The writer's content hash, with its kind before it."""
        ...

    def write(self, items: Sequence[ItemFeatures], n: int, seed: int) -> list[list[str]]:
        """Up to ``n`` queries for each item, in the item's language, the same for the same seed."""
        ...


def item_features(dataset: GradedDataset, rows: Sequence[int] | np.ndarray) -> list[ItemFeatures]:
    """The features of the items in these rows (n,), in that order."""
    columns = ["item_id", "title", "category_path", "brand", "color", "locale"]
    table = dataset.items.select_columns(columns)[np.asarray(rows, dtype=np.int64)]
    values = zip(*(table[name] for name in columns), strict=True)
    return [ItemFeatures(i, title, tuple(path), brand, color, loc) for i, title, path, brand, color, loc in values]


def parse_query(
    raw: str, title: str = "", max_chars: int = MAX_QUERY_CHARS, max_words: int = MAX_QUERY_WORDS
) -> tuple[str, str]:
    """Read one query from what a writer gave, strictly: nothing is cut to fit.

    The first line counts. Control characters, a list mark, a ``Query:`` label and quotes around it go. Refused is
    what then is empty, too long, markup or an address, or the item's whole title.

    Args:
        raw: The text.
        title: The item's title.
        max_chars: The most characters of a query.
        max_words: The most words.

    Returns:
        The query and ``""``; or ``""`` and why it was refused.

    Example:
        >>> parse_query(' 1. "Red\\tmug"\\nSure, here is another')
        ('Red mug', '')
        >>> parse_query("Red mug!", title="Red Mug")
        ('', 'the whole title')
    """
    first = next((line for line in re.split(r"[\r\n\v\f\x85\u2028\u2029]", raw) if line.strip()), "")
    kept = (" " if c == "\t" else c for c in first if c == "\t" or c in _JOINERS or unicodedata.category(c)[0] != "C")
    text = " ".join(unicodedata.normalize("NFC", "".join(kept)).split())
    text = _LABEL.sub("", _LIST_MARK.sub("", text))
    if text[:1] in _QUOTES and text[-1:] in _QUOTES:  # a pair: 15" alone is a size
        text = text.strip(_QUOTES)
    text = text.strip()
    words = tokens(text)
    if not words:
        return "", "empty"
    if len(text) > max_chars or len(text.split()) > max_words:
        return "", "too long"
    if _MARKUP.search(text):
        return "", "markup"
    if words == tokens(title):
        return "", "the whole title"
    return text, ""
