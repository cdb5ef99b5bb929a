"""Sums, minima and log-sum-exps over ragged segments, by index operations: no padding, no dense mask."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["segment_count", "segment_logsumexp", "segment_max", "segment_min", "segment_sum"]


def segment_sum(values: Tensor, segments: Tensor, n_segments: int) -> Tensor:
    """Sum of ``values`` in each segment.

    Args:
        values: ``(P,)`` floats.
        segments: ``(P,)`` int64, the segment of each value, in ``0 .. n_segments - 1``, in any order.
        n_segments: How many segments there are; empty ones give 0.

    Example:
        >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 0]), 3).tolist()
        [5.0, 0.0, 2.0]
    """
    return values.new_zeros(n_segments).index_add(0, segments, values)


def segment_count(mask: Tensor, segments: Tensor, n_segments: int) -> Tensor:
    """How many entries of each segment are True in ``mask``: ``(n_segments,)`` int64."""
    return segments.new_zeros(n_segments).index_add(0, segments, mask.to(segments.dtype))


def segment_min(values: Tensor, segments: Tensor, n_segments: int, empty: int) -> Tensor:
    """Smallest integer of each segment, ``empty`` where a segment has none. Not differentiated."""
    return values.new_full((n_segments,), empty).scatter_reduce(0, segments, values, "amin", include_self=False)


def segment_max(values: Tensor, segments: Tensor, n_segments: int, empty: int) -> Tensor:
    """Largest integer of each segment, ``empty`` where a segment has none. Not differentiated."""
    return values.new_full((n_segments,), empty).scatter_reduce(0, segments, values, "amax", include_self=False)


def segment_logsumexp(values: Tensor, segments: Tensor, n_segments: int, mask: Tensor | None = None) -> Tensor:
    """``log(sum(exp(values)))`` of each segment, stable for values of any size.

    Args:
        values: ``(P,)`` finite floats.
        segments: ``(P,)`` int64, the segment of each value.
        n_segments: How many segments there are.
        mask: ``(P,)`` bool; entries that are False belong to no segment. None: all belong.

    Returns:
        ``(n_segments,)``; an empty segment gives -inf, with a zero gradient (never NaN).

    Example:
        >>> segment_logsumexp(torch.tensor([1000.0, 1000.0]), torch.tensor([1, 1]), 2).tolist()
        [-inf, 1000.6931762695312]
    """
    if mask is None:
        mask = torch.ones_like(segments, dtype=torch.bool)
    lowest = torch.finfo(values.dtype).min
    # The maximum only shifts the exponents; it cancels in the gradient, so it stays out of the graph.
    with torch.no_grad():
        highest = values.new_full((n_segments,), lowest)
        highest = highest.scatter_reduce(0, segments, values.masked_fill(~mask, lowest), "amax")
    # A masked value may lie far above its segment's maximum: take it out before exp(), where it would overflow.
    shifted = torch.where(mask, values - highest[segments], 0.0)
    total = segment_sum(shifted.exp() * mask, segments, n_segments)
    is_empty = total == 0
    return torch.where(is_empty, -torch.inf, highest + torch.where(is_empty, 1.0, total).log())
