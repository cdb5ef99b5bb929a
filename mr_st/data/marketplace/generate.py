"""The marketplace as a GradedDataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.data.marketplace.judging import pairs_for_test, pairs_for_train
from mr_st.data.marketplace.lexical import TokenOverlap
from mr_st.data.marketplace.shop import LOCALE
from mr_st.data.marketplace.world import World, make_world

__all__ = ["load_marketplace"]


def load_marketplace(size: str = "small", seed: int = 0) -> GradedDataset:
    """Make the synthetic shop: items, queries, and judgments by its relevance policy.

    Training queries have 16 to 24 judged items each, drawn from a weak lexical search and at random, so that relevant
    and confusable items stay unjudged; dev and test queries have every item of grade 1 and 2 judged, and at least 65 %
    label-0 items. The same size and seed give the same fingerprint in any process.

    Args:
        size: tiny (250 items, 40 queries), small (4,000 items, 1,100 queries) or medium (50,000 items).
        seed: Any whole number >= 0.

    Raises:
        UsageError: an unknown size or a bad seed.

    Example:
        >>> dataset = load_marketplace("tiny")
        >>> len(dataset.items), len(dataset.queries), dataset.splits
        (250, 40, ['train', 'dev', 'test'])
    """
    world = make_world(size, seed)
    return GradedDataset.from_tables(
        queries=_query_table(world),
        items=_item_table(world),
        judgments=_judgment_table(world, np.random.default_rng([seed, 3])),
        name="marketplace",
        license="Apache-2.0",
        source={"name": "marketplace", "size": size, "seed": seed},
    )


def _query_table(world: World) -> dict[str, list[Any]]:
    columns = ("query_id", "text", "frequency", "kind", "source_query_id")
    table: dict[str, list[Any]] = {name: [getattr(query, name) for query in world.queries] for name in columns}
    return {**table, "locale": [LOCALE] * len(world.queries)}


def _item_table(world: World) -> dict[str, list[Any]]:
    return {
        "item_id": [item.item_id for item in world.items],
        "title": [item.title for item in world.items],
        "category_path": [list(item.category_path) for item in world.items],
        "brand": [item.stated.get("brand", (None,))[0] for item in world.items],
        "color": [item.stated.get("color", (None,))[0] for item in world.items],
        "locale": [LOCALE] * len(world.items),
    }


def _judgment_table(world: World, rng: np.random.Generator) -> dict[str, list[Any]]:
    engine = TokenOverlap([format_item(item.title, item.category_path) for item in world.items])
    ids = [item.item_id for item in world.items]
    table: dict[str, list[Any]] = {"query_id": [], "item_id": [], "grade": [], "split": []}
    for query in world.queries:
        scores = engine.scores(query.text)
        grades = world.grades_of(query.intent)
        if query.split == "train":
            rows = pairs_for_train(scores, rng)
        else:
            rows = pairs_for_test(scores, grades, rng)
        table["query_id"] += [query.query_id] * len(rows)
        table["item_id"] += [ids[row] for row in rows]
        table["grade"] += grades[rows].tolist()
        table["split"] += [query.split] * len(rows)
    return {**table, "source": ["oracle"] * len(table["grade"])}
