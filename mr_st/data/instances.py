"""Training rows: a query with items of two or more grades, sampled so that every judged item is used in every epoch.

Source: arXiv 2602.17654, Eq. 1, whose formats (q,d2,d1,d0), (q,d2,d0), (q,d1,d0), (q,d2,d1) follow from the grades
that a query has; the sampling is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from datasets import Dataset

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.data.pairs import JudgedPairs, PairTable
from mr_st.data.spool import spool_table
from mr_st.errors import UsageError

__all__ = ["DEFAULT_CAPS", "INSTANCE_SCHEMA", "ResolveTexts", "build_instances"]

logger = logging.getLogger(__name__)

DEFAULT_CAPS: dict[int, int] = {2: 4, 1: 4, 0: 8}
"""The most items of each grade in one instance (ours); any grade that is not named here has 4."""

INSTANCE_SCHEMA = pa.schema(
    [
        ("epoch", pa.int32()),
        ("query_row", pa.int32()),
        ("item_rows", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int8())),
    ]
)
"""What an instance is on disk."""

_ANNOTATED_AT_ONCE = 20_000


class _Grader(Protocol):
    """What is asked of an annotator here (its full protocol stands a floor above)."""

    def grade(self, pairs: PairTable) -> Any:
        """Grade pairs; the answer has ``.grades``, int8 (n,)."""


def build_instances(
    dataset: GradedDataset,
    split: str = "train",
    epochs: int = 1,
    seed: int = 0,
    caps: Mapping[int, int] | None = None,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    annotator: _Grader | None = None,
    variants: Mapping[str, str] | None = None,
) -> Dataset:
    """Lay out the training rows of all epochs: ids in the table, texts on access.

    An instance holds up to ``caps[g]`` items of every grade ``g`` that its query has. A query with more items than
    that gives several instances; the items of its scarcer grades stand in each of them in turn. So every judged item
    of a query with two grades or more is used at least once an epoch, and no instance has one grade only or an item
    twice.

    Args:
        dataset: Where queries, items and judgments are.
        split: Which judgments to use.
        epochs: How many epochs to lay out; epoch e is drawn from ``(seed, e)`` alone.
        seed: A whole number from 0 up.
        caps: Grade -> the most items of it in one instance; :data:`DEFAULT_CAPS` stand in for grades not named.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        annotator: Grades random items for queries whose judgments all have one grade (as many as the cap of grade 0);
            without it, and where the graded items bring no second grade, such queries are left out and counted.
        variants: Query id -> a misspelling of that query, for ``SpellingConsistencyLoss``; see
            :func:`mr_st.augment.misspelt_variants`. Ids that have no instance here are passed over.

    Returns:
        The rows, those of epoch 0 first; above 64 MiB they are memory-mapped from a temporary file (see
        :func:`~mr_st.data.spool.spool_table`). A row or slice gives ``query: str``, ``items: list[str]``,
        ``labels: list[int]``, items of the highest grade first; with ``variants``, also ``variants:
        list[str]``, none or one. On disk (and through ``.with_format("numpy")``) the columns are epoch (int32),
        query_row (int32), item_rows (list of int32), labels (list of int8). The attributes ``left_out_queries`` and
        ``filled_queries`` count the one-grade queries.

    Raises:
        UsageError: an argument has no meaning, there is no such split, no query has two grades, or a variant is given
            for an id that no query has.

    Example:
        >>> dataset = GradedDataset.from_tables(
        ...     queries=[{"query_id": "q1", "text": "red mug"}],
        ...     items=[{"item_id": "a", "title": "Red mug"}, {"item_id": "b", "title": "Blue hat"}],
        ...     judgments=[
        ...         {"query_id": "q1", "item_id": "a", "grade": 2},
        ...         {"query_id": "q1", "item_id": "b", "grade": 0},
        ...     ],
        ... )
        >>> build_instances(dataset)[0]
        {'query': 'red mug', 'items': ['Red mug', 'Blue hat'], 'labels': [2, 0]}
    """
    if epochs < 1 or seed < 0:
        raise UsageError(f"build_instances: epochs={epochs}, seed={seed}; give epochs >= 1 and seed >= 0")
    variant_of_row = None
    if variants is not None:
        rows = dataset.query_rows(list(variants)).tolist()
        variant_of_row = dict(zip(rows, variants.values(), strict=True))
    n_grades = dataset.scale.n_grades
    cap = _caps(caps, n_grades)
    pairs = dataset.judged_pairs(split)
    single = _one_grade_queries(pairs)
    filled = np.empty(0, dtype=np.int32)
    if annotator is not None and len(single):
        extra = _graded_random_items(dataset, single, int(cap[0]), seed, annotator)
        pairs = JudgedPairs.from_rows(
            np.concatenate([pairs.query_rows, extra.query_rows]),
            np.concatenate([pairs.item_rows, extra.item_rows]),
            np.concatenate([pairs.grades, extra.grades]),
            pairs.n_queries,
        )
        filled = np.setdiff1d(single, _one_grade_queries(pairs))
    left_out = np.setdiff1d(single, filled)
    pairs = _without(pairs, left_out)
    if not len(pairs):
        where = f"{dataset.name}, split {split}"
        raise UsageError(f"{where}: no query has judgments of two grades or more; add judgments or an annotator")
    if len(left_out):
        reason = "no annotator was given" if annotator is None else "random items brought no second grade"
        logger.warning("%s, split %s: %d one-grade queries left out (%s)", dataset.name, split, len(left_out), reason)
    plan = _plan(pairs, cap, n_grades)
    tables = (_epoch(pairs, plan, seed, epoch) for epoch in range(epochs))
    instances = spool_table("instances", tables, schema=INSTANCE_SCHEMA)
    instances.info.description = (
        f"{len(instances):,} instances of {dataset.name}, split {split}, {epochs} epochs, seed {seed}; one-grade "
        f"queries: {len(filled):,} filled with graded random items, {len(left_out):,} left out"
    )
    instances.set_transform(ResolveTexts(dataset, item_text_levels, max_chars, variant_of_row))
    instances.left_out_queries = len(left_out)
    instances.filled_queries = len(filled)
    return instances


class ResolveTexts:
    """Turns instances of row numbers into texts, batch by batch; columns on their own are passed through as they are.

    Args:
        dataset: Where the texts are; they are shared, not copied.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        variants: Row of a query -> its misspelling; None: the texts have no column ``variants``.
    """

    def __init__(
        self,
        dataset: GradedDataset,
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
        variants: Mapping[int, str] | None = None,
    ):
        self.queries = dataset.queries.select_columns(["text"])
        self.items = dataset.items.select_columns(["title", "category_path"])
        self.item_text_levels = item_text_levels
        self.max_chars = max_chars
        self.variants = variants

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Resolve a batch of instances."""
        if not {"query_row", "item_rows", "labels"} <= batch.keys():
            return dict(batch)
        rows = np.unique(np.concatenate([np.asarray(r, dtype=np.int64) for r in batch["item_rows"]]))
        items = self.items[rows]
        texts = {
            row: format_item(title, path, self.item_text_levels, self.max_chars)
            for row, title, path in zip(rows.tolist(), items["title"], items["category_path"], strict=True)
        }
        resolved = {
            "query": list(self.queries[batch["query_row"]]["text"]),
            "items": [[texts[row] for row in rows] for rows in batch["item_rows"]],
            "labels": batch["labels"],
        }
        if self.variants is not None:  # lists: the stock trainer's model card takes no column with None in it
            resolved["variants"] = [[self.variants[row]] if row in self.variants else [] for row in batch["query_row"]]
        return resolved


