"""How well an annotator agrees with people: accuracy, kappa, calibration, and the temperature that mends it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mr_st.annotation.cross_encoder import softmax
from mr_st.annotation.protocol import Annotations
from mr_st.errors import UsageError

__all__ = [
    "agreement",
    "calibrated_apart",
    "cohen_kappa",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
]

_TEMPERATURE_RANGE = (0.05, 20.0)


def agreement(truth: np.ndarray, annotations: Annotations) -> dict[str, Any]:
    """Compare an annotator's grades with human ones.

    Args:
        truth: int (n,), in ``0 .. G-1``, n >= 1.
        annotations: The annotator's answer to the same n pairs.

    Returns:
        JSON-ready: n_pairs, accuracy, within_one, majority_share (what always answering the commonest grade gives),
        kappa (Cohen's, unweighted), macro_f1, confusion (rows: truth, columns: annotator), by_grade (n, precision,
        recall, f1), expected_calibration_error, mean_confidence. None where a figure is not defined.

    Raises:
        UsageError: no pairs, or another number of grades than of annotations.

    Example:
        >>> figures = agreement(np.array([2, 2, 0]), Annotations.certain([2, 1, 0], 3))
        >>> round(figures["accuracy"], 3), figures["within_one"], figures["confusion"][2]
        (0.667, 1.0, [0, 1, 1])
    """
    truth = np.asarray(truth, dtype=np.int64)
    if len(truth) != len(annotations) or not len(truth):
        raise UsageError(f"{len(truth):,} true grades and {len(annotations):,} annotations; give one for each pair")
    given = annotations.grades.astype(np.int64)
    confusion = np.zeros((annotations.n_grades, annotations.n_grades), dtype=np.int64)
    np.add.at(confusion, (truth, given), 1)
    by_grade = {str(grade): _grade_figures(confusion, grade) for grade in range(annotations.n_grades)}
    f1 = [figures["f1"] for figures in by_grade.values() if figures["f1"] is not None]
    confidence = annotations.confidence.astype(np.float64)
    return {
        "n_pairs": len(truth),
        "accuracy": float(np.mean(truth == given)),
        "within_one": float(np.mean(np.abs(truth - given) <= 1)),
        "majority_share": float(np.bincount(truth).max() / len(truth)),
        "kappa": cohen_kappa(confusion),
        "macro_f1": float(np.mean(f1)),
        "confusion": confusion.tolist(),
        "by_grade": by_grade,
        "expected_calibration_error": expected_calibration_error(confidence, truth == given),
        "mean_confidence": float(confidence.mean()),
    }


def cohen_kappa(confusion: np.ndarray) -> float | None:
    """Cohen's unweighted kappa of a confusion matrix (G, G); None where both sides always give one same grade.

    Source: J. Cohen, A coefficient of agreement for nominal scales, 1960.

    Example:
        >>> cohen_kappa(np.array([[20, 5], [10, 15]]))
        0.4
    """
    total = confusion.sum()
    observed = np.trace(confusion) / total
    expected = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / total**2
    return None if expected >= 1 else round(float((observed - expected) / (1 - expected)), 12)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by their pairs.

    Args:
        confidence: float (n,), in 0..1.
        correct: bool (n,).
        n_bins: Bins over 0..1.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.

    Example:
        >>> round(expected_calibration_error(np.array([0.95, 0.91, 0.55]), np.array([True, False, True])), 4)
        0.4367
    """
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def negative_log_likelihood(logits: np.ndarray, truth: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of ``-log softmax(logits / temperature)[truth]`` over n pairs; logits float (n, G), truth int (n,)."""
    scaled = logits / temperature
    top = scaled.max(axis=1)
    log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float(np.mean(log_sum - scaled[np.arange(len(truth)), truth]))


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature in 0.05..20 that makes the true grades of held-out pairs most likely.

    Args:
        logits: float (n, G), of pairs that the model was not trained on.
        truth: int (n,).

    Source: C. Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, truth, float(np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURE_RANGE), method="bounded")
    return float(np.exp(found.x))


def calibrated_apart(logits: np.ndarray, truth: np.ndarray, in_first_half: np.ndarray) -> np.ndarray:
    """Probabilities (n, G) whose temperature was fitted on the other half of the queries: an honest trial.

    Args:
        logits: float (n, G).
        truth: int (n,).
        in_first_half: bool (n,), by query.
    """
    probabilities = softmax(logits)
    for here in (in_first_half, ~in_first_half):
        if here.any() and not here.all():
            probabilities[here] = softmax(logits[here] / fit_temperature(logits[~here], truth[~here]))
    return probabilities


def _grade_figures(confusion: np.ndarray, grade: int) -> dict[str, Any]:
    hits, is_grade, said_grade = confusion[grade, grade], confusion[grade].sum(), confusion[:, grade].sum()
    return {
        "n": int(is_grade),
        "precision": float(hits / said_grade) if said_grade else None,
        "recall": float(hits / is_grade) if is_grade else None,
        "f1": float(2 * hits / (is_grade + said_grade)) if is_grade + said_grade else None,
    }
