"""What is wrong with pairs and queries that repeat, and with pairs that join what does not belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.validation_ids import whole_rows
from mr_st.data.validation_locales import language_of
from mr_st.data.validation_rules import ROW, Tally, listed, shown
from mr_st.errors import Problem

__all__ = ["find_pairs_of_two_languages", "find_query_texts_that_repeat", "find_repeated_pairs", "rows_of"]


def rows_of(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> np.ndarray:
    """int64 (n,) first row of each id in ``known``; -1 where it is not there or null."""
    # one call for all chunks: each call hashes ``known`` anew
    found = pc.index_in(ids, value_set=known.combine_chunks(), skip_nulls=True)
    return pc.fill_null(found, -1).to_numpy().astype(np.int64)


def find_repeated_pairs(table: pa.Table, where: str, grade: str | None) -> Iterator[Problem]:
    """Pairs that stand more than once.

    Args:
        table: Judgments or engagement.
        where: What to call it.
        grade: Name of the column that must not differ, or None where the table has none.
    """
    at = np.flatnonzero(_is_repeated(table))
    if not len(at):
        return
    some = table.take(pa.array(at))
    pair = ["query_id", "item_id"]
    frame = pl.DataFrame(some).with_columns(pl.Series(ROW, at + 1), is_whole=whole_rows(some))
    compared = [ROW, *([] if grade is None else [grade, "split"])]
    first = [pl.col(name).first().over(pair).alias(f"first {name}") for name in compared]
    frame = frame.sort(ROW).with_columns(first).filter(pl.col(ROW) != pl.col(f"first {ROW}"))
    column = grade or "item_id"
    tallies = {
        rule: Tally(rule, where, column, mend)
        for rule, mend in {
            "contradicting pair": f"decide on one {grade}",
            "pair in two splits": "keep one of the rows: no pair may be in two splits",
            "duplicate row": "keep one of the rows (--fix does)",
            "repeated pair": "keep one of the rows",
        }.items()
    }
    is_other = pl.lit(False) if grade is None else pl.col(grade).ne_missing(pl.col(f"first {grade}"))
    is_moved = pl.lit(False) if grade is None else pl.col("split").ne_missing(pl.col("first split"))
    rule = (
        pl.when("is_whole").then(pl.lit("duplicate row"))
        .when(is_other).then(pl.lit("contradicting pair"))
        .when(is_moved).then(pl.lit("pair in two splits"))
        .otherwise(pl.lit("repeated pair"))
    )  # fmt: skip
    for (name,), group in frame.with_columns(rule=rule).group_by("rule", maintain_order=True):
        tally = tallies[str(name)]
        rows = group.head(tally.room).iter_rows(named=True)
        tally.add(((row[ROW], _repetition(row, tally.rule, grade)) for row in rows), group.height)
    for tally in tallies.values():
        yield from tally.problems()


def find_pairs_of_two_languages(
    judgments: pa.Table, query_rows: np.ndarray, item_rows: np.ndarray, queries: pa.Table, items: pa.Table, where: str
) -> Iterator[Problem]:
    """Judged pairs whose query and item have locales of two languages; an unknown locale goes with any."""
    query_codes, query_languages = _languages(queries["locale"])
    item_codes, item_languages = _languages(items["locale"])
    number: dict[str | None, int] = {None: -1}
    for name in (*query_languages, *item_languages):
        number.setdefault(name, len(number))
    known = np.flatnonzero((query_rows >= 0) & (item_rows >= 0))
    of_query = np.array([number[name] for name in query_languages], dtype=np.int64)[query_codes[query_rows[known]]]
    of_item = np.array([number[name] for name in item_languages], dtype=np.int64)[item_codes[item_rows[known]]]
    at = known[(of_query >= 0) & (of_item >= 0) & (of_query != of_item)]
    tally = Tally("pair of two languages", where, "item_id", "correct a locale, if the pair is not meant")
    shown_rows = at[: tally.room]
    found = (
        (int(row) + 1, f"the query is {query_languages[query_codes[query_rows[row]]]}, the item "
                       f"{item_languages[item_codes[item_rows[row]]]}")
        for row in shown_rows
    )  # fmt: skip
    tally.add(found, len(at))
    yield from tally.problems()


def find_query_texts_that_repeat(
    queries: pa.Table, judgments: pa.Table, query_rows: np.ndarray, where: str
) -> Iterator[Problem]:
    """Queries of one text and locale under several ids; worse where they are judged in different splits."""
    frame = pl.DataFrame(queries.select(["query_id", "text", "locale"])).with_row_index(ROW, offset=1)
    key = [pl.col("text").str.strip_chars().str.to_lowercase(), pl.col("locale")]
    frame = frame.with_columns(pl.struct(key).alias("key")).drop_nulls(["query_id", "text"])
    frame = frame.filter(pl.col("key").is_duplicated() & (pl.col("text").str.strip_chars().str.len_bytes() > 0))
    if frame.is_empty():
        return
    splits = pl.DataFrame({ROW: query_rows + 1, "split": pl.Series(judgments["split"])})
    splits = splits.filter(pl.col(ROW) > 0).group_by(ROW).agg(pl.col("split").unique().sort().alias("splits"))
    frame = frame.with_columns(pl.col(ROW).cast(pl.Int64)).join(splits, on=ROW, how="left", maintain_order="left")
    frame = frame.with_columns(
        pl.col("query_id").first().over("key").alias("first"),
        pl.col("splits").explode().drop_nulls().unique().sort().over("key", mapping_strategy="join").alias("all"),
        pl.col("query_id").n_unique().over("key").alias("n"),
    )
    later = frame.filter(pl.col("query_id") != pl.col("first"))
    leaks = pl.col("all").list.len() > 1
    yield from listed(
        "query text in two splits", later.filter(leaks), where, "text",
        lambda text, first, every: f"{shown(text)} is the text of {shown(first)} too; judged in {', '.join(every)}",
        "keep queries of one text in one split, or under one id", "text", "first", "all",
    )  # fmt: skip
    yield from listed(
        "repeated query", later.filter(~leaks.fill_null(False)), where, "text",
        lambda text, first: f"{shown(text)} is the text of {shown(first)} too", "join them under one id, if they "
        "mean the same", "text", "first",
    )  # fmt: skip


def _is_repeated(table: pa.Table) -> np.ndarray:
    """bool (n,): whose pair stands more than once. Ids are numbered first: that takes a tenth of the memory."""
    numbers = []
    for column in ("query_id", "item_id"):
        codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in
                 pc.dictionary_encode(table[column]).chunks]  # fmt: skip
        numbers.append(np.concatenate(codes).astype(np.int64) if codes else np.empty(0, dtype=np.int64))
    queries, items = numbers
    width = int(items.max(initial=0)) + 1
    is_whole = (queries >= 0) & (items >= 0)
    keys = np.where(is_whole, queries * width + items, -1)
    return pl.Series(keys).is_duplicated().to_numpy() & is_whole


def _repetition(row: dict[str, object], rule: str, grade: str | None) -> str:
    query, item = (i if isinstance(i, str) and i.isprintable() else repr(i) for i in (row["query_id"], row["item_id"]))
    what = f"the pair ({query:.60}, {item:.60}) stands in row {row[f'first {ROW}']:,} already"
    if rule == "contradicting pair":
        return f"{what}, with {grade} {row[f'first {grade}']} there and {row[str(grade)]} here"
    if rule == "pair in two splits":
        first, here = (
            s if isinstance(s, str) and s.isprintable() else repr(s) for s in (row["first split"], row["split"])
        )
        return f"{what}, in {first:.60} there and {here:.60} here"
    return f"{what}, with the same values" if rule == "duplicate row" else f"{what}, with other values beside it"


def _languages(locales: pa.ChunkedArray) -> tuple[np.ndarray, list[str | None]]:
    """int64 (n,) number of each row's locale, and the language of each number."""
    encoded = pc.dictionary_encode(pc.fill_null(locales, "und")).combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.to_numpy().astype(np.int64), [language_of(tag) for tag in encoded.dictionary.to_pylist()]
