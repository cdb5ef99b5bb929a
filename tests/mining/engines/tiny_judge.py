"""A tiny cross-encoder that gives every grade to some pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder

__all__ = ["tiny_judge"]


def tiny_judge(base: Path, pairs: list[tuple[str, str]]) -> CrossEncoder:
    """Random weights, with the bias that makes the three grades about as frequent among ``pairs``."""
    torch.manual_seed(1)
    judge = CrossEncoder(str(base), num_labels=3, device="cpu")
    judge.model.classifier.weight.data.normal_(0, 20)
    logits = np.asarray(judge.predict(pairs, activation_fn=torch.nn.Identity()))
    judge.model.classifier.bias.data -= torch.from_numpy(np.median(logits, axis=0))
    return judge
