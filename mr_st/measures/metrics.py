"""Ranking metrics over runs as arrays: one value a query, vectorised, no loops over queries.

A run is an array (n, K): row i holds what query i returned, best first. Grades below zero stand for items that
nobody judged or places that hold no item (:mod:`mr_st.measures.judged`); both gain nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["gains_of", "judged_share", "ndcg", "precision", "recall", "run_order"]


def gains_of(grades: np.ndarray, gains: Sequence[float]) -> np.ndarray:
    """Gains (float64, same shape) of grades; a grade below zero gains 0.

    Args:
        grades: integers of any shape.
        gains: The gain of grade 0, 1, ...; see :class:`mr_st.grades.GradeScale`.

    Raises:
        ValueError: a grade outside the scale.

    Example:
        >>> gains_of(np.array([2, -1, 1]), (0, 0.5, 1)).tolist()
        [1.0, 0.0, 0.5]
    """
    grades = np.asarray(grades)
    if grades.size and grades.max() >= len(gains):
        raise ValueError(f"grade {grades.max()} is outside the scale 0..{len(gains) - 1}")
    return np.where(grades < 0, 0.0, np.asarray(gains, dtype=np.float64)[np.maximum(grades, 0)])


def ndcg(ranked_gains: np.ndarray, ideal_gains: np.ndarray | Sequence[Sequence[float]], k: int) -> np.ndarray:
    """Normalised discounted cumulative gain at k, linear in the gains.

    ``sum_{r <= k} g_r / log2(r + 1)``, divided by the same sum over the best order of all judged items.

    Args:
        ranked_gains: float (n, K), gains of the run, best first; places beyond K count as 0.
        ideal_gains: Gains of ALL judged items of each query, in any order: float (n, J) padded with 0, or n
            sequences of any length.
        k: Cut-off, 1 or more.

    Returns:
        float64 (n,); 0 where no judged item gains anything (trec_eval's convention).

    Source: Järvelin and Kekäläinen, 2002, with linear gains as trec_eval's ``ndcg_cut``.

    Example:
        >>> ndcg(np.array([[0.0, 1.0]]), [[1.0, 0.0]], k=10).round(4).tolist()
        [0.6309]
    """
    _check_cutoff(k)
    ideal = -np.sort(-_padded(ideal_gains), axis=1)
    best = _discounted(ideal, k)
    return np.divide(
        _discounted(np.asarray(ranked_gains, dtype=np.float64), k), best, out=np.zeros(len(best)), where=best > 0
    )


def recall(
    ranked_grades: np.ndarray, n_relevant: np.ndarray, k: int, grade: int = 1, empty: float = 0.0
) -> np.ndarray:
    """Share of a query's relevant items that are among its first k.

    Args:
        ranked_grades: integers (n, K), below zero where unjudged or absent.
        n_relevant: integers (n,), judged items of ``grade`` or better (:meth:`Judged.count_at_least`).
        k: Cut-off, 1 or more.
        grade: The least grade that counts as relevant.
        empty: Value for a query with nothing relevant: 0 as trec_eval, or NaN to leave it out of a mean.

    Returns:
        float64 (n,).

    Example:
        >>> recall(np.array([[2, -1, 1]]), np.array([4]), k=3).tolist()
        [0.5]
    """
    _check_cutoff(k)
    n_relevant = np.asarray(n_relevant)
    found = (np.asarray(ranked_grades)[:, :k] >= grade).sum(axis=1)
    return np.divide(found, n_relevant, out=np.full(len(found), float(empty)), where=n_relevant > 0)


def precision(ranked_grades: np.ndarray, k: int, grade: int = 1) -> np.ndarray:
    """Share of the first k places that hold an item of ``grade`` or better; k divides even a shorter run.

    Args:
        ranked_grades: integers (n, K), below zero where unjudged or absent.
        k: Cut-off, 1 or more.
        grade: The least grade that counts as relevant.

    Returns:
        float64 (n,).
    """
    _check_cutoff(k)
    return (np.asarray(ranked_grades)[:, :k] >= grade).sum(axis=1) / k


def judged_share(ranked_grades: np.ndarray, k: int) -> np.ndarray:
    """judged@k: share of the returned items among the first k that somebody judged for the query.

    Args:
        ranked_grades: integers (n, K); UNJUDGED counts against, ABSENT places are left out.
        k: Cut-off, 1 or more.

    Returns:
        float64 (n,); NaN where nothing was returned.

    Example:
        >>> judged_share(np.array([[2, -1, 0, -2]]), k=4).round(3).tolist()
        [0.667]
    """
    _check_cutoff(k)
    top = np.asarray(ranked_grades)[:, :k]
    returned = (top >= -1).sum(axis=1)
    return np.divide((top >= 0).sum(axis=1), returned, out=np.full(len(top), np.nan), where=returned > 0)


def run_order(scores: np.ndarray, tie_keys: np.ndarray | None = None) -> np.ndarray:
    """The order (n, K) that puts each run best first; equal float32 scores go by ``tie_keys``, lower first.

    Args:
        scores: float (n, K); compared as float32, as trec_eval does.
        tie_keys: integers (n, K) or (K,). None keeps the given order. For trec_eval's own order (descending item
            id) give the rank of each id in descending order.

    Example:
        >>> run_order(np.array([[0.1, 0.9, 0.9]])).tolist()
        [[1, 2, 0]]
    """
    scores = np.asarray(scores, dtype=np.float32)
    keys = np.arange(scores.shape[1]) if tie_keys is None else np.asarray(tie_keys)
    return np.lexsort((np.broadcast_to(keys, scores.shape), -scores), axis=-1)


def _discounted(gains: np.ndarray, k: int) -> np.ndarray:
    top = gains[:, :k]
    return top @ (1.0 / np.log2(np.arange(2, top.shape[1] + 2)))


def _padded(rows: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return rows.astype(np.float64)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    padded = np.zeros((len(lengths), int(lengths.max(initial=0))))
    values = [np.asarray(row, dtype=np.float64) for row in rows]
    if len(values):
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(values)
    return padded


def _check_cutoff(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
