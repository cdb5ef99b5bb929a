"""The average of a model before and after training: what was learned, with less of what was known forgotten."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["average_with_start", "weights_of"]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's weights by name, on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


@torch.no_grad()
def average_with_start(model: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Set the model's weights to ``share * start + (1 - share) * weights``, in place.

    Weights that are no floating-point numbers (positions, counts) stay as trained.

    Args:
        model: The trained model.
        start: Its weights before training, see :func:`weights_of`.
        share: In 0..1.

    Raises:
        ValueError: other names or shapes: ``start`` belongs to another model.

    Source: Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022 (arXiv 2109.01903).

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> average_with_start(layer, {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)}, share=1.0)
        >>> layer.weight.item()
        0.0
    """
    weights = model.state_dict()
    strange = weights.keys() ^ start.keys() or {n for n in weights if weights[n].shape != start[n].shape}
    if strange:
        raise ValueError(f"the starting weights are another model's: {sorted(strange)[0]} differs")
    for name, value in weights.items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value.device, value.dtype), share)
