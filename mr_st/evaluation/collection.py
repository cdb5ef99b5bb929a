"""What one evaluation searches and judges: texts, ids and judgments of a split, as arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.attributes import matching, query_attributes
from mr_st.grades import GradeScale
from mr_st.measures import Judged
from mr_st.text import pair_overlaps

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["Collection"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Collection:
    """The queries of a split, the items that are searched, and the judgments between them.

    Queries with no item above grade 0 cannot tell a good ranking from a bad one: they are left out and counted.
    Build it with :meth:`from_dataset`.

    Args:
        query_ids, query_texts: n queries.
        item_ids, item_texts: N items, every one of them searched.
        judged: Judgments; query i is ``query_ids[i]``, item row j is ``item_ids[j]``.
        scale: The grades and their gains.
        n_left_out: Queries of the split that were left out.
        protocol: What a reader of a figure must know: corpus, split, gains, item text, dataset.
        attributes: What slices are made of, a list (n,) each, None where unknown: see
            :func:`~mr_st.evaluation.attributes.query_attributes`.
        judged_pool: Whether each query is ranked over its own judged items only, and not over all items.
    """

    query_ids: list[str]
    query_texts: list[str]
    item_ids: list[str]
    item_texts: list[str]
    judged: Judged
    scale: GradeScale
    n_left_out: int
    protocol: dict[str, Any]
    attributes: dict[str, list[Any]] = field(default_factory=dict)
    judged_pool: bool = False

    @classmethod
    def from_dataset(
        cls,
        dataset: GradedDataset,
        split: str = "test",
        *,
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
        max_items: int | None = None,
        seed: int = 0,
        judged_pool: bool = False,
        gains: Sequence[float] | None = None,
    ) -> Collection:
        """The judgments of a split against the whole catalogue, or against a bounded part of it.

        Args:
            dataset: The judgments and the catalogue.
            split: Which judgments.
            item_text_levels, max_chars: How an item becomes a text (:func:`mr_st.data.format_item`).
            max_items: Search only this many items: all items that the split judges (even if they are more), then
                randomly chosen others. None searches every item.
            seed: Seed of that choice.
            judged_pool: Rank each query's own judged items only. Figures of a judged pool and of a full catalogue are
                never comparable.
            gains: The gain of each grade, lowest first; None for the dataset's own.

        Raises:
            UsageError: no such split, an empty catalogue, or no query with an item above grade 0.
        """
        from mr_st.data.schema import arrow_table

        if not len(dataset.items):
            raise UsageError(f"{dataset.name}: the catalogue has no item to search; add rows to items")
        pairs = dataset.judged_pairs(split)
        everything = Judged.from_pairs(pairs.query_rows, pairs.item_rows, pairs.grades, len(dataset.queries))
        query_rows = np.flatnonzero(everything.count_at_least(1))
        n_left_out = int(np.count_nonzero(everything.per_query)) - len(query_rows)
        if not len(query_rows):
            raise UsageError(
                f"{dataset.name}, split {split!r}: no query has an item above grade 0, so no ranking can be judged; "
                "add judgments or choose another split"
            )
        if n_left_out:
            logger.info(
                "%s, split %s: %d queries without an item above grade 0 left out", dataset.name, split, n_left_out
            )
        judged = everything.take(query_rows)
        item_texts = dataset.item_texts(item_text_levels, max_chars)
        item_ids = arrow_table(dataset.items)["item_id"].to_pylist()
        query_ids = arrow_table(dataset.queries)["query_id"].to_pylist()
        query_texts = dataset.query_texts()
        scale = dataset.scale if gains is None else _rescaled(dataset.scale, gains)
        n_items, corpus = len(item_ids), "full catalogue"
        if judged_pool:
            max_items = len(np.unique(judged.items))
        if max_items is not None and max_items < n_items:
            item_rows = _bounded(judged, n_items, max_items, seed)
            judged = Judged(judged.offsets, np.searchsorted(item_rows, judged.items), judged.grades)
            item_ids, item_texts = [item_ids[r] for r in item_rows], [item_texts[r] for r in item_rows]
            corpus = f"judged items and random others (seed {seed})"
        if judged_pool:
            corpus = "judged pool"
        protocol = {
            "corpus": corpus,
            "n_items": len(item_ids),
            "n_items_in_catalogue": n_items,
            "split": split,
            "n_queries": len(query_rows),
            "n_queries_left_out": n_left_out,
            "n_judged_pairs": judged.n_pairs,
            "grades": list(scale.names),
            "gains": list(scale.gains),
            "item_text": {"levels": item_text_levels, "max_chars": max_chars},
            "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        }
        return cls(
            [query_ids[r] for r in query_rows], [query_texts[r] for r in query_rows],
            item_ids, item_texts, judged, scale, n_left_out, protocol,
            query_attributes(dataset, query_rows, split), judged_pool,
        )  # fmt: skip

    @property
    def n_queries(self) -> int:
        """How many queries are evaluated."""
        return len(self.query_ids)

    def rows_where(self, where: Mapping[str, str]) -> np.ndarray:
        """Rows of the queries with all the attributes asked for (:meth:`GradedReport.take
        <mr_st.evaluation.GradedReport.take>`), int64, ascending; there may be none.

        Raises:
            UsageError: an attribute that the queries have not.
        """
        return np.flatnonzero(matching(self.attributes, where))

    def overlaps(self) -> np.ndarray:
        """Token overlap of each judged pair, float64 (m,), in the order of ``judged``; counted once."""
        return self._overlaps

    @cached_property
    def _overlaps(self) -> np.ndarray:
        return pair_overlaps(self.query_texts, self.item_texts, self.judged.query_of_pair, self.judged.items)


def _rescaled(scale: GradeScale, gains: Sequence[float]) -> GradeScale:
    try:
        return GradeScale(scale.names, tuple(gains))
    except ValueError as error:
        raise UsageError(f"gains {list(gains)} do not fit the grades {scale}: {error}") from error


def _bounded(judged: Judged, n_items: int, max_items: int, seed: int) -> np.ndarray:
    """Rows of all judged items and of random others, ascending."""
    if max_items < 1:
        raise UsageError(f"max_items must be 1 or more, got {max_items}")
    needed = np.unique(judged.items)
    others = np.setdiff1d(np.arange(n_items), needed, assume_unique=True)
    n_others = max(0, max_items - len(needed))
    chosen = np.random.default_rng(seed).choice(others, size=min(n_others, len(others)), replace=False)
    return np.sort(np.concatenate([needed, chosen]))
