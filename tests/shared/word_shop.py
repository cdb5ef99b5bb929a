"""A shop whose queries have frequencies, locales and kinds, and a small real system that searches it by words."""

from __future__ import annotations

from typing import Any

import numpy as np

from mr_st.data import GradedDataset
from mr_st.identity import settings_hash
from mr_st.search import Bm25Searcher, QueryBatch, TopK

COLOURS = "red blue black white green grey".split()
THINGS = "shoes shirt mouse keyboard mug kettle chair desk lamp hose".split()
EXTRAS = "large small wooden steel cotton".split()


def word_shop(n_queries: int = 60, with_frequency: bool = True, seed: int = 0) -> GradedDataset:
    """60 items "colour thing" with more words, a query for one of them each, all of them test queries.

    Two thirds of the queries are en-US, the rest es-ES; 5 are misspelt. Frequencies fall as 1/rank.
    """
    rng = np.random.default_rng(seed)
    items = [
        {
            "item_id": f"i{c}{t}",
            "title": " ".join([colour, thing, *rng.choice(EXTRAS, rng.integers(0, 4)), *rng.choice(THINGS, c % 3)]),
            "category_path": ["home"],
            "locale": "en-US",
        }
        for t, thing in enumerate(THINGS)
        for c, colour in enumerate(COLOURS)
    ]
    queries, judgments = [], []
    for q in range(n_queries):
        t, c = int(rng.integers(len(THINGS))), int(rng.integers(len(COLOURS)))
        query = {
            "query_id": f"q{q:02d}",
            "text": f"{COLOURS[c]} {THINGS[t]} {rng.choice(EXTRAS)}",
            "locale": "es-ES" if q % 3 == 2 else "en-US",
            "kind": "spelling" if q < 5 else "organic",
        }
        queries.append(query | ({"frequency": 1000.0 / (q + 1)} if with_frequency else {}))
        grades = {f"i{c}{t}": 2} | {f"i{other}{t}": 1 for other in range(len(COLOURS)) if other != c}
        grades |= {f"i{c}{other}": 0 for other in range(len(THINGS)) if other != t}
        judgments += [
            {"query_id": f"q{q:02d}", "item_id": item, "grade": grade, "split": "test"}
            for item, grade in grades.items()
        ]
    return GradedDataset.from_tables(queries, items, judgments, name="word shop")


class WordSystem:
    """BM25 as a :class:`mr_st.evaluation.System`.

    Args:
        name: ``org/name``.
        k1, b: Of BM25.
        deepest: Items found at most.
    """

    gives_similarities = False

    def __init__(self, name: str = "test/words", k1: float = 1.2, b: float = 0.75, deepest: int = 1000):
        self.name, self.deepest = name, deepest
        self.settings: dict[str, Any] = {"kind": "bm25", "k1": k1, "b": b, "deepest": deepest}
        self.facts: dict[str, Any] = {}
        self.revision = settings_hash(self.settings)

    def search(self, collection: Any, k: int) -> TopK:
        """The best items, no more than ``deepest``."""
        searcher = Bm25Searcher(collection.item_texts, k1=self.settings["k1"], b=self.settings["b"])
        top = searcher.search(QueryBatch(texts=collection.query_texts), k)
        top.ids[:, self.deepest :] = -1
        return top

    def score_pairs(self, collection: Any) -> None:
        """It scores no pair."""
        return
