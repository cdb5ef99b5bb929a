"""What splits share, and what a split has that train has not."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import polars as pl

__all__ = ["compare_splits", "find_unseen"]


def find_unseen(judgments: pl.DataFrame, texts: pl.Series, splits: list[str]) -> dict[str, dict[str, Any]]:
    """For each split but train: how many of its queries, query texts and items have no judgment in train.

    Args:
        judgments: query and item (rows, -1 where unknown) and split.
        texts: (n,) normalised query texts, in row order: two ids of one text count as one.
        splits: Which splits there are.

    Returns:
        Split -> ``queries``, ``queries_unseen``, ``texts_unseen`` (queries whose text no query of train has),
        ``items``, ``items_unseen``, and the shares of the three; empty without a train split.
    """
    if "train" not in splits:
        return {}
    queries, words, items, _ = _seen(judgments, texts, "train")
    facts = {}
    for split in (s for s in splits if s != "train"):
        own_queries, _, own_items, _ = _seen(judgments, texts, split)
        own_words = texts.gather(own_queries)
        n_queries, n_items = len(own_queries), len(own_items)
        unseen = {
            "queries_unseen": n_queries - int(own_queries.is_in(queries.implode()).sum()),
            "texts_unseen": n_queries - int(own_words.is_in(words.implode()).sum()),
            "items_unseen": n_items - int(own_items.is_in(items.implode()).sum()),
        }
        wholes = {"queries_unseen": n_queries, "texts_unseen": n_queries, "items_unseen": n_items}
        shares = {f"{name}_share": round(n / max(wholes[name], 1), 4) for name, n in unseen.items()}
        facts[split] = {"queries": n_queries, "items": n_items, **unseen, **shares}
    return facts


def compare_splits(judgments: pl.DataFrame, texts: pl.Series, splits: list[str]) -> dict[str, dict[str, int]]:
    """For each two splits: how many queries, query texts, items and pairs both have judgments of.

    Args:
        judgments: query and item (rows, -1 where unknown) and split.
        texts: (n,) normalised query texts, in row order.
        splits: Which splits there are.

    Returns:
        ``"train & test"`` -> ``queries``, ``texts``, ``items``, ``pairs``.
    """
    seen = {split: _seen(judgments, texts, split) for split in splits}
    names = ("queries", "texts", "items", "pairs")
    return {
        f"{one} & {other}": {
            name: int(a.is_in(b.implode()).sum()) for name, a, b in zip(names, seen[one], seen[other], strict=True)
        }
        for one, other in combinations(splits, 2)
    }


def _seen(judgments: pl.DataFrame, texts: pl.Series, split: str) -> tuple[pl.Series, pl.Series, pl.Series, pl.Series]:
    """The distinct queries, query texts, items and pairs of a split."""
    of = judgments.filter((pl.col("split") == split) & (pl.col("query") >= 0) & (pl.col("item") >= 0))
    queries = of["query"].unique().sort()
    width = int(judgments["item"].max() or 0) + 1  # type: ignore[arg-type]
    pairs = (of["query"] * width + of["item"]).unique()
    return queries, texts.gather(queries).drop_nulls().unique(), of["item"].unique(), pairs
