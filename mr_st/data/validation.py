"""Every fault that the values of a dataset can have, found in one pass over its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from mr_st.data.schema import MAX_PROBLEMS, SPLITS, TABLES, arrow_table
from mr_st.errors import Problem

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset
    from mr_st.grades import GradeScale

__all__ = ["find_problems"]

_ROW = "__row__"


def find_problems(dataset: GradedDataset, suffix: str = "") -> list[Problem]:
    """All faults, table by table and rule by rule; empty when there is none.

    A missing column or a wrong type is found earlier: no ``GradedDataset`` has one. Of one rule and column the first
    1,000 faults are listed one by one, the rest is counted in one more line.

    Args:
        dataset: The dataset.
        suffix: Appended to a table's name in the messages, e.g. ``.parquet`` for files.
    """
    frames = {
        name: pl.DataFrame(arrow_table(value)).with_row_index(_ROW, offset=1)
        for name in TABLES
        if (value := getattr(dataset, name)) is not None
    }
    queries, items, judgments = frames["queries"], frames["items"], frames["judgments"]
    problems: list[Problem] = []
    for name, frame in frames.items():
        problems += _shared_rules(name, frame, name + suffix)
    problems += _unique(queries, "query_id", "queries" + suffix)
    problems += _unique(items, "item_id", "items" + suffix)
    problems += _empty_texts(queries, "queries" + suffix)
    problems += _judgment_rules(judgments, dataset.scale, "judgments" + suffix)
    problems += _repeated_pairs(judgments, "judgments" + suffix, "grade")
    if "engagement" in frames:
        problems += _engagement_rules(frames["engagement"], "engagement" + suffix)
        problems += _repeated_pairs(frames["engagement"], "engagement" + suffix, None)
    for name in ("judgments", "engagement"):
        for column, known, table in (("query_id", queries, "queries"), ("item_id", items, "items")):
            if name in frames:
                problems += _unknown_ids(frames[name], column, known, name + suffix, table + suffix)
    return problems


def _shared_rules(name: str, frame: pl.DataFrame, where: str) -> Iterator[Problem]:
    if frame.is_empty():
        what, mend = ("no rows", "give at least one row")
        if name == "items":
            what, mend = ("the catalogue is empty", "give the items that can be searched")
        if name != "engagement":
            yield Problem(where, what, mend)
    for column in TABLES[name]:
        if not column.nullable:
            wrong = frame.filter(pl.col(column.name).is_null())
            yield from _listed(wrong, where, column.name, lambda _: "empty (null)", "fill it in")
    if name == "items":
        wrong = frame.filter(pl.col("category_path").list.eval(pl.element().is_null()).list.any())
        yield from _listed(wrong, where, "category_path", lambda path: f"a level of {path} is null", "leave it out")


def _unique(frame: pl.DataFrame, column: str, where: str) -> Iterator[Problem]:
    wrong = frame.drop_nulls(column).with_columns(pl.col(_ROW).first().over(column).alias("first"))
    wrong = wrong.filter(pl.col(_ROW) != pl.col("first"))
    for row, value, first in wrong.select(_ROW, column, "first").head(MAX_PROBLEMS).iter_rows():
        yield Problem(where, f"{value!r} stands in row {first:,} already", "give each row its own id", row, column)
    yield from _rest(wrong, where, column, "ids that stand more than once")
    wrong = frame.filter(pl.col(column).str.strip_chars().str.len_bytes() == 0)
    yield from _listed(wrong, where, column, lambda _: "the id is an empty text", "give it an id")


def _empty_texts(queries: pl.DataFrame, where: str) -> Iterator[Problem]:
    wrong = queries.filter(pl.col("text").str.strip_chars().str.len_bytes() == 0)
    yield from _listed(wrong, where, "text", lambda _: "the query is an empty text", "remove it with its judgments")
    known = queries.select(pl.col("query_id").alias("source_query_id")).drop_nulls()
    wrong = queries.drop_nulls("source_query_id").join(known, on="source_query_id", how="anti", maintain_order="left")
    yield from _listed(
        wrong, where, "source_query_id", lambda q: f"{q!r} is no query_id", "add that query or use null"
    )
    wrong = queries.filter((pl.col("frequency") < 0) | ~pl.col("frequency").is_finite())
    yield from _listed(wrong, where, "frequency", lambda f: f"{f} where a number from 0 up is expected", "correct it")


def _judgment_rules(judgments: pl.DataFrame, scale: GradeScale, where: str) -> Iterator[Problem]:
    wrong = judgments.filter((pl.col("grade") < 0) | (pl.col("grade") >= scale.n_grades))
    mend = f"map your labels to {', '.join(map(str, range(scale.n_grades)))}"
    yield from _listed(wrong, where, "grade", lambda g: f"grade {g} is outside the scale {scale}", mend)
    wrong = judgments.filter(~pl.col("split").is_in(SPLITS))
    yield from _listed(
        wrong, where, "split", lambda s: f"{s!r} is no split", f"use one of {', '.join(SPLITS)}"
    )  # fmt: skip
    confidence = pl.col("confidence")
    wrong = judgments.filter(confidence.is_not_null() & ~(confidence.is_between(0, 1) & confidence.is_not_nan()))
    yield from _listed(wrong, where, "confidence", lambda c: f"{c:g} is outside 0..1", "give a probability or null")


def _engagement_rules(engagement: pl.DataFrame, where: str) -> Iterator[Problem]:
    for column in ("impressions", "clicks", "add_to_carts", "purchases"):
        wrong = engagement.filter(pl.col(column) < 0)
        yield from _listed(wrong, where, column, lambda n: f"{n} is below 0", "give a count")


def _repeated_pairs(frame: pl.DataFrame, where: str, value: str | None) -> Iterator[Problem]:
    """A pair that stands twice: with another ``value`` it contradicts itself, with the same it is superfluous."""
    pair = ["query_id", "item_id"]
    repeated = frame.drop_nulls(pair).filter(pl.struct(pair).is_duplicated())
    if repeated.is_empty():
        return
    repeated = repeated.with_columns(pl.col(_ROW).first().over(pair).alias("first"))
    if value:
        repeated = repeated.with_columns(pl.col(value).first().over(pair).alias("first_value"))
    wrong = repeated.filter(pl.col(_ROW) != pl.col("first"))
    for row in wrong.head(MAX_PROBLEMS).iter_rows(named=True):
        what = f"the pair ({row['query_id']}, {row['item_id']}) stands in row {row['first']:,} already"
        mend = "keep one of the rows"
        if value and row[value] != row["first_value"]:
            what += f", with {value} {row['first_value']} there and {row[value]} here"
            mend = f"decide on one {value}"
        yield Problem(where, what, mend, row[_ROW], value or "item_id")
    yield from _rest(wrong, where, value or "item_id", "pairs that stand more than once")


def _unknown_ids(
    frame: pl.DataFrame, column: str, known: pl.DataFrame, where: str, known_where: str
) -> Iterator[Problem]:
    wrong = frame.drop_nulls(column).join(
        known.select(column).drop_nulls(), on=column, how="anti", maintain_order="left"
    )
    mend = f"add it to {known_where} or remove the row"
    yield from _listed(wrong, where, column, lambda value: f"{value!r} is not in {known_where}", mend)


def _listed(wrong: pl.DataFrame, where: str, column: str, what: Callable[[Any], str], mend: str) -> Iterator[Problem]:
    """One problem for each row of ``wrong``; ``what`` says it from the value."""
    for row, value in wrong.select(_ROW, column).head(MAX_PROBLEMS).iter_rows():
        yield Problem(where, what(value), mend, row, column)
    yield from _rest(wrong, where, column, "faults like these")


def _rest(wrong: pl.DataFrame, where: str, column: str, what: str) -> Iterator[Problem]:
    if wrong.height > MAX_PROBLEMS:
        yield Problem(
            where, f"{wrong.height - MAX_PROBLEMS:,} more {what}", "mend them in the same way", column=column
        )
