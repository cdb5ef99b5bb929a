"""The marketplace as a GradedDataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.data.label_noise import LabelNoise, distort_labels
from mr_st.data.marketplace.engagement import simulate_engagement
from mr_st.data.marketplace.judging import pairs_for_test, pairs_for_train
from mr_st.data.marketplace.lexical import TokenOverlap
from mr_st.data.marketplace.policy import grade
from mr_st.data.marketplace.streaming import stream_items
from mr_st.data.marketplace.world import World, make_world
from mr_st.data.spool import spool_table

__all__ = ["load_marketplace"]

MAX_RELEVANT = 400  # judged items of grade 1 and 2 of a dev or test query, in a shop that is not judged whole


def load_marketplace(
    size: str = "small",
    seed: int = 0,
    workers: int | None = None,
    engagement: bool = False,
    label_noise: float = 0.0,
) -> GradedDataset:
    """Make the synthetic shop: items, queries, and judgments by its relevance policy.

    Training queries have 16 to 24 judged items each, drawn from a weak lexical search and at random, so that relevant
    and confusable items stay unjudged; dev and test queries have every item of grade 1 and 2 judged (of a shop with
    more than 50,000 items: up to 400 of those among the first 50,000), and at least 65 % label-0 items. The same
    size and seed give the same fingerprint in any process, with any number of workers.

    Args:
        size: tiny (250 items, 40 queries), small (4,000 items, 1,100 queries), medium (50,000 items) or large
            (1,000,000 items, streamed: memory does not grow with them).
        seed: Any whole number >= 0.
        workers: Processes that write the items; None for one a core.
        engagement: Add what simulated shoppers did (:func:`~mr_st.data.marketplace.engagement.simulate_engagement`).
        label_noise: Share of the training judgments that get a neighbouring grade in place of the true one, which
            :class:`MarketplacePolicy` still knows (:func:`~mr_st.data.label_noise.distort_labels` gives both).

    Raises:
        UsageError: an unknown size, a bad seed or a share outside 0..1.

    Example:
        >>> dataset = load_marketplace("tiny")
        >>> len(dataset.items), len(dataset.queries), dataset.splits
        (250, 40, ['train', 'dev', 'test'])
    """
    world = make_world(size, seed)
    source: dict[str, Any] = {"name": "marketplace", "size": size, "seed": seed}
    dataset = GradedDataset.from_tables(
        queries=_query_table(world),
        items=spool_table("items", stream_items(size, seed, workers)),
        judgments=_judgment_table(world),
        engagement=simulate_engagement(world) if engagement else None,
        name="marketplace",
        license="Apache-2.0",
        source={**source, "engagement": True} if engagement else source,
    )
    if label_noise:
        return distort_labels(dataset, LabelNoise.near(label_noise), seed).dataset
    return dataset


def _query_table(world: World) -> pl.DataFrame:
    columns = ("query_id", "text", "locale", "frequency", "kind", "source_query_id")
    return pl.DataFrame({name: [getattr(query, name) for query in world.queries] for name in columns})


def _judgment_table(world: World) -> pl.DataFrame:
    engine = TokenOverlap([format_item(item.title, item.category_path) for item in world.items])
    item_ids = [item.item_id for item in world.items]
    is_whole = len(world.items) == world.shop.n_items
    parts: dict[str, list[Any]] = {"query_id": [], "item_id": [], "grade": [], "split": []}
    for number, query in enumerate(world.queries):
        rng = np.random.default_rng([world.shop.seed, 3, number])
        scores = engine.scores(query.searched_as)
        if query.split == "train":
            rows = pairs_for_train(scores, rng)
            grades = [grade(query.intent, world.items[row])[0] for row in rows]
        else:
            every = world.grades_of(query.intent)
            rows = pairs_for_test(scores, every, rng, None if is_whole else MAX_RELEVANT)
            grades = every[rows].tolist()
        parts["query_id"] += [query.query_id] * len(rows)
        parts["item_id"] += [item_ids[row] for row in rows]
        parts["grade"] += grades
        parts["split"] += [query.split] * len(rows)
    return pl.DataFrame(parts, schema_overrides={"grade": pl.Int8}).with_columns(source=pl.lit("oracle"))
