"""The whole shop of one size and seed: its items, its queries, and the grade of any pair of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from mr_st.data.marketplace.catalogue import DEPARTMENTS, Catalogue
from mr_st.data.marketplace.policy import Intent, grade
from mr_st.data.marketplace.queries import Query, draw_queries
from mr_st.data.marketplace.shop import Item, Shop
from mr_st.errors import UsageError

__all__ = ["SIZES", "WINDOW_ITEMS", "Size", "World", "make_world"]


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
    "large": Size(1_000_000, 10_000, 300, 1_000),
}

WINDOW_ITEMS = 50_000
"""Queries are drawn from and judged on this many items; what a larger shop has beyond them is there to be searched."""


@dataclass(frozen=True)
class World:
    """One shop and its queries, and the grade of any pair of them."""

    shop: Shop
    size: Size

    @property
    def catalogue(self) -> Catalogue:
        """What there is to sell."""
        return self.shop.catalogue

    @cached_property
    def items(self) -> list[Item]:
        """The items on which queries are judged: all, or the first 50,000 of a larger shop."""
        return list(self.shop.items(WINDOW_ITEMS))

    @cached_property
    def queries(self) -> list[Query]:
        """The queries of all splits."""
        counts = {"train": self.size.n_train, "dev": self.size.n_dev, "test": self.size.n_test}
        return draw_queries(self.shop, self.items, counts)

    @cached_property
    def rows_by_type(self) -> dict[str, np.ndarray]:
        """Item rows (int64) of every product type, those that hold it in a bundle among them."""
        rows: dict[str, list[int]] = {}
        for row, item in enumerate(self.items):
            for key in (item.type, *item.also):
                rows.setdefault(key, []).append(row)
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
    return World(Shop(Catalogue(DEPARTMENTS[: wanted.n_departments]), wanted.n_items, seed), wanted)
