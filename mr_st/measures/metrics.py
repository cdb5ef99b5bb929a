"""Ranking metrics over runs as arrays: one value a query, vectorised, no loops over queries.

A run is an array (n, K): row i holds what query i returned, best first. Grades below zero stand for items that
nobody judged or places that hold no item (:mod:`mr_st.measures.judged`); both gain nothing.

A cut-off ``k`` is one number, and the answer is (n,); or several, in any order, and it is (n, len(k)), for little more
than the price of one; or None, where that is allowed, for the whole run. The figures are trec_eval's
(:mod:`mr_st.measures.trec` gives its order of ties).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["average_precision", "judged_share", "ndcg", "precision", "recall", "reciprocal_rank"]


def ndcg(
    ranked_gains: np.ndarray,
    ideal_gains: np.ndarray | Sequence[Sequence[float]],
    k: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Normalised discounted cumulative gain at k, linear in the gains.

    ``sum_{r <= k} g_r / log2(r + 1)``, divided by the same sum over the best order of all judged items. Exponential
    and custom gains are a matter of the table that turns grades into gains (:func:`~mr_st.measures.gain_table`).

    Args:
        ranked_gains: float (n, K), 0 or more, gains of the run, best first; places beyond K count as 0.
        ideal_gains: Gains of ALL judged items of each query, in any order: float (n, J) padded with 0, or n
            sequences of any length.
        k: Cut-offs, 1 or more each; None for no cut (trec_eval's ``ndcg``).

    Returns:
        float64 (n,) or (n, len(k)); 0 where no judged item gains anything (trec_eval's convention).

    Source: Järvelin and Kekäläinen, 2002, with linear gains as trec_eval's ``ndcg_cut``.

    Example:
        >>> ndcg(np.array([[0.0, 1.0]]), [[1.0, 0.0]], k=10).round(4).tolist()
        [0.6309]
        >>> ndcg(np.array([[0.0, 1.0]]), [[1.0, 0.0]], k=(1, 10)).round(4).tolist()
        [[0.0, 0.6309]]
    """
    best = _discounted(_best_first(_padded(ideal_gains)), k)
    return np.divide(
        _discounted(np.asarray(ranked_gains, dtype=np.float64), k), best, out=np.zeros(best.shape), where=best > 0
    )


def recall(
    ranked_grades: np.ndarray,
    n_relevant: np.ndarray,
    k: int | Sequence[int] | None,
    grade: int = 1,
    empty: float = 0.0,
) -> np.ndarray:
    """Share of a query's relevant items that are among its first k.

    Args:
        ranked_grades: integers (n, K), below zero where unjudged or absent.
        n_relevant: integers (n,), judged items of ``grade`` or better (:meth:`Judged.count_at_least`).
        k: Cut-offs, 1 or more each; None for no cut.
        grade: The least grade that counts as relevant, 0 or more.
        empty: Value for a query with nothing relevant: 0 as trec_eval, or NaN to leave it out of a mean.

    Returns:
        float64 (n,) or (n, len(k)).

    Example:
        >>> recall(np.array([[2, -1, 1]]), np.array([4]), k=3).tolist()
        [0.5]
    """
    return _share(_counted(_relevant(ranked_grades, grade), k), n_relevant, empty)


def precision(ranked_grades: np.ndarray, k: int | Sequence[int], grade: int = 1) -> np.ndarray:
    """Share of the first k places that hold an item of ``grade`` or better; k divides even a shorter run.

    Args:
        ranked_grades: integers (n, K), below zero where unjudged or absent.
        k: Cut-offs, 1 or more each.
        grade: The least grade that counts as relevant, 0 or more.

    Returns:
        float64 (n,) or (n, len(k)).
    """
    return _counted(_relevant(ranked_grades, grade), k) / np.asarray(k)


def average_precision(
    ranked_grades: np.ndarray,
    n_relevant: np.ndarray,
    k: int | Sequence[int] | None = None,
    grade: int = 1,
    empty: float = 0.0,
) -> np.ndarray:
    """Average precision, whose mean over queries is MAP: precision at each relevant item found, over all relevant.

    The sum over relevant items within k is divided by ALL relevant judged items, however small k is: trec_eval's
    ``map_cut`` (some libraries divide by no more than k).

    Args:
        ranked_grades: integers (n, K), below zero where unjudged or absent.
        n_relevant: integers (n,), judged items of ``grade`` or better (:meth:`Judged.count_at_least`).
        k: Cut-offs, 1 or more each; None for no cut (trec_eval's ``map``).
        grade: The least grade that counts as relevant, 0 or more.
        empty: Value for a query with nothing relevant: 0 as trec_eval, or NaN to leave it out of a mean.

    Returns:
        float64 (n,) or (n, len(k)).

    Example:
        >>> average_precision(np.array([[2, -1, 1]]), np.array([4]), k=(1, 3)).round(4).tolist()
        [[0.25, 0.4167]]
    """
    relevant = _relevant(ranked_grades, grade)
    rows, places = _where(relevant)
    found = np.bincount(rows, minlength=len(relevant))
    so_far = np.arange(1, len(rows) + 1) - (np.cumsum(found) - found)[rows]
    return _share(_summed(rows, places, so_far / (places + 1), relevant.shape, k), n_relevant, empty)


