"""Which pairs get judged: in training what a search log leaves, in dev and test everything that is relevant."""

from __future__ import annotations

import numpy as np

__all__ = ["pairs_for_test", "pairs_for_train"]

N_SHOWN = 40  # results that the logged engine showed
ZERO_SHARE = 0.65
"""The least share of label-0 items among a test query's judged items. Source: arXiv 2602.17654, golden test set."""


def pairs_for_train(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows (int64, 16 to 24) of the items that a log of a weak, unsteady engine shows, and a few random ones.

    Args:
        scores: float (n_items,), the engine's score of every item for the query.
        rng: Where chance comes from.
    """
    n_judged = min(int(rng.integers(16, 25)), len(scores))
    n_random = int(rng.integers(3, 6))
    found = np.flatnonzero(scores)
    if len(found) < N_SHOWN:  # a query without known words, in a language that few sellers write: the engine guesses
        found = np.union1d(found, rng.choice(len(scores), min(N_SHOWN, len(scores)), replace=False))
    noisy = scores[found] + rng.gumbel(0.0, 0.1 * max(float(scores.max()), 1e-9), len(found))
    top = np.argpartition(-noisy, min(N_SHOWN, len(noisy) - 1))[:N_SHOWN]
    shown = found[top[np.argsort(-noisy[top])]]
    weights = 1.0 / (np.arange(len(shown)) + 3.0)
    logged = rng.choice(shown, min(n_judged - n_random, len(shown)), replace=False, p=weights / weights.sum())
    rest = _all_but(logged, len(scores))
    return np.sort(np.concatenate([logged, rng.choice(rest, n_judged - len(logged), replace=False)]))


def pairs_for_test(
    scores: np.ndarray, grades: np.ndarray, rng: np.random.Generator, max_relevant: int | None = None
) -> np.ndarray:
    """Rows (int64) of every item of grade 1 or 2, and at least 65 % of grade 0: half of look-alikes, half random.

    Args:
        scores: float (n_items,), a lexical engine's score of every item for the query.
        grades: int (n_items,), the grade of every item for the query.
        rng: Where chance comes from.
        max_relevant: Judge a random sample of this many items of grade 1 or 2; None for all.
    """
    relevant, others = np.flatnonzero(grades > 0), np.flatnonzero(grades == 0)
    if max_relevant is not None and len(relevant) > max_relevant:
        relevant = rng.choice(relevant, max_relevant, replace=False)
    n_zero = max(20, int(np.ceil(len(relevant) * ZERO_SHARE / (1 - ZERO_SHARE))) + 1)
    n_zero = min(n_zero, len(others))
    alike = others[scores[others] > 0]
    hard = alike[np.argsort(-scores[alike], kind="stable")[: n_zero // 2]]
    rest = _all_but(np.concatenate([relevant, hard]), len(scores))
    return np.sort(np.concatenate([relevant, hard, rng.choice(rest, n_zero - len(hard), replace=False)]))


def _all_but(rows: np.ndarray, n_rows: int) -> np.ndarray:
    kept = np.ones(n_rows, dtype=bool)
    kept[rows] = False
    return np.flatnonzero(kept)
