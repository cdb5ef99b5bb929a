"""Whether one annotator agrees with people better than another: paired tests, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mr_st.annotation.agreement.confusion import confusion_by_group, confusion_figures
from mr_st.annotation.agreement.intervals import bootstrap_sums, interval_of, query_rows_of
from mr_st.annotation.protocol import Annotations
from mr_st.errors import UsageError
from mr_st.measures.significance import paired_permutation_test

__all__ = ["COMPARED", "compare_annotators"]

COMPARED = ("accuracy", "within_one", "kappa", "macro_f1")
"""The figures that are compared."""

_BLOCK = 4_000_000  # swaps held at once


def compare_annotators(
    truth: np.ndarray,
    a: Annotations,
    b: Annotations,
    query_ids: Sequence[str],
    seed: int = 0,
    n_resamples: int = 10_000,
) -> dict[str, dict[str, Any]]:
    """Compare annotator ``b`` with annotator ``a`` on the same pairs.

    The null hypothesis is that the two are exchangeable query by query. Accuracy and within-one are means over pairs,
    so flipping the sign of each query's difference tests it; kappa and macro-F1 are no means, so both are taken anew
    after the answers of ``a`` and ``b`` to randomly chosen queries are swapped.

    Args:
        truth: int (n,).
        a, b: Their answers to the n pairs.
        query_ids: The query of each pair.
        seed: Of the resampling.
        n_resamples: Random swaps; a fifth as many bootstrap samples for the intervals.

    Returns:
        JSON-ready, for each name of ``COMPARED``: a, b, difference (``b - a``: value, low and high of its 95 %
        interval over queries, n) and p (two-sided, never 0; 1 where the figure is not defined).

    Raises:
        UsageError: lengths or scales that differ, or no pairs.

    Source: Smucker, Allan and Carterette, 2007 (randomisation test); swapped labels as in Yeh, 2000.

    Example:
        >>> truth, queries = np.tile([0, 1, 2], 20), [f"q{n // 3}" for n in range(60)]
        >>> guess, right = Annotations.certain(np.ones(60, int), 3), Annotations.certain(truth, 3)
        >>> found = compare_annotators(truth, guess, right, queries)
        >>> round(found["kappa"]["difference"]["value"], 3), found["kappa"]["p"] < 0.001
        (1.0, True)
    """
    truth = np.asarray(truth, dtype=np.int64)
    if not len(truth) or not len(truth) == len(a) == len(b) or a.n_grades != b.n_grades:
        raise UsageError(
            f"{len(truth):,} true grades, {len(a):,} and {len(b):,} annotations of {a.n_grades} and {b.n_grades} "
            "grades; compare two annotators on the same pairs and scale"
        )
    rows, n_queries = query_rows_of(query_ids, len(truth))
    of_a, of_b = (
        confusion_by_group(truth, given.grades.astype(np.int64), rows, n_queries, a.n_grades) for given in (a, b)
    )
    found_a, found_b = (confusion_figures(of.sum(axis=0)) for of in (of_a, of_b))
    p_values = _swapped(of_a, of_b, seed, n_resamples)
    grades = np.arange(a.n_grades)
    for name, reach in (("accuracy", 0), ("within_one", 1)):
        counted = np.abs(grades[:, None] - grades) <= reach
        sums_a, sums_b = ((of * counted).sum(axis=(1, 2)) for of in (of_a, of_b))
        p_values[name] = paired_permutation_test(sums_a, sums_b, seed, n_resamples)
    intervals = _intervals(of_a, of_b, seed, max(1, n_resamples // 5))
    return {
        name: {
            "a": _or_none(found_a[name]),
            "b": _or_none(found_b[name]),
            "difference": intervals[name],
            "p": p_values[name],
        }
        for name in COMPARED
    }


def _swapped(of_a: np.ndarray, of_b: np.ndarray, seed: int, n_resamples: int) -> dict[str, float]:
    """p-values of kappa and macro-F1, from the confusion matrices (Q, G, G) of the queries."""
    apart = np.abs(of_a - of_b).sum(axis=(1, 2)) > 0  # swapping the others changes nothing
    both = (of_a + of_b).sum(axis=0).astype(np.float64)
    differing = (of_a - of_b)[apart].reshape(-1, both.size).astype(np.float64)
    names = ("kappa", "macro_f1")

    def differences(signed: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (confusion_figures((both + sign * signed) / 2) for sign in (1, -1))
        return {name: np.abs(second[name] - first[name]) for name in names}

    observed = differences((of_a - of_b).sum(axis=0).astype(np.float64))
    rng = np.random.default_rng(seed)
    at_least = dict.fromkeys(names, 0)
    for start in range(0, n_resamples, block := max(1, _BLOCK // max(1, len(differing)))):
        n_rows = min(block, n_resamples - start)
        signs = 2.0 * rng.integers(0, 2, size=(n_rows, len(differing)), dtype=np.int8) - 1.0
        swapped = differences((signs @ differing).reshape(n_rows, *both.shape))
        for name in names:  # a figure that is not defined counts against a difference
            at_least[name] += int((~(swapped[name] < observed[name] - 1e-12)).sum())
    return {name: (1 + count) / (1 + n_resamples) for name, count in at_least.items()}


def _intervals(of_a: np.ndarray, of_b: np.ndarray, seed: int, n_resamples: int) -> dict[str, dict[str, Any]]:
    n_queries, n_grades = len(of_a), of_a.shape[-1]
    sums = np.concatenate([of_a.reshape(n_queries, -1), of_b.reshape(n_queries, -1)], axis=1)

    def differences(of: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (
            confusion_figures(part.reshape(*part.shape[:-1], n_grades, n_grades)) for part in np.split(of, 2, axis=-1)
        )
        return {name: second[name] - first[name] for name in COMPARED}

    parts = [differences(part) for part in bootstrap_sums(sums, seed, n_resamples)]
    values, without = differences(sums.sum(axis=0)), differences(sums.sum(axis=0) - sums)
    return {
        name: interval_of(float(values[name]), np.concatenate([part[name] for part in parts]), without[name]).to_dict()
        for name in COMPARED
    }


def _or_none(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
