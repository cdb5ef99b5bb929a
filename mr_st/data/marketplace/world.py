"""The whole shop of one size and seed: its items, and its queries with what they mean and the split of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from mr_st.data.marketplace.catalogue import DEPARTMENTS, Catalogue
from mr_st.data.marketplace.policy import Intent, grade
from mr_st.data.marketplace.queries import KIND_SHARES, draw_intent, misspell, write_query
from mr_st.data.marketplace.shop import Item, stock_shop
from mr_st.errors import UsageError

__all__ = ["SIZES", "Query", "Size", "World", "make_world"]


@dataclass(frozen=True)
class Size:
    """How large a shop is: items, clean and misspelt queries by split, and how many departments it has."""

    n_items: int
    n_train: int
    n_dev: int
    n_test: int
    n_departments: int = len(DEPARTMENTS)


SIZES: dict[str, Size] = {
    "tiny": Size(250, 20, 8, 12, 2),
    "small": Size(4_000, 600, 100, 400),
    "medium": Size(50_000, 3_000, 300, 1_000),
}

UNSEEN_SHARE = 0.30  # of the dev and test queries: nothing in training means the same
NEW_TYPE_SHARE = 1 / 3  # of the unseen test queries: no training query names their product type
NEW_TYPES = 0.06  # of the types: no training query names them
MISSPELT_SHARE = 0.06  # of each split's queries
ANOTHER_WORDING_SHARE = 0.28  # of the training queries: a head intent in other words


@dataclass(frozen=True)
class Query:
    """One query: its text, what it means, and where it stands."""

    query_id: str
    text: str
    intent: Intent
    split: str
    frequency: float
    kind: str = "organic"
    source_query_id: str | None = None


@dataclass(frozen=True)
class World:
    """Items and queries of one shop, and the grade of any pair of them."""

    catalogue: Catalogue
    items: list[Item]
    queries: list[Query]

    @cached_property
    def rows_by_type(self) -> dict[str, np.ndarray]:
        """Item rows (int64) of every product type."""
        rows: dict[str, list[int]] = {}
        for row, item in enumerate(self.items):
            rows.setdefault(item.type, []).append(row)
        return {key: np.asarray(found, dtype=np.int64) for key, found in rows.items()}

    def grades_of(self, intent: Intent) -> np.ndarray:
        """int8 (n_items,): the grade of every item. Types that the intent does not name are 0 by the policy."""
        grades = np.zeros(len(self.items), dtype=np.int8)
        for key in (*intent.types, *intent.siblings, *intent.partners):
            for row in self.rows_by_type.get(key, ()):
                grades[row] = grade(intent, self.items[row])[0]
        return grades


@lru_cache(maxsize=4)
def make_world(size: str = "small", seed: int = 0) -> World:
    """Make the shop; the same size and seed give the same shop in any process.

    Raises:
        UsageError: an unknown size, or a seed that is no whole number >= 0.
    """
    if size not in SIZES:
        raise UsageError(f"marketplace: no size {size!r}; the sizes are {', '.join(SIZES)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"marketplace: seed {seed!r} is no whole number >= 0")
    wanted = SIZES[size]
    catalogue = Catalogue(DEPARTMENTS[: wanted.n_departments])
    items = stock_shop(catalogue, wanted.n_items, np.random.default_rng([seed, 1]))
    return World(catalogue, items, _draw_queries(catalogue, items, wanted, np.random.default_rng([seed, 2])))


def _draw_queries(catalogue: Catalogue, items: list[Item], size: Size, rng: np.random.Generator) -> list[Query]:
    writer = _Writer(catalogue, items, rng)
    n_train, n_dev, n_test = (round(n * (1 - MISSPELT_SHARE)) for n in (size.n_train, size.n_dev, size.n_test))
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
    for intent, split, weight in plan:
        writer.write(intent, split, weight)
    for split, count in (("train", size.n_train), ("dev", size.n_dev), ("test", size.n_test)):
        writer.write_misspelt(split, count - writer.count(split))
    return writer.queries


class _Writer:
    """Draws intents that are all different, and texts that are all different."""

    def __init__(self, catalogue: Catalogue, items: list[Item], rng: np.random.Generator):
        self.catalogue, self.rng = catalogue, rng
        self.queries: list[Query] = []
        self.shelves: dict[str, list[Item]] = {key: [] for key in catalogue.types}
        for item in items:
            self.shelves[item.type].append(item)
        keys = [key for key in catalogue.types if self.shelves[key]]
        new = {int(at) for at in rng.permutation(len(keys))[: max(1, round(len(keys) * NEW_TYPES))]}
        self.new_types = [key for at, key in enumerate(keys) if at in new]
        self.old_types = [key for at, key in enumerate(keys) if at not in new]
        self._intents: set[Intent] = set()
        self._texts: set[str] = set()
        self._kinds = list(KIND_SHARES)
        self._kind_shares = np.asarray(list(KIND_SHARES.values()))

    def new_intents(self, count: int, keys: Sequence[str]) -> list[Intent]:
        """Intents that nobody had before, all of whose types are in ``keys``."""
        allowed = set(keys)
        found: list[Intent] = []
        for _ in range(200 * count):
            if len(found) == count:
                return found
            kind = self._kinds[int(self.rng.choice(len(self._kinds), p=self._kind_shares))]
            if kind in ("use", "group") and not any(
                set(types) <= allowed
                for types in (*(use.types for use in self.catalogue.uses), *self.catalogue.groups.values())
            ):
                continue
            intent = _draw_or_none(kind, self, keys)
            if intent and intent not in self._intents and set(intent.types) <= allowed:
                self._intents.add(intent)
                found.append(intent)
        raise UsageError(f"the shop is too small for {count} different intents; ask for fewer queries")

    def choose(self, weights: np.ndarray, count: int) -> list[int]:
        """Indices drawn by weight; each at most three times."""
        pool = np.repeat(np.arange(len(weights)), 3)
        drawn = self.rng.choice(pool, count, replace=False, p=weights[pool] / weights[pool].sum())
        return [int(at) for at in drawn]

    def write(self, intent: Intent, split: str, weight: float) -> None:
        """Add a query for ``intent`` whose text nobody has typed; a few words more when all short ways are taken."""
        text = ""
        for _ in range(60):
            text = write_query(intent, self.catalogue, self.rng)
            if text not in self._texts:
                break
        while text in self._texts:  # few ways to say it, all of them taken
            text += " please"
        share = float(self.rng.uniform(0.3, 1.0))
        self._add(text, intent, split, round(1000.0 * float(weight) * share, 3))

    def write_misspelt(self, split: str, count: int) -> None:
        """Add misspelt forms of ``count`` queries of the split."""
        sources = [query for query in self.queries if query.split == split]
        for at in self.rng.permutation(len(sources)):
            if count <= 0:
                return
            source = sources[int(at)]
            text = misspell(source.text, self.rng)
            if text not in self._texts:
                self._add(text, source.intent, split, round(source.frequency * 0.1, 3), "spelling", source.query_id)
                count -= 1

    def count(self, split: str) -> int:
        """Queries of a split so far."""
        return sum(query.split == split for query in self.queries)

    def _add(
        self, text: str, intent: Intent, split: str, frequency: float, kind: str = "organic", source: str | None = None
    ) -> None:
        self._texts.add(text)
        self.queries.append(Query(f"Q{len(self.queries):06d}", text, intent, split, frequency, kind, source))


def _draw_or_none(kind: str, writer: _Writer, keys: Sequence[str]) -> Intent | None:
    return draw_intent(kind, writer.shelves, keys, writer.catalogue, writer.rng)
