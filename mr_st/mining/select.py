"""Which annotated pairs are worth training on: pure functions over arrays, one row a pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mr_st.errors import UsageError
from mr_st.mining.candidates import best_ranks, check_window, is_judged

__all__ = [
    "HardPairs",
    "Selection",
    "boundary_rank",
    "cap_pairs",
    "cap_per_query",
    "hard_pairs",
    "is_judged",
    "select_pairs",
]

Window = tuple[int, int | None]
"""First and last rank, from 1, both included; None for no end."""


@dataclass(frozen=True, eq=False)
class HardPairs:
    """Which of n annotated pairs are hard, before duplicates and caps.

    Args:
        negatives: bool (n,), grade 0 although some source ranks them high.
        positives: bool (n,), grade 1 or more although the model ranks them low, or did not retrieve them.
        unsure: bool (n,), dropped because the annotator's confidence was below the limit.
        priorities: int64 (n,), smaller is harder among a query's pairs of one kind: negatives best rank first,
            positives worst rank first, and those that the model did not retrieve before all others.
    """

    negatives: np.ndarray
    positives: np.ndarray
    unsure: np.ndarray
    priorities: np.ndarray


@dataclass(frozen=True, eq=False)
class Selection:
    """What became of n annotated pairs; no pair is in two of these.

    Args:
        hard_negatives: bool (n,), taken: grade 0 although a source ranks them high.
        hard_positives: bool (n,), taken: grade 1 or more although the model ranks them low.
        unsure: bool (n,), dropped because the annotator's confidence was below the limit.
        capped: bool (n,), hard and sure enough, but over one of the query's caps.
        near_positive: bool (n,), dropped: grade 0, but a near-duplicate of a judged positive of the query.
        twins: bool (n,), dropped: a near-duplicate of a harder pair of the query with the same grade.
    """

    hard_negatives: np.ndarray
    hard_positives: np.ndarray
    unsure: np.ndarray
    capped: np.ndarray
    near_positive: np.ndarray
    twins: np.ndarray

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
    order = competing[np.lexsort((priorities[competing], query_rows[competing]))]  # stable: earlier of equals first
    rows = query_rows[order]
    place = np.arange(len(order)) - np.searchsorted(rows, rows)  # 0 for the first of each query
    kept = np.zeros_like(mask)
    kept[order[place < cap]] = True
    return kept


def hard_pairs(
    ranks: np.ndarray,
    grades: np.ndarray,
    confidences: np.ndarray,
    *,
    last_negative_rank: int,
    negative_ranks: Window = (1, None),
    positive_ranks: Window = (1, None),
    min_confidence: float | Mapping[int, float] | None = None,
) -> HardPairs:
    """Find hard negatives (grade 0, some source ranks them at or above the boundary) and hard positives (grade >= 1,
    the model ranks them below it, or did not retrieve them at all).

    Args:
        ranks: int (n,) or (n, S), from 1, 0 where a source did not retrieve the pair; source 0 is the refined model.
        grades: int (n,), any ordered grades 0..G-1.
        confidences: float (n,), the probability of the grade.
        last_negative_rank: See :func:`boundary_rank`.
        negative_ranks: Of the hard negatives only those whose best rank is in this window (ours); it never widens
            what the boundary allows.
        positive_ranks: Of the hard positives only those that the model ranks in this window (ours); those that it
            did not retrieve count as ranked behind all others, so any last rank leaves them out.
        min_confidence: Pairs below it are dropped (ours); a mapping of grades has one limit a grade, and none for a
            grade that it does not name; None drops none.

    Raises:
        UsageError: a window that holds no rank, or a limit for something that is no grade.

    Source: arXiv 2602.17654, section 4.4; `reference/method.md`, stage 2.
    """
    check_window("negative_ranks", negative_ranks)
    check_window("positive_ranks", positive_ranks)
    unsure = _unsure(grades, confidences, min_confidence)
    best = best_ranks(ranks)
    of_model = ranks if ranks.ndim == 1 else ranks[:, 0]
    first, last = negative_ranks
    end = last_negative_rank if last is None else min(last, last_negative_rank)
    negatives = (grades == 0) & (best >= max(first, 1)) & (best <= end) & ~unsure
    missed = of_model == 0
    positives = (grades >= 1) & (missed | (of_model > last_negative_rank)) & ~unsure
    first, last = positive_ranks
    if first > 1:
        positives &= missed | (of_model >= first)
    if last is not None:
        positives &= ~missed & (of_model <= last)
    behind_all = -(np.iinfo(np.int32).max + 1)
    priorities = np.where(grades == 0, best, np.where(missed, behind_all, -of_model.astype(np.int64)))
    return HardPairs(negatives, positives, unsure, priorities.astype(np.int64, copy=False))


def _unsure(
    grades: np.ndarray, confidences: np.ndarray, min_confidence: float | Mapping[int, float] | None
) -> np.ndarray:
    """Below the limit, or no number at all."""
    if min_confidence is None:
        return np.zeros(len(grades), dtype=bool)
    if not isinstance(min_confidence, Mapping):
        return ~(confidences >= min_confidence)
    unsure = np.zeros(len(grades), dtype=bool)
    for grade, limit in min_confidence.items():
        if grade < 0 or not 0 <= limit <= 1:
            raise UsageError(f"min_confidence of grade {grade} is {limit}; a grade is 0 or more, a limit in 0..1")
        unsure |= (grades == grade) & ~(confidences >= limit)
    return unsure


def cap_pairs(
    query_rows: np.ndarray,
    grades: np.ndarray,
    hard: HardPairs,
    *,
    near_positive: np.ndarray | None = None,
    twins: np.ndarray | None = None,
    max_negatives: int | None = None,
    max_positives: int | None = None,
    max_by_grade: Mapping[int, int] | None = None,
) -> Selection:
    """Leave duplicates out, then keep the hardest pairs of each query up to its caps.

    Args:
        query_rows: int (n,).
        grades: int (n,).
        hard: From :func:`hard_pairs`.
        near_positive: bool (n,), see :func:`mr_st.mining.duplicates.near_positives`; of these, the hard negatives
            are dropped. Their grades stay as they are.
        twins: bool (n,), see :func:`mr_st.mining.duplicates.twins_of_harder`.
        max_negatives: Hard negatives kept for one query; None for all (ours).
        max_positives: The same for hard positives.
        max_by_grade: Pairs of a grade kept for one query (ours); a grade that is not named has no cap. These caps
            come before the two by kind.

    Raises:
        UsageError: a cap below 0, or one for something that is no grade.
    """
    nothing = np.zeros(len(grades), dtype=bool)
    suspicious = nothing if near_positive is None else near_positive & hard.negatives
    doubled = nothing if twins is None else twins & (hard.negatives | hard.positives) & ~suspicious
    negatives = hard.negatives & ~suspicious & ~doubled
    positives = hard.positives & ~doubled
    kept = [negatives, positives]
    for grade, cap in sorted((max_by_grade or {}).items()):
        if grade < 0:
            raise UsageError(f"max_by_grade names grade {grade}; grades are 0 or more")
        kind = 0 if grade == 0 else 1
        of_grade = kept[kind] & (grades == grade)
        within = cap_per_query(query_rows, hard.priorities, of_grade, cap)
        kept[kind] = (kept[kind] & ~of_grade) | within
    kept_negatives = cap_per_query(query_rows, hard.priorities, kept[0], max_negatives)
    kept_positives = cap_per_query(query_rows, hard.priorities, kept[1], max_positives)
    capped = (negatives & ~kept_negatives) | (positives & ~kept_positives)
    return Selection(kept_negatives, kept_positives, hard.unsure, capped, suspicious, doubled)


def select_pairs(
    query_rows: np.ndarray,
    ranks: np.ndarray,
    grades: np.ndarray,
    confidences: np.ndarray,
    *,
    last_negative_rank: int,
    negative_ranks: Window = (1, None),
    positive_ranks: Window = (1, None),
    min_confidence: float | Mapping[int, float] | None = None,
    max_negatives: int | None = None,
    max_positives: int | None = None,
    max_by_grade: Mapping[int, int] | None = None,
) -> Selection:
    """Take hard negatives and hard positives up to the caps, near-duplicates among them.

    :func:`hard_pairs` and then :func:`cap_pairs`; between the two, :mod:`mr_st.mining.duplicates` finds the
    near-duplicates where they are to be left out.

    Args:
        query_rows, ranks, grades, confidences, last_negative_rank, negative_ranks, positive_ranks: As for
            :func:`hard_pairs`.
        min_confidence: As for :func:`hard_pairs`.
        max_negatives, max_positives, max_by_grade: As for :func:`cap_pairs`.

    Source: arXiv 2602.17654, section 4.4; `reference/method.md`, stage 2.
    """
    hard = hard_pairs(
        ranks, grades, confidences, last_negative_rank=last_negative_rank, negative_ranks=negative_ranks,
        positive_ranks=positive_ranks, min_confidence=min_confidence,
    )  # fmt: skip
    return cap_pairs(
        query_rows, grades, hard,
        max_negatives=max_negatives, max_positives=max_positives, max_by_grade=max_by_grade,
    )  # fmt: skip
