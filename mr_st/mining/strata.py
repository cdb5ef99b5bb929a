"""How many pairs of head, torso and tail queries are annotated: a budget divided over strata, with a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mr_st.data.traffic import SEGMENTS, traffic_segments
from mr_st.errors import UsageError

__all__ = ["STRATA", "divide_budget", "query_strata", "shares_of_strata", "within_budget"]

STRATA = (*SEGMENTS, "unknown")
"""Thirds of the traffic, and the queries whose frequency is not known."""


def query_strata(frequencies: np.ndarray) -> np.ndarray:
    """Head, torso, tail or unknown, for each query.

    Args:
        frequencies: float (n,), NaN where unknown; of all queries, since the strata are shares of the whole traffic.

    Returns:
        int8 (n,), places in :data:`STRATA`; how they are cut: :func:`mr_st.data.traffic.traffic_segments`.

    Example:
        >>> [STRATA[s] for s in query_strata(np.array([30.0, 1.0, 20.0, 10.0, np.nan]))]
        ['head', 'tail', 'torso', 'tail', 'unknown']
    """
    segments = traffic_segments(frequencies)
    return np.where(segments < 0, len(SEGMENTS), segments).astype(np.int8)


def shares_of_strata(shares: Mapping[str, float], names: Sequence[str] = STRATA) -> np.ndarray:
    """The share of a budget that each stratum gets, from shares by name; a stratum that is not named gets none.

    Args:
        shares: Name to a weight, 0 or more; they need not sum to 1.
        names: What the strata are called.

    Returns:
        float64 (len(names),), summing to 1.

    Raises:
        UsageError: an unknown name, a negative weight, or none above 0.

    Example:
        >>> shares_of_strata({"head": 1, "tail": 3}).tolist()
        [0.25, 0.0, 0.75, 0.0]
    """
    for name, share in shares.items():
        if name not in names:
            raise UsageError(f"no stratum {name!r}; strata: {', '.join(names)}")
        if not 0 <= share < np.inf:
            raise UsageError(f"the share of stratum {name!r} is {share}; it must be 0 or more")
    weights = np.array([shares.get(name, 0.0) for name in names], dtype=np.float64)
    if not weights.sum() > 0:
        raise UsageError("no stratum has a share above 0; give at least one")
    return weights / weights.sum()


def divide_budget(budget: int, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Divide a budget by shares; what a stratum cannot use goes to the others, by their shares.

    Args:
        budget: 0 or more.
        sizes: int (s,), how much each stratum has at most.
        shares: float (s,), not negative; a stratum of share 0 gets nothing.

    Returns:
        int64 (s,), each at most its size; the sum is the budget, or less where the strata with a share have less.

    Raises:
        UsageError: a negative budget, size or share.

    Example:
        >>> divide_budget(100, np.array([20, 500, 500]), np.array([0.5, 0.25, 0.25])).tolist()
        [20, 40, 40]
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    weights = np.asarray(shares, dtype=np.float64).copy()
    if budget < 0 or (sizes < 0).any() or not (weights >= 0).all():
        raise UsageError(f"budget {budget}, sizes {sizes.tolist()}, shares {weights.tolist()}: none may be negative")
    given = np.zeros(len(sizes), dtype=np.int64)
    while True:
        is_open = (weights > 0) & (given < sizes)
        rest = budget - int(given.sum())
        if not rest or not is_open.any():
            return given
        wanted = rest * np.where(is_open, weights, 0.0) / weights[is_open].sum()
        more = np.floor(wanted).astype(np.int64)
        lacking = rest - int(more.sum())
        by_remainder = np.lexsort((np.arange(len(sizes)), more - wanted))  # largest remainder first
        more[[s for s in by_remainder if is_open[s]][:lacking]] += 1
        given = np.minimum(given + more, sizes)


def within_budget(
    query_rows: np.ndarray, strata: np.ndarray, budget: int, shares: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Choose at most ``budget`` pairs, whole queries in a random order within each stratum, the last one cut.

    Which query comes first depends on its row and the seed only, so a larger budget keeps what a smaller one chose
    from the same stratum.

    Args:
        query_rows: int (n,), sorted by query and, within one, best pair first, as
            :class:`mr_st.mining.candidates.Candidates` are.
        strata: int (queries of the dataset,), each query's stratum, in 0..s-1.
        budget: Pairs, 0 or more.
        shares: float (s,), from :func:`shares_of_strata`.
        seed: Of the random order.

    Returns:
        bool (n,).

    Raises:
        UsageError: a negative budget, or a stratum without a share.
    """
    query_rows = np.asarray(query_rows, dtype=np.int64)
    chosen = np.zeros(len(query_rows), dtype=bool)
    if not len(query_rows):
        return chosen
    starts = np.concatenate([[0], np.flatnonzero(np.diff(query_rows)) + 1])
    lengths = np.diff(np.append(starts, len(query_rows)))
    queries = query_rows[starts]
    of_query = np.asarray(strata)[queries]
    if of_query.min() < 0 or of_query.max() >= len(shares):
        raise UsageError(f"strata {of_query.min()}..{of_query.max()} for {len(shares)} shares; give one a stratum")
    sizes = np.bincount(of_query, weights=lengths, minlength=len(shares)).astype(np.int64)
    allowed = divide_budget(budget, sizes, shares)
    order = np.lexsort((queries, _shuffled(queries, seed), of_query))
    before = np.cumsum(lengths[order]) - lengths[order]  # pairs of all queries that come first
    before -= (np.cumsum(sizes) - sizes)[of_query[order]]  # ... in the same stratum
    taken = np.zeros(len(queries), dtype=np.int64)
    taken[order] = np.clip(allowed[of_query[order]] - before, 0, lengths[order])
    place = np.arange(len(query_rows)) - np.repeat(starts, lengths)
    return place < np.repeat(taken, lengths)


def _shuffled(values: np.ndarray, seed: int) -> np.ndarray:
    """A pseudo-random uint64 for each whole number, by itself and the seed (splitmix64's finaliser)."""
    mixed = values.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
