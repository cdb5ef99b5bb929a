"""LabelChannel: what a judge who errs would say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mr_st.data.label_noise import LabelNoise
from mr_st.training.label_channel import LabelChannel

NEAR = LabelNoise.near(0.2).confusion


def test_equals_the_product_with_the_confusion():
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 4
    expected = logits.double().softmax(dim=1) @ torch.tensor(NEAR, dtype=torch.float64)
    found = LabelChannel(NEAR)(logits)
    torch.testing.assert_close(found.exp().double(), expected, rtol=1e-5, atol=1e-7)
    assert found.exp().sum(dim=1).allclose(torch.ones(50))


def test_extreme_logits_keep_finite_gradients():
    """A label that only a disbelieved grade can give still pulls; nothing is NaN where the confusion has zeros."""
    logits = torch.tensor([[80.0, -80.0, -80.0], [0.0, 0.0, 80.0]], requires_grad=True)
    loss = torch.nn.functional.cross_entropy(LabelChannel(NEAR)(logits), torch.tensor([2, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, 1:] < 0).all()


def test_half_precision_logits_are_widened():
    assert LabelChannel(NEAR)(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_a_model_learns_the_truth_behind_noisy_labels(rate):
    """Three kinds of pairs, each with one true grade: plain cross-entropy learns the judge, the channel the truth."""
    noise = LabelNoise.near(rate)
    kinds = np.arange(3000) % 3
    labels = torch.from_numpy(noise.apply(kinds, np.random.default_rng(0))).long()
    for channel, least in ((torch.nn.Identity(), 0.0), (LabelChannel(noise.confusion), 0.97)):
        logits = torch.zeros(3, 3, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.3)
        for _ in range(200):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(channel(logits[torch.from_numpy(kinds)]), labels).backward()
            optimizer.step()
        sure = logits.detach().softmax(dim=1).diagonal()
        assert (sure >= least).all()
        assert least or (sure < 1 - rate / 2).all()
