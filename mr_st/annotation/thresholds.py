"""Where to cut a score so that its pieces match the grades best."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mr_st.errors import UsageError

__all__ = ["ThresholdMetric", "fit_thresholds"]

ThresholdMetric = Literal["accuracy", "macro_f1"]

_MOST_CUTS = 2000  # every two of them are tried together for macro-F1


def fit_thresholds(
    scores: np.ndarray, grades: np.ndarray, n_grades: int, metric: ThresholdMetric = "accuracy"
) -> np.ndarray:
    """The G - 1 ascending thresholds by which "as many as lie below the score" is the best grade.

    Accuracy is made largest exactly (one pass over the sorted scores for each grade). Macro-F1 is made largest exactly
    where the scores have up to 2,000 distinct values; beyond, among 2,000 places evenly spread over the pairs, and
    then each threshold in turn anywhere, until none gets better. A threshold lies midway between two scores; -1 or 1
    where a grade at the end is better never given.

    Args:
        scores: float (n,), in -1..1, finite; n >= 1.
        grades: int (n,), in ``0 .. n_grades - 1``.
        n_grades: G >= 2.
        metric: What to make largest; macro-F1 is over all G grades, 0 for one that has no pair.

    Returns:
        float64 (G - 1,), ascending.

    Raises:
        UsageError: no pairs, lengths that differ, a grade or score out of range, or an unknown metric.

    Source: ours.

    Example:
        >>> fit_thresholds(np.array([0.1, 0.3, 0.5, 0.6, 0.9]), np.array([0, 0, 1, 2, 2]), 3).round(3).tolist()
        [0.4, 0.55]
    """
    scores, grades = np.asarray(scores, dtype=np.float64), np.asarray(grades, dtype=np.int64)
    if len(scores) != len(grades) or not len(scores) or n_grades < 2:
        raise UsageError(
            f"{len(scores):,} scores and {len(grades):,} grades of {n_grades}; give one for each pair, two grades or "
            "more"
        )
    if not (np.abs(scores) <= 1).all() or grades.min() < 0 or grades.max() >= n_grades:
        raise UsageError(f"scores must lie in -1..1 and grades in 0..{n_grades - 1}")
    if metric not in ("accuracy", "macro_f1"):
        raise UsageError(f"metric is {metric!r}; expected accuracy or macro_f1")
    order = np.argsort(scores, kind="stable")
    scores, grades = scores[order], grades[order]
    # a cut at place c leaves the first c pairs below; equal scores stay together
    places = np.flatnonzero(np.concatenate([[True], scores[1:] > scores[:-1], [True]]))
    below = np.zeros((n_grades, len(scores) + 1))
    np.cumsum(np.eye(n_grades)[grades].T, axis=1, out=below[:, 1:])
    if metric == "accuracy":
        cuts = _best_hits(below, places)
    else:
        some = places[np.unique(np.linspace(0, len(places) - 1, min(len(places), _MOST_CUTS)).round().astype(int))]
        cuts = _best_f1(below, some)
        if len(some) < len(places):
            cuts = _climb(below, places, cuts)
    ends = np.concatenate([[-1.0], (scores[1:] + scores[:-1]) / 2, [1.0]])
    return ends[cuts]


def _best_hits(below: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The cuts, among the places, with the most pairs of their own grade in each piece."""
    gains = (
        below[:-1, places] - below[1:, places]
    )  # what a cut between grades g and g + 1 adds, wherever the others are
    best, came_from = gains[0], []
    for gain in gains[1:]:
        leader = _first_argmax_so_far(best)
        came_from.append(leader)
        best = best[leader] + gain
    at = int(best.argmax())
    chosen = [at]
    for leader in reversed(came_from):
        at = int(leader[at])
        chosen.append(at)
    return places[chosen[::-1]]


def _first_argmax_so_far(values: np.ndarray) -> np.ndarray:
    """For each place the first of the largest values up to it."""
    highest = np.maximum.accumulate(values)
    is_new = np.concatenate([[True], highest[1:] > highest[:-1]])
    return np.maximum.accumulate(np.where(is_new, np.arange(len(values)), 0))


def _best_f1(below: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The cuts, among the places, with the largest sum of the pieces' F1."""
    n_grades, last = len(below), len(places) - 1
    first = np.zeros(1, dtype=np.int64)
    best = _f1(below, 0, first[:, None], places[None])[0]
    came_from = []
    is_before = np.arange(last + 1)[:, None] <= np.arange(last + 1)
    for grade in range(1, n_grades - 1):
        sums = np.where(is_before, best[:, None] + _f1(below, grade, places[:, None], places[None]), -np.inf)
        came_from.append(sums.argmax(axis=0))
        best = sums.max(axis=0)
    at = int((best + _f1(below, n_grades - 1, places, np.array(below.shape[1] - 1))).argmax())
    chosen = [at]
    for leader in reversed(came_from):
        at = int(leader[at])
        chosen.append(at)
    return places[chosen[::-1]]


def _climb(below: np.ndarray, places: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Move one cut at a time to its best place between its neighbours until none moves."""
    cuts = cuts.copy()
    bounds = np.concatenate([[0], cuts, [below.shape[1] - 1]])
    moved = True
    while moved:
        moved = False
        for grade in range(len(cuts)):  # the cut between grades `grade` and `grade + 1`
            low, high = bounds[grade], bounds[grade + 2]
            here = places[(places >= low) & (places <= high)]
            sums = _f1(below, grade, low, here) + _f1(below, grade + 1, here, high)
            at = here[int(sums.argmax())]
            now = _f1(below, grade, low, bounds[grade + 1]) + _f1(below, grade + 1, bounds[grade + 1], high)
            if sums.max() > now + 1e-12:
                bounds[grade + 1], moved = at, True
    return bounds[1:-1]


def _f1(below: np.ndarray, grade: int, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """F1 of a grade that is given to the pairs from ``start`` up to ``stop``."""
    hits = below[grade, stop] - below[grade, start]
    return 2 * hits / np.maximum(below[grade, -1] + (stop - start), 1)
