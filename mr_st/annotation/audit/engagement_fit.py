"""What engagement says about the true grade of a pair: a funnel whose rates depend on grade, query, item and place.

A pair's log is a funnel of three steps: clicks out of impressions, carts out of clicks, purchases out of carts. For a
pair of grade g the rate of a step is

    rate = step's rate at grade g  x  query's level  x  item's appeal  x  place on the page

and the counts spread around it as a beta-binomial, which allows for what the log does not tell, such as positions.
The query's level is its breadth: where shoppers share their carts among many items, each of them converts less. It is
learned from the query's own log, shrunk (gamma-Poisson) towards what queries of that breadth have, so that a query
with little data is judged by others like it. An item's appeal is learned over all queries that showed it. An item that
was on the page in only a part of a query's searches stood at its lower end, so the place can be read off the share of
the query's impressions.

The true grade is hidden: a label counts as right most of the time only, so that wrong labels do not pull the rates
(EM). How often is given, since left free it drifts; the rates are all estimated from the log. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import betaln, gammaln, logsumexp

__all__ = ["SIGNALS", "EngagementCounts", "EngagementFit", "fit_engagement"]

SIGNALS = ("clicks", "add_to_carts", "purchases")
"""The steps of the funnel, in order."""

_ROUNDS, _TRUSTING_ROUNDS = 12, 4  # first the labels alone shape the rates, else a broad query's labels look wrong
_PLACES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.999)  # edges, in shares of the query's impressions
_LEAST_SHAPE, _MOST_SHAPE = 0.5, 128.0
_SPREADS = 2.0 ** np.arange(0, 9)
_SLOPES = np.linspace(-1.0, 0.5, 16)
_NEARNESS = 0.5  # share of the wrong labels that are off by one grade for certain; of the others any is as likely
_LEAST_RATE, _MOST_RATE = 1e-6, 0.95


@dataclass(frozen=True, eq=False)
class EngagementCounts:
    """The log of n >= 1 labelled pairs that were shown.

    Args:
        queries: int (n,), number of the query, from 0 up.
        items: int (n,), number of the item, from 0 up.
        counts: int64 (n, 4): impressions (1 or more), clicks, carts, purchases.
        most: int64 (n,), impressions of the query's most shown item.
        labels: int (n,), the grade that was given.
    """

    queries: np.ndarray
    items: np.ndarray
    counts: np.ndarray
    most: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class EngagementFit:
    """What the log says of each pair.

    Args:
        evidence: float64 (n, G), log-likelihood of the pair's counts at each grade.
        priors: float64 (n, G), how probable each true grade is given the label alone.
        expected: float64 (n, G, S), how many of each signal the pair would have at each grade.
    """

    evidence: np.ndarray
    priors: np.ndarray
    expected: np.ndarray

    @property
    def posterior(self) -> np.ndarray:
        """float64 (n, G): how probable each true grade is given the label and the log."""
        joint = np.log(self.priors) + self.evidence
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


def fit_engagement(
    log: EngagementCounts,
    n_grades: int,
    *,
    label_accuracy: float = 0.9,
    signals: tuple[str, ...] = SIGNALS,
    query_level: bool = True,
    item_appeal: bool = True,
    place: bool = False,
) -> EngagementFit:
    """Fit the funnel to a log and its labels.

    Args:
        log: n pairs; the same pairs in the same order give the same numbers.
        n_grades: G.
        label_accuracy: Share of labels that are taken to be right before the log is looked at; above ``1 / G``.
        signals: The funnel's S steps, of :data:`SIGNALS` in that order; each is counted out of the one before, the
            first out of impressions.
        query_level, item_appeal, place: Whether rates depend on these; without ``query_level`` one standard holds for
            all queries, broad or narrow.
    """
    priors = _priors(log.labels, n_grades, label_accuracy)
    places = np.digitize(log.counts[:, 0] / log.most, _PLACES)
    columns = [0, *(1 + SIGNALS.index(signal) for signal in signals)]
    steps = [_Step(log, places, out_of, counted, n_grades) for out_of, counted in pairwise(columns)]
    evidence, posterior = np.zeros(priors.shape), priors
    for number in range(_ROUNDS):
        breadth = np.bincount(log.queries, posterior[:, 1:].sum(axis=1)) + 1.0 if query_level else None
        for step in steps:
            step.update(posterior, breadth, item_appeal, place)
        evidence = np.zeros(priors.shape)
        for step in steps:
            evidence[step.rows] += step.log_likelihood()
        if number >= _TRUSTING_ROUNDS:
            posterior = EngagementFit(evidence, priors, evidence).posterior
    rates = np.stack([step.all_rates() for step in steps], axis=2)
    return EngagementFit(evidence, priors, log.counts[:, :1, None] * np.cumprod(rates, axis=2))


class _Step:
    """One step of the funnel, over the pairs that came so far: its rate by grade, and what multiplies it."""

    def __init__(self, log: EngagementCounts, places: np.ndarray, out_of: int, counted: int, n_grades: int):
        successes = log.counts[:, counted].astype(np.float64)
        trials = np.maximum(log.counts[:, out_of], successes)  # a cart may be filled without a click
        self.rows = np.flatnonzero(trials)
        self.trials, self.successes = trials[self.rows, None], successes[self.rows, None]
        self.sees_places = out_of == 0  # once clicked, an item's place is forgotten
        self.groups = (log.queries, log.items, places)
        self.queries, self.items, self.places = (group[self.rows] for group in self.groups)
        self.by_grade = np.linspace(0.02, 0.2, n_grades)
        self.by_query = np.ones(int(log.queries.max()) + 1)
        self.by_item = np.ones(int(log.items.max()) + 1)
        self.by_place = np.ones(len(_PLACES) + 1)
        self.shape = 8.0  # of the spread of pairs around their rates, as a gamma's: the larger, the less they spread

    def _rates(self, queries: np.ndarray, items: np.ndarray, places: np.ndarray) -> np.ndarray:
        factors = self.by_query[queries] * self.by_item[items] * self.by_place[places]
        return np.clip(factors[:, None] * self.by_grade, _LEAST_RATE, _MOST_RATE)

    def all_rates(self) -> np.ndarray:
        """float (n, G), of all pairs of the log."""
        return self._rates(*self.groups)

    def log_likelihood(self, shape: float | None = None) -> np.ndarray:
        """float (m, G), of the m pairs that came to this step."""
        rates = self._rates(self.queries, self.items, self.places)
        a = shape or self.shape
        b = a * (1 - rates) / rates
        return betaln(a + self.successes, b + self.trials - self.successes) - betaln(a, b)

    def update(self, posterior: np.ndarray, breadth: np.ndarray | None, item_appeal: bool, place: bool) -> None:
        """One round: each factor from what was seen against what the others let expect."""
        if not len(self.rows):
            return
        posterior = posterior[self.rows]
        seen, expected = self._weighed(posterior)
        self.by_grade *= (seen.sum(axis=0) + 0.5) / (expected.sum(axis=0) + 0.5)
        self.by_grade = np.maximum.accumulate(np.clip(self.by_grade, 1e-5, _MOST_RATE))  # no worse than a lower grade
        if place and self.sees_places:
            seen, expected = self._sums(posterior, self.places, len(self.by_place))
            self.by_place *= (seen + 5) / (expected + 5)
            self.by_place /= self.by_place[-1]
        if breadth is not None:
            seen, expected = self._sums(posterior, self.queries, len(self.by_query))
            self.by_query = _shrunk(seen, expected / self.by_query, np.log(breadth))
        if item_appeal:
            seen, expected = self._sums(posterior, self.items, len(self.by_item))
            self.by_item = _shrunk(seen, expected / self.by_item, None)
        near = [self.shape * factor for factor in (0.5, 1.0, 2.0)]
        allowed = [shape for shape in near if _LEAST_SHAPE <= shape <= _MOST_SHAPE]
        self.shape = max(allowed, key=lambda shape: float((posterior * self.log_likelihood(shape)).sum()))

    def _weighed(self, posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Successes seen and expected, (m, G); a pair of many trials counts no more than it tells of its group."""
        expected = self.trials * self._rates(self.queries, self.items, self.places)
        weight = posterior / (1 + expected / self.shape)
        return weight * self.successes, weight * expected

    def _sums(self, posterior: np.ndarray, groups: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
        seen, expected = self._weighed(posterior)
        return np.bincount(groups, seen.sum(axis=1), n_groups), np.bincount(groups, expected.sum(axis=1), n_groups)


def _shrunk(seen: np.ndarray, base: np.ndarray, covariate: np.ndarray | None) -> np.ndarray:
    """Multipliers (m,) of groups: counts seen against those expected, shrunk as far as the groups' own spread says.

    A gamma prior whose mean follows ``exp(slope * covariate)``; slope and spread make the counts most likely.
    """
    centred = np.zeros(len(seen)) if covariate is None else covariate - covariate.mean()
    best, slope, spread = -np.inf, 0.0, 1.0
    for one_slope in np.zeros(1) if covariate is None else _SLOPES:
        mean = base * np.exp(one_slope * centred)
        mean = np.maximum(mean * seen.sum() / max(mean.sum(), 1e-12), 1e-12)
        for s in _SPREADS:
            likelihoods = (
                gammaln(s + seen) - gammaln(s) + s * np.log(s / (s + mean)) + seen * np.log(mean / (s + mean))
            )
            if (fit := float(likelihoods.sum())) > best:
                best, slope, spread = fit, float(one_slope), float(s)
    prior = np.exp(slope * centred)
    result = prior * (spread + seen) / (spread + base * prior)
    return result / np.exp(np.average(np.log(result), weights=base + 1e-9))


def _priors(labels: np.ndarray, n_grades: int, accuracy: float) -> np.ndarray:
    """How probable each true grade is given the label alone, (n, G).

    A judge errs with probability ``1 - accuracy``: in half of the cases by one grade, in the other half to any other.
    The shares of the true grades are those that make the labels come out as often as they do.
    """
    grades = np.arange(n_grades)
    distance = np.abs(grades[:, None] - grades)
    near, other = distance == 1, distance > 0
    errors = _NEARNESS * near / near.sum(axis=1, keepdims=True) + (1 - _NEARNESS) * other / (n_grades - 1)
    confusion = accuracy * np.eye(n_grades) + (1 - accuracy) * errors  # true, given
    given = np.bincount(labels, minlength=n_grades) + 1.0
    true = np.maximum(np.linalg.solve(confusion.T, given / given.sum()), 0.01)
    true /= true.sum()
    table = (confusion * true[:, None]).T
    table /= table.sum(axis=1, keepdims=True)
    return table[labels]
