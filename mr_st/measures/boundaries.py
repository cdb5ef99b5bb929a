"""The threshold of each grade boundary, and how stable it is over samples, halves and strata of the queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mr_st.measures.intervals import Interval
from mr_st.measures.judged import Judged
from mr_st.measures.margins import checked_similarities
from mr_st.measures.resampling import percentile_ends, query_draws, resampled_counts
from mr_st.measures.thresholds import RankedPairs, f1_of

__all__ = ["Boundary", "Stratum", "boundaries"]

_N_BINS = 128
_N_SPLITS = 10
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
    n_resamples: int = 300,
    confidence: float = 0.95,
    seed: int = 0,
    draws: np.ndarray | None = None,
) -> list[Boundary]:
    """The threshold of each boundary between neighbouring grades, lowest first.

    Thresholds and what they give on all pairs are exact. Those of bootstrap samples and of halves of the queries are
    looked for among 128 quantiles of the similarities (all of them, where there are no more).

    Args:
        judged: Judgments of n queries.
        similarities: float (m,), in ``judged``'s order.
        n_grades: Number of grades; the boundaries are ``1 .. n_grades - 1``.
        strata: Attribute to the value of each query (n,), None where unknown; of an attribute with more than 12
            values the 12 with most queries.
        weigh: ``pairs``: each pair counts the same; ``queries``: each query does, its pairs sharing its weight.
        n_resamples, confidence, seed: Of the intervals (percentile bootstrap over queries), and of the ten random
            halvings for cross-fitting.
        draws: The bootstrap samples themselves (:func:`~mr_st.measures.resampling.query_draws`), if they are there.

    Raises:
        ValueError: a similarity is not finite, ``weigh`` is neither, or strata of another length.

    Example:
        >>> judged = Judged.from_pairs([0, 0, 1, 1], [0, 1, 0, 1], [2, 0, 1, 0], n_queries=2)
        >>> found = boundaries(judged, np.array([0.9, 0.1, 0.5, 0.3]), 3, {"locale": ["en", "es"]})
        >>> [round(boundary.threshold.value, 6) for boundary in found]
        [0.4, 0.7]
        >>> [stratum.name for stratum in found[0].strata]
        ['en', 'es']
    """
    if weigh not in ("pairs", "queries"):
        raise ValueError(f"weigh must be 'pairs' or 'queries', got {weigh!r}")
    n, queries = judged.n_queries, judged.query_of_pair
    similarities = checked_similarities(similarities, judged.n_pairs)
    weights = np.ones(judged.n_pairs) if weigh == "pairs" else 1 / judged.per_query[queries]
    ranked = RankedPairs.of(similarities, judged.grades, weights)
    chosen = [ranked.choose(boundary) for boundary in range(1, n_grades)]
    parts = [_Part.of(name, values, n) for name, values in (strata or {}).items()]
    draws = query_draws(n, n_resamples, seed) if draws is None else draws
    samples = _Samples(draws, _halves(n, seed), confidence)
    grid = _Grid.over(ranked.similarities[::-1], chosen)
    cells = judged.grades * grid.n_bins + np.searchsorted(grid.edges, similarities, side="right")

    def sampled(codes: np.ndarray, n_codes: int) -> list[np.ndarray]:
        known = codes >= 0
        columns = codes[known] * (n_grades * grid.n_bins) + cells[known]
        n_columns = n_codes * n_grades * grid.n_bins
        counts = resampled_counts(queries[known], columns, n_columns, samples.all, weights[known])
        return list(grid.from_each_edge(counts, n_codes, n_grades))

    (whole,) = sampled(np.zeros(judged.n_pairs, np.int64), 1)
    of_parts = [sampled(part.codes[queries], len(part.names)) for part in parts]
    found = []
    for boundary, value in enumerate(chosen, start=1):
        of_whole = grid.curves(whole, boundary)
        best = of_whole.best()
        within = [
            _stratum(part, code, ranked.take(part.codes[queries[ranked.pairs]] == code), boundary, value,
                     grid.curves(counts, boundary), best, samples)
            for part, of_part in zip(parts, of_parts, strict=True)
            for code, counts in enumerate(of_part)
        ]  # fmt: skip
        found.append(_boundary(ranked, boundary, value, of_whole, best, samples, within))
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
        counts = Counter(value for value in values if value is not None)
        names = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_STRATA])
        code = {name: place for place, name in enumerate(names)}
        return cls(attribute, np.array([-1 if v is None else code.get(v, -1) for v in values], np.int64), names)


class _Samples:
    """Bootstrap samples of the queries, then halves of them and the rests of these, all as draws (n, ...)."""

    def __init__(self, draws: np.ndarray, halves: np.ndarray, confidence: float):
        self.n_resamples, self.n_halves, self.confidence = draws.shape[1], halves.shape[1], confidence
        self.n_queries = len(draws)
        self.all = np.hstack([draws, halves, 1 - halves])

    def interval(self, value: float, sampled: np.ndarray, n_queries: int | None = None) -> Interval:
        """A figure with the percentile interval of its value in each sample, float (samples,)."""
        n_queries = self.n_queries if n_queries is None else n_queries
        if np.isnan(value):
            return Interval(np.nan, np.nan, np.nan, n_queries)
        return Interval(value, *percentile_ends(sampled[: self.n_resamples], n_queries, self.confidence), n_queries)

    def other_half(self, values: np.ndarray) -> np.ndarray:
        """Of values (samples,) those of the halves and their rests, exchanged."""
        halves = values[self.n_resamples :]
        return np.concatenate([halves[self.n_halves :], halves[: self.n_halves]])


@dataclass(frozen=True)
class _Curves:
    """What each threshold of a grid accepts in each sample; float (edges, samples), ``positive`` (samples,)."""

    edges: np.ndarray
    right: np.ndarray
    accepted: np.ndarray
    positive: np.ndarray

    def at(self, value: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rightly accepted, accepted and positive weight of a threshold that is in the grid."""
        place = int(np.searchsorted(self.edges, value))
        return self.right[place], self.accepted[place], self.positive

    def best(self) -> np.ndarray:
        """Place of the greatest F1 in each sample, the highest of several; -1 where nothing is positive.

        Where a sample has no pair between several thresholds, the middle one of these.
        """
        f1 = self.right / np.maximum(self.accepted + self.positive, np.float32(1e-30))
        highest = len(f1) - 1 - np.argmax(f1[::-1], axis=0)
        same = self.accepted == self.accepted[highest, np.arange(len(highest))]
        return np.where(self.positive > 0, highest - (same.sum(axis=0) - 1) // 2, -1)

    def cross_fitted(self, chosen: np.ndarray, samples: _Samples) -> np.ndarray:
        """F1 of each halving, each half's pairs accepted by what the other half chose; NaN where it cannot be."""
        columns = np.arange(samples.n_resamples, len(self.positive))
        places = samples.other_half(chosen)
        counts = np.stack([self.right[places, columns], self.accepted[places, columns], self.positive[columns]])
        counts[:, places < 0] = np.nan
        return f1_of(*counts.reshape(3, 2, -1).sum(axis=1))


@dataclass(frozen=True)
class _Grid:
    """Thresholds to look among in samples, ascending: quantiles of the similarities, and those chosen on the whole."""

    edges: np.ndarray

    @classmethod
    def over(cls, ascending: np.ndarray, chosen: list[float]) -> _Grid:
        distinct = ascending
        if len(ascending) > _N_BINS:
            distinct = ascending[np.linspace(0, len(ascending) - 1, _N_BINS).astype(np.int64)]
        edges = np.unique(np.append(distinct, chosen))
        return cls(edges[~np.isnan(edges)] if len(distinct) else np.zeros(1))

    @property
    def n_bins(self) -> int:
        return len(self.edges) + 1

    def from_each_edge(self, counts: np.ndarray, n_codes: int, n_grades: int) -> np.ndarray:
        """From weights (codes * grades * bins, samples) to the weight of grade g or better from each edge on."""
        counts = counts.reshape(n_codes, n_grades, self.n_bins, -1)
        for grade in range(n_grades - 2, -1, -1):  # loops, as cumsum along an outer axis is several times slower
            counts[:, grade] += counts[:, grade + 1]
        for place in range(self.n_bins - 2, 0, -1):
            counts[:, :, place] += counts[:, :, place + 1]
        return counts[:, :, 1:]

    def curves(self, counts: np.ndarray, boundary: int) -> _Curves:
        """Of one boundary; the least edge is at or below every similarity, so it accepts all."""
        return _Curves(self.edges, counts[boundary], counts[0], counts[boundary, 0])


def _halves(n_queries: int, seed: int) -> np.ndarray:
    """Random halves of the queries as draws, float32 (n, splits); none for fewer than two queries."""
    rng = np.random.default_rng([seed, 1])
    n_splits = _N_SPLITS if n_queries > 1 else 0
    splits = [rng.permutation(n_queries) < n_queries // 2 for _ in range(n_splits)]
    return np.array(splits, dtype=np.float32).reshape(n_splits, n_queries).T


def _boundary(
    ranked: RankedPairs, boundary: int, value: float, curves: _Curves, best: np.ndarray, samples: _Samples,
    strata: list[Stratum],
) -> Boundary:  # fmt: skip
    n_positive = int(np.count_nonzero(ranked.grades >= boundary))
    if not n_positive:
        none = samples.interval(np.nan, np.empty(0))
        return Boundary(boundary, none, none, none, none, np.nan, np.nan, len(ranked.grades), 0, strata)
    right, accepted, positive = ranked.at(value, boundary)
    sampled = curves.at(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions, recalls = sampled[0] / sampled[1], sampled[0] / sampled[2]
    return Boundary(
        boundary,
        threshold=samples.interval(value, _values(curves.edges, best)),
        precision=samples.interval(float(right / accepted), precisions),
        recall=samples.interval(float(right / positive), recalls),
        f1=samples.interval(float(f1_of(right, accepted, positive)), f1_of(*sampled)),
        f1_cross_fitted=_mean(curves.cross_fitted(best, samples)),
        f1_of_all=float(f1_of(positive, ranked.weights.sum(), positive)),
        n_pairs=len(ranked.grades),
        n_positive=n_positive,
        strata=strata,
    )


def _stratum(
    part: _Part, code: int, inside: RankedPairs, boundary: int, common: float, curves: _Curves,
    best_of_whole: np.ndarray, samples: _Samples,
) -> Stratum:  # fmt: skip
    own, n_queries = inside.choose(boundary), int(np.count_nonzero(part.codes == code))
    f1_own, f1_common = (
        float(f1_of(*inside.at(value, boundary))) if not np.isnan(own) else np.nan for value in (own, common)
    )
    best = curves.best()
    lost = curves.cross_fitted(best, samples) - curves.cross_fitted(best_of_whole, samples)
    return Stratum(
        attribute=part.attribute,
        name=part.names[code],
        n_queries=n_queries,
        n_pairs=len(inside.grades),
        n_positive=int(np.count_nonzero(inside.grades >= boundary)),
        threshold=samples.interval(own, _values(curves.edges, best), n_queries),
        f1_own=f1_own,
        f1_common=f1_common,
        f1_lost=f1_own - f1_common,
        f1_lost_cross_fitted=_mean(lost),
    )


def _values(edges: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.where(places >= 0, edges[places], np.nan)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan
