"""Embedding a column in chunks of texts of like length: padding is compute, on a CPU half of a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["embed_column", "in_order", "split_column"]


def embed_column(
    model: Callable[[dict[str, Any]], dict[str, Any]], features: dict[str, Any], rows_per_forward: int | None
) -> Tensor:
    """The embeddings of one column, with gradients.

    Embedding and gradient are those of one forward pass over all rows, up to which units dropout happens to draw. The
    activations of all chunks stay in memory until the backward pass, as those of one pass would.

    Args:
        model: Takes a feature batch, returns it with ``sentence_embedding`` ``(n, d)``.
        features: What the collator made of the column: ``input_ids`` and ``attention_mask`` ``(n, length)`` and more.
        rows_per_forward: Texts a chunk, see :func:`split_column`. None: one pass.

    Returns:
        ``(n, d)``, in the order of the rows.
    """
    chunks, places = split_column(features, rows_per_forward)
    return in_order([model(chunk)["sentence_embedding"] for chunk in chunks], places)


def split_column(
    features: dict[str, Any], rows: int | None = None, tokens: int | None = None
) -> tuple[list[dict[str, Any]], Tensor | None]:
    """Cut a feature batch into chunks of distinct texts of like length, each cut to its own width.

    A text that stands in several rows (a query of two instances, items that are the same once they are cut to the
    model's length) is in one chunk, once.

    Args:
        features: ``input_ids`` and ``attention_mask`` ``(n, length)`` and more.
        rows: At most so many texts a chunk. None: any number.
        tokens: At most so many tokens a chunk, padding counted: its texts times its width. A longer text is a chunk
            of its own. None: any number.

    Returns:
        The chunks, shortest texts first, and where in them each row stands, ``(n,)`` int64. Features that need no
        cut, or are not plain padded text, come back whole, with None for the places.
    """
    mask = features.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        return [features], None
    # prompt_length is one number for the batch, also where it is a tensor
    tensors = {key: t for key, t in features.items() if isinstance(t, Tensor) and t.ndim and key != "prompt_length"}
    if any(len(t) != len(mask) or (t.ndim >= 2 and t.shape != mask.shape) for t in tensors.values()):
        return [features], None  # images, flattened batches, ...
    first, number = _distinct(mask, tensors)
    if rows is None and tokens is None and len(first) == len(mask):
        return [features], None
    by_length = mask[first].sum(1).argsort(stable=True)
    order = first[by_length]
    # Padding on the left is kept: a model with absolute positions would see other ones without it.
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    widths_of_rows = (mask.bool() * positions).amax(1)
    sizes, widths = _sizes(widths_of_rows[order].tolist(), rows, tokens)
    if len(sizes) == 1 and len(first) == len(mask):
        return [features], None
    chunks = []
    for inside, width in zip(order.split(sizes), widths, strict=True):
        chunk = {key: t[inside, :width] if t.ndim == 2 else t[inside] for key, t in tensors.items()}
        chunks.append({**features, **chunk})
    return chunks, by_length.argsort()[number]


def in_order(chunks: list[Tensor], places: Tensor | None) -> Tensor:
    """The rows of the column from the chunks of :func:`split_column`: ``(n, d)``."""
    rows = torch.cat(chunks) if len(chunks) > 1 else chunks[0]
    return rows if places is None else rows[places]


def _distinct(mask: Tensor, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The first row of each distinct text, and which of these each row is: ``(m,)`` and ``(n,)`` int64."""
    rows = torch.arange(len(mask), device=mask.device)
    if "input_ids" not in tensors or any(t.is_floating_point() for t in tensors.values()):
        return rows, rows
    whole = torch.cat([t.reshape(len(mask), -1).long() for t in tensors.values()], dim=1)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (whole.shape[1],), generator=generator).to(mask.device)
    hashes, number = torch.unique((whole * factors).sum(1), return_inverse=True)
    if len(hashes) == len(mask):
        return rows, rows
    first = rows.new_full((len(hashes),), len(mask)).scatter_reduce(0, number, rows, "amin")
    is_same = bool((whole[first[number]] == whole).all())  # a hash of 64 bits is no proof
    return (first, number) if is_same else (rows, rows)


def _sizes(row_widths: list[int], rows: int | None, tokens: int | None) -> tuple[list[int], list[int]]:
    """How many rows each chunk has, and how wide it is."""
    sizes, widths = [0], [1]
    for row_width in row_widths:
        width = max(widths[-1], row_width)
        is_full = rows is not None and sizes[-1] == rows
        is_too_large = tokens is not None and (sizes[-1] + 1) * width > tokens
        if sizes[-1] and (is_full or is_too_large):
            sizes.append(1)
            widths.append(max(row_width, 1))
        else:
            sizes[-1] += 1
            widths[-1] = width
    return sizes, widths
