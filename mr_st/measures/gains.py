"""Gains of the grades: linear, exponential or any numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mr_st.errors import UsageError

__all__ = ["GAIN_SCHEMES", "gain_table", "gains_of"]

GAIN_SCHEMES = ("linear", "exponential")
"""The schemes that have a name."""


def gain_table(scheme: str | Sequence[float], n_grades: int) -> tuple[float, ...]:
    """The gain of each grade, lowest first; a named scheme is scaled so that the best grade gains 1.

    NDCG divides by the best possible sum, so the scale changes nothing there: ``exponential`` gives the figures of the
    usual ``2^g - 1``.

    Args:
        scheme: ``linear`` (``g``), ``exponential`` (``2^g - 1``), or the numbers themselves, as a sequence or in
            words as on a command line: ``"0,0.1,1"``.
        n_grades: Number of grades, 2 or more.

    Raises:
        UsageError: no such scheme, not one number a grade, a number that is not finite, grade 0 does not gain 0, or
            gains fall.

    Source: exponential gains are those of Burges et al., 2005; linear ones are trec_eval's and the project's default.

    Example:
        >>> gain_table("linear", 3), gain_table("exponential", 3)
        ((0.0, 0.5, 1.0), (0.0, 0.3333333333333333, 1.0))
        >>> gain_table("0, 0.1, 1", 3)
        (0.0, 0.1, 1.0)
    """
    if n_grades < 2:
        raise UsageError(f"a scale needs two or more grades, got {n_grades}")
    found: Sequence[float]
    if not isinstance(scheme, str):
        found = scheme
    elif scheme == "linear":
        found = [grade / (n_grades - 1) for grade in range(n_grades)]
    elif scheme == "exponential":
        # (2^g - 1) / (2^top - 1), divided through by 2^top so that many grades do not overflow
        top = n_grades - 1
        found = [(2.0 ** (grade - top) - 2.0**-top) / (1 - 2.0**-top) for grade in range(n_grades)]
    else:
        found = _numbers(scheme)
    table = tuple(float(gain) for gain in found)
    if len(table) != n_grades:
        raise UsageError(f"{len(table)} gains for {n_grades} grades; give one a grade, lowest first")
    if not all(math.isfinite(gain) for gain in table):
        raise UsageError(f"gains must be finite, got {list(table)}")
    if table[0] != 0 or any(b < a for a, b in pairwise(table)):
        raise UsageError(f"gains must start at 0 and never fall, got {list(table)}")
    return table


def gains_of(grades: np.ndarray, gains: Sequence[float]) -> np.ndarray:
    """Gains (float64, same shape) of grades; a grade below zero gains 0.

    Args:
        grades: integers of any shape.
        gains: The gain of grade 0, 1, ...; see :func:`gain_table` and :class:`mr_st.grades.GradeScale`.

    Raises:
        ValueError: a grade outside the scale.

    Example:
        >>> gains_of(np.array([2, -1, 1]), (0, 0.5, 1)).tolist()
        [1.0, 0.0, 0.5]
    """
    grades = np.asarray(grades)
    if grades.size and grades.max() >= len(gains):
        raise ValueError(f"grade {grades.max()} is outside the scale 0..{len(gains) - 1}")
    table = np.append(np.asarray(gains, dtype=np.float64), 0.0)  # -1 reads the last
    return table[np.maximum(grades, -1)]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"gains {text!r}: expected {' or '.join(GAIN_SCHEMES)}, or one number a grade, lowest first, as in 0,0.5,1"
        ) from None
