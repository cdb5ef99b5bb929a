"""Queries drawn as shoppers type them: by their frequency, so that a frequent query counts more often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.collection import Collection

__all__ = ["QuerySample", "draw_queries", "restrict"]


@dataclass(frozen=True, eq=False)
class QuerySample:
    """How often each query counts.

    Args:
        draws: int64 (n,), how often each query was drawn by frequency; all 1 where no frequency is known.
        once: bool (n,), the queries of the uniform figure, each of which counts once.
        by_frequency: Whether frequencies were known.
        n_pool: Queries that could be drawn from.
        n_unknown: Queries of the pool without a frequency: none of them is ever drawn where others have one.
        seed: Of the draw.
    """

    draws: np.ndarray
    once: np.ndarray
    by_frequency: bool
    n_pool: int
    n_unknown: int
    seed: int

    @property
    def rows(self) -> np.ndarray:
        """The queries that are needed, ascending."""
        return np.flatnonzero((self.draws > 0) | self.once)

    def take(self, rows: np.ndarray) -> QuerySample:
        """The sample over some of the queries."""
        return replace(self, draws=self.draws[rows], once=self.once[rows])


def draw_queries(frequencies: Sequence[float | None], n_draws: int, seed: int = 0) -> QuerySample:
    """Draw queries with replacement, each with a chance in proportion to its frequency; and as many each once.

    With replacement, as traffic comes: the mean over draws estimates the mean over searches. (Drawn without, the
    sample would lose the head's weight, and become the plain mean over queries as it nears the pool's size.) A query
    drawn several times counts several times; it is searched once. Where the pool is larger than ``n_draws``, the
    uniform figure is over that many queries drawn without replacement, so that at most ``2 * n_draws`` are searched.

    Args:
        frequencies: One a query, None or NaN where unknown.
        n_draws: How many to draw, 1 or more.
        seed: Of both draws.

    Returns:
        Every query once, and ``by_frequency`` False, where no query has a frequency above 0.

    Raises:
        UsageError: no query, fewer than one draw, or a frequency below 0.

    Source: arXiv 2602.17654, section 5.2: "sampled 12K queries according to the annual search engagement
        distribution". That it is with replacement is our reading.

    Example:
        >>> draw_queries([90.0, 9.0, 1.0, None], 1000).draws.tolist()
        [899, 88, 13, 0]
    """
    weights = np.array([np.nan if f is None else f for f in frequencies], dtype=np.float64)
    n = len(weights)
    if not n:
        raise UsageError("no queries to draw from")
    if n_draws < 1:
        raise UsageError(f"{n_draws} queries are to be drawn; draw 1 or more")
    known = np.isfinite(weights)
    if (weights[known] < 0).any():
        raise UsageError(
            f"query {int(np.flatnonzero(known & (weights < 0))[0])} has a frequency below 0; mend the data"
        )
    weights[~known] = 0.0
    rng = np.random.default_rng(seed)
    once = np.zeros(n, dtype=bool)
    once[rng.permutation(n)[:n_draws]] = True
    by_frequency = bool(weights.sum() > 0)
    draws = rng.multinomial(n_draws, weights / weights.sum()) if by_frequency else once.astype(np.int64)
    return QuerySample(draws, once, by_frequency, n, int((~known).sum()), seed)


def restrict(collection: Collection, rows: np.ndarray) -> Collection:
    """The collection with some of its queries; every item stays.

    Args:
        collection: What is searched and judged.
        rows: Ascending rows of queries.
    """
    if len(rows) == collection.n_queries:
        return collection
    judged = collection.judged.take(rows)
    return replace(
        collection,
        query_ids=[collection.query_ids[r] for r in rows],
        query_texts=[collection.query_texts[r] for r in rows],
        judged=judged,
        protocol={
            **collection.protocol,
            "n_queries": len(rows),
            "n_judged_pairs": judged.n_pairs,
            "n_queries_not_drawn": collection.n_queries - len(rows),
        },
        attributes={name: [values[r] for r in rows] for name, values in collection.attributes.items()},
    )
