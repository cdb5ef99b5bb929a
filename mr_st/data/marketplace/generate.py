"""The marketplace as a GradedDataset."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.data.label_noise import LabelNoise, distort_labels
from mr_st.data.marketplace.engagement import simulate_engagement
from mr_st.data.marketplace.judging import pairs_for_test, pairs_for_train
from mr_st.data.marketplace.lexical import TokenOverlap
from mr_st.data.marketplace.policy import grade
from mr_st.data.marketplace.shop import Shop
from mr_st.data.marketplace.world import World, make_world
from mr_st.data.schema import arrow_schema

__all__ = ["load_marketplace", "stream_items"]

_IN_PROCESS = 3  # chunks or fewer: not worth starting processes
MAX_RELEVANT = 400  # judged items of grade 1 and 2 of a dev or test query, in a shop that is not judged whole
_AHEAD = 4  # chunks a worker may be ahead of the reader: memory stays flat


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
    more than 100,000 items: up to 400 of those among the first 100,000), and at least 65 % label-0 items. The same
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
        items=pa.Table.from_batches(stream_items(size, seed, workers)),
        judgments=_judgment_table(world),
        engagement=simulate_engagement(world) if engagement else None,
        name="marketplace",
        license="Apache-2.0",
        source={**source, "engagement": True} if engagement else source,
    )
    if label_noise:
        return distort_labels(dataset, LabelNoise.near(label_noise), seed).dataset
    return dataset


def stream_items(size: str = "small", seed: int = 0, workers: int | None = None) -> Iterator[pa.RecordBatch]:
    """The items of a shop in the schema of the items table, batch by batch and in row order.

    Args:
        size: As in :func:`load_marketplace`.
        seed: As there.
        workers: Processes that make the batches; None for one a core. The batches are the same for any number.

    Raises:
        UsageError: an unknown size or a bad seed.
    """
    shop = make_world(size, seed).shop
    workers = min(os.cpu_count() or 1, shop.n_chunks) if workers is None else workers
    if shop.n_chunks <= _IN_PROCESS or workers <= 1:
        yield from (_item_batch(shop, number) for number in range(shop.n_chunks))
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of this process hold
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = [
            pool.submit(_batch_of_chunk, size, seed, number) for number in range(min(workers * _AHEAD, shop.n_chunks))
        ]
        for number in range(shop.n_chunks):
            ahead = number + workers * _AHEAD
            batch = waiting.pop(0).result()
            if ahead < shop.n_chunks:
                waiting.append(pool.submit(_batch_of_chunk, size, seed, ahead))
            yield batch


def _batch_of_chunk(size: str, seed: int, number: int) -> pa.RecordBatch:
    return _item_batch(_shop(size, seed), number)


@lru_cache(maxsize=1)
def _shop(size: str, seed: int) -> Shop:
    return make_world(size, seed).shop


def _item_batch(shop: Shop, number: int) -> pa.RecordBatch:
    items = shop.chunk(number)
    columns = {
        "item_id": [item.item_id for item in items],
        "title": [item.title for item in items],
        "category_path": [item.category_path for item in items],
        "description": [None] * len(items),
        "brand": [item.stated.get("brand", (None,))[0] for item in items],
        "color": [item.color for item in items],
        "locale": [item.locale for item in items],
    }
    schema = arrow_schema("items")
    return pa.record_batch([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def _query_table(world: World) -> pl.DataFrame:
    columns = ("query_id", "text", "locale", "frequency", "kind", "source_query_id")
    return pl.DataFrame({name: [getattr(query, name) for query in world.queries] for name in columns})


def _judgment_table(world: World) -> pl.DataFrame:
    engine = TokenOverlap([format_item(item.title, item.category_path) for item in world.items])
    item_ids = pl.Series("item_id", [item.item_id for item in world.items])
    is_whole = len(world.items) == world.shop.n_items
    tables = []
    for number, query in enumerate(world.queries):
        rng = np.random.default_rng([world.shop.seed, 3, number])
        scores = engine.scores(query.text)
        if query.split == "train":
            rows = pairs_for_train(scores, rng)
            grades = np.array([grade(query.intent, world.items[row])[0] for row in rows], dtype=np.int8)
        else:
            every = world.grades_of(query.intent)
            rows = pairs_for_test(scores, every, rng, None if is_whole else MAX_RELEVANT)
            grades = every[rows]
        table = pl.DataFrame({"item_id": item_ids.gather(rows), "grade": grades})
        tables.append(table.with_columns(query_id=pl.lit(query.query_id), split=pl.lit(query.split)))
    return pl.concat(tables).with_columns(source=pl.lit("oracle"))
