"""The marketplace as a GradedDataset."""

from __future__ import annotations

import numpy as np
import polars as pl

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


def _query_table(world: World) -> pl.DataFrame:
    columns = ("query_id", "text", "frequency", "kind", "source_query_id")
    table = pl.DataFrame({name: [getattr(query, name) for query in world.queries] for name in columns})
    return table.with_columns(pl.lit(LOCALE).alias("locale"))


def _item_table(world: World) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [item.item_id for item in world.items],
            "title": [item.title for item in world.items],
            "category_path": [list(item.category_path) for item in world.items],
            "brand": [item.stated.get("brand", (None,))[0] for item in world.items],
            "color": [item.stated.get("color", (None,))[0] for item in world.items],
        }
    ).with_columns(pl.lit(LOCALE).alias("locale"))


def _judgment_table(world: World, rng: np.random.Generator) -> pl.DataFrame:
    engine = TokenOverlap([format_item(item.title, item.category_path) for item in world.items])
    item_ids = pl.Series("item_id", [item.item_id for item in world.items])
    tables = []
    for query in world.queries:
        scores, grades = engine.scores(query.text), world.grades_of(query.intent)
        rows = pairs_for_train(scores, rng) if query.split == "train" else pairs_for_test(scores, grades, rng)
        table = pl.DataFrame({"item_id": item_ids.gather(rows), "grade": grades[rows]})
        tables.append(table.with_columns(query_id=pl.lit(query.query_id), split=pl.lit(query.split)))
    return pl.concat(tables).with_columns(source=pl.lit("oracle"))
