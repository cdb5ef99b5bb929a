"""A tiny model and a batch of texts for the losses that are called as the trainer calls them, on feature batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from mr_st.losses import GradedLoss
from mr_st.models import build_two_tower

QUERIES = ["mug", "red running shoes for men", "office chair", "led"]
ITEMS = [
    "desk", "black coffee mug large", "led light bulb pack of small", "hose", "wooden office chair in black with desk",
    "red shoes men", "running shoes for kids in red large and small size", "mouse", "toy car", "steel kettle",
    "garden hose water pump", "printer ink cartridge paper pack of large",
]  # fmt: skip
LABELS = torch.tensor(
    [(0, 1, 2), (0, 9, 1), (0, 0, 0), (0, 3, 0), (1, 6, 2), (1, 5, 2), (1, 8, 0), (1, 1, 0), (1, 4, 1),
     (2, 4, 2), (2, 0, 1), (2, 7, 0), (3, 2, 1), (3, 11, 1)]
)  # fmt: skip  # the last query has one grade only


def double_model(base: Path) -> SentenceTransformer:
    """Two towers of 8 dimensions in float64, so that what should be equal is equal to 1e-9; a copy of one's own."""
    return copy.deepcopy(_built(base))


@cache
def _built(base: Path) -> SentenceTransformer:
    return build_two_tower(base, 8, device="cpu").double()


def features(
    model: SentenceTransformer, queries: list[str] = QUERIES, items: list[str] = ITEMS
) -> list[dict[str, Any]]:
    return [{**model.preprocess(queries), "task": "query"}, {**model.preprocess(items), "task": "document"}]


def value_and_gradients(
    loss: GradedLoss, wrap: Callable[[GradedLoss], nn.Module] = lambda loss: loss, scale: float = 1.0, seed: int = 3
) -> tuple[float, dict[str, torch.Tensor]]:
    """One step's loss and the gradients of model and loss, by name; ``scale`` is what a gradient scaler would do."""
    outer = wrap(loss)
    outer.zero_grad()
    torch.manual_seed(seed)
    value = outer(features(loss.model), LABELS)
    (value * scale).backward()
    found = {name: p.grad.clone() for name, p in loss.named_parameters() if p.grad is not None}
    return value.item(), found


def assert_same(got: tuple[float, dict], expected: tuple[float, dict], tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(got[0], expected[0], rtol=tolerance, atol=tolerance)
    assert got[1].keys() == expected[1].keys()
    assert any(gradient.abs().max() > 1e-3 for gradient in expected[1].values())
    torch.testing.assert_close(got[1], expected[1], rtol=tolerance, atol=tolerance)
