"""Queries with what they mean: drawn from head to tail, seen and unseen, in every language, some misspelt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from mr_st.data.marketplace.intents import IntentWriter
from mr_st.data.marketplace.policy import Intent
from mr_st.data.marketplace.shop import Item, Shop
from mr_st.errors import UsageError
from mr_st.text.spelling import SpellingChannel

__all__ = ["QUERY_LANGUAGES", "Query", "draw_queries"]

QUERY_LANGUAGES: dict[str, float] = {"en": 0.80, "es": 0.05, "fr": 0.05, "de": 0.05, "ja": 0.05}
"""Share of the queries that are typed in each language."""

UNSEEN_SHARE = 0.30  # of the dev and test queries: nothing in training means the same
NEW_TYPE_SHARE = 1 / 3  # of the unseen test queries: no training query names their product type
NEW_TYPES = 0.06  # of the types: no training query names them
MISSPELT_SHARE = 0.06  # of each split's queries
MAX_SLIPS = 2  # of a misspelt query; more is noise, not a shopper's slip
ANOTHER_WORDING_SHARE = 0.28  # of the training queries: a head intent in other words


@dataclass(frozen=True)
class Query:
    """One query: its text, what it means, and where it stands.

    ``searched_as`` is what the shop's own engine looks for: the text spelt right, and translated if not English.
    """

    query_id: str
    text: str
    intent: Intent
    split: str
    frequency: float
    locale: str
    searched_as: str
    kind: str = "organic"
    source_query_id: str | None = None


def draw_queries(shop: Shop, items: Sequence[Item], counts: Mapping[str, int]) -> list[Query]:
    """Draw the queries of a shop; no text stands twice, and no intent of the unseen ones in training.

    Args:
        shop: The shop; its seed is the queries'.
        items: What they are drawn from: each has at least one item here that meets it in full.
        counts: How many queries train, dev and test have.

    Raises:
        UsageError: there is too little on the shelves for so many.
    """
    writer = _Writer(shop, items)
    n_train, n_dev, n_test = (round(counts[split] * (1 - MISSPELT_SHARE)) for split in ("train", "dev", "test"))
    n_again = round(n_train * ANOTHER_WORDING_SHARE)
    new_dev, new_test = round(n_dev * UNSEEN_SHARE), round(n_test * UNSEEN_SHARE)
    n_new_types = round(new_test * NEW_TYPE_SHARE)

    known = writer.new_intents(n_train - n_again, writer.old_types)
    weights = 1.0 / (np.arange(len(known)) + 3.0) ** 0.8  # head to tail
    plan = [(intent, "train", weight) for intent, weight in zip(known, weights, strict=True)]
    for split, count, power in (
        ("train", n_again, 1.0),
        ("dev", n_dev - new_dev, 0.5),
        ("test", n_test - new_test, 0.5),
    ):
        plan += [(known[at], split, weights[at]) for at in writer.choose(weights**power, count)]
    rare = float(weights[-1])
    plan += [(intent, "dev", rare) for intent in writer.new_intents(new_dev, writer.old_types)]
    plan += [(intent, "test", rare) for intent in writer.new_intents(n_new_types, writer.new_types)]
    plan += [(intent, "test", rare) for intent in writer.new_intents(new_test - n_new_types, writer.old_types)]
    languages = {split: writer.languages(sum(of == split for _, of, _ in plan)) for split in counts}
    for intent, split, weight in plan:
        writer.write(intent, split, weight, languages[split].pop())
    for split, count in counts.items():
        writer.write_misspelt(split, count - writer.count(split))
    return writer.queries


class _Writer:
    """Draws intents that are all different, and texts that are all different."""

    def __init__(self, shop: Shop, items: Sequence[Item]):
        catalogue = shop.catalogue
        self.rng, self._by_weight = Random(f"{shop.seed} queries"), np.random.default_rng([shop.seed, 2])
        self.wordings = shop.wordings
        self.queries: list[Query] = []
        shelves: dict[str, list[Item]] = {key: [] for key in catalogue.types}
        for item in items:
            shelves[item.type].append(item)
        keys = [key for key in catalogue.types if shelves[key]]
        new = set(self.rng.sample(range(len(keys)), max(1, round(len(keys) * NEW_TYPES))))
        self.new_types = [key for at, key in enumerate(keys) if at in new]
        self.old_types = [key for at, key in enumerate(keys) if at not in new]
        self._intent_writer = IntentWriter(shelves, catalogue)
        self._channels = {
            wording.locale: replace(SpellingChannel.default(wording.locale), max_edits=MAX_SLIPS)
            for wording in self.wordings.values()
        }
        self._intents: set[Intent] = set()
        self._texts: set[str] = set()
        self._counts: dict[str, int] = {}

    def new_intents(self, count: int, keys: Sequence[str]) -> list[Intent]:
        """Intents that nobody had before, all of whose types are in ``keys``."""
        found: list[Intent] = []
        for _ in range(200 * count):
            if len(found) == count:
                return found
            intent = self._intent_writer.draw(keys, self.rng)
            if intent and intent not in self._intents:
                self._intents.add(intent)
                found.append(intent)
        raise UsageError(f"the shop is too small for {count} different intents; ask for fewer queries")

    def choose(self, weights: np.ndarray, count: int) -> list[int]:
        """Indices drawn by weight; each at most three times."""
        pool = np.repeat(np.arange(len(weights)), 3)
        drawn = self._by_weight.choice(pool, count, replace=False, p=weights[pool] / weights[pool].sum())
        return [int(at) for at in drawn]

    def languages(self, count: int) -> list[str]:
        """The languages of ``count`` queries in random order, each as often as its share says."""
        others = [name for name, share in QUERY_LANGUAGES.items() for _ in range(round(share * count)) if name != "en"]
        found = others + ["en"] * (count - len(others))
        self.rng.shuffle(found)
        return found

    def write(self, intent: Intent, split: str, weight: float, language: str) -> None:
        """Add a query for ``intent`` whose text nobody has typed; a few words more when all short ways are taken."""
        wording = self.wordings[language]
        text = ""
        for _ in range(60):
            text = wording.query(intent, self.rng)
            if text not in self._texts:
                break
        if text in self._texts:  # few ways to say it, all of them taken
            wording = self.wordings["en"]
            text = wording.query(intent, self.rng)
            while text in self._texts:
                text += " please"
        frequency = round(1000.0 * float(weight) * self.rng.uniform(0.3, 1.0), 3)
        home = self.wordings["en"]
        searched_as = text if wording is home else f"{text} {home.query(intent, self.rng)}"
        self._add(text, intent, split, frequency, wording.locale, searched_as)

    def write_misspelt(self, split: str, count: int) -> None:
        """Add misspelt forms of ``count`` queries of the split."""
        sources = [query for query in self.queries if query.split == split]
        self.rng.shuffle(sources)
        for source in sources:
            if count <= 0:
                return
            text = self._channels[source.locale].misspell(source.text, self.rng, must_change=True)
            if text not in self._texts:
                frequency = round(source.frequency * 0.1, 3)
                at = (source.locale, source.searched_as, "spelling", source.query_id)
                self._add(text, source.intent, split, frequency, *at)
                count -= 1

    def count(self, split: str) -> int:
        """Queries of a split so far."""
        return self._counts.get(split, 0)

    def _add(
        self,
        text: str,
        intent: Intent,
        split: str,
        frequency: float,
        locale: str,
        searched_as: str,
        kind: str = "organic",
        source: str | None = None,
    ) -> None:
        self._texts.add(text)
        self._counts[split] = self.count(split) + 1
        query_id = f"Q{len(self.queries):06d}"
        self.queries.append(Query(query_id, text, intent, split, frequency, locale, searched_as, kind, source))
