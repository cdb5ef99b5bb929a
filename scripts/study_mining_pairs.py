"""The arms of study_mining.py as pairs: what each kind of miner adds to the judgments, the same number a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset
    from mr_st.mining import RefinementSet

ANNOTATED, NAIVE, DRAWN, REGRADED, RANDOM, ORIGINAL = (
    "re-annotated", "naive, highest-ranked", "naive, drawn", "the naive pairs, graded", "random items", "none",
)  # fmt: skip
TITLES = {
    ANNOTATED: "re-annotated (`mine`)",
    NAIVE: "naive: the highest-ranked unjudged, called 0",
    DRAWN: "naive: drawn from the unjudged top k (ANCE), called 0",
    REGRADED: "the pairs of the first naive arm, with the annotator's grades",
    RANDOM: "random unjudged items, called 0",
    ORIGINAL: "no mining: original judgments",
}


def first_of_each(groups: np.ndarray, priorities: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """Of each group as many members as it has budget, those with the smallest priority first.

    Args:
        groups: int (n,), each in ``0 .. len(budgets) - 1``.
        priorities: (n,); of equal ones the earlier member goes first.
        budgets: int (G,).

    Returns:
        bool (n,).

    Example:
        >>> first_of_each(np.array([0, 0, 1, 1]), np.array([5, 3, 1, 2]), np.array([1, 2])).tolist()
        [False, True, True, True]
    """
    order = np.lexsort((np.arange(len(groups)), priorities, groups))
    sorted_groups = groups[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_groups, sorted_groups)
    taken = np.zeros(len(groups), dtype=bool)
    taken[order[place < budgets[sorted_groups]]] = True
    return taken


def false_negatives(counts: Mapping[str, Any]) -> dict[str, Any]:
    """How many unjudged pairs of the top k, which a naive miner calls negatives, are none, by rank.

    Args:
        counts: What a refinement report says of its ``pairs``.

    Returns:
        JSON-ready: ``deciles`` (each with ``ranks``, first and last), ``to_boundary`` and ``to_k``, each with pairs,
        how many are above grade 0, and the share of those with its interval over queries; deciles also by grade.
    """

    def share(row: Mapping[str, Any]) -> dict[str, Any]:
        interval = {"value": row["share_positive"], "low": row["low"], "high": row["high"], "n": row["queries"]}
        return {"pairs": row["pairs"], "positive": row["positive"], "share": interval}

    naive = counts["would_be_negatives"]
    return {
        "deciles": [
            {"ranks": [row["first_rank"], row["last_rank"]], "by_grade": row["by_grade"], **share(row)}
            for row in counts["by_rank_decile"]
        ],
        "to_boundary": {"ranks": [1, counts["last_negative_rank"]], **share(naive["to_boundary"])},
        "to_k": {"ranks": [1, counts["k"]], **share(naive["to_k"])},
    }


def arms_of(
    mined: RefinementSet, everything: RefinementSet, annotator: Annotator, seed: int = 0
) -> tuple[dict[str, GradedDataset], dict[str, Any]]:
    """The training data of every arm, and what the pairs of each are.

    Each query gets in every arm as many pairs as re-annotation took for it.

    Args:
        mined: The miner's own round.
        everything: All unjudged pairs of the same top k (a round whose annotator says 0 to all, boundary 1).
        annotator: Knows the true grades.
        seed: Of the drawn and random pairs.
    """
    dataset, pairs = mined.dataset, everything.table
    query_rows = dataset.query_rows(pairs["query_id"].to_pylist())
    mined_rows = dataset.query_rows(mined.table["query_id"].to_pylist())
    budgets = np.bincount(mined_rows, minlength=len(dataset.queries))
    ranks = pairs["rank"].to_numpy()
    grades = grades_of(annotator, dataset, pairs)
    rng = np.random.default_rng(seed)
    naive = first_of_each(query_rows, ranks, budgets)
    drawn = first_of_each(query_rows, rng.random(len(ranks)), budgets)
    tables = {
        ANNOTATED: mined.table,
        NAIVE: pairs.filter(pa.array(naive)),
        DRAWN: pairs.filter(pa.array(drawn)),
        REGRADED: _with(pairs, "grade", pa.array(grades)).filter(pa.array(naive)),
        RANDOM: _with_random_items(pairs.filter(pa.array(naive)), dataset, mined.split, rng),
    }
    data = {name: replace(mined, table=table).to_dataset() for name, table in tables.items()}
    facts: dict[str, Any] = {name: _facts(annotator, dataset, table) for name, table in tables.items()}
    facts[ORIGINAL] = {"pairs": 0}
    return {**data, ORIGINAL: dataset}, facts


def grades_of(annotator: Annotator, dataset: GradedDataset, pairs: pa.Table) -> np.ndarray:
    """The annotator's grades of pairs, int8 (n,)."""
    queries = dataset.query_rows(pairs["query_id"].to_pylist())
    items = dataset.item_rows(pairs["item_id"].to_pylist())
    return annotator.grade(dataset.pair_table(queries, items)).grades


def _facts(annotator: Annotator, dataset: GradedDataset, table: pa.Table) -> dict[str, Any]:
    """How many pairs are given each grade, and how many of those given 0 are truly above it."""
    given, true = table["grade"].to_numpy(), grades_of(annotator, dataset, table)
    wrong = (given == 0) & (true > 0)
    return {
        "pairs": len(given),
        "queries": len(set(table["query_id"].to_pylist())),
        "by_grade": {str(g): int(n) for g, n in enumerate(np.bincount(given, minlength=dataset.scale.n_grades))},
        "false_negatives": int(wrong.sum()),
    }


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), column)


def _with_random_items(table: pa.Table, dataset: GradedDataset, split: str, rng: np.random.Generator) -> pa.Table:
    """The same number of pairs a query, each with another item that nobody judged for it, all different."""
    pool = np.unique(dataset.judged_pairs(split).item_rows)
    judged = dataset.judged_pairs()
    queries = dataset.query_rows(table["query_id"].to_pylist())
    items = np.empty(len(queries), dtype=np.int64)
    for query in np.unique(queries):
        known = judged.item_rows[judged.offsets[query] : judged.offsets[query + 1]]
        places = np.flatnonzero(queries == query)
        items[places] = rng.choice(np.setdiff1d(pool, known), size=len(places), replace=False)
    ids = dataset.items["item_id"][:]
    return _with(table, "item_id", pa.array([ids[row] for row in items], pa.string()))