class _Plan(NamedTuple):
    """What is the same in every epoch. A group is one query's judgments of one grade; best grade first."""

    group_of_pair: np.ndarray  # (n_pairs,)
    starts: np.ndarray  # (n_groups,) where a group's pairs start, once pairs are sorted by group
    sizes: np.ndarray  # (n_groups,)
    taken: np.ndarray  # (n_groups,) how many of the group stand in each instance
    n_instances: np.ndarray  # (n_groups,) how many instances the group's query gives
    first_instance: np.ndarray  # (n_groups,) the number of the first of them
    grades: np.ndarray  # (n_groups,)
    query_of_instance: np.ndarray


def _plan(pairs: JudgedPairs, cap: np.ndarray, n_grades: int) -> _Plan:
    key = pairs.query_rows.astype(np.int64) * n_grades + (n_grades - 1 - pairs.grades.astype(np.int64))
    groups, group_of_pair, sizes = np.unique(key, return_inverse=True, return_counts=True)
    grades = n_grades - 1 - groups % n_grades
    queries, query_of_group = np.unique(groups // n_grades, return_inverse=True)
    per_query = np.zeros(len(queries), dtype=np.int64)
    np.maximum.at(per_query, query_of_group, -(-sizes // cap[grades]))
    first = np.cumsum(per_query) - per_query
    return _Plan(
        group_of_pair,
        np.cumsum(sizes) - sizes,
        sizes,
        np.minimum(sizes, cap[grades]),
        per_query[query_of_group],
        first[query_of_group],
        grades,
        np.repeat(queries, per_query),
    )


def _epoch(pairs: JudgedPairs, plan: _Plan, seed: int, epoch: int) -> pa.Table:
    """One epoch: shuffle each group, then deal it out in turns, starting over where it is used up."""
    shuffle = np.random.default_rng([seed, epoch]).random(len(pairs))
    items = pairs.item_rows[np.lexsort((shuffle, plan.group_of_pair))]
    slots = plan.n_instances * plan.taken
    group = np.repeat(np.arange(len(slots)), slots)
    position = np.arange(slots.sum()) - np.repeat(np.cumsum(slots) - slots, slots)
    instance = plan.first_instance[group] + position // plan.taken[group]
    dealt = items[plan.starts[group] + position % plan.sizes[group]]
    order = np.argsort(instance, kind="stable")  # keeps the groups of an instance best grade first
    n = len(plan.query_of_instance)
    offsets = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(np.bincount(instance, minlength=n), out=offsets[1:])
    columns = [
        pa.array(np.full(n, epoch, dtype=np.int32)),
        pa.array(plan.query_of_instance.astype(np.int32)),
        pa.ListArray.from_arrays(offsets, pa.array(dealt[order].astype(np.int32))),
        pa.ListArray.from_arrays(offsets, pa.array(plan.grades[group][order].astype(np.int8))),
    ]
    return pa.table(columns, schema=INSTANCE_SCHEMA)


def _caps(caps: Mapping[int, int] | None, n_grades: int) -> np.ndarray:
    """int64 (n_grades,): the cap of each grade."""
    for grade, cap in (caps or {}).items():
        if grade not in range(n_grades) or cap < 1:
            raise UsageError(f"caps: {grade}: {cap}; name grades 0..{n_grades - 1} and give each a cap of 1 or more")
    given = DEFAULT_CAPS | dict(caps or {})
    return np.array([given.get(grade, 4) for grade in range(n_grades)], dtype=np.int64)


def _one_grade_queries(pairs: JudgedPairs) -> np.ndarray:
    """int32, ascending: queries whose judgments all have the same grade."""
    rows, starts = np.unique(pairs.query_rows, return_index=True)
    if not len(rows):
        return rows
    low = np.minimum.reduceat(pairs.grades, starts)
    high = np.maximum.reduceat(pairs.grades, starts)
    return rows[low == high]


def _without(pairs: JudgedPairs, query_rows: np.ndarray) -> JudgedPairs:
    keep = ~np.isin(pairs.query_rows, query_rows)
    return JudgedPairs(pairs.query_rows[keep], pairs.item_rows[keep], pairs.grades[keep], pairs.n_queries)


def _graded_random_items(
    dataset: GradedDataset, query_rows: np.ndarray, n_each: int, seed: int, annotator: _Grader
) -> JudgedPairs:
    """Up to ``n_each`` random items for each query, none judged for it in ANY split, graded by the annotator."""
    n_items = len(dataset.items)
    rng = np.random.default_rng([seed, 0, 1])  # three numbers: never the stream of an epoch
    queries = np.repeat(query_rows.astype(np.int64), 2 * n_each)  # twice as many, so that dropping some leaves enough
    items = rng.integers(n_items, size=len(queries))
    judged = dataset.judged_pairs()
    known = judged.query_rows.astype(np.int64) * n_items + judged.item_rows
    drawn = queries * n_items + items
    first_time = np.zeros(len(drawn), dtype=bool)
    first_time[np.unique(drawn, return_index=True)[1]] = True
    fresh = np.flatnonzero(first_time & ~np.isin(drawn, known))
    queries, items = queries[fresh], items[fresh]
    rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
    queries, items = queries[rank < n_each], items[rank < n_each]
    grades = np.empty(len(queries), dtype=np.int8)
    for start in range(0, len(queries), _ANNOTATED_AT_ONCE):
        part = slice(start, start + _ANNOTATED_AT_ONCE)
        answer = np.asarray(annotator.grade(dataset.pair_table(queries[part], items[part])).grades)
        if answer.shape != grades[part].shape or ((answer < 0) | (answer >= dataset.scale.n_grades)).any():
            raise UsageError(
                f"the annotator answered {grades[part].size} pairs with {answer.size} grades or with grades outside "
                f"{dataset.scale}; check that it was made for this scale"
            )
        grades[part] = answer
    return JudgedPairs.from_rows(queries, items, grades, len(dataset.queries))
