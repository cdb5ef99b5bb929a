"""How well an annotator agrees with people: accuracy, kappa, macro-F1, calibration, by grade and with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mr_st.annotation.agreement.calibration import N_BINS, bin_of, expected_calibration_error
from mr_st.annotation.agreement.confusion import cohen_kappa, confusion_by_group, confusion_figures
from mr_st.annotation.agreement.intervals import agreement_intervals
from mr_st.annotation.protocol import Annotations
from mr_st.errors import UsageError

__all__ = ["agreement"]


def agreement(
    truth: np.ndarray, annotations: Annotations, query_ids: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Compare an annotator's grades with human ones.

    Args:
        truth: int (n,), in ``0 .. G-1``, n >= 1.
        annotations: The annotator's answer to the same n pairs.
        query_ids: The query of each pair, for intervals; none without it.
        seed: Of the resampling.

    Returns:
        JSON-ready: n_pairs, accuracy, within_one, majority_share (what always answering the commonest grade gives),
        kappa (Cohen's, unweighted), macro_f1 (over the grades that are true or given), confusion (rows: truth,
        columns: annotator), by_grade (n, precision, recall, f1), expected_calibration_error, mean_confidence,
        calibration (for each of ten bins of confidence: n, confidence, accuracy). None where a figure is not defined.
        With query_ids also n_queries and intervals, as
        :func:`mr_st.annotation.agreement.intervals.agreement_intervals` gives them.

    Raises:
        UsageError: no pairs, another number of grades or ids than of annotations, or a grade outside the scale.

    Example:
        >>> figures = agreement(np.array([2, 2, 0]), Annotations.certain([2, 1, 0], 3))
        >>> round(figures["accuracy"], 3), figures["within_one"], figures["confusion"][2]
        (0.667, 1.0, [0, 1, 1])
    """
    truth = np.asarray(truth, dtype=np.int64)
    if len(truth) != len(annotations) or not len(truth):
        raise UsageError(f"{len(truth):,} true grades and {len(annotations):,} annotations; give one for each pair")
    if truth.min() < 0 or truth.max() >= annotations.n_grades:
        raise UsageError(
            f"true grades {truth.min()}..{truth.max()}, but the annotator knows 0..{annotations.n_grades - 1}; "
            "compare them on one scale"
        )
    given = annotations.grades.astype(np.int64)
    n_grades = annotations.n_grades
    confusion = confusion_by_group(truth, given, np.zeros_like(truth), 1, n_grades)[0]
    figures = {name: values.tolist() for name, values in confusion_figures(confusion).items()}
    confidence = annotations.confidence.astype(np.float64)
    counts = confusion.sum(axis=1).tolist()
    found = {
        "n_pairs": len(truth),
        "accuracy": figures["accuracy"],
        "within_one": figures["within_one"],
        "majority_share": max(counts) / len(truth),
        "kappa": cohen_kappa(confusion),
        "macro_f1": figures["macro_f1"],
        "confusion": confusion.tolist(),
        "by_grade": {
            str(grade): {
                "n": counts[grade],
                **{name: _or_none(figures[name][grade]) for name in ("precision", "recall", "f1")},
            }
            for grade in range(n_grades)
        },
        "expected_calibration_error": expected_calibration_error(confidence, truth == given),
        "mean_confidence": float(confidence.mean()),
        "calibration": _calibration(confidence, truth == given),
    }
    if query_ids is None:
        return found
    return {
        **found,
        "n_queries": len(set(query_ids)),
        "intervals": agreement_intervals(truth, annotations, query_ids, seed),
    }


def _calibration(confidence: np.ndarray, correct: np.ndarray) -> list[dict[str, Any]]:
    bins = bin_of(confidence)
    counts = np.bincount(bins, minlength=N_BINS)
    sums = [np.bincount(bins, weights=values, minlength=N_BINS) for values in (confidence, correct)]
    return [
        {"n": n, "confidence": sure / n if n else None, "accuracy": right / n if n else None}
        for n, sure, right in zip(counts.tolist(), *(of.tolist() for of in sums), strict=True)
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
