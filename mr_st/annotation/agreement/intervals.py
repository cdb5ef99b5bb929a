"""How sure the figures of agreement are: a bootstrap over queries, each with all its pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mr_st.annotation.agreement.calibration import N_BINS, bin_of
from mr_st.annotation.agreement.confusion import confusion_by_group, confusion_figures
from mr_st.annotation.protocol import Annotations
from mr_st.errors import UsageError
from mr_st.measures.significance import Interval, bca_interval

__all__ = ["agreement_intervals", "bootstrap_sums", "interval_of", "query_rows_of"]

_BLOCK = 4_000_000  # drawn queries held at once


def agreement_intervals(
    truth: np.ndarray, annotations: Annotations, query_ids: Sequence[str], seed: int = 0, n_resamples: int = 2000
) -> dict[str, Any]:
    """95 % intervals of the figures of :func:`mr_st.annotation.agreement.figures.agreement`.

    Pairs of one query are alike, so queries are drawn with all their pairs. The ends are BCa's, widened for few
    queries. A resample's calibration error is too large by what the smaller bins' chance adds, so its interval is the
    reversed percentile one (cut at 0, and never without the value itself).

    Args:
        truth: int (n,).
        annotations: Of the same n pairs.
        query_ids: The query of each pair.
        seed: Of the resampling.
        n_resamples: Number of bootstrap samples.

    Returns:
        JSON-ready: accuracy, within_one, kappa, macro_f1 and expected_calibration_error, each with value, low, high
        and n (queries), low and high None where they are not defined; by_grade, with precision and recall so.

    Raises:
        UsageError: another number of ids than of pairs.

    Source: Efron, 1987 (BCa); Field and Welsh, 2007 (resampling clusters).
    """
    rows, n_queries = query_rows_of(query_ids, len(truth))
    given, n_grades = annotations.grades.astype(np.int64), annotations.n_grades
    truth = np.asarray(truth, dtype=np.int64)
    confusions = confusion_by_group(truth, given, rows, n_queries, n_grades).reshape(n_queries, -1)
    confidence = annotations.confidence.astype(np.float64)
    gaps = np.bincount(
        rows * N_BINS + bin_of(confidence), weights=(truth == given) - confidence, minlength=n_queries * N_BINS
    ).reshape(n_queries, N_BINS)
    sums = np.concatenate([confusions, gaps], axis=1)

    def figures(of: np.ndarray) -> np.ndarray:
        counts, gaps = of[..., : n_grades**2], of[..., n_grades**2 :]
        found = confusion_figures(counts.reshape(*counts.shape[:-1], n_grades, n_grades))
        calibration = np.abs(gaps).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1)
        plain = [found[name] for name in ("accuracy", "within_one", "kappa", "macro_f1")] + [calibration]
        return np.concatenate([np.stack(plain, axis=-1), found["precision"], found["recall"]], axis=-1)

    resampled = np.concatenate([figures(part) for part in bootstrap_sums(sums, seed, n_resamples)])
    values, without = figures(sums.sum(axis=0)), figures(sums.sum(axis=0) - sums)
    names = ["accuracy", "within_one", "kappa", "macro_f1", "expected_calibration_error"]
    intervals = {
        name: interval_of(values[at], resampled[:, at], without[:, at], is_gap=at == 4).to_dict()
        for at, name in enumerate(names)
    }

    def of_grade(at: int) -> dict[str, Any]:
        return interval_of(values[at], resampled[:, at], without[:, at]).to_dict()

    by_grade = {
        str(grade): {"precision": of_grade(5 + grade), "recall": of_grade(5 + n_grades + grade)}
        for grade in range(n_grades)
    }
    return {**intervals, "by_grade": by_grade}


def query_rows_of(query_ids: Sequence[str], n_pairs: int) -> tuple[np.ndarray, int]:
    """For each pair the row of its query (int64 (n,)), and how many queries there are.

    Raises:
        UsageError: another number of ids than of pairs.
    """
    if len(query_ids) != n_pairs:
        raise UsageError(f"{len(query_ids):,} query ids for {n_pairs:,} pairs; give one for each pair")
    names, rows = np.unique(np.asarray(query_ids, dtype=object).astype(str), return_inverse=True)
    return rows.astype(np.int64), len(names)


def bootstrap_sums(sums: np.ndarray, seed: int, n_resamples: int) -> Iterator[np.ndarray]:
    """Sums over queries drawn with replacement, in blocks of resamples.

    Args:
        sums: float or int (Q, S), what each query adds.
        seed: Of the draws.
        n_resamples: R.

    Yields:
        float64 (r, S), R rows in all.
    """
    rng = np.random.default_rng(seed)
    n_queries = len(sums)
    for start in range(0, n_resamples, block := max(1, _BLOCK // n_queries)):
        n_rows = min(block, n_resamples - start)
        drawn = rng.integers(0, n_queries, size=(n_rows, n_queries))
        drawn += np.arange(n_rows)[:, None] * n_queries
        times = np.bincount(drawn.ravel(), minlength=n_rows * n_queries).reshape(n_rows, n_queries)
        yield times.astype(np.float64) @ sums


def interval_of(value: float, resampled: np.ndarray, without: np.ndarray, is_gap: bool = False) -> Interval:
    """The interval of one figure; ends are NaN with one query, or where half of the resamples do not define it.

    Args:
        value: The figure over all queries.
        resampled: float (R,), over each resample; NaN where it is not defined.
        without: float (n,), over all queries but one.
        is_gap: It is a sum of absolute gaps, which resampling makes larger.
    """
    n = len(without)
    known = resampled[~np.isnan(resampled)]
    known = np.where(np.abs(known - value) < 1e-12, value, known)  # equal, but for the order of the additions
    if np.isnan(value) or n < 2 or 2 * len(known) < len(resampled):
        return Interval(float(value), np.nan, np.nan, n)
    if is_gap:
        low, high = 2 * value - np.quantile(known, [0.975, 0.025])
        return Interval(float(value), float(np.clip(low, 0, value)), float(max(high, value)), n)
    influence = np.nan_to_num(value - without)
    influence[np.abs(influence) < 1e-12] = 0.0
    return bca_interval(float(value), known, influence)
