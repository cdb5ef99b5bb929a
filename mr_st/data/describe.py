"""What a person wants to know of a dataset first, as plain values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from mr_st.data.schema import arrow_table
from mr_st.data.splits_compared import compare_splits, find_unseen
from mr_st.data.spool import table_batches
from mr_st.data.traffic import SEGMENTS, segment_facts, traffic_segments
from mr_st.text.normalise import normalise

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["describe", "judgment_frame", "lengths"]


def describe(dataset: GradedDataset) -> dict[str, Any]:
    """Counts, label shares by split, judged items per query, text lengths (characters), locales, head and tail, what
    dev and test have that train has not, and what splits share.

    Shares are of 1, rounded to four digits. How head, torso and tail are told apart:
    :func:`mr_st.data.traffic.traffic_segments`; what counts as unseen: :func:`mr_st.data.splits_compared.find_unseen`.
    """
    queries, items = arrow_table(dataset.queries), arrow_table(dataset.items)
    judgments = judgment_frame(dataset)
    levels = pc.list_value_length(items["category_path"])
    depth = pl.Series(pc.fill_null(levels, 0))
    frequencies = queries["frequency"].to_numpy()
    texts = pl.Series(_normalised(queries["text"]), dtype=pl.String)
    segments = traffic_segments(frequencies)
    locales = pl.Series(queries["locale"])
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
            "items_judged": judgments["item"].n_unique(),
            "items_without_category": int((depth == 0).sum()),
        },
        "queries_without_judgments": len(dataset.queries) - judgments.filter(pl.col("query") >= 0)["query"].n_unique(),
        "splits": {
            split: _describe_split(judgments.filter(pl.col("split") == split), dataset.scale.names, len(dataset.items))
            for split in dataset.splits
        },
        "query_characters": _spread(lengths(dataset.queries, "text")),
        "title_characters": _spread(lengths(dataset.items, "title")),
        "description_characters": _spread(lengths(dataset.items, "description")),
        "category_levels": _spread(depth.to_numpy()),
        "query_locales": _counts(locales),
        "item_locales": _counts(pl.Series(items["locale"])),
        "labels_by_locale": _labels_by_locale(judgments, locales, dataset.scale.names),
        "query_kinds": _counts(pl.Series(queries["kind"])),
        "judgment_sources": _counts(judgments["source"]),
        "traffic": segment_facts(frequencies, segments),
        "segments_by_split": _segments_by_split(judgments, segments, dataset.splits),
        "unseen": find_unseen(judgments, texts, dataset.splits),
        "overlap": compare_splits(judgments, texts, dataset.splits),
    }  # fmt: skip


def judgment_frame(dataset: GradedDataset) -> pl.DataFrame:
    """The judgments with rows in place of ids: query and item (int64, -1 where unknown), grade, split, source."""
    from mr_st.data.validation_pairs import rows_of

    table = arrow_table(dataset.judgments)
    return pl.DataFrame(
        {
            "query": rows_of(table["query_id"], arrow_table(dataset.queries)["query_id"]),
            "item": rows_of(table["item_id"], arrow_table(dataset.items)["item_id"]),
            "grade": pl.Series(table["grade"]),
            "split": pl.Series(table["split"]).cast(pl.Categorical),
            "source": pl.Series(table["source"]).cast(pl.Categorical),
        }
    )


def lengths(dataset: Dataset, column: str) -> np.ndarray:
    """int32 (m,) lengths in characters of a column's texts, nulls left out; a list of texts is joined by `` > ``."""
    sizes = [np.empty(0, dtype=np.int32)]
    for batch in table_batches(dataset, [column]):
        texts = batch.column(0)
        joined = pc.binary_join(texts, " > ") if pa.types.is_list(texts.type) else texts
        sizes.append(pc.utf8_length(joined).drop_null().to_numpy())
    return np.concatenate(sizes)


def _normalised(texts: pa.ChunkedArray) -> list[str | None]:
    values = (text for chunk in texts.chunks for text in chunk.to_pylist())
    return [None if text is None else " ".join(normalise(text).split()) for text in values]


def _describe_split(judgments: pl.DataFrame, names: tuple[str, ...], n_items: int) -> dict[str, Any]:
    counts = np.bincount(judgments["grade"].to_numpy(), minlength=len(names)).tolist()
    per_query = judgments.group_by("query").agg(pl.len(), pl.col("grade").n_unique().alias("n_grades"))
    n_one_grade = int((per_query["n_grades"] == 1).sum())
    return {
        "judgments": judgments.height,
        "queries": per_query.height,
        "queries_with_one_grade": n_one_grade,
        "one_grade_share": _share(n_one_grade, per_query.height),
        "items": judgments["item"].n_unique(),
        "labels": dict(zip(names, counts, strict=True)),
        "label_shares": {name: _share(n, judgments.height) for name, n in zip(names, counts, strict=True)},
        "judged_per_query": _spread(per_query["len"].to_numpy()),
        "judged_share_of_catalogue": float(f"{judgments.height / max(per_query.height * n_items, 1):.4g}"),
    }


def _labels_by_locale(judgments: pl.DataFrame, locales: pl.Series, names: tuple[str, ...]) -> dict[str, Any]:
    """For each locale of the queries: its queries with judgments, its judgments, and the shares of their labels."""
    known = judgments.filter(pl.col("query") >= 0)
    known = known.with_columns(locale=locales.gather(known["query"]))
    facts: dict[str, Any] = {}
    for (locale,), of in known.group_by("locale", maintain_order=True):
        counts = np.bincount(of["grade"].to_numpy(), minlength=len(names)).tolist()
        facts[str(locale)] = {
            "queries": of["query"].n_unique(),
            "judgments": of.height,
            "label_shares": {name: _share(n, of.height) for name, n in zip(names, counts, strict=True)},
        }
    return dict(sorted(facts.items(), key=lambda item: (-item[1]["judgments"], item[0])))


def _segments_by_split(judgments: pl.DataFrame, segments: np.ndarray, splits: list[str]) -> dict[str, dict[str, int]]:
    """How many judged queries of each split are head, torso and tail; empty where no query has a frequency."""
    if not (segments >= 0).any():
        return {}
    facts = {}
    for split in splits:
        rows = judgments.filter((pl.col("split") == split) & (pl.col("query") >= 0))["query"].unique().to_numpy()
        facts[split] = {name: int((segments[rows] == number).sum()) for number, name in enumerate(SEGMENTS)}
    return facts


def _spread(values: np.ndarray) -> dict[str, float]:
    if len(values) == 0:
        return {}
    low, median, high = np.percentile(values, [0, 50, 100]).tolist()
    return {"min": low, "median": median, "mean": round(float(values.mean()), 2), "max": high}


def _counts(values: pl.Series) -> dict[str, int]:
    counted = values.cast(pl.String).alias("value").value_counts(sort=False)
    return {str(value): int(n) for value, n in counted.sort(["count", "value"], descending=[True, False]).iter_rows()}


def _share(part: int, whole: int) -> float:
    return round(part / max(whole, 1), 4)
