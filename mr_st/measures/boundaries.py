"""The threshold of each grade boundary, and how stable it is over samples, halves and strata of the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mr_st.measures.judged import Judged
from mr_st.measures.margins import checked_similarities
from mr_st.measures.resampling import percentile_ends, query_draws, resampled_counts
from mr_st.measures.significance import Interval
from mr_st.measures.thresholds import RankedPairs, f1_of

__all__ = ["Boundary", "Stratum", "boundaries"]

_N_BINS = 128
_N_SPLITS = 5
_MOST_STRATA = 12


@dataclass(frozen=True)
class Stratum:
    """A part of the queries: the threshold that is best there, and what the common one costs there.

    Args:
        attribute, name: What the part is, e.g. ``traffic`` and ``head``.
        n_queries, n_pairs, n_positive: How much of it there is.
        threshold: The threshold that maximises F1 in the part, with its interval.
        f1_own: F1 of that threshold in the part (chosen on the same pairs, so a little too good).
        f1_common: F1 of the common threshold in the part.
        f1_lost: ``f1_own - f1_common``, 0 or more: the most that a threshold of its own could win.
        f1_lost_cross_fitted: The same with each threshold chosen on one half of the queries and scored on the other:
            not above 0 where a threshold of its own would win nothing.
    """

    attribute: str
    name: str
    n_queries: int
    n_pairs: int
    n_positive: int
    threshold: Interval
    f1_own: float
    f1_common: float
    f1_lost: float
    f1_lost_cross_fitted: float


@dataclass(frozen=True)
class Boundary:
    """The threshold that tells "grade ``boundary`` or better" from the rest, and how far it can be trusted.

    Args:
        boundary: The grade.
        threshold: It maximises F1; its interval is over bootstrap samples of the queries. NaN where no pair is of
            that grade or better.
        precision, recall, f1: At the threshold; the intervals keep it fixed.
        f1_cross_fitted: Chosen on one half of the queries, scored on the other: what to expect on new queries.
        f1_of_all: F1 of accepting every pair: what a threshold has to beat.
        n_pairs, n_positive: How many pairs, and how many of them of that grade or better.
        strata: The same over parts of the queries.
    """

    boundary: int
    threshold: Interval
    precision: Interval
    recall: Interval
    f1: Interval
    f1_cross_fitted: float
    f1_of_all: float
    n_pairs: int
    n_positive: int
    strata: list[Stratum] = field(default_factory=list)


def boundaries(
    judged: Judged,
    similarities: np.ndarray,
    n_grades: int,
    strata: Mapping[str, Sequence[str | None]] | None = None,
    *,
    weigh: str = "pairs",
    draws: np.ndarray | None = None,
    n_resamples: int = 300,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Boundary]:
    """The threshold of each boundary between neighbouring grades, lowest first.

    Args:
        judged: Judgments of n queries.
        similarities: float (m,), in ``judged``'s order.
        n_grades: Number of grades; the boundaries are ``1 .. n_grades - 1``.
        strata: Attribute to the value of each query (n,), None where unknown; of an attribute with more than 12
            values the 12 with most queries.
        weigh: ``pairs``: each pair counts the same; ``queries``: each query does, its pairs sharing its weight.
        draws: Bootstrap samples (:func:`~mr_st.measures.resampling.query_draws`); None makes ``n_resamples``.
        n_resamples, confidence, seed: Of the intervals (percentile bootstrap over queries, thresholds looked for on a
            grid of 128 quantiles), and of the five random halvings for cross-fitting.

    Raises:
        ValueError: a similarity is not finite, ``weigh`` is neither, or strata of another length.
    """
    if weigh not in ("pairs", "queries"):
        raise ValueError(f"weigh must be 'pairs' or 'queries', got {weigh!r}")
    n = judged.n_queries
    similarities = checked_similarities(similarities, judged.n_pairs)
    queries = judged.query_of_pair
    weights = None if weigh == "pairs" else 1 / judged.per_query[queries]
    ranked = RankedPairs.of(similarities, judged.grades, weights)
    draws = query_draws(n, n_resamples, seed) if draws is None else draws
    chosen = [ranked.choose(boundary) for boundary in range(1, n_grades)]
    grid = _Grid.over(ranked.similarities[::-1], chosen)
    halves = _halves(n, seed)
    halves_of_pairs = [half[queries[ranked.pairs]] for half in halves]
    parts = [_Part.of(name, values, n) for name, values in (strata or {}).items()]

    bins = np.searchsorted(grid.edges, similarities, side="right")
    cells = judged.grades * grid.n_bins + bins
    n_cells = n_grades * grid.n_bins
    everything = grid.from_each_edge(resampled_counts(queries, cells, n_cells, draws, weights), n_grades)
    of_parts = []
    for part in parts:
        known = part.codes[queries] >= 0
        columns = part.codes[queries][known] * n_cells + cells[known]
        counts = resampled_counts(
            queries[known], columns, n_cells * len(part.names), draws, None if weights is None else weights[known]
        )
        of_parts.append([grid.from_each_edge(c, n_grades) for c in np.split(counts, len(part.names))])

    found = []
    for boundary, value in enumerate(chosen, start=1):
        right, accepted = ranked.at(value, boundary)[:2] if not np.isnan(value) else (np.nan, np.nan)
        weight, positive = ranked.weights.sum(), ranked.weights[ranked.grades >= boundary].sum()
        common = [
            (ranked.take(half).choose(boundary), ranked.take(~half).choose(boundary)) for half in halves_of_pairs
        ]
        strata_found = [
            stratum
            for part, counts in zip(parts, of_parts, strict=True)
            for stratum in _strata(
                part, counts, ranked, queries, boundary, value, common, halves_of_pairs, grid, confidence
            )
        ]
        ends = grid.ends(everything, boundary, value, n, confidence)
        figures = {
            "threshold": value,
            "precision": float(right / accepted) if accepted else np.nan,
            "recall": float(right / positive) if positive else np.nan,
            "f1": float(f1_of(right, accepted, positive)) if positive else np.nan,
        }
        found.append(
            Boundary(
                boundary,
                **{name: Interval(figure, *ends[name], n) for name, figure in figures.items()},
                f1_cross_fitted=_cross_fitted(ranked, boundary, common, halves_of_pairs),
                f1_of_all=float(f1_of(positive, weight, positive)),
                n_pairs=judged.n_pairs,
                n_positive=int(np.count_nonzero(judged.grades >= boundary)),
                strata=strata_found,
            )
        )
    return found


@dataclass(frozen=True)
class _Part:
    """An attribute's strata: code of each query (-1: none of them), and the names by code."""

    attribute: str
    codes: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, attribute: str, values: Sequence[str | None], n: int) -> _Part:
        if len(values) != n:
            raise ValueError(f"stratum {attribute!r}: one value a query expected, {n}, got {len(values)}")
        counts: dict[str, int] = {}
        for value in values:
            if value is not None:
                counts[value] = counts.get(value, 0) + 1
        names = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_STRATA])
        code = {name: place for place, name in enumerate(names)}
        return cls(attribute, np.array([-1 if v is None else code.get(v, -1) for v in values], np.int64), names)


