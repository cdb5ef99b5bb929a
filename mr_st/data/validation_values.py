"""What is wrong with single values: nulls, locales, frequencies, sources of queries, grades, splits, counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.schema import SPLITS, TABLES
from mr_st.data.validation_locales import find_locale_fault
from mr_st.data.validation_rules import ROW, Tally, listed, shown
from mr_st.errors import Problem
from mr_st.grades import GradeScale

__all__ = ["find_engagement_faults", "find_judgment_faults", "find_query_faults", "find_shared_faults"]

KINDS = ("organic", "spelling", "synthetic")
_COUNTS = ("impressions", "clicks", "add_to_carts", "purchases")


def find_shared_faults(name: str, table: pa.Table, where: str) -> Iterator[Problem]:
    """Rules of every table: it has rows, its required columns have no null, its locales are languages."""
    if not table.num_rows and name != "engagement":
        what, mend = ("no rows", "give at least one row")
        if name == "items":
            what, mend = ("the catalogue is empty", "give the items that can be searched")
        yield Problem(where, what, mend, rule="empty table")
    for column in TABLES[name]:
        values = table[column.name]
        if not column.nullable and values.null_count:
            wrong = np.flatnonzero(pc.is_null(values).to_numpy())
            tally = Tally("null", where, column.name, "fill it in")
            tally.add(((int(row) + 1, "empty (null)") for row in wrong), len(wrong))
            yield from tally.problems()
    if name == "items":
        yield from _null_levels(table["category_path"], where)
    if "locale" in table.column_names:
        yield from _locales(table["locale"], where)


def find_query_faults(queries: pa.Table, where: str) -> Iterator[Problem]:
    """Empty texts, frequencies that are none, and sources that are no query or lead back to the query itself."""
    frame = _frame(queries, ["query_id", "text", "frequency", "source_query_id"])
    wrong = frame.filter(pl.col("text").str.strip_chars().str.len_bytes() == 0)
    yield from listed(
        "empty query", wrong, where, "text", lambda _: "the query is an empty text", "remove it with its judgments"
    )
    wrong = frame.filter((pl.col("frequency") < 0) | ~pl.col("frequency").is_finite())
    yield from listed(
        "frequency out of range", wrong, where, "frequency", lambda f: f"{f} where a number from 0 up is expected",
        "correct it",
    )  # fmt: skip
    derived = frame.drop_nulls("source_query_id")
    if derived.is_empty():
        return
    known = frame.select(pl.col("query_id").alias("source_query_id")).drop_nulls().unique()
    wrong = derived.join(known, on="source_query_id", how="anti", maintain_order="left")
    yield from listed(
        "unknown source query", wrong, where, "source_query_id", lambda q: f"{shown(q)} is no query_id",
        "add that query or use null",
    )  # fmt: skip
    circular = _circular(dict(derived.drop_nulls("query_id").select("query_id", "source_query_id").iter_rows()))
    yield from listed(
        "circular source", derived.filter(pl.col("query_id").is_in(circular)), where, "source_query_id",
        lambda query, source: f"{shown(query)} is derived from "
        + ("itself" if query == source else f"{shown(source)}, which is derived from it"),
        "name the query that came first, or use null", "query_id", "source_query_id",
    )  # fmt: skip


def find_unknown_kinds(queries: pa.Table, where: str) -> Iterator[Problem]:
    """Kinds of queries that no part of the project knows."""
    frame = _frame(queries, ["kind"])
    wrong = frame.filter(~pl.col("kind").is_in(KINDS))
    yield from listed(
        "unknown kind", wrong, where, "kind", lambda k: f"{shown(k)} is a kind that no part of mr-st knows",
        f"use one of {', '.join(KINDS)}, if it is one",
    )  # fmt: skip


def find_judgment_faults(judgments: pa.Table, scale: GradeScale, where: str) -> Iterator[Problem]:
    """Grades, splits and confidences that are none."""
    frame = _frame(judgments, ["grade", "split", "confidence"])
    wrong = frame.filter((pl.col("grade") < 0) | (pl.col("grade") >= scale.n_grades))
    mend = f"map your labels to {', '.join(map(str, range(scale.n_grades)))}"
    yield from listed("grade outside the scale", wrong, where, "grade",
                      lambda g: f"grade {g} is outside the scale {scale}", mend)  # fmt: skip
    wrong = frame.filter(~pl.col("split").is_in(SPLITS))
    yield from listed("unknown split", wrong, where, "split", lambda s: f"{shown(s)} is no split",
                      f"use one of {', '.join(SPLITS)}")  # fmt: skip
    confidence = pl.col("confidence")
    wrong = frame.filter(confidence.is_not_null() & ~(confidence.is_between(0, 1) & confidence.is_not_nan()))
    yield from listed("confidence out of range", wrong, where, "confidence", lambda c: f"{c:g} is outside 0..1",
                      "give a probability or null")  # fmt: skip


def find_engagement_faults(engagement: pa.Table, where: str) -> Iterator[Problem]:
    """Counts that are none, and more clicks than impressions."""
    frame = _frame(engagement, list(_COUNTS))
    for column in _COUNTS:
        wrong = frame.filter(pl.col(column) < 0)
        yield from listed("count out of range", wrong, where, column, lambda n: f"{n} is below 0", "give a count")
    yield from _more("more clicks than impressions", frame, "clicks", "impressions", where)


def find_engagement_notices(engagement: pa.Table, where: str) -> Iterator[Problem]:
    """Counts that seldom are right: more carts than clicks, more purchases than carts."""
    frame = _frame(engagement, list(_COUNTS))
    yield from _more("engagement out of order", frame, "add_to_carts", "clicks", where)
    yield from _more("engagement out of order", frame, "purchases", "add_to_carts", where)


def _more(rule: str, frame: pl.DataFrame, upper: str, lower: str, where: str) -> Iterator[Problem]:
    """Rows where ``upper`` exceeds ``lower``, which it follows from; negative counts are another rule's."""
    wrong = frame.filter((pl.col(upper) > pl.col(lower)) & (pl.col(lower) >= 0))
    yield from listed(rule, wrong, where, upper, lambda u, n: f"{u:,} where there are {n:,} {lower}",
                      "correct the counts", upper, lower)  # fmt: skip


