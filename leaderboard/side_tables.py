"""What stands in Parquet beside a result: values by query, the run, similarities by grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mr_st.leaderboard.plain import plain_names

__all__ = ["Queries", "Ranking", "read_histograms", "read_queries", "read_ranking", "side_file"]

UNJUDGED = -1
"""The grade, in a :class:`Ranking`, of an item that nobody judged."""

_ATTRIBUTES = ("locale", "kind", "traffic", "seen")
_DAMAGED = (OSError, ValueError, KeyError, OverflowError, pa.ArrowException)
_MOST_ROWS, _MOST_BINS, _MOST_PAIRS = 50_000_000, 100_000, 2**50


@dataclass(frozen=True, eq=False)
class Queries:
    """Values of one model by query.

    Args:
        ids: (n,) the queries, each once.
        values: Metric to float64 (n,), NaN where it is not defined.
        attributes: What is known of the queries (locale, kind, traffic, seen): (n,) texts, empty where unknown.
    """

    ids: pa.StringArray
    values: dict[str, np.ndarray]
    attributes: dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The first items of each query as one model ranks them.

    Args:
        query_ids: (n,) queries.
        item_ids: Different items, in no order that means something.
        items: int32 (n, depth), places in ``item_ids``; -1 where the list ends.
        grades: int8 (n, depth), -1 (``UNJUDGED``) where nobody judged.
    """

    query_ids: pa.StringArray
    item_ids: pa.StringArray
    items: np.ndarray
    grades: np.ndarray


def side_file(path: Path, split: str, name: str) -> Path:
    """The table ``name`` beside a result's JSON."""
    return path.with_name(f"{path.stem}.{split}.{name}.parquet")


def read_queries(
    path: Path, metrics: Sequence[str], wants_attributes: Callable[[pa.StringArray], bool] = lambda ids: True
) -> Queries | None:
    """The values of some metrics; None where the file is missing or damaged.

    Metrics that it lacks are left out, and so is a query that stands there again.

    Args:
        path: The table.
        metrics: To read.
        wants_attributes: Whether to read the attributes of these queries too.
    """
    try:
        file = _open(path)
        there = set(file.schema_arrow.names)
        wanted = [name for name in dict.fromkeys(metrics) if name in there]
        table = file.read(["query_id", *wanted], use_threads=False)
        ids = table["query_id"].combine_chunks().cast(pa.string())
        values = {name: _numbers(table[name]) for name in wanted if pa.types.is_floating(table[name].type)}
        names = [name for name in _ATTRIBUTES if name in there] if wants_attributes(ids) else []
        extra = file.read(names, use_threads=False) if names else table
        attributes = {name: _texts(extra[name]) for name in names}
    except _DAMAGED:
        return None
    if ids.null_count or len(ids.unique()) < len(ids):
        place = {query: row for row, query in reversed(list(enumerate(ids.to_pylist()))) if query is not None}
        rows = sorted(place.values())
        ids = ids.take(pa.array(rows, pa.int64()))
        values = {name: of_query[rows] for name, of_query in values.items()}
        attributes = {name: [of_query[row] for row in rows] for name, of_query in attributes.items()}
    return Queries(ids, values, attributes)


def read_ranking(path: Path, depth: int) -> Ranking | None:
    """The first ``depth`` items of each query; None where the file is missing or damaged."""
    try:
        file = _open(path, read_dictionary=["query_id", "item_id"])
        table = file.read(["query_id", "rank", "item_id", "grade"], use_threads=False).combine_chunks()
        rank = pc.fill_null(table["rank"].cast(pa.int64()), depth + 1).to_numpy()
        rows = np.flatnonzero(rank <= depth)
        grade = pc.fill_null(table["grade"].cast(pa.int8()), UNJUDGED).to_numpy()[rows]
        query_of_row, query_ids = _codes(table["query_id"], rows)
        item_of_row, item_ids = _codes(table["item_id"], rows)
    except _DAMAGED:
        return None
    place = rank[rows] - 1
    if len(place) and place.min() < 0:
        return None
    items = np.full((len(query_ids), depth), -1, dtype=np.int32)
    grades = np.full((len(query_ids), depth), UNJUDGED, dtype=np.int8)
    items[query_of_row, place] = item_of_row
    grades[query_of_row, place] = np.maximum(grade, UNJUDGED)
    return Ranking(query_ids, item_ids, items, grades)


def read_histograms(path: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Similarity of judged pairs by grade: ``{"edges", "grades": [{"grade", "name", "counts"}]}``, or None.

    Args:
        path: The table.
        names: Of the grades, lowest first.
    """
    try:
        table = _open(path, most_rows=_MOST_BINS).read(["grade", "low", "high", "count"], use_threads=False)
        grades = table["grade"].cast(pa.int8()).to_numpy()
        low, high = _numbers(table["low"]), _numbers(table["high"])
        count = table["count"].cast(pa.int64()).to_numpy()
    except _DAMAGED:
        return None
    if not len(grades) or grades.min() < 0 or count.min() < 0 or count.max() > _MOST_PAIRS:
        return None
    first = grades == grades[0]
    edges = np.append(low[first], high[first][-1])
    counts = {int(g): count[grades == g] for g in np.unique(grades)}
    if not (np.diff(edges) > 0).all() or any(len(c) != len(edges) - 1 for c in counts.values()):
        return None
    edges, counts = _zoom(edges, counts)
    return {
        "edges": [round(float(e), 4) for e in edges],
        "grades": [
            {"grade": g, "name": str(names[g]) if g < len(names) else f"grade {g}", "counts": c.tolist()}
            for g, c in counts.items()
        ],
    }


def _open(path: Path, most_rows: int = _MOST_ROWS, **options: Any) -> pq.ParquetFile:
    """A Parquet file; raises one of ``_DAMAGED`` where there is none, or one of far more rows than a result has."""
    if not path.is_file():
        raise FileNotFoundError(path)
    file = pq.ParquetFile(pa.memory_map(str(path)), pre_buffer=False, **options)
    if file.metadata.num_rows > most_rows:
        raise ValueError(f"{file.metadata.num_rows} rows")
    return file


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """float64, NaN where the column holds no finite number."""
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Plain texts, empty where the column holds none; ids that are numbers as texts too."""
    return plain_names(["" if value is None else str(value) for value in column.cast(pa.string()).to_pylist()])


def _codes(column: pa.ChunkedArray, rows: np.ndarray) -> tuple[np.ndarray, pa.StringArray]:
    """Some rows as places among different texts, those that occur only."""
    chunk = column.combine_chunks()
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    if encoded.null_count or encoded.dictionary.null_count:
        raise ValueError("a row without an id")
    codes = encoded.indices.to_numpy()[rows]
    occurs = np.zeros(len(encoded.dictionary), dtype=bool)
    occurs[codes] = True
    place = np.cumsum(occurs) - 1
    return place[codes], encoded.dictionary.filter(pa.array(occurs)).cast(pa.string())


def _zoom(edges: np.ndarray, counts: Mapping[int, np.ndarray]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Cut empty bins off both ends, so that the shape fills the plot."""
    filled = np.flatnonzero(sum(counts.values()))
    if not len(filled):
        return edges, dict(counts)
    first, last = max(int(filled[0]) - 1, 0), min(int(filled[-1]) + 2, len(edges) - 1)
    return edges[first : last + 1], {g: c[first:last] for g, c in counts.items()}
