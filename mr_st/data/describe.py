"""What a person wants to know of a dataset first, as plain values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mr_st.data.schema import arrow_table

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["describe"]


def describe(dataset: GradedDataset) -> dict[str, Any]:
    """Counts, label shares by split, judged items per query, text lengths (characters) and locales."""
    queries = pl.DataFrame(arrow_table(dataset.queries).select(["text", "locale", "kind"]))
    items = pl.DataFrame(arrow_table(dataset.items).select(["title", "category_path", "locale"]))
    judgments = pl.DataFrame(
        arrow_table(dataset.judgments).select(["query_id", "item_id", "grade", "split", "source"])
    )
    depth = items["category_path"].list.len()
    return {
        "name": dataset.name,
        "license": dataset.license,
        "fingerprint": dataset.fingerprint,
        "scale": dataset.scale.to_dict(),
        "counts": {
            "queries": len(dataset.queries),
            "items": len(dataset.items),
            "judgments": len(dataset.judgments),
            "engagement": 0 if dataset.engagement is None else len(dataset.engagement),
            "items_judged": judgments["item_id"].n_unique(),
            "items_without_category": int((depth == 0).sum()),
        },
        "splits": {
            split: _describe_split(judgments.filter(pl.col("split") == split), dataset.scale.names)
            for split in dataset.splits
        },
        "query_characters": _spread(queries["text"].str.len_chars()),
        "title_characters": _spread(items["title"].str.len_chars()),
        "category_levels": _spread(depth),
        "query_locales": _counts(queries["locale"]),
        "item_locales": _counts(items["locale"]),
        "query_kinds": _counts(queries["kind"]),
        "judgment_sources": _counts(judgments["source"]),
    }


def _describe_split(judgments: pl.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    counts = np.bincount(judgments["grade"].to_numpy(), minlength=len(names)).tolist()
    per_query = judgments.group_by("query_id").agg(pl.len(), pl.col("grade").n_unique().alias("n_grades"))
    return {
        "judgments": judgments.height,
        "queries": per_query.height,
        "queries_with_one_grade": int((per_query["n_grades"] == 1).sum()),
        "labels": dict(zip(names, counts, strict=True)),
        "label_shares": {name: round(n / max(judgments.height, 1), 4) for name, n in zip(names, counts, strict=True)},
        "judged_per_query": _spread(per_query["len"]),
    }


def _spread(values: pl.Series) -> dict[str, float]:
    if values.len() == 0:
        return {}
    low, median, high = np.percentile(values.to_numpy(), [0, 50, 100]).tolist()
    return {"min": low, "median": median, "mean": round(float(values.to_numpy().mean()), 2), "max": high}


def _counts(values: pl.Series) -> dict[str, int]:
    counted = values.value_counts(sort=False).sort(["count", values.name], descending=[True, False])
    return {str(value): int(count) for value, count in counted.iter_rows()}
