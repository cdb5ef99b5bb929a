"""How well similarities keep the grades apart, all in one: margins, AUC, overlap, thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np

from mr_st.measures.auc import auc_and_influence, auc_per_query
from mr_st.measures.bca import bca_interval
from mr_st.measures.boundaries import Boundary, boundaries
from mr_st.measures.densities import GradeDensities, overlap_of
from mr_st.measures.intervals import Interval, bootstrap_intervals
from mr_st.measures.judged import Judged
from mr_st.measures.margins import checked_similarities, grade_pairs, margins
from mr_st.measures.resampling import percentile_ends, query_draws, resampled_counts

__all__ = ["GradePair", "Separability", "separability"]


@dataclass(frozen=True)
class GradePair:
    """How far two grades stand apart.

    Args:
        high, low: The two grades.
        n_high, n_low: Judged pairs of each.
        margin_average, margin_worst: Mean over the queries that have both, ``n`` of them; None where left out.
        margin_average_hard, margin_worst_hard: The same over hard pairs only; None where no token overlaps were given.
        auc_per_query: Mean over the queries that have both: how well each query's own pairs are ordered.
        auc_pooled: Over all pairs, whatever their query: what one threshold for all queries has to work with. ``n``:
            queries with a pair of either grade.
        overlap: Overlap coefficient of the two similarity distributions, pooled; ``n`` as for ``auc_pooled``.
    """

    high: int
    low: int
    n_high: int
    n_low: int
    margin_average: Interval | None
    margin_worst: Interval | None
    margin_average_hard: Interval | None
    margin_worst_hard: Interval | None
    auc_per_query: Interval
    auc_pooled: Interval
    overlap: Interval


@dataclass(frozen=True)
class Separability:
    """How well similarities keep the grades apart. Make it with :func:`separability`.

    Args:
        pairs: Every pair of grades, the widest gap first.
        boundaries: The threshold of each boundary, lowest first.
        n_queries: Queries.
        pairs_of_grade: Judged pairs of each grade.
        method: How the figures were made; JSON-ready.
    """

    pairs: list[GradePair]
    boundaries: list[Boundary]
    n_queries: int
    pairs_of_grade: list[int]
    method: dict[str, Any]

    def pair(self, high: int, low: int) -> GradePair:
        """The figures of two grades."""
        return next(pair for pair in self.pairs if (pair.high, pair.low) == (high, low))

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists and dicts ready for JSON, NaN as None."""
        return _json_ready(asdict(self))


def separability(
    judged: Judged,
    similarities: np.ndarray,
    n_grades: int,
    overlaps: np.ndarray | None = None,
    strata: Mapping[str, Sequence[str | None]] | None = None,
    *,
    hard: float = 0.7,
    with_margins: bool = True,
    weigh: str = "pairs",
    n_resamples: int = 300,
    confidence: float = 0.95,
    seed: int = 0,
) -> Separability:
    """All figures of separability of one model's similarities.

    Args:
        judged: Judgments of n queries.
        similarities: float (m,), of each judged pair in ``judged``'s order.
        n_grades: Number of grades.
        overlaps: float (m,), token overlap of each judged pair: adds the margins over hard pairs.
        strata: Attribute to the value of each query (n,), None where unknown: adds the stability of the thresholds.
        hard: The least overlap of a hard pair. Source: arXiv 2602.17654.
        with_margins: Whether to work out the margins.
        weigh: What counts the same in thresholds and their F1: ``pairs`` or ``queries``.
        n_resamples: Bootstrap samples.
        confidence: Nominal coverage of the intervals.
        seed: Of all that is drawn.

    Raises:
        ValueError: a similarity is not finite, or arrays of the wrong length.

    Example:
        >>> judged = Judged.from_pairs([0, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], n_queries=2)
        >>> found = separability(judged, np.array([0.9, 0.2, 0.6, 0.4]), n_grades=2)
        >>> round(found.pair(1, 0).margin_average.value, 6), found.pair(1, 0).auc_pooled.value
        (0.45, 1.0)
        >>> round(found.boundaries[0].threshold.value, 6), found.boundaries[0].f1.value
        (0.5, 1.0)
    """
    similarities = checked_similarities(similarities, judged.n_pairs)
    if overlaps is not None and np.shape(overlaps) != similarities.shape:
        raise ValueError(f"one token overlap a judged pair expected, ({judged.n_pairs},), got {np.shape(overlaps)}")
    is_hard = None if overlaps is None else np.asarray(overlaps) >= hard - 1e-9
    draws = query_draws(judged.n_queries, n_resamples, seed)
    grid = GradeDensities.over(similarities, judged.grades)
    cells = judged.grades * grid.n_points + grid.bins
    counts = resampled_counts(judged.query_of_pair, cells, n_grades * grid.n_points, draws)
    counts = counts.reshape(n_grades, grid.n_points, -1)
    whole = np.bincount(cells, minlength=n_grades * grid.n_points).reshape(n_grades, grid.n_points, 1)
    of_grade = whole.sum(axis=(1, 2)).tolist()
    means = _means(judged, similarities, n_grades, is_hard, with_margins, n_resamples, confidence, seed)
    shares, shares_of_draws = grid.shares(whole), grid.shares(counts)
    pairs = []
    for high, low in grade_pairs(n_grades):
        queries = np.unique(judged.query_of_pair[(judged.grades == high) | (judged.grades == low)])
        n_queries = len(queries)
        overlap = float(overlap_of(shares, high, low, 1)[0])
        ends = percentile_ends(overlap_of(shares_of_draws, high, low, counts.shape[2]), n_queries, confidence)
        pairs.append(
            GradePair(
                high,
                low,
                of_grade[high],
                of_grade[low],
                means.get(_key("margin_average", high, low)),
                means.get(_key("margin_worst", high, low)),
                means.get(_key("margin_average_hard", high, low)),
                means.get(_key("margin_worst_hard", high, low)),
                auc_per_query=means[_key("auc_per_query", high, low)],
                auc_pooled=_pooled(judged, similarities, high, low, queries, counts, whole, confidence),
                overlap=Interval(overlap, *ends, n_queries),
            )
        )
    method = {
        "hard_overlap": None if is_hard is None else hard,
        "weigh": weigh,
        "n_resamples": n_resamples,
        "confidence": confidence,
        "seed": seed,
        "intervals": "queries resampled; means over queries as in the report, pooled AUC: BCa, the rest: percentile",
        "overlap": "Gaussian kernel densities, Silverman's bandwidth by grade",
        "cross_fitted": "mean of 10 random halvings of the queries",
    }
    found = boundaries(
        judged, similarities, n_grades, strata, weigh=weigh, confidence=confidence, seed=seed, draws=draws
    )
    return Separability(pairs, found, judged.n_queries, of_grade, method)


