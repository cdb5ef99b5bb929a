from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mr_st.losses.leave_one_out import leave_one_out_logsumexp


def by_loops(values: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor) -> list[float]:
    out = []
    for i, own in enumerate(segments.tolist()):
        others = [v for j, v in enumerate(values.tolist()) if segments[j] == own and mask[j] and j != i]
        if not others or not mask[i]:
            out.append(-math.inf)
        else:
            out.append(max(others) + math.log(math.fsum(math.exp(v - max(others)) for v in others)))
    return out


def test_by_hand() -> None:
    values = torch.tensor([0.0, math.log(2.0), 5.0, math.log(3.0)], dtype=torch.float64)
    got = leave_one_out_logsumexp(values, torch.tensor([1, 1, 0, 1]), 3)
    assert got.exp().tolist() == pytest.approx([5.0, 4.0, 0.0, 3.0], abs=1e-14)


@given(
    st.lists(st.tuples(st.floats(-400.0, 400.0), st.integers(0, 4), st.booleans()), max_size=30),
    st.sampled_from([1.0, 0.0]),
)
def test_equals_the_loop_over_the_others(entries: list[tuple[float, int, bool]], scale: float) -> None:
    values = torch.tensor([v * scale for v, _, _ in entries], dtype=torch.float64)  # scale 0: all tied
    segments = torch.tensor([s for _, s, _ in entries], dtype=torch.long)
    mask = torch.tensor([m for _, _, m in entries], dtype=torch.bool)
    got = leave_one_out_logsumexp(values, segments, 5, mask)
    assert got.tolist() == pytest.approx(by_loops(values, segments, mask), abs=1e-12, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_entry_with_all_the_mass(dtype: torch.dtype) -> None:
    # 1 - P of the first is e^-300: 0 in any float type once P is taken, but its logarithm is not
    values = torch.tensor([300.0, 0.0, -5.0], dtype=dtype, requires_grad=True)
    got = leave_one_out_logsumexp(values, torch.zeros(3, dtype=torch.long), 1)
    assert got.tolist() == pytest.approx([math.log1p(math.exp(-5.0)), 300.0, 300.0], abs=1e-6)
    (gradient,) = torch.autograd.grad(got[0], values)
    weight = 1 / (1 + math.exp(-5.0))
    assert gradient.tolist() == pytest.approx([0.0, weight, 1 - weight], abs=1e-6)


def test_an_entry_alone_or_masked_has_a_zero_gradient() -> None:
    values = torch.tensor([1e4, 2.0, -1e4, 3.0], requires_grad=True)
    got = leave_one_out_logsumexp(values, torch.tensor([0, 0, 0, 2]), 4, torch.tensor([False, True, True, True]))
    assert got.tolist() == [-math.inf, -1e4, 2.0, -math.inf]
    torch.where(got.isinf(), 0.0, got).sum().backward()
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    nothing = leave_one_out_logsumexp(values[:0], torch.zeros(0, dtype=torch.long), 2)
    assert nothing.tolist() == []


@pytest.mark.parametrize("values", [[0.3, -1.0, 2.0, 0.5, 0.4, -3.0], [1.0, 1.0, 1.0, 0.0, 2.0, 2.0]])
def test_gradcheck(values: list[float]) -> None:
    # ties too: which of two equal entries is set apart does not show in the derivative
    given_values = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    segments = torch.tensor([0, 0, 0, 1, 1, 1])
    assert torch.autograd.gradcheck(lambda v: leave_one_out_logsumexp(v, segments, 2), given_values)
