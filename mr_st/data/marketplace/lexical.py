"""A weak search engine: how many rare words of the query stand in the title. It decides what gets judged, not how."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["TokenOverlap"]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


def _words(text: str) -> list[str]:
    """Distinct words without a plural s; Japanese, which has no spaces, as pairs of neighbouring characters."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        is_japanese = len(word) > 2 and "\u3040" <= word[0] <= "\u9fff"
        found += [word[at : at + 2] for at in range(len(word) - 1)] if is_japanese else [word]
    return list(dict.fromkeys(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found))


class TokenOverlap:
    """Scores every item for a query by the inverse document frequencies of the words that they share.

    Example:
        >>> TokenOverlap(["red mug", "blue mug", "green hat"]).scores("a blue mugs").round(2).tolist()
        [0.41, 1.5, 0.0]
    """

    def __init__(self, texts: Sequence[str]):
        rows: dict[str, list[int]] = {}
        lengths = np.zeros(len(texts))
        for row, text in enumerate(texts):
            words = _words(text)
            lengths[row] = len(words)
            for word in words:
                rows.setdefault(word, []).append(row)
        self._rows = {word: np.asarray(found, dtype=np.int64) for word, found in rows.items()}
        self._n_items = len(texts)

    def scores(self, query: str) -> np.ndarray:
        """float64 (n_items,): the sum of log(n_items / n_items with the word) over shared words."""
        total = np.zeros(self._n_items)
        for word in _words(query):
            rows = self._rows.get(word)
            if rows is not None:
                total[rows] += np.log(self._n_items / len(rows))
        return total.round(6)  # ties must be ties on every machine
