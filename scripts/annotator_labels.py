"""Which pairs the annotators of bench_annotators.py learn from, and which they are scored on."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["judged_as_test", "some_of_each", "with_fewer_queries"]


def judged_as_test(dataset: Any, pairs_per_query: int, seed: int) -> Any:
    """A marketplace whose train queries are judged as its test queries are, a random part of their pairs each.

    A log's pairs, which the train split holds, are two thirds easy ones, so that what is learned from them is of
    another mix than the test. Here a query's pool is what a test query's would be (every relevant item up to the
    limit, and irrelevant ones that look alike or are random), and ``pairs_per_query`` pairs of it are kept.
    """
    import polars as pl

    from mr_st.data import GradedDataset
    from mr_st.data.item_text import format_item
    from mr_st.data.marketplace.generate import MAX_RELEVANT
    from mr_st.data.marketplace.judging import pairs_for_test
    from mr_st.data.marketplace.lexical import TokenOverlap
    from mr_st.data.marketplace.world import make_world
    from mr_st.data.schema import arrow_table

    world = make_world(dataset.source["size"], dataset.source["seed"])
    engine = TokenOverlap([format_item(item.title, item.category_path) for item in world.items])
    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    learned = set(judgments.filter(pl.col("split") == "train")["query_id"])
    parts = []
    for number, query in enumerate(world.queries):
        if query.query_id not in learned:
            continue
        rng = np.random.default_rng([seed, 37, number])
        grades = world.grades_of(query.intent)
        pool = pairs_for_test(engine.scores(query.searched_as), grades, rng, MAX_RELEVANT)
        rows = np.sort(rng.permutation(pool)[:pairs_per_query])
        items = [world.items[row].item_id for row in rows]
        parts.append(pl.DataFrame({"query_id": query.query_id, "item_id": items, "grade": grades[rows]}))
    drawn = pl.concat(parts).with_columns(split=pl.lit("train"), source=pl.lit("oracle"))
    others = judgments.filter(pl.col("split") != "train").select(drawn.columns)
    return GradedDataset.from_tables(
        dataset.queries, dataset.items, pl.concat([others, drawn], how="vertical_relaxed"),
        dataset.engagement, scale=dataset.scale, name=dataset.name, license=dataset.license,
        source={**dataset.source, "train_judged_as_test": {"pairs_per_query": pairs_per_query, "seed": seed}},
    )  # fmt: skip


def with_fewer_queries(dataset: Any, n_queries: int, seed: int) -> Any:
    """The dataset with the training judgments of ``n_queries`` random queries only; everything else stays."""
    import polars as pl

    from mr_st.data import GradedDataset
    from mr_st.data.schema import arrow_table

    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    learned = judgments.filter(pl.col("split") == "train")["query_id"].unique().sort()
    kept = learned.sample(min(n_queries, len(learned)), seed=seed)
    return GradedDataset.from_tables(
        dataset.queries, dataset.items,
        judgments.filter((pl.col("split") != "train") | pl.col("query_id").is_in(kept.implode())), dataset.engagement,
        scale=dataset.scale, name=dataset.name, license=dataset.license,
        source={**dataset.source, "train_queries": n_queries},
    )  # fmt: skip


def some_of_each(query_rows: np.ndarray, n_each: int | None, seed: int) -> np.ndarray:
    """Rows (m,) of at most ``n_each`` random pairs of each query; of all pairs where it is None."""
    if n_each is None:
        return np.arange(len(query_rows))
    order = np.random.default_rng([seed, 29]).permutation(len(query_rows))
    order = order[np.argsort(query_rows[order], kind="stable")]
    starts = np.searchsorted(query_rows[order], query_rows[order])
    return np.sort(order[np.arange(len(order)) - starts < n_each])
