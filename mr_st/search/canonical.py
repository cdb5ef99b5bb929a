"""The score that leaves a searcher: the same for a pair of vectors however it was found."""

from __future__ import annotations

import numpy as np

__all__ = ["canonical_scores"]

_CHUNK = 256  # pairs whose products stay in a core's second-level cache


def canonical_scores(
    queries: np.ndarray, items: np.ndarray, query_rows: np.ndarray, item_rows: np.ndarray
) -> np.ndarray:
    """Inner products of pairs of rows: accumulated in float64 in one fixed order, rounded to float32.

    A score depends on the two vectors alone, not on blocks, threads or the other pairs. (numpy adds a contiguous
    last axis pairwise, in an order that its length alone decides; the products of float32 values are exact.)

    Args:
        queries: float32 or float16 (n, d).
        items: float32 or float16 (N, d).
        query_rows: int (m,).
        item_rows: int (m,).

    Returns:
        float32 (m,).

    Example:
        >>> canonical_scores(np.eye(2, dtype=np.float32), np.array([[3, 4]], np.float32), np.array([1]), np.array([0]))
        array([4.], dtype=float32)
    """
    scores = np.empty(len(query_rows), dtype=np.float32)
    for start in range(0, len(scores), _CHUNK):
        part = slice(start, start + _CHUNK)
        left, right = np.take(queries, query_rows[part], axis=0), np.take(items, item_rows[part], axis=0)
        scores[part] = np.multiply(left, right, dtype=np.float64).sum(axis=1)
    return scores