@dataclass(frozen=True)
class _Grid:
    """Thresholds to look among in bootstrap samples, ascending: quantiles of the similarities, and those chosen."""

    edges: np.ndarray

    @classmethod
    def over(cls, ascending: np.ndarray, chosen: list[float]) -> _Grid:
        places = np.linspace(0, len(ascending) - 1, _N_BINS).astype(np.int64) if len(ascending) else []
        edges = np.unique(np.append(ascending[places], chosen))
        return cls(edges[~np.isnan(edges)])

    @property
    def n_bins(self) -> int:
        return len(self.edges) + 1

    def from_each_edge(self, counts: np.ndarray, n_grades: int) -> np.ndarray:
        """From counts (G * bins, R) to the weight of grade g or better at each edge or above, (G, edges, R)."""
        counts = counts.reshape(n_grades, self.n_bins, -1)
        by_grade = np.cumsum(counts[::-1], axis=0)[::-1]
        return np.cumsum(by_grade[:, :0:-1], axis=1)[:, ::-1]

    def ends(
        self, counts: np.ndarray, boundary: int, value: float, n_queries: int, confidence: float
    ) -> dict[str, tuple[float, float]]:
        """Percentile intervals of the threshold, and of precision, recall and F1 with the threshold kept."""
        if np.isnan(value):
            return dict.fromkeys(("threshold", "precision", "recall", "f1"), (np.nan, np.nan))
        at = int(np.searchsorted(self.edges, value))
        right, accepted, positive = counts[boundary, at], counts[0, at], counts[boundary, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            resampled = {
                "threshold": self.best(counts, boundary),
                "precision": right / accepted,
                "recall": right / positive,
                "f1": f1_of(right, accepted, positive),
            }
        return {name: percentile_ends(values, n_queries, confidence) for name, values in resampled.items()}

    def best(self, counts: np.ndarray, boundary: int) -> np.ndarray:
        """The edge of the greatest F1 in each sample, float64 (R,), the highest of several; NaN without positives."""
        right, accepted = counts[boundary, ::-1], counts[0, ::-1]
        positive = right[-1]
        best = np.argmax(right / np.maximum(accepted + positive, 1e-30), axis=0)
        return np.where(positive > 0, self.edges[::-1][best], np.nan)


def _halves(n_queries: int, seed: int) -> list[np.ndarray]:
    """Random halvings of the queries, bool (n,) each; none for fewer than two queries."""
    if n_queries < 2:
        return []
    rng = np.random.default_rng([seed, 1])
    return [rng.permutation(n_queries) < n_queries // 2 for _ in range(_N_SPLITS)]


def _cross_fitted(
    ranked: RankedPairs, boundary: int, thresholds: list[tuple[float, float]], halves: list[np.ndarray]
) -> float:
    """Mean F1 over the halvings, each pair judged by the threshold that the other half chose; NaN where none is."""
    found = []
    for (of_half, of_rest), half in zip(thresholds, halves, strict=True):
        if not np.isnan([of_half, of_rest]).any():
            counts = ranked.take(half).at(of_rest, boundary) + ranked.take(~half).at(of_half, boundary)
            found.append(float(f1_of(*counts)))
    found = [f1 for f1 in found if not np.isnan(f1)]
    return float(np.mean(found)) if found else np.nan


def _strata(
    part: _Part, counts: list[np.ndarray], ranked: RankedPairs, queries: np.ndarray, boundary: int, common: float,
    common_of_halves: list[tuple[float, float]], halves: list[np.ndarray], grid: _Grid, confidence: float,
) -> list[Stratum]:  # fmt: skip
    found = []
    codes = part.codes[queries[ranked.pairs]]
    for code, name in enumerate(part.names):
        kept = codes == code
        inside = ranked.take(kept)
        own = inside.choose(boundary)
        n_queries = int(np.count_nonzero(part.codes == code))
        n_positive = int(np.count_nonzero(inside.grades >= boundary))
        f1_own = float(f1_of(*inside.at(own, boundary))) if n_positive else np.nan
        f1_common = float(f1_of(*inside.at(common, boundary))) if n_positive else np.nan
        halves_inside = [half[kept] for half in halves]
        owns = [(inside.take(h).choose(boundary), inside.take(~h).choose(boundary)) for h in halves_inside]
        usable = [i for i, pair in enumerate(owns) if not np.isnan(pair).any()]
        own_cross, common_cross = (
            _cross_fitted(inside, boundary, [t[i] for i in usable], [halves_inside[i] for i in usable])
            for t in (owns, common_of_halves)
        )
        ends = percentile_ends(grid.best(counts[code], boundary), n_queries, confidence)
        found.append(
            Stratum(
                part.attribute,
                name,
                n_queries,
                len(inside.grades),
                n_positive,
                Interval(own, *ends, n_queries),
                f1_own,
                f1_common,
                f1_own - f1_common,
                own_cross - common_cross,
            )
        )
    return found
