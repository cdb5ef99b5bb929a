"""The score that leaves a searcher: the same for a pair of vectors however it was found."""

from __future__ import annotations

import numpy as np

from mr_st.search.checks import row_norms

__all__ = ["canonical_scores", "in_fixed_order", "settled"]

_CHUNK = 256  # pairs whose products stay in a core's second-level cache
_BLAS_CHUNK = 768
_MANY = 32  # pairs of one query from which a product of a matrix and a vector pays


def canonical_scores(
    queries: np.ndarray,
    items: np.ndarray,
    query_rows: np.ndarray,
    item_rows: np.ndarray,
    longest: float | None = None,
) -> np.ndarray:
    """Inner products of pairs of rows: accumulated in float64 in one fixed order, rounded to float32.

    A score depends on the two vectors alone, not on blocks, threads or the other pairs. (numpy adds a contiguous
    last axis pairwise, in an order that its length alone decides; the products of float32 values are exact.)

    Where many pairs of a query stand together, they are multiplied by BLAS first: any float64 sum of d such products
    is off by ``d u |q| |x|`` at most, u = 2**-53, so its rounding to float32 is that of the fixed order too, unless a
    rounding boundary lies within twice that. Only those few are summed in the fixed order.

    Args:
        queries: float32 or float16 (n, d).
        items: float32 or float16 (N, d).
        query_rows: int (m,); quickest where those of a query stand together.
        item_rows: int (m,).
        longest: A length that no item exceeds, where one is known; it changes no score.

    Returns:
        float32 (m,).

    Example:
        >>> canonical_scores(np.eye(2, dtype=np.float32), np.array([[3, 4]], np.float32), np.array([1]), np.array([0]))
        array([4.], dtype=float32)
    """
    query_rows, item_rows = np.asarray(query_rows), np.asarray(item_rows)
    starts = np.flatnonzero(np.diff(query_rows, prepend=-1))
    if len(query_rows) < max(_MANY * len(starts), 1):
        return in_fixed_order(queries, items, query_rows, item_rows)
    scores = np.empty(len(query_rows), dtype=np.float32)
    unsure = []
    d = items.shape[1]
    given, wide = np.empty((_BLAS_CHUNK, d), dtype=items.dtype), np.empty((_BLAS_CHUNK, d))  # touched once
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(scores)], strict=True):
        query = queries[query_rows[start]].astype(np.float64)
        length = float(np.linalg.norm(query))
        for first in range(start, end, _BLAS_CHUNK):
            part = slice(first, min(first + _BLAS_CHUNK, end))
            n = part.stop - first
            rows = np.take(items, item_rows[part], axis=0, out=given[:n], mode="clip")  # "raise" would copy
            wide[:n] = rows
            lengths = row_norms(rows.astype(np.float32, copy=False)) if longest is None else longest
            scores[part], again = settled(wide[:n] @ query, d, length * lengths)
            unsure.append(first + again)
    again = np.concatenate(unsure)
    scores[again] = in_fixed_order(queries, items, query_rows[again], item_rows[again])
    return scores


def settled(sums: np.ndarray, d: int, lengths: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Sums of d products of float32 values, added in float64 in any order, rounded to float32.

    Args:
        sums: float64 (m,).
        d: Products in a sum.
        lengths: (m,) or one number: not below the product of both vectors' lengths, but for what float32 rounds off.

    Returns:
        float32 (m,), and the places where another order of adding might be rounded to another number.
    """
    error = 4 * (d + 2) * 2.0**-53 * 1.001 * lengths  # lengths were summed in float32
    low, high = (sums - error).astype(np.float32), (sums + error).astype(np.float32)
    return low, np.flatnonzero(low != high)


def in_fixed_order(
    queries: np.ndarray, items: np.ndarray, query_rows: np.ndarray, item_rows: np.ndarray
) -> np.ndarray:
    """The scores of :func:`canonical_scores`, every pair summed in the fixed order."""
    scores = np.empty(len(query_rows), dtype=np.float32)
    for start in range(0, len(scores), _CHUNK):
        part = slice(start, start + _CHUNK)
        left, right = np.take(queries, query_rows[part], axis=0), np.take(items, item_rows[part], axis=0)
        scores[part] = np.multiply(left, right, dtype=np.float64).sum(axis=1)
    return scores
