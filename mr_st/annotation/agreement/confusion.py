"""Confusion matrices, one or a stack of them, and the figures that they hold."""

from __future__ import annotations

import numpy as np

__all__ = ["cohen_kappa", "confusion_by_group", "confusion_figures"]


def confusion_by_group(
    truth: np.ndarray, given: np.ndarray, groups: np.ndarray, n_groups: int, n_grades: int
) -> np.ndarray:
    """A confusion matrix (rows: truth, columns: given) for each group of pairs.

    Args:
        truth, given: int (n,), in ``0 .. n_grades - 1``.
        groups: int (n,), in ``0 .. n_groups - 1``: the query of each pair.
        n_groups: Q.
        n_grades: G.

    Returns:
        int64 (Q, G, G).
    """
    cells = (groups * n_grades + truth) * n_grades + given
    return np.bincount(cells, minlength=n_groups * n_grades**2).reshape(n_groups, n_grades, n_grades)


def confusion_figures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The figures of each matrix of a stack; NaN where one is not defined.

    Args:
        confusion: (..., G, G), rows: truth, columns: given; none negative.

    Returns:
        accuracy, within_one, kappa, macro_f1 (over the grades that are true or given somewhere), each float64 (...);
        precision, recall and f1, each float64 (..., G).
    """
    counts = np.asarray(confusion, dtype=np.float64)
    n_grades = counts.shape[-1]
    total, is_grade, said_grade = counts.sum(axis=(-2, -1)), counts.sum(axis=-1), counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    grades = np.arange(n_grades)
    close = np.abs(grades[:, None] - grades) <= 1
    accuracy = _share(hits.sum(axis=-1), total)
    by_chance = _share((is_grade * said_grade).sum(axis=-1), total**2)
    f1 = _share(2 * hits, is_grade + said_grade)
    return {
        "accuracy": accuracy,
        "within_one": _share((counts * close).sum(axis=(-2, -1)), total),
        "kappa": _share(accuracy - by_chance, np.where(by_chance < 1, 1 - by_chance, 0.0)),
        "macro_f1": _share(np.nansum(f1, axis=-1), (~np.isnan(f1)).sum(axis=-1)),
        "precision": _share(hits, said_grade),
        "recall": _share(hits, is_grade),
        "f1": f1,
    }


def cohen_kappa(confusion: np.ndarray) -> float | None:
    """Cohen's unweighted kappa of a confusion matrix (G, G); None where both sides always give one same grade.

    Source: J. Cohen, A coefficient of agreement for nominal scales, 1960.

    Example:
        >>> cohen_kappa(np.array([[20, 5], [10, 15]]))
        0.4
    """
    kappa = float(confusion_figures(confusion)["kappa"])
    return None if np.isnan(kappa) else round(kappa, 12)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