def reciprocal_rank(ranked_grades: np.ndarray, k: int | Sequence[int] | None = None, grade: int = 1) -> np.ndarray:
    """One over the rank of the first item of ``grade`` or better, 0 where none is among the first k; its mean is MRR.

    Args:
        ranked_grades: integers (n, K), below zero where unjudged or absent.
        k: Cut-offs, 1 or more each; None for no cut (trec_eval's ``recip_rank``).
        grade: The least grade that counts as relevant, 0 or more.

    Returns:
        float64 (n,) or (n, len(k)).

    Example:
        >>> reciprocal_rank(np.array([[0, -1, 1], [0, 0, 0]])).round(4).tolist()
        [0.3333, 0.0]
    """
    relevant = _relevant(ranked_grades, grade)
    cuts = _cuts(k, relevant.shape[1])
    if not relevant.shape[1]:
        return np.zeros((len(relevant), *cuts.shape))
    first = relevant.argmax(axis=1)
    hit = relevant[np.arange(len(first)), first]
    value = hit / (first + 1)
    return np.where(np.less.outer(first, cuts), _column(value, 1 + cuts.ndim), 0.0)


def judged_share(ranked_grades: np.ndarray, k: int | Sequence[int]) -> np.ndarray:
    """judged@k: share of the returned items among the first k that somebody judged for the query.

    Args:
        ranked_grades: integers (n, K); UNJUDGED counts against, ABSENT places are left out.
        k: Cut-offs, 1 or more each.

    Returns:
        float64 (n,) or (n, len(k)); NaN where nothing was returned.

    Example:
        >>> judged_share(np.array([[2, -1, 0, -2]]), k=4).round(3).tolist()
        [0.667]
    """
    grades = np.asarray(ranked_grades)
    absent = _counted(grades < -1, k)
    returned = np.minimum(np.asarray(k), grades.shape[1]) - absent
    return np.divide(_counted(grades >= 0, k), returned, out=np.full(absent.shape, np.nan), where=returned > 0)


def _relevant(ranked_grades: np.ndarray, grade: int) -> np.ndarray:
    if grade < 0:
        raise ValueError(f"the least relevant grade must be 0 or more, got {grade}")
    return np.asarray(ranked_grades) >= grade


def _where(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``np.nonzero`` of a table, in a fraction of its time."""
    cells = np.flatnonzero(mask)
    rows = np.repeat(np.arange(len(mask)), np.count_nonzero(mask, axis=1))
    return rows, cells - rows * mask.shape[1]


def _best_first(gains: np.ndarray) -> np.ndarray:
    is_sorted = not (gains[:, 1:] > gains[:, :-1]).any()
    return gains if is_sorted else -np.sort(-gains, axis=1)


def _discounted(gains: np.ndarray, k: int | Sequence[int] | None) -> np.ndarray:
    rows, places = _where(gains != 0)
    return _summed(rows, places, gains[rows, places] / np.log2(places + 2.0), gains.shape, k)


def _counted(mask: np.ndarray, k: int | Sequence[int] | None) -> np.ndarray:
    rows, places = _where(mask)
    return _summed(rows, places, None, mask.shape, k)


def _summed(
    rows: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray | None,
    shape: tuple[int, ...],
    k: int | Sequence[int] | None,
) -> np.ndarray:
    """Sums (or counts) of what stands at (row, place) over the first k places: once over all cut-offs' steps."""
    n, depth = shape
    cuts = _cuts(k, depth)
    steps, where = np.unique(cuts, return_inverse=True)
    step_of_place = np.searchsorted(steps, np.arange(depth), side="right")
    cells = rows * (len(steps) + 1) + step_of_place[places]
    sums = np.bincount(cells, weights, minlength=n * (len(steps) + 1)).reshape(n, len(steps) + 1)
    return np.cumsum(sums[:, :-1], axis=1)[:, where.reshape(cuts.shape)]


def _share(found: np.ndarray, of: np.ndarray, empty: float) -> np.ndarray:
    whole = _column(np.asarray(of), found.ndim)
    return np.divide(found, whole, out=np.full(found.shape, float(empty)), where=whole > 0)


def _column(values: np.ndarray, n_dims: int) -> np.ndarray:
    """Values (n,) as (n, 1) where the answer has a column for each cut-off."""
    return values.reshape(-1, *(1,) * (n_dims - 1))


def _cuts(k: int | Sequence[int] | None, depth: int) -> np.ndarray:
    cuts = np.asarray(max(depth, 1) if k is None else k)
    if cuts.ndim > 1 or not cuts.size or cuts.dtype.kind not in "iu" or cuts.min() < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    return cuts


def _padded(rows: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return rows.astype(np.float64)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    padded = np.zeros((len(lengths), int(lengths.max(initial=0))))
    values = [np.asarray(row, dtype=np.float64) for row in rows]
    if len(values):
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(values)
    return padded
