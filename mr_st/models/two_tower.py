"""Towers for queries and items, made of sentence-transformers' own modules, so that they load anywhere."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import nn

from mr_st.errors import MrStError, UsageError
from mr_st.models.loading import load_sentence_transformer, resolve_base

__all__ = ["build_two_tower"]


def build_two_tower(
    base: str | Path,
    dim: int | None = None,
    architecture: Literal["siamese", "asymmetric"] = "siamese",
    heads: Literal["separate", "shared"] | None = "separate",
    *,
    max_seq_length: int | None = None,
    prompts: dict[str, str] | None = None,
    seed: int = 0,
    pooling: str | None = None,
    device: str | None = None,
) -> SentenceTransformer:
    """Build a model with a tower for queries and one for items. Source: arXiv 2602.17654, section 4.1.

    The heads are linear, without bias. They begin as the identity, or, when ``dim`` differs from the trunk's width,
    as one random orthonormal projection for both sides (ours): before any training the model ranks as its base does,
    or nearly so. Use ``encode_query`` and ``encode_document``; plain ``encode`` takes the items' side.

    Args:
        base: "minilm" (comes with the extra ``demo``), a Hub id, or a local folder. The modules, pooling and prompts
            of a sentence-transformers base are kept.
        dim: Width of the embeddings; None keeps the base's.
        architecture: "siamese": one trunk for both sides (paper's best); "asymmetric": a trunk each, equal at first.
        heads: "separate": a head for each side (paper); "shared": one for both; None: no head.
        max_seq_length: Where texts are cut, in tokens; None keeps the base's.
        prompts: Text put before each input, e.g. ``{"query": "query: ", "document": "passage: "}``; saved with the
            model. None keeps the base's.
        seed: For the random projection.
        pooling: How token vectors become one: "mean", "cls", "lasttoken", ...; None keeps the base's own, "mean" where
            it has none.
        device: Where to put the model; None lets sentence-transformers choose.

    Returns:
        A SentenceTransformer of stock modules: saved, it loads with ``SentenceTransformer(path)`` alone.

    Raises:
        UsageError: arguments that do not go together, or a base that is a two-tower model already.
        MrStError: the base does not exist or cannot be read.
    """
    _check(dim, architecture, heads)
    loaded = load_sentence_transformer(base, device=device)
    trunk = _trunk(loaded, str(base), pooling)
    width = _width(loaded, trunk)
    if heads is None and dim not in (None, width):
        raise UsageError(f"dim={dim} needs a head, the base gives {width}; set heads='separate' or 'shared'")
    modules = _assemble(trunk, width, dim or width, architecture, heads, seed)
    model = SentenceTransformer(
        modules=modules,
        prompts={name: text or "" for name, text in {**loaded.prompts, **(prompts or {})}.items()},
        default_prompt_name=loaded.default_prompt_name,
        similarity_fn_name="cosine",
        device=str(loaded.device),
    )
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
    _, hub_id = resolve_base(base)
    # set_base_model() asks the Hub; the name was resolved above and the card must not depend on a network.
    model.model_card_data.base_model = hub_id or loaded.model_card_data.base_model
    return model


def _check(dim: int | None, architecture: str, heads: str | None) -> None:
    if architecture not in ("siamese", "asymmetric"):
        raise UsageError(f"architecture is {architecture!r}; expected 'siamese' or 'asymmetric'")
    if heads not in ("separate", "shared", None):
        raise UsageError(f"heads is {heads!r}; expected 'separate', 'shared' or None")
    if dim is not None and dim < 1:
        raise UsageError(f"dim is {dim}; expected a positive number or None")


def _trunk(loaded: SentenceTransformer, base: str, pooling: str | None) -> list[nn.Module]:
    """The base's modules without its last normalisation."""
    modules = list(loaded.children())
    if any(isinstance(module, Router) for module in modules):
        raise UsageError(f"{base} is a two-tower model already; load it with SentenceTransformer and train it on")
    while modules and isinstance(modules[-1], Normalize):
        modules.pop()
    places = [i for i, module in enumerate(modules) if isinstance(module, Pooling)]
    if pooling is not None:
        if not places:
            raise UsageError(f"{base} has no pooling module, so pooling={pooling!r} has no place; leave it out")
        try:
            modules[places[0]] = Pooling(modules[places[0]].embedding_dimension, pooling)
        except ValueError as error:
            raise UsageError(f"pooling is {pooling!r}: {error}") from error
    return modules


def _width(loaded: SentenceTransformer, trunk: list[nn.Module]) -> int:
    for module in reversed(trunk):
        get: Any = getattr(module, "get_embedding_dimension", None)
        if get is not None:
            return int(get())
    raise MrStError(f"{loaded.model_card_data.base_model}: cannot tell the width of its embeddings")


def _assemble(
    trunk: list[nn.Module], width: int, dim: int, architecture: str, heads: str | None, seed: int
) -> list[nn.Module]:
    weight = _initial_weight(width, dim, seed)

    def head() -> list[nn.Module]:
        return [Dense(width, dim, bias=False, activation_function=nn.Identity(), init_weight=weight.clone())]

    separate = heads == "separate"
    shared = head() if heads == "shared" else []
    if architecture == "asymmetric":
        query = copy.deepcopy(trunk) + (head() if separate else [])
        return [_router(query, trunk + (head() if separate else [])), *shared, Normalize()]
    return [*trunk, *([_router(head(), head())] if separate else shared), Normalize()]


def _router(query: list[nn.Module], item: list[nn.Module]) -> Router:
    return Router.for_query_document(query, item, default_route="document")  # type: ignore[arg-type]


def _initial_weight(width: int, dim: int, seed: int) -> torch.Tensor:
    """``(dim, width)``: the identity, or a projection with orthonormal rows (columns, when dim > width)."""
    if dim == width:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(seed)
    return nn.init.orthogonal_(torch.empty(dim, width), generator=generator)
