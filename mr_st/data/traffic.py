"""Head, torso and tail: the queries that make the first, second and last third of the traffic."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["SEGMENTS", "segment_facts", "traffic_segments"]

SEGMENTS = ("head", "torso", "tail")


def traffic_segments(frequencies: np.ndarray) -> np.ndarray:
    """Sort queries by frequency, most frequent first, and cut where a third and two thirds of the traffic are reached.

    A query belongs to the segment in which its own traffic begins, so the head holds at least one query. Queries of
    one frequency come in row order.

    Args:
        frequencies: float (n,), NaN where unknown.

    Returns:
        int8 (n,): 0 head, 1 torso, 2 tail; -1 where the frequency is unknown, or no query has any traffic.

    Source:
        ours.

    Example:
        >>> traffic_segments(np.array([30.0, 1.0, 20.0, 10.0, np.nan, 1.0])).tolist()
        [0, 2, 1, 2, -1, 2]
    """
    frequencies = np.asarray(frequencies, dtype=np.float64)
    segments = np.full(len(frequencies), -1, dtype=np.int8)
    known = np.flatnonzero(np.isfinite(frequencies) & (frequencies >= 0))
    total = frequencies[known].sum()
    if not total:
        return segments
    order = known[np.argsort(-frequencies[known], kind="stable")]
    begins = np.cumsum(frequencies[order]) - frequencies[order]
    segments[order] = np.minimum(3 * begins / total, 2).astype(np.int8)
    return segments


def segment_facts(frequencies: np.ndarray, segments: np.ndarray) -> dict[str, Any]:
    """Queries and traffic of each segment, in numbers and as shares of 1; empty where no frequency is known.

    Args:
        frequencies: float (n,), NaN where unknown.
        segments: int8 (n,), from :func:`traffic_segments`.
    """
    is_known = segments >= 0
    if not is_known.any():
        return {}
    frequencies = np.asarray(frequencies, dtype=np.float64)
    total, n_known = frequencies[is_known].sum(), int(is_known.sum())
    facts: dict[str, Any] = {"queries_with_frequency": n_known}
    for number, name in enumerate(SEGMENTS):
        of = frequencies[segments == number]
        facts[name] = {
            "queries": len(of),
            "query_share": round(len(of) / n_known, 4),
            "traffic_share": round(float(of.sum() / total), 4),
            "least_frequency": float(of.min()) if len(of) else None,
        }
    return facts
