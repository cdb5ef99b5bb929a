from __future__ import annotations

import math

import pytest
import torch

from mr_st.losses.segments import segment_count, segment_logsumexp, segment_max, segment_min, segment_sum


def test_sums_counts_and_extremes_by_hand() -> None:
    segments = torch.tensor([2, 0, 2, 2])
    assert segment_sum(torch.tensor([1.0, 2.0, 3.0, 4.0]), segments, 4).tolist() == [2.0, 0.0, 8.0, 0.0]
    assert segment_count(torch.tensor([True, True, False, True]), segments, 4).tolist() == [1, 0, 2, 0]
    assert segment_min(torch.tensor([5, 7, 6, 9]), segments, 4, empty=-1).tolist() == [7, -1, 5, -1]
    assert segment_max(torch.tensor([5, 7, 6, 9]), segments, 4, empty=-1).tolist() == [7, -1, 9, -1]


def test_logsumexp_equals_torch_on_each_segment() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, generator=generator, dtype=torch.float64) * 100
    segments = torch.randint(0, 7, (50,), generator=generator)
    mask = torch.rand(50, generator=generator) < 0.6
    got = segment_logsumexp(values, segments, 8, mask)
    for segment in range(8):
        inside = values[(segments == segment) & mask]
        assert got[segment].item() == pytest.approx(torch.logsumexp(inside, 0).item(), abs=1e-12)
    assert got[7].item() == -math.inf


def test_a_masked_value_that_would_overflow_does_no_harm() -> None:
    values = torch.tensor([1e4, 1.0, -1e4], requires_grad=True)
    out = segment_logsumexp(values, torch.tensor([0, 0, 0]), 2, torch.tensor([False, True, True]))
    assert out.tolist() == [1.0, -math.inf]
    out[0].backward()
    assert values.grad.tolist() == [0.0, 1.0, 0.0]


def test_the_gradient_of_an_empty_segment_is_zero() -> None:
    values = torch.randn(3, requires_grad=True)
    out = segment_logsumexp(values, torch.tensor([0, 0, 1]), 3, torch.tensor([True, True, False]))
    torch.where(out.isinf(), 0.0, out).sum().backward()
    assert values.grad.isfinite().all()
    assert values.grad[2] == 0


def test_gradcheck() -> None:
    values = torch.randn(6, dtype=torch.float64, requires_grad=True)
    segments = torch.tensor([0, 1, 0, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda v: segment_logsumexp(v, segments, 2), values)
