"""Several rankings of the same items made one: reciprocal ranks or weighted scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from mr_st.errors import UsageError
from mr_st.search.protocol import TopK

__all__ = ["Normalisation", "reciprocal_rank_fusion", "weighted_score_fusion"]

Normalisation = Literal["minmax", "zscore", "none"]


def reciprocal_rank_fusion(
    tops: Sequence[TopK], k: int, weights: Sequence[float] | None = None, constant: float = 60
) -> TopK:
    """Rank items by the sum of ``weight / (constant + rank)`` over the lists that hold them (ranks from 1).

    A list that lacks an item adds nothing to it. Equal sums stand lower item row first; sums are taken in float64 and
    rounded to float32.

    Args:
        tops: The lists, one :class:`TopK` each, all of the same n queries; their widths may differ.
        k: Items kept of each query, 1 or more; places that are left are filled with id -1 and score -inf.
        weights: One a list, 0 or more, not all 0; None weighs all alike. A list of weight 0 is left out.
        constant: How little the first ranks stand out, 0 or more; the source: 60.

    Raises:
        UsageError: no lists, lists of different queries, or an argument out of range.

    Source: Cormack, Clarke and Büttcher 2009; the weights are ours.

    Example:
        >>> first = TopK(np.array([[3, 1]]), np.array([[9.0, 8.0]], dtype=np.float32))
        >>> second = TopK(np.array([[1, -1]]), np.array([[0.5, -np.inf]], dtype=np.float32))
        >>> reciprocal_rank_fusion([first, second], k=2).ids.tolist()
        [[1, 3]]
    """
    if not (np.isfinite(constant) and constant >= 0):
        raise UsageError(f"constant is {constant}; it must be 0 or more")
    shares = []
    for top, weight in _weighted(tops, k, weights):
        ranks = np.arange(1, top.ids.shape[1] + 1)
        shares.append((top.ids, np.broadcast_to(weight / (constant + ranks), top.ids.shape), None))
    return _sum_up(shares, k)


def weighted_score_fusion(
    tops: Sequence[TopK], k: int, weights: Sequence[float] | None = None, normalise: Normalisation = "minmax"
) -> TopK:
    """Rank items by the weighted sum of their scores, brought to one scale for each query and list.

    What an item gets from a list that lacks it is never above what the list's last item gets:

    =========== ============================================== ==========================================
    normalise   score in a list                                where the list lacks the item
    =========== ============================================== ==========================================
    ``minmax``  (s - lowest) / (highest - lowest); 1 if equal  0
    ``zscore``  (s - mean) / standard deviation; 0 if equal    the list's lowest value
    ``none``    s                                              0, or the list's lowest value if below 0
    =========== ============================================== ==========================================

    A list that found nothing for a query adds 0 to all. Equal sums stand lower item row first; sums are taken in
    float64 and rounded to float32.

    Args:
        tops: The lists, one :class:`TopK` each, all of the same n queries; their widths may differ.
        k: Items kept of each query, 1 or more; places that are left are filled with id -1 and score -inf.
        weights: One a list, 0 or more, not all 0; None weighs all alike. A list of weight 0 is left out.
        normalise: The scale.

    Raises:
        UsageError: no lists, lists of different queries, or an argument out of range.

    Source: Fox and Shaw 1994 (CombSUM) with min-max or z-scores; what a missing item gets is ours.

    Example:
        >>> dense = TopK(np.array([[3, 1, 2]]), np.array([[0.9, 0.8, 0.4]], dtype=np.float32))
        >>> lexical = TopK(np.array([[1, 2, -1]]), np.array([[12.0, 5.0, -np.inf]], dtype=np.float32))
        >>> fused = weighted_score_fusion([dense, lexical], k=3, weights=[0.7, 0.3])
        >>> fused.ids.tolist(), fused.scores.round(2).tolist()
        ([[1, 3, 2]], [[0.8600000143051147, 0.699999988079071, 0.0]])
    """
    if normalise not in get_args(Normalisation):
        raise UsageError(f"normalise is {normalise!r}; expected one of {', '.join(get_args(Normalisation))}")
    shares = []
    for top, weight in _weighted(tops, k, weights):
        values, missing = _normalised(top, normalise)
        shares.append((top.ids, weight * values, weight * missing))
    return _sum_up(shares, k)


_Share = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]  # ids (n, w), values (n, w), what missing items get (n,)


def _weighted(tops: Sequence[TopK], k: int, weights: Sequence[float] | None) -> list[tuple[TopK, float]]:
    """The lists that count, with their weights."""
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
    if not tops:
        raise UsageError("no lists to fuse; give one TopK or more")
    sizes = sorted({len(top.ids) for top in tops})
    if len(sizes) > 1:
        raise UsageError(f"lists of {' and '.join(map(str, sizes))} queries; all must answer the same queries")
    if weights is None:
        return [(top, 1.0) for top in tops]
    if len(weights) != len(tops):
        raise UsageError(f"{len(weights)} weights for {len(tops)} lists; give one weight a list")
    if not all(np.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise UsageError(f"weights are {list(weights)}; each must be 0 or more, and one above 0")
    return [(top, float(weight)) for top, weight in zip(tops, weights, strict=True) if weight > 0]


def _normalised(top: TopK, how: Normalisation) -> tuple[np.ndarray, np.ndarray]:
    """Scores on one scale, float64 (n, w), and what a missing item gets, float64 (n,)."""
    found = top.ids >= 0
    scores = np.where(found, top.scores, 0).astype(np.float64)
    counts = found.sum(axis=1)
    lowest = np.min(scores, axis=1, initial=np.inf, where=found)
    lowest[counts == 0] = 0
    if how == "none":
        return scores, np.minimum(lowest, 0)
    if how == "minmax":
        spread = np.max(scores, axis=1, initial=-np.inf, where=found) - lowest
        flat = ~(spread > 0)
        values = (scores - lowest[:, None]) / np.where(flat, 1, spread)[:, None]
        values[flat] = 1
        return values, np.zeros(len(scores))
    at_least_one = np.maximum(counts, 1)
    mean = scores.sum(axis=1) / at_least_one
    from_mean = np.where(found, scores - mean[:, None], 0)
    deviation = np.sqrt((from_mean**2).sum(axis=1) / at_least_one)
    flat = (lowest == np.max(scores, axis=1, initial=-np.inf, where=found)) | (deviation == 0)
    scale = np.where(flat, 1, deviation)
    from_mean[flat] = 0
    return from_mean / scale[:, None], np.where(flat | (counts == 0), 0, (lowest - mean) / scale)


def _sum_up(shares: Sequence[_Share], k: int) -> TopK:
    """Add what the lists give to each item; the best k of each query, equal sums lower row first."""
    ids = np.concatenate([share[0] for share in shares], axis=1).astype(np.int64)
    n, width = ids.shape
    base = np.zeros(n)  # what an item gets that no list has
    parts = []
    for _, values, missing in shares:
        if missing is not None:
            base += missing
            values = values - missing[:, None]
        parts.append(values)
    top = TopK(np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32))
    if not n or not width:
        return top
    # in each row: sort by id, then by list; one number holds both, which sorts fastest
    ids[ids < 0] = np.iinfo(np.int64).max // width - 1
    keys = np.sort(ids * width + np.arange(width), axis=1)
    ids, columns = np.divmod(keys, width)
    values = np.take_along_axis(np.concatenate(parts, axis=1), columns, axis=1)
    is_first = np.ones((n, width), dtype=bool)
    is_first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    firsts = np.flatnonzero(is_first)
    sums = np.full((n, width), -np.inf, dtype=np.float32)
    sums.flat[firsts] = np.add.reduceat(values.ravel(), firsts) + base[firsts // width]
    sums[ids == np.iinfo(np.int64).max // width - 1] = -np.inf
    kept = min(k, width)
    order = np.argsort(-sums, axis=1, kind="stable")[:, :kept]
    top.scores[:, :kept] = np.take_along_axis(sums, order, axis=1)
    top.ids[:, :kept] = np.take_along_axis(ids, order, axis=1)
    top.ids[np.isneginf(top.scores)] = -1
    return top
