"""The log-sum-exp of everybody else: of each entry of a ragged segment, without the entry itself."""

from __future__ import annotations

import torch
from torch import Tensor

from mr_st.losses.segments import segment_logsumexp, segment_min, segment_sum

__all__ = ["leave_one_out_logsumexp"]


def leave_one_out_logsumexp(values: Tensor, segments: Tensor, n_segments: int, mask: Tensor | None = None) -> Tensor:
    """``log(sum(exp(values of the others)))`` for each entry, the others being those of its segment.

    With ``P`` the softmax of a segment, this is ``log(1 - P_i)`` up to the segment's log-sum-exp, so that
    ``values - leave_one_out_logsumexp(values, ...)`` is the log odds ``log(P_i / (1 - P_i))``: exact also where one
    entry has all the mass and ``1 - P_i`` rounds to 0.

    The largest entry of a segment is set apart. Its own others are summed without it. The others of any other entry
    hold the largest one, a summand of 1 in ``1 + (rest - own)``, so that what the subtraction rounds off is at most
    the rounding of a sum. Linear in the number of entries.

    Args:
        values: ``(P,)`` finite floats.
        segments: ``(P,)`` int64, the segment of each value, in any order.
        n_segments: How many segments there are.
        mask: ``(P,)`` bool; entries that are False belong to no segment. None: all belong.

    Returns:
        ``(P,)``; -inf, with a zero gradient, for an entry that is alone in its segment or belongs to none.

    Example:
        >>> values = torch.tensor([200.0, 1.0, 1.0, 7.0])
        >>> leave_one_out_logsumexp(values, torch.tensor([0, 0, 0, 1]), 2).tolist()
        [1.6931471824645996, 200.0, 200.0, -inf]
    """
    if mask is None:
        mask = torch.ones_like(segments, dtype=torch.bool)
    values = torch.where(mask, values, 0.0)
    with torch.no_grad():
        is_top = _is_first_maximum(values, segments, n_segments, mask)
    is_rest = mask & ~is_top
    top = segment_sum(torch.where(is_top, values, 0.0), segments, n_segments)[segments]
    shares = torch.where(is_rest, values - top, 0.0).exp() * is_rest  # each at most 1
    rest = segment_sum(shares, segments, n_segments)[segments]
    without_top = segment_logsumexp(values, segments, n_segments, is_rest)[segments]
    others = torch.where(is_rest, top + torch.log1p(rest - shares), without_top)
    return torch.where(mask, others, -torch.inf)


def _is_first_maximum(values: Tensor, segments: Tensor, n_segments: int, mask: Tensor) -> Tensor:
    lowest = torch.finfo(values.dtype).min
    highest = values.new_full((n_segments,), lowest)
    highest = highest.scatter_reduce(0, segments, values.masked_fill(~mask, lowest), "amax")
    places = torch.arange(len(values), device=values.device)
    is_highest = mask & (values == highest[segments])
    first = segment_min(places.masked_fill(~is_highest, len(values)), segments, n_segments, empty=-1)
    return places == first[segments]
