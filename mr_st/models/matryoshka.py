"""Embeddings that can be cut: which widths a model is trained at, and a model cut to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import nn

from mr_st.errors import UsageError
from mr_st.models.trunk import transformers_of

__all__ = ["check_widths", "matryoshka_dims", "record_matryoshka_dims", "truncate_tower"]

_KEY = "matryoshka_dimensions"  # in the trunk's config.json, where inference servers look for it too


def check_widths(dims: Iterable[int], width: int) -> tuple[int, ...]:
    """Matryoshka widths, largest first, the full one among them.

    Raises:
        UsageError: a width that is no positive whole number, is larger than the embedding, or comes twice.

    Example:
        >>> check_widths([64, 128], 384)
        (384, 128, 64)
    """
    given = list(dims)
    wrong = [d for d in given if isinstance(d, bool) or not isinstance(d, int) or not 1 <= d <= width]
    if wrong:
        raise UsageError(f"matryoshka_dims has {wrong[0]!r}; expected whole numbers from 1 to the width, {width}")
    if not given or len(set(given)) != len(given):
        raise UsageError(f"matryoshka_dims is {given}; expected one or more different widths")
    return tuple(sorted({*given, width}, reverse=True))


def record_matryoshka_dims(model: nn.Module, dims: Sequence[int] | None) -> None:
    """Write the widths into the configuration of each trunk (``matryoshka_dimensions``), or remove them from there."""
    for transformer in transformers_of(model):
        config: Any = transformer.config
        if dims is not None:
            setattr(config, _KEY, list(dims))
        elif hasattr(config, _KEY):
            delattr(config, _KEY)


def matryoshka_dims(model: SentenceTransformer) -> tuple[int, ...]:
    """The widths that a model is to be trained at, largest first; empty if only at its own.

    They are kept in the trunk's ``config.json``, so a loaded model has them too. Where there are any, wrap the loss in
    sentence-transformers' ``MatryoshkaLoss(model, loss, matryoshka_dims(model))``; ``train_stage`` does so.
    """
    width = model.get_embedding_dimension()
    for transformer in transformers_of(model):
        dims = getattr(transformer.config, _KEY, None)
        if isinstance(dims, (list, tuple)) and dims and width is not None:
            return tuple(sorted({*(int(d) for d in dims if 0 < int(d) < width), width}, reverse=True))
    return ()


@torch.no_grad()
def truncate_tower(model: SentenceTransformer, dim: int) -> SentenceTransformer:
    """Cut a model's embeddings to their first ``dim`` values, again of length 1; in place.

    ``SentenceTransformer(path, truncate_dim=dim)`` gives the same values without rescaling them: right for cosine
    similarity, but not unit vectors. This cuts the head (or adds one that selects), so that the saved model is plain,
    smaller, and normalised.

    Args:
        model: A model of :func:`build_two_tower`: it ends in Normalize.
        dim: From 1 to the embedding's width; best one of :func:`matryoshka_dims`.

    Raises:
        UsageError: another width, or a model that does not end in Normalize.

    Example:
        >>> from mr_st.models import build_two_tower
        >>> model = truncate_tower(build_two_tower("minilm", matryoshka_dims=[64]), 64)
        >>> model.encode_query(["running shoes"]).shape
        (1, 64)
    """
    modules = list(model.children())
    with model.truncate_embeddings(None):
        width = model.get_embedding_dimension()
    if not modules or not isinstance(modules[-1], Normalize) or width is None:
        raise UsageError("only a model that ends in Normalize can be cut; build it with build_two_tower")
    if not 1 <= dim <= width:
        raise UsageError(f"dim is {dim}; expected 1 to the model's width, {width}")
    model.truncate_dim = None
    if dim == width:
        return model
    heads = _heads(modules[-2])
    if heads and all(_can_be_cut(head) for head in heads):
        for head in heads:
            _cut(head, dim)
    else:
        select = Dense(width, dim, bias=False, activation_function=nn.Identity(), init_weight=torch.eye(dim, width))
        model.insert(len(modules) - 1, select.to(model.device))
    dims = matryoshka_dims(model)  # of the new width
    record_matryoshka_dims(model, dims if len(dims) > 1 else None)
    return model


def _heads(module: nn.Module) -> list[Any]:
    """The linear modules that a width is decided by; empty if it is not decided by such alone."""
    routes: Any = module.sub_modules.values() if isinstance(module, Router) else [[module]]
    last = [list(route)[-1] for route in routes]
    return last if all(isinstance(head, Dense) for head in last) else []


def _can_be_cut(head: Dense) -> bool:
    return not head.use_residual and isinstance(head.activation_function, nn.Identity)


def _cut(head: Dense, dim: int) -> None:
    if head.out_features == dim:
        return  # one head for both sides
    old = head.linear
    head.linear = nn.Linear(head.in_features, dim, bias=old.bias is not None).to(old.weight)
    head.linear.weight.copy_(old.weight[:dim])
    if old.bias is not None:
        head.linear.bias.copy_(old.bias[:dim])
    head.out_features = dim
