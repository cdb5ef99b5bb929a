"""The dataset that holds a golden set: golden pairs in their split, and training without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from mr_st.augment.golden_candidates import Candidates
from mr_st.augment.golden_pairs import QueryPairs
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_schema, arrow_table, to_dataset

__all__ = ["assemble", "count_by_name"]


def assemble(
    dataset: GradedDataset,
    candidates: Candidates,
    queries: list[QueryPairs],
    misspelt: dict[int, str],
    split: str,
    identity: str,
) -> tuple[GradedDataset, dict[str, Any]]:
    """The dataset whose split is the golden set, and counts for the report.

    Args:
        dataset: What the set is made of.
        candidates: Its candidates.
        queries: The chosen ones, with their random items.
        misspelt: Query row to the misspelling that takes its place.
        split: Where the set stands.
        identity: Of the annotator.
    """
    new_queries, id_of = _with_variants(dataset, misspelt)
    rows = [query.query_row for query in queries]
    golden = candidates.pairs.filter(pl.col("query_row").is_in(rows)).join(
        candidates.judgments.select("judgment_row", "group", pl.col("split").alias("was")), on="judgment_row"
    )
    golden = golden.sort("query_row", "item_row")
    held_out = candidates.group[candidates.query_rows[candidates.is_held_out]]
    chosen_held_out = np.intersect1d(held_out, candidates.group[rows])
    judgments = candidates.judgments
    gone = judgments.join(golden.select("group", "item_row"), on=["group", "item_row"], how="semi")["judgment_row"]
    stays = (pl.col("split") != split) & ~pl.col("judgment_row").is_in(gone.to_list())
    stays &= ~(pl.col("group").is_in(chosen_held_out.tolist()) & (pl.col("split") == "train"))
    kept = judgments.filter(stays).sort("judgment_row")

    table, items = arrow_table(dataset.judgments), arrow_table(dataset.items)["item_id"]
    ids = pa.array(id_of, pa.string())
    of_judged = table.take(pa.array(golden["judgment_row"].to_numpy()))
    judged = pa.table(
        {
            "query_id": ids.take(pa.array(golden["query_row"].to_numpy())),
            "item_id": of_judged["item_id"],
            "grade": of_judged["grade"],
            "split": pa.array([split] * golden.height, pa.string()),
            "source": of_judged["source"],
            "confidence": of_judged["confidence"],
        },
        schema=arrow_schema("judgments"),
    )
    n_each = [len(query.items) for query in queries]
    item_rows = np.array([item for query in queries for item in query.items], dtype=np.int64)
    drawn = pa.table(
        {
            "query_id": ids.take(pa.array(np.repeat(np.array(rows, dtype=np.int64), n_each))),
            "item_id": items.take(pa.array(item_rows)),
            "grade": pa.array([grade for query in queries for grade in query.grades], pa.int8()),
            "split": pa.array([split] * len(item_rows), pa.string()),
            "source": pa.array([f"golden:{identity}"] * len(item_rows), pa.string()),
            "confidence": pa.array([sure for query in queries for sure in query.confidence], pa.float32()),
        },
        schema=arrow_schema("judgments"),
    )
    parts = [table.take(pa.array(kept["judgment_row"].to_numpy())), judged, drawn]
    every = pa.concat_tables(parts).combine_chunks()
    grades = [*golden["grade"].to_list(), *(grade for query in queries for grade in query.grades)]
    from_split = golden.filter(pl.col("was") == split).height
    counts = {
        "pairs": count_by_name(grades, dataset.scale.names),
        "from_split": from_split,
        "from_training": golden.height - from_split,
        "training_pairs": (
            judgments.filter(pl.col("split") == "train").height,
            kept.filter(pl.col("split") == "train").height,
        ),
        "left_out_pairs": judgments.filter(pl.col("split") == split).height - from_split,
    }
    return replace(dataset, queries=new_queries, judgments=to_dataset(every)), counts


def _with_variants(dataset: GradedDataset, misspelt: dict[int, str]) -> tuple[Any, list[str]]:
    """The query table with the misspelt queries at its end, and under which id each row's golden pairs stand."""
    table = arrow_table(dataset.queries)
    ids: list[str] = table["query_id"].to_pylist()
    if not misspelt:
        return dataset.queries, ids
    used = set(ids)
    variants = table.take(pa.array(list(misspelt))).to_pylist()
    for row, variant in zip(misspelt, variants, strict=True):
        own, number = f"{ids[row]}:misspelt", 1
        while own in used:
            number += 1
            own = f"{variant['query_id']}:misspelt{number}"
        used.add(own)
        variant.update(source_query_id=variant["query_id"], query_id=own, text=misspelt[row], kind="spelling")
        ids[row] = own
    new = pa.Table.from_pylist(variants, schema=arrow_schema("queries"))
    return to_dataset(pa.concat_tables([table, new]).combine_chunks()), ids


def count_by_name(grades: Sequence[int] | np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    """Grade name to how many of the grades (n,) it has."""
    counts = np.bincount(np.asarray(grades, dtype=np.int64), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))
