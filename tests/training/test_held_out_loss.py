"""The loss that picks a checkpoint: that of the annotator as it will be saved, with its temperature."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.annotation.agreement import negative_log_likelihood
from mr_st.annotation.cross_encoder import softmax
from mr_st.data.label_noise import LabelNoise
from mr_st.training.held_out_loss import HeldOutLoss

MODEL = SimpleNamespace(device=torch.device("cpu"))


@pytest.mark.parametrize("noise", [None, LabelNoise.near(0.2)], ids=["as they are", "noisy"])
def test_a_surer_model_that_is_as_right_loses_nothing(noise, monkeypatch):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5000, 3)) * 3
    truth = (softmax(logits).cumsum(axis=1) < rng.random((5000, 1))).sum(axis=1)
    labels = truth if noise is None else noise.apply(truth, rng)
    held = SimpleNamespace(pairs=None, grades=labels)
    found = []
    for factor in (1.0, 6.0):
        monkeypatch.setattr(CrossEncoderAnnotator, "__init__", lambda self, model, **options: None)
        monkeypatch.setattr(CrossEncoderAnnotator, "logits", lambda self, pairs, factor=factor: logits * factor)
        found.append(HeldOutLoss(held, 8, noise=noise)(MODEL))
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], rel=1e-4)
    assert found[1]["temperature"] == pytest.approx(6 * found[0]["temperature"], rel=1e-2)
    assert found[0]["temperature"] == pytest.approx(1.0, rel=0.1)
    assert negative_log_likelihood(logits * 6, labels) > found[1]["loss"] + 0.1
