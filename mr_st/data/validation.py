"""Every fault that the values of a dataset can have, found in one pass over its tables.

The rules and what each says: :data:`mr_st.data.validation_rules.RULES`. Tables are read column by column and texts in
batches, so that a memory-mapped catalogue of millions of items stays on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data import validation_ids as ids
from mr_st.data import validation_pairs as pairs
from mr_st.data import validation_texts as texts
from mr_st.data import validation_values as values
from mr_st.data.schema import TABLES, arrow_table
from mr_st.data.validation_rules import RULES, Rule, Tally
from mr_st.data.validation_texts import MAX_FIELD_BYTES
from mr_st.errors import Problem

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["MAX_FIELD_BYTES", "RULES", "ProblemGroup", "Rule", "find_notices", "find_problems", "group_problems"]

_HOMES = (("query_id", "queries"), ("item_id", "items"))


def find_problems(dataset: GradedDataset, suffix: str = "", max_field_bytes: int = MAX_FIELD_BYTES) -> list[Problem]:
    """All faults, table by table and rule by rule; empty when there is none.

    A missing column or a wrong type is found earlier: no ``GradedDataset`` has one. Of one rule and column the first
    1,000 faults are listed one by one, the rest is counted in one more line (its ``n_faults``).

    Args:
        dataset: The dataset.
        suffix: Appended to a table's name in the messages, e.g. ``.parquet`` for files.
        max_field_bytes: The largest text that passes, in bytes of UTF-8.
    """
    tables = _tables(dataset)
    problems: list[Problem] = []
    for name, table in tables.items():
        problems += values.find_shared_faults(name, table, name + suffix)
        problems += texts.find_text_faults(name, getattr(dataset, name), name + suffix, max_field_bytes)
    for column, home in _HOMES:
        problems += ids.find_id_faults(tables[home], column, home + suffix)
    problems += values.find_query_faults(tables["queries"], "queries" + suffix)
    problems += values.find_judgment_faults(tables["judgments"], dataset.scale, "judgments" + suffix)
    problems += pairs.find_repeated_pairs(tables["judgments"], "judgments" + suffix, "grade")
    if "engagement" in tables:
        problems += values.find_engagement_faults(tables["engagement"], "engagement" + suffix)
        problems += pairs.find_repeated_pairs(tables["engagement"], "engagement" + suffix, None)
    for name in ("judgments", "engagement"):
        for column, home in _HOMES if name in tables else ():
            known = tables[home][column]
            rows = pairs.rows_of(tables[name][column], known)
            problems += ids.find_unknown_ids(tables[name], column, rows, known, name + suffix, home + suffix)
    return problems


def find_notices(dataset: GradedDataset, suffix: str = "") -> list[Problem]:
    """What is no fault but seldom meant, such as a blank around a title; it never makes loading fail.

    Args:
        dataset: The dataset, with faults or without.
        suffix: As in :func:`find_problems`.
    """
    tables = _tables(dataset)
    queries, items, judgments = tables["queries"], tables["items"], tables["judgments"]
    notices: list[Problem] = []
    for name in tables:
        notices += texts.find_text_notices(name, getattr(dataset, name), name + suffix)
    for column, home in _HOMES:
        notices += ids.find_number_like_ids(tables[home], column, home + suffix)
    notices += values.find_unknown_kinds(queries, "queries" + suffix)
    query_rows = pairs.rows_of(judgments["query_id"], queries["query_id"])
    item_rows = pairs.rows_of(judgments["item_id"], items["item_id"])
    notices += pairs.find_query_texts_that_repeat(queries, judgments, query_rows, "queries" + suffix)
    notices += _unjudged(queries, query_rows, "queries" + suffix)
    notices += pairs.find_pairs_of_two_languages(
        judgments, query_rows, item_rows, queries, items, "judgments" + suffix
    )
    grades = pc.unique(judgments["grade"].drop_null())
    if judgments.num_rows > 1 and len(grades) == 1:
        what = f"all {judgments.num_rows:,} judgments have the grade {grades[0]}; nothing can be learnt from them"
        notices.append(Problem("judgments" + suffix, what, "judge pairs of other grades too", None, "grade",
                               "one grade only"))  # fmt: skip
    if "engagement" in tables:
        notices += values.find_engagement_notices(tables["engagement"], "engagement" + suffix)
    return notices


@dataclass(frozen=True)
class ProblemGroup:
    """The problems of one rule in one column of one table.

    Args:
        where: File or table.
        column: The column, or None.
        rule: Name of the rule; empty for problems that name none.
        n_faults: How many faults there are.
        problems: They, in the order found; beyond 1,000 the last one only counts the rest.
    """

    where: str
    column: str | None
    rule: str
    n_faults: int
    problems: tuple[Problem, ...]


def group_problems(problems: Iterable[Problem]) -> list[ProblemGroup]:
    """Problems grouped by table, rule and column, in the order in which the first of each was found.

    Problems that name no rule are grouped by their mend: it is the same for those of one kind.
    """
    groups: dict[tuple[str, str | None, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.where, problem.column, problem.rule or problem.mend), []).append(problem)
    return [
        ProblemGroup(where, column, of[0].rule, sum(p.n_faults for p in of), tuple(of))
        for (where, column, _), of in groups.items()
    ]


def _tables(dataset: GradedDataset) -> dict[str, pa.Table]:
    return {name: arrow_table(value) for name in TABLES if (value := getattr(dataset, name)) is not None}


def _unjudged(queries: pa.Table, query_rows: np.ndarray, where: str) -> Iterator[Problem]:
    is_judged = np.zeros(queries.num_rows, dtype=bool)
    is_judged[query_rows[query_rows >= 0]] = True
    at = np.flatnonzero(~is_judged & pc.is_valid(queries["query_id"]).to_numpy())
    tally = Tally("unjudged query", where, "query_id", "judge some of its items, if it is to be used")
    shown = queries["query_id"].take(pa.array(at[: tally.room])).to_pylist()
    found = zip((at[: tally.room] + 1).tolist(), (f"{i!r:.60} has no judgments" for i in shown), strict=True)
    tally.add(found, len(at))
    yield from tally.problems()
