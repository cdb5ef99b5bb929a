"""Embedding a column in chunks of texts of like length: padding is compute, on a CPU half of a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["embed_column"]


def embed_column(
    model: Callable[[dict[str, Any]], dict[str, Any]], features: dict[str, Any], rows_per_forward: int | None
) -> Tensor:
    """The embeddings of one column, with gradients.

    Embedding and gradient are those of one forward pass over all rows, up to which units dropout happens to draw. The
    activations of all chunks stay in memory until the backward pass, as those of one pass would.

    Args:
        model: Takes a feature batch, returns it with ``sentence_embedding`` ``(n, d)``.
        features: What the collator made of the column: ``input_ids`` and ``attention_mask`` ``(n, length)`` and more.
        rows_per_forward: Texts a chunk; texts are sorted by length, each chunk is cut to its own width. None, or
            features that are not plain padded text: one pass.

    Returns:
        ``(n, d)``, in the order of the rows.
    """
    mask = features.get("attention_mask")
    if rows_per_forward is None or not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) <= rows_per_forward:
        return model(features)["sentence_embedding"]
    tensors = {key: value for key, value in features.items() if isinstance(value, Tensor) and value.ndim >= 1}
    if any(len(t) != len(mask) or (t.ndim >= 2 and t.shape != mask.shape) for t in tensors.values()):
        return model(features)["sentence_embedding"]  # images, flattened batches, a shared prompt_length, ...
    order = mask.sum(1).argsort(stable=True)
    embeddings = []
    for rows in order.split(rows_per_forward):
        # Padding on the left is kept: a model with absolute positions would see other ones without it.
        width = int(mask[rows].any(0).nonzero().max()) + 1
        chunk = {key: t[rows, :width] if t.ndim == 2 else t[rows] for key, t in tensors.items()}
        embeddings.append(model({**features, **chunk})["sentence_embedding"])
    return torch.cat(embeddings)[order.argsort()]
