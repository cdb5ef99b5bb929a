"""What stands in Parquet beside a result: values by query, the run, similarities by grade."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.leaderboard.plain import plain_names
from mr_st.leaderboard.tables import DAMAGED, read_columns, read_many

__all__ = ["Queries", "Ranking", "read_attributes", "read_histograms", "read_queries", "read_rankings", "side_file"]

UNJUDGED = -1
"""The grade, in a :class:`Ranking`, of an item that nobody judged."""

_ATTRIBUTES = ("locale", "kind", "traffic", "seen")
_RUN = {"query_id": pl.String(), "rank": pl.Int32(), "item_id": pl.String(), "grade": pl.Int8()}
_SIMILARITIES = {"grade": pl.Int8(), "low": pl.Float64(), "high": pl.Float64(), "count": pl.Int64()}
_MOST_BINS, _MOST_PAIRS = 100_000, 2**50


@dataclass(frozen=True, eq=False)
class Queries:
    """Values of one model by query.

    Args:
        ids: (n,) the queries, each once.
        values: Metric to float64 (n,), NaN where it is not defined.
    """

    ids: pa.StringArray
    values: dict[str, np.ndarray]


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


def read_queries(paths: Iterable[Path], metrics: Sequence[str]) -> Iterator[Queries | None]:
    """The values of some metrics, of each file; None where it is missing or damaged.

    Metrics that a file lacks are left out, and so is a query that stands there again.
    """
    columns = {"query_id": pl.String(), **dict.fromkeys(metrics, pl.Float64())}
    return (_queries(table, metrics) for table in read_many(paths, columns))


def read_attributes(path: Path) -> dict[str, dict[str, str]]:
    """What one file knows of its queries (locale, kind, traffic, seen): name to query to a text, empty if unknown."""
    table = read_columns(path, ["query_id", *_ATTRIBUTES])
    try:
        ids = _column(table, "query_id").cast(pa.string()).to_pylist()
        found = {
            name: _texts(_column(table, name))
            for name in _ATTRIBUTES
            if table is not None and name in table.column_names
        }
    except DAMAGED:
        return {}
    pairs = {name: reversed(list(zip(ids, texts, strict=True))) for name, texts in found.items()}  # the first counts
    return {name: {query: text for query, text in of_query if query is not None} for name, of_query in pairs.items()}


def read_rankings(paths: Iterable[Path], depth: int) -> Iterator[Ranking | None]:
    """The first ``depth`` items of each query, of each file; None where it is missing or damaged."""
    return (_ranking(table, depth) for table in read_many(paths, _RUN, up_to=("rank", depth)))


def read_histograms(paths: Iterable[Path], names: Sequence[str]) -> Iterator[dict[str, Any] | None]:
    """Similarity of judged pairs by grade, of each file: ``{"edges", "grades": [{"grade", "name", "counts"}]}``.

    None where it is missing or damaged.

    Args:
        paths: Of the tables.
        names: Of the grades, lowest first.
    """
    return (_histograms(table, names) for table in read_many(paths, _SIMILARITIES))


def _queries(table: pa.Table | None, metrics: Sequence[str]) -> Queries | None:
    try:
        ids = _column(table, "query_id").combine_chunks().cast(pa.string())
        known = () if table is None else table.column_names
        columns = {name: _column(table, name) for name in metrics if name in known}
        values = {
            name: _numbers(column)
            for name, column in columns.items()
            if pa.types.is_floating(column.type) and column.null_count < len(column)
        }
    except DAMAGED:
        return None
    if ids.null_count or len(ids.unique()) < len(ids):
        place = {query: row for row, query in reversed(list(enumerate(ids.to_pylist()))) if query is not None}
        rows = sorted(place.values())
        ids = ids.take(pa.array(rows, pa.int64()))
        values = {name: of_query[rows] for name, of_query in values.items()}
    return Queries(ids, values)


def _ranking(table: pa.Table | None, depth: int) -> Ranking | None:
    try:
        place = _column(table, "rank").cast(pa.int64()).to_numpy() - 1
        grade = np.full(len(place), UNJUDGED, dtype=np.int8)
        if table is not None and "grade" in table.column_names:
            grade = pc.fill_null(table["grade"].cast(pa.int8()), UNJUDGED).to_numpy()
        query_of_row, query_ids = _codes(_column(table, "query_id"))
        item_of_row, item_ids = _codes(_column(table, "item_id"))
    except DAMAGED:
        return None
    if len(place) and place.min() < 0:
        return None
    items = np.full((len(query_ids), depth), -1, dtype=np.int32)
    grades = np.full((len(query_ids), depth), UNJUDGED, dtype=np.int8)
    items[query_of_row, place] = item_of_row
    grades[query_of_row, place] = np.maximum(grade, UNJUDGED)
    return Ranking(query_ids, item_ids, items, grades)


def _histograms(table: pa.Table | None, names: Sequence[str]) -> dict[str, Any] | None:
    try:
        grades = _whole(table, "grade").cast(pa.int8()).to_numpy()
        low, high = _numbers(_column(table, "low")), _numbers(_column(table, "high"))
        count = _whole(table, "count").cast(pa.int64()).to_numpy()
    except DAMAGED:
        return None
    if not 0 < len(grades) <= _MOST_BINS or grades.min() < 0 or count.min() < 0 or count.max() > _MOST_PAIRS:
        return None
    first = grades == grades[0]
    edges = np.append(low[first], high[first][-1])
    counts = {int(g): count[grades == g] for g in np.unique(grades)}
    if not (np.diff(edges) > 0).all() or any(len(c) != len(edges) - 1 for c in counts.values()):
        return None
    edges, counts = _zoom(edges, counts)
    return {
        "edges": edges.round(4).tolist(),
        "grades": [
            {"grade": g, "name": str(names[g]) if g < len(names) else f"grade {g}", "counts": c.tolist()}
            for g, c in counts.items()
        ],
    }


def _column(table: pa.Table | None, name: str) -> pa.ChunkedArray:
    if table is None:
        raise KeyError(name)
    return table[name]


def _whole(table: pa.Table | None, name: str) -> pa.ChunkedArray:
    column = _column(table, name)
    if column.null_count:
        raise ValueError(f"{name} lacks values")
    return column


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """float64, NaN where the column holds no finite number."""
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Plain texts, empty where the column holds none; ids that are numbers as texts too."""
    return plain_names(["" if value is None else str(value) for value in column.cast(pa.string()).to_pylist()])


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.StringArray]:
    """Rows as places among their different texts."""
    encoded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    if encoded.null_count:
        raise ValueError("a row without an id")
    return encoded.indices.to_numpy(), encoded.dictionary


def _zoom(edges: np.ndarray, counts: Mapping[int, np.ndarray]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Cut empty bins off both ends, so that the shape fills the plot."""
    filled = np.flatnonzero(sum(counts.values()))
    if not len(filled):
        return edges, dict(counts)
    first, last = max(int(filled[0]) - 1, 0), min(int(filled[-1]) + 2, len(edges) - 1)
    return edges[first : last + 1], {g: c[first:last] for g, c in counts.items()}