def _means(
    judged: Judged, similarities: np.ndarray, n_grades: int, is_hard: np.ndarray | None, with_margins: bool,
    n_resamples: int, confidence: float, seed: int,
) -> dict[str, Interval]:  # fmt: skip
    """Every figure that is a mean over queries, by its name and grades."""
    values = {}
    for high, low in grade_pairs(n_grades):
        for suffix, counted in (("", None), ("_hard", is_hard)):
            if with_margins and not (suffix and counted is None):
                found = margins(judged, similarities, high, low, counted)
                values[_key(f"margin_average{suffix}", high, low)] = found.average
                values[_key(f"margin_worst{suffix}", high, low)] = found.worst
        values[_key("auc_per_query", high, low)] = auc_per_query(judged, similarities, high, low)
    return bootstrap_intervals(values, seed, n_resamples, confidence)


def _key(name: str, high: int, low: int) -> str:
    return f"{name} {high} {low}"


def _pooled(
    judged: Judged, similarities: np.ndarray, high: int, low: int, queries: np.ndarray, counts: np.ndarray,
    whole: np.ndarray, confidence: float,
) -> Interval:  # fmt: skip
    """Pooled AUC, exact; its samples are read off the grid and shifted by what the grid gets wrong of the whole."""
    value, influence = auc_and_influence(judged, similarities, high, low)
    n_queries = len(queries)
    if isnan(value) or n_queries < 2:
        return Interval(value, np.nan, np.nan, n_queries)
    on_grid = _auc_of_counts(counts, high, low)
    resampled = on_grid[~np.isnan(on_grid)] + value - _auc_of_counts(whole, high, low)[0]
    if not len(resampled):
        return Interval(value, np.nan, np.nan, n_queries)
    found = bca_interval(value, resampled, influence[queries], confidence)
    return Interval(value, max(found.low, 0.0), min(found.high, 1.0), n_queries)


def _auc_of_counts(counts: np.ndarray, high: int, low: int) -> np.ndarray:
    """AUC from counts (G, P, R) at the points of a grid, equal points counted half; float64 (R,)."""
    above, below = counts[high].astype(np.float64), counts[low].astype(np.float64)
    won = (above * (np.cumsum(below, axis=0) - below / 2)).sum(axis=0)
    possible = above.sum(axis=0) * below.sum(axis=0)
    return np.divide(won, possible, out=np.full(len(won), np.nan), where=possible > 0)


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_ready(of_key) for key, of_key in value.items()}
    if isinstance(value, list):
        return [_json_ready(element) for element in value]
    return None if isinstance(value, float) and isnan(value) else value
