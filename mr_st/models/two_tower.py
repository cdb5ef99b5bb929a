"""Towers for queries and items, made of sentence-transformers' own modules, so that they load anywhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import nn

from mr_st.errors import UsageError, require_extra
from mr_st.models.loading import load_sentence_transformer, resolve_base
from mr_st.models.lora import add_lora
from mr_st.models.matryoshka import check_widths, record_matryoshka_dims
from mr_st.models.trunk import PoolingMode, trunk_modules, trunk_width

__all__ = ["build_two_tower"]


def build_two_tower(
    base: str | Path,
    dim: int | None = None,
    architecture: Literal["siamese", "asymmetric"] = "siamese",
    heads: Literal["separate", "shared"] | None = "separate",
    *,
    max_seq_length: int | None = None,
    prompts: Mapping[str, str] | None = None,
    seed: int = 0,
    pooling: PoolingMode | None = None,
    matryoshka_dims: Sequence[int] | None = None,
    lora: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> SentenceTransformer:
    """Build a model with a tower for queries and one for items. Source: arXiv 2602.17654, section 4.1.

    The heads are linear, without bias. They begin as the identity, or, when ``dim`` differs from the trunk's width,
    as one random orthonormal projection for both sides (ours): before any training the model ranks as its base does,
    or nearly so. Use ``encode_query`` and ``encode_document``; plain ``encode`` takes the items' side.

    The weights are float32, whatever the base was saved in: half precision would lose the small steps of training
    (train with ``precision: bf16`` instead). Decoders (Llama, Qwen, ...) work as trunks: texts are embedded as they
    are, without a chat template, padded on the right, and, where the tokenizer has no pad token, with its
    end-of-text token.

    Args:
        base: "minilm" (comes with the extra ``demo``), a Hub id, or a local folder. The modules, pooling and prompts
            of a sentence-transformers base are kept; a plain transformers model will do.
        dim: Width of the embeddings; None keeps the base's.
        architecture: "siamese": one trunk for both sides (paper's best); "asymmetric": a trunk each, equal at first.
        heads: "separate": a head for each side (paper); "shared": one for both; None: no head.
        max_seq_length: Where texts are cut, in tokens; None keeps the base's.
        prompts: Text put before each input, e.g. ``{"query": "query: ", "document": "passage: "}``; saved with the
            model. None keeps the base's.
        seed: For the random projection, and for LoRA's first values.
        pooling: How token vectors become one: "mean", "cls", "lasttoken", ...; None keeps the base's own. A plain
            transformers model has none: "lasttoken" for a decoder, "mean" for any other.
        matryoshka_dims: Shorter widths that shall work too, e.g. ``[128, 64]`` (arXiv 2205.13147); the full width is
            added. They are only recorded here, in the trunk's ``config.json``: ``train_stage`` wraps its loss for
            them. Use the result as ``SentenceTransformer(path, truncate_dim=64)``, whose vectors are prefixes: right
            for cosine similarity, of length 1 with ``normalize_embeddings=True``; or cut it with
            :func:`mr_st.models.truncate_tower`.
        lora: Train LoRA adapters and the heads only, e.g. ``{"r": 8, "target_modules": "all-linear"}``: see
            :func:`mr_st.models.add_lora`. Such a model must be merged (:func:`mr_st.models.merge_lora`) before it is
            saved; ``train_stage`` does so.
        device: Where to put the model; None lets sentence-transformers choose.

    Returns:
        A SentenceTransformer of stock modules: saved, it loads with ``SentenceTransformer(path)`` alone.

    Raises:
        UsageError: arguments that do not go together, or a base that is a two-tower model already.
        MrStError: the base does not exist or cannot be read.
        MissingExtraError: "minilm" or ``lora`` without the extra that brings them.

    Example:
        >>> model = build_two_tower("minilm", dim=128, matryoshka_dims=[64], prompts={"query": "query: "})
        >>> model.encode_query(["running shoes"]).shape
        (1, 128)
    """
    _check(dim, architecture, heads)
    if lora is not None:
        require_extra("peft", "llm")  # said before a large base is loaded
    loaded = load_sentence_transformer(base, device=device, model_kwargs={"dtype": torch.float32})
    where, hub_id = resolve_base(base)
    trunk = trunk_modules(loaded, base, where, pooling)
    width = trunk_width(loaded, trunk)
    if heads is None and dim not in (None, width):
        raise UsageError(f"dim={dim} needs a head, the base gives {width}; set heads='separate' or 'shared'")
    widths = None if matryoshka_dims is None else check_widths(matryoshka_dims, dim or width)
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
    # set_base_model() asks the Hub; the name was resolved above and the card must not depend on a network.
    model.model_card_data.base_model = hub_id or loaded.model_card_data.base_model
    record_matryoshka_dims(model, widths)
    return model if lora is None else add_lora(model, lora, seed)


def _check(dim: int | None, architecture: str, heads: str | None) -> None:
    if architecture not in ("siamese", "asymmetric"):
        raise UsageError(f"architecture is {architecture!r}; expected 'siamese' or 'asymmetric'")
    if heads not in ("separate", "shared", None):
        raise UsageError(f"heads is {heads!r}; expected 'separate', 'shared' or None")
    if dim is not None and dim < 1:
        raise UsageError(f"dim is {dim}; expected a positive number or None")


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
