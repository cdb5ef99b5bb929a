"""Counts of judged pairs over many bootstrap samples of the queries at once."""

from __future__ import annotations

import numpy as np

__all__ = ["percentile_ends", "query_draws", "resampled_counts"]


def query_draws(n_queries: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    """How often each query is drawn in each bootstrap sample, float32 (n, R); each column sums to n."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, n_queries, (n_resamples, n_queries)) if n_queries else np.empty((n_resamples, 0), int)
    flat = drawn + n_queries * np.arange(n_resamples)[:, None]
    counts = np.bincount(flat.reshape(-1), minlength=n_queries * n_resamples)
    return np.ascontiguousarray(counts.reshape(n_resamples, n_queries).T, dtype=np.float32)


def resampled_counts(
    queries: np.ndarray, columns: np.ndarray, n_columns: int, draws: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """The (weighted) number of pairs in each column, in each bootstrap sample.

    Args:
        queries: integers (m,), the query of each pair.
        columns: integers (m,) in ``0 .. n_columns - 1``: what a pair is counted as.
        n_columns: Number of columns.
        draws: float32 (n, R), see :func:`query_draws`.
        weights: float (m,); None for 1 each.

    Returns:
        float32 (n_columns, R), in O(m R).

    Example:
        >>> resampled_counts(np.array([0, 1, 1]), np.array([0, 0, 1]), 2, np.array([[1], [2]], "f4")).tolist()
        [[3.0], [2.0]]
    """
    from scipy.sparse import csr_matrix

    values = np.ones(len(queries), np.float32) if weights is None else np.asarray(weights, np.float32)
    return csr_matrix((values, (columns, queries)), shape=(n_columns, len(draws))) @ draws


def percentile_ends(resampled: np.ndarray, n_queries: int, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval; NaN for fewer than two queries.

    Args:
        resampled: float (R,), the figure in each sample, NaN where it is undefined there (left out).
        n_queries: How many queries there are to draw from.
        confidence: Nominal coverage.
    """
    defined = resampled[~np.isnan(resampled)]
    if n_queries < 2 or not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
