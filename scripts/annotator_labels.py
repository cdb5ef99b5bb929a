"""Which pairs the annotators of bench_annotators.py learn from, and which they are scored on."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ASIDE", "some_of_each", "with_fewer_queries", "with_set_aside", "without_set_aside"]

ASIDE = "aside"
"""The split of queries that are set aside."""


def with_set_aside(dataset: Any, n_queries: int, seed: int) -> Any:
    """The dataset with the judgments of ``n_queries`` random train queries in a split of their own, ``aside``.

    Misspelt variants go with their original.
    """
    import polars as pl

    from mr_st.data.schema import arrow_table

    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    sources = dict(zip(dataset.queries["query_id"], dataset.queries["source_query_id"], strict=True))
    learned = judgments.filter(pl.col("split") == "train")["query_id"].unique().sort()
    roots = pl.Series([sources[query] or query for query in learned])
    aside = set(roots.unique().sort().sample(n_queries, seed=seed))
    moved = [query for query, root in zip(learned, roots, strict=True) if root in aside]
    is_moved = (pl.col("split") == "train") & pl.col("query_id").is_in(moved)
    moved_away = judgments.with_columns(split=pl.when(is_moved).then(pl.lit(ASIDE)).otherwise(pl.col("split")))
    return _with_judgments(dataset, moved_away, set_aside={"n_queries": n_queries, "seed": seed})


def without_set_aside(dataset: Any) -> Any:
    """The dataset without the judgments that are set aside: what may be learned from, and saved."""
    import polars as pl

    from mr_st.data.schema import arrow_table

    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    return _with_judgments(dataset, judgments.filter(pl.col("split") != ASIDE))


def with_fewer_queries(dataset: Any, n_queries: int, seed: int) -> Any:
    """The dataset with the training judgments of ``n_queries`` random queries only; everything else stays."""
    import polars as pl

    from mr_st.data.schema import arrow_table

    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    learned = judgments.filter(pl.col("split") == "train")["query_id"].unique().sort()
    kept = learned.sample(min(n_queries, len(learned)), seed=seed)
    fewer = judgments.filter((pl.col("split") != "train") | pl.col("query_id").is_in(kept.implode()))
    return _with_judgments(dataset, fewer, train_queries=n_queries)


def _with_judgments(dataset: Any, judgments: Any, **said: Any) -> Any:
    """The dataset with other judgments, and what its source says of them."""
    from mr_st.data import GradedDataset

    return GradedDataset.from_tables(
        dataset.queries, dataset.items, judgments, dataset.engagement, scale=dataset.scale, name=dataset.name,
        license=dataset.license, source={**dataset.source, **said},
    )  # fmt: skip


def some_of_each(query_rows: np.ndarray, n_each: int | None, seed: int) -> np.ndarray:
    """Rows (m,) of at most ``n_each`` random pairs of each query; of all pairs where it is None."""
    if n_each is None:
        return np.arange(len(query_rows))
    order = np.random.default_rng([seed, 29]).permutation(len(query_rows))
    order = order[np.argsort(query_rows[order], kind="stable")]
    starts = np.searchsorted(query_rows[order], query_rows[order])
    return np.sort(order[np.arange(len(order)) - starts < n_each])
