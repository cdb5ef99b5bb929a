"""Whether an annotator is right as often as it claims: calibration error, and the temperature that mends it."""

from __future__ import annotations

import numpy as np

from mr_st.annotation.cross_encoder import softmax

__all__ = [
    "N_BINS",
    "bin_of",
    "calibrated_apart",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
]

N_BINS = 10
"""Bins of equal width over 0..1 in which confidence and accuracy are compared."""

_TEMPERATURE_RANGE = (0.05, 20.0)


def bin_of(confidence: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """The bin of each confidence: int64 (n,) in ``0 .. n_bins - 1``, for confidences (n,) in 0..1."""
    return np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = N_BINS) -> float:
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
    gaps = np.bincount(bin_of(confidence, n_bins), weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def negative_log_likelihood(
    logits: np.ndarray, truth: np.ndarray, temperature: float = 1.0, confusion: np.ndarray | None = None
) -> float:
    """Mean of ``-log softmax(logits / temperature)[truth]`` over n pairs.

    Args:
        logits: float (n, G).
        truth: int (n,).
        temperature: Above 0.
        confusion: float (G, G), how often a judge gives each grade (column) where another is true (row): then
            ``truth`` are that judge's labels, and the mean is that of ``-log (softmax(...) @ confusion)[truth]``.
    """
    scaled = logits / temperature
    top = scaled.max(axis=1)
    log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    if confusion is None:
        return float(np.mean(log_sum - scaled[np.arange(len(truth)), truth]))
    likely = (np.exp(scaled - log_sum[:, None]) * confusion.T[truth]).sum(axis=1)
    return float(-np.log(np.maximum(likely, np.finfo(float).tiny)).mean())


def fit_temperature(logits: np.ndarray, truth: np.ndarray, confusion: np.ndarray | None = None) -> float:
    """The temperature in 0.05..20 that makes the true grades of held-out pairs most likely.

    Args:
        logits: float (n, G), of pairs that the model was not trained on.
        truth: int (n,).
        confusion: As :func:`negative_log_likelihood` takes it.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, truth, float(np.exp(log_temperature)), confusion)

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURE_RANGE), method="bounded")
    return float(np.exp(found.x))


def calibrated_apart(
    logits: np.ndarray, truth: np.ndarray, in_first_half: np.ndarray, confusion: np.ndarray | None = None
) -> np.ndarray:
    """Probabilities (n, G) whose temperature was fitted on the other half of the queries: an honest trial.

    Args:
        logits: float (n, G).
        truth: int (n,).
        in_first_half: bool (n,), by query.
        confusion: As :func:`negative_log_likelihood` takes it.
    """
    probabilities = softmax(logits)
    for here in (in_first_half, ~in_first_half):
        if here.any() and not here.all():
            probabilities[here] = softmax(logits[here] / fit_temperature(logits[~here], truth[~here], confusion))
    return probabilities