def _frame(table: pa.Table, columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(table.select(columns)).with_row_index(ROW, offset=1)


def _null_levels(paths: pa.ChunkedArray, where: str) -> Iterator[Problem]:
    tally = Tally("null", where, "category_path", "leave it out")
    start = 0
    for chunk in paths.chunks:
        levels = chunk.flatten()
        if levels.null_count:
            parents = chunk.value_parent_indices().to_numpy()
            wrong = np.unique(parents[pc.is_null(levels).to_numpy(zero_copy_only=False)])
            found = ((start + int(row) + 1, f"a level of {shown(chunk[int(row)].as_py())} is null") for row in wrong)
            tally.add(found, len(wrong))
        start += len(chunk)
    yield from tally.problems()


def _locales(locales: pa.ChunkedArray, where: str) -> Iterator[Problem]:
    tags = pc.unique(locales).to_pylist()
    for tag in sorted(tag for tag in tags if tag is not None):
        fault = find_locale_fault(tag)
        if fault is None:
            continue
        rule, what, mend = fault
        wrong = np.flatnonzero(pc.fill_null(pc.equal(locales, tag), False).to_numpy())
        tally = Tally(rule, where, "locale", mend)
        tally.add(((int(row) + 1, what) for row in wrong), len(wrong))
        yield from tally.problems()


def _circular(source_of: dict[str, str]) -> list[str]:
    """The queries that their own source leads back to."""
    circular: set[str] = set()
    done: set[str] = set()
    for start in source_of:
        path: dict[str, None] = {}
        query = start
        while query in source_of and query not in done and query not in path:
            path[query] = None
            query = source_of[query]
        if query in path:
            steps = list(path)
            circular.update(steps[steps.index(query) :])
        done.update(path)
    return sorted(circular)
