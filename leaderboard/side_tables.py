"""What stands in Parquet beside a result: values by query, the run, similarities by grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["Queries", "Ranking", "read_histograms", "read_queries", "read_ranking", "side_file"]

UNJUDGED = -1
"""The grade, in a :class:`Ranking`, of an item that nobody judged."""

_ATTRIBUTES = ("locale", "kind", "traffic", "seen")


@dataclass(frozen=True, eq=False)
class Queries:
    """Values of one model by query.

    Args:
        ids: (n,) the queries.
        values: Metric to float64 (n,), NaN where it is not defined.
        attributes: What is known of the queries (locale, kind, traffic, seen): (n,) texts, empty where unknown.
    """

    ids: list[str]
    values: dict[str, np.ndarray]
    attributes: dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The first items of each query as one model ranks them.

    Args:
        query_ids: (n,) queries.
        item_ids: Different items, in no order that means something.
        items: int32 (n, depth), places in ``item_ids``; -1 where the list ends.
        grades: int8 (n, depth), :data:`UNJUDGED` where nobody judged.
    """

    query_ids: list[str]
    item_ids: list[str]
    items: np.ndarray
    grades: np.ndarray


def side_file(path: Path, split: str, name: str) -> Path:
    """The table ``name`` beside a result's JSON."""
    return path.with_name(f"{path.stem}.{split}.{name}.parquet")


def read_queries(path: Path, metrics: Sequence[str]) -> Queries | None:
    """The values of some metrics; None where the file is missing or damaged. Metrics that it lacks are left out."""
    try:
        file = pq.ParquetFile(path)
        there = set(file.schema_arrow.names)
        if "query_id" not in there:
            return None
        known = [name for name in _ATTRIBUTES if name in there]
        wanted = list(dict.fromkeys(name for name in metrics if name in there))
        table = file.read(["query_id", *known, *wanted], use_threads=False)
    except (OSError, ValueError, pa.ArrowException):
        return None
    return Queries(
        [str(q) for q in table["query_id"].to_pylist()],
        {
            name: table[name].to_numpy(zero_copy_only=False).astype(np.float64)
            for name in wanted
            if pa.types.is_floating(table[name].type)
        },
        {name: ["" if v is None else str(v) for v in table[name].to_pylist()] for name in known},
    )


def read_ranking(path: Path, depth: int) -> Ranking | None:
    """The first ``depth`` items of each query; None where the file is missing or damaged."""
    try:
        file = pq.ParquetFile(path, read_dictionary=["query_id", "item_id"])
        table = file.read(["query_id", "rank", "item_id", "grade"], use_threads=False)
        table = table.filter(pc.less_equal(table["rank"], depth)).combine_chunks()
        rank = table["rank"].to_numpy().astype(np.int64)
        grade = pc.fill_null(table["grade"].cast(pa.int8()), UNJUDGED).to_numpy()
        query_of_row, query_ids = _codes(table["query_id"])
        item_of_row, item_ids = _codes(table["item_id"])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    if len(rank) and rank.min() < 1:
        return None
    items = np.full((len(query_ids), depth), -1, dtype=np.int32)
    grades = np.full((len(query_ids), depth), UNJUDGED, dtype=np.int8)
    items[query_of_row, rank - 1] = item_of_row
    grades[query_of_row, rank - 1] = grade
    return Ranking(query_ids, item_ids, items, grades)


def read_histograms(path: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Similarity of judged pairs by grade: ``{"edges", "grades": [{"grade", "name", "counts"}]}``, or None.

    Args:
        path: The table.
        names: Of the grades, lowest first.
    """
    try:
        table = pq.ParquetFile(path).read(use_threads=False)
    except (OSError, ValueError, pa.ArrowException):
        return None
    if not {"grade", "low", "high", "count"} <= set(table.column_names) or not table.num_rows:
        return None
    grades = table["grade"].to_numpy()
    first = grades == grades[0]
    low, high = table["low"].to_numpy()[first], table["high"].to_numpy()[first]
    counts = {int(g): table["count"].to_numpy()[grades == g] for g in np.unique(grades)}
    if any(len(c) != len(low) for c in counts.values()):
        return None
    edges, counts = _zoom(np.append(low, high[-1]), counts)
    return {
        "edges": [round(float(e), 4) for e in edges],
        "grades": [
            {"grade": g, "name": str(names[g]) if 0 <= g < len(names) else f"grade {g}", "counts": c.tolist()}
            for g, c in counts.items()
        ],
    }


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Rows as places in a list of different texts, those that occur only, in the order of their first row."""
    chunk = column.combine_chunks()
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    used, first, rows = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    texts = encoded.dictionary.take(pa.array(used[order])).to_pylist()
    return place[rows], [str(text) for text in texts]


def _zoom(edges: np.ndarray, counts: Mapping[int, np.ndarray]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Cut empty bins off both ends, so that the shape fills the plot."""
    filled = np.flatnonzero(sum(counts.values()))
    if not len(filled):
        return edges, dict(counts)
    first, last = max(int(filled[0]) - 1, 0), min(int(filled[-1]) + 2, len(edges) - 1)
    return edges[first : last + 1], {g: c[first:last] for g, c in counts.items()}
