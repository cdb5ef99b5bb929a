"""Which retrieved pairs are worth training on: pure functions over arrays, one row a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mr_st.errors import UsageError

__all__ = ["Selection", "boundary_rank", "cap_per_query", "is_judged", "select_pairs"]


@dataclass(frozen=True, eq=False)
class Selection:
    """What became of n annotated pairs.

    Args:
        hard_negatives: bool (n,), taken: grade 0 although the model ranks them high.
        hard_positives: bool (n,), taken: grade 1 or more although the model ranks them low.
        unsure: bool (n,), dropped because the annotator's confidence was below the limit.
        capped: bool (n,), hard and sure enough, but over the query's cap.
    """

    hard_negatives: np.ndarray
    hard_positives: np.ndarray
    unsure: np.ndarray
    capped: np.ndarray

    @property
    def taken(self) -> np.ndarray:
        """bool (n,): hard negatives and hard positives."""
        return self.hard_negatives | self.hard_positives


def boundary_rank(k: int, boundary: float = 0.5) -> int:
    """The last rank, counted from 1, at which an irrelevant item is a hard negative: ``boundary * k``, rounded down.

    Args:
        k: How many items a query retrieves.
        boundary: In 0..1; paper: one half.

    Raises:
        UsageError: a boundary outside 0..1.

    Example:
        >>> boundary_rank(100), boundary_rank(5), boundary_rank(100, 0.29)
        (50, 2, 29)
    """
    if not 0 <= boundary <= 1:
        raise UsageError(f"boundary is {boundary}; it is a share of k, in 0..1")
    return int(boundary * k + 1e-9)  # 0.29 * 100 is 28.999999999999996


def is_judged(
    query_rows: np.ndarray, item_rows: np.ndarray, judged_query_rows: np.ndarray, judged_item_rows: np.ndarray
) -> np.ndarray:
    """Which of n pairs stand among m judged ones.

    Args:
        query_rows: int (n,).
        item_rows: int (n,), not negative.
        judged_query_rows: int (m,).
        judged_item_rows: int (m,), not negative.

    Returns:
        bool (n,).
    """
    width = 1 + max(int(item_rows.max(initial=0)), int(judged_item_rows.max(initial=0)))
    keys = query_rows.astype(np.int64) * width + item_rows
    return np.isin(keys, judged_query_rows.astype(np.int64) * width + judged_item_rows)


def cap_per_query(query_rows: np.ndarray, priorities: np.ndarray, mask: np.ndarray, cap: int | None) -> np.ndarray:
    """Keep of each query's masked pairs the ``cap`` with the smallest priority, the earlier of two that are equal.

    Args:
        query_rows: int (n,).
        priorities: (n,), smaller is kept first.
        mask: bool (n,), the pairs that compete.
        cap: 0 or more; None keeps all.

    Returns:
        bool (n,), a part of ``mask``.

    Example:
        >>> cap_per_query(np.array([0, 0, 0, 1]), np.array([3, 1, 2, 9]), np.array([True, True, True, True]), 2)
        array([False,  True,  True,  True])
    """
    if cap is None:
        return mask.copy()
    if cap < 0:
        raise UsageError(f"a cap of {cap} pairs a query; it must be 0 or more, or None for no cap")
    competing = np.flatnonzero(mask)
    order = competing[np.lexsort((competing, priorities[competing], query_rows[competing]))]
    rows = query_rows[order]
    place = np.arange(len(order)) - np.searchsorted(rows, rows)  # 0 for the first of each query
    kept = np.zeros_like(mask)
    kept[order[place < cap]] = True
    return kept


def select_pairs(
    query_rows: np.ndarray,
    ranks: np.ndarray,
    grades: np.ndarray,
    confidences: np.ndarray,
    *,
    last_negative_rank: int,
    min_confidence: float | None = None,
    max_negatives: int | None = None,
    max_positives: int | None = None,
) -> Selection:
    """Take hard negatives (grade 0, ranked at or above the boundary) and hard positives (grade >= 1, ranked below it).

    Caps keep the hardest of each query: the negatives ranked highest, the positives ranked lowest.

    Args:
        query_rows: int (n,).
        ranks: int (n,), from 1.
        grades: int (n,).
        confidences: float (n,), the probability of the grade.
        last_negative_rank: See :func:`boundary_rank`.
        min_confidence: Pairs below it are dropped (ours); None drops none.
        max_negatives: Hard negatives kept for one query; None for all (ours).
        max_positives: The same for hard positives.

    Source: arXiv 2602.17654, section 4.4; `reference/method.md`, stage 2.
    """
    unsure = np.zeros(len(ranks), dtype=bool) if min_confidence is None else ~(confidences >= min_confidence)
    negatives = (grades == 0) & (ranks <= last_negative_rank) & ~unsure
    positives = (grades >= 1) & (ranks > last_negative_rank) & ~unsure
    kept_negatives = cap_per_query(query_rows, ranks, negatives, max_negatives)
    kept_positives = cap_per_query(query_rows, -ranks, positives, max_positives)
    capped = (negatives & ~kept_negatives) | (positives & ~kept_positives)
    return Selection(kept_negatives, kept_positives, unsure, capped)
