"""What the towers need of a base model: how its token vectors are pooled, and a tokenizer that can pad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.util import is_sentence_transformer_model
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from mr_st.errors import MrStError, UsageError

__all__ = ["PoolingMode", "is_decoder", "transformers_of", "trunk_modules", "trunk_width"]

PoolingMode = Literal["mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens"]
"""How token vectors become one."""


def is_decoder(config: Any) -> bool:
    """Whether a transformer's tokens see only those before them, so that only the last one has seen the whole text.

    Args:
        config: A transformers configuration.
    """
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "use_bidirectional_attention", False):
        return False
    kind = type(config)
    is_causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
    return is_causal and getattr(config, "is_causal", True) is not False


def transformers_of(model: nn.Module) -> Iterator[Transformer]:
    """The transformers of a model: one for a Siamese tower, two for an asymmetric one."""
    return (module for module in model.modules() if isinstance(module, Transformer))


def trunk_modules(loaded: SentenceTransformer, base: str | Path, where: str, pooling: str | None) -> list[nn.Module]:
    """The modules of a base without its last normalisation, ready to carry heads.

    Args:
        loaded: The base, loaded; its modules are used, not copied.
        base: Its name, for messages.
        where: The folder or Hub id it was loaded from.
        pooling: A pooling mode; None keeps the base's own. A plain transformer has none: "lasttoken" if it is a
            decoder, "mean" otherwise.

    Raises:
        UsageError: the base is a two-tower model already, has no place for the pooling, or a tokenizer without
            any token to pad with.
    """
    modules = list(loaded.children())
    if any(isinstance(module, Router) for module in modules):
        raise UsageError(f"{base} is a two-tower model already; load it with SentenceTransformer and train it on")
    while modules and isinstance(modules[-1], Normalize):
        modules.pop()
    transformer = modules[0] if modules and isinstance(modules[0], Transformer) else None
    is_plain = transformer is not None and not is_sentence_transformer_model(where)
    if transformer is not None and is_plain:
        _read_plain_text(transformer)
        if pooling is None and is_decoder(transformer.config):
            pooling = "lasttoken"
    if pooling is not None:
        _set_pooling(modules, pooling, base)
    if transformer is not None:
        _prepare_padding(transformer, base)
    return modules


def trunk_width(loaded: SentenceTransformer, trunk: list[nn.Module]) -> int:
    """The width of what the trunk gives.

    Raises:
        MrStError: no module says.
    """
    for module in reversed(trunk):
        get: Any = getattr(module, "get_embedding_dimension", None)
        if get is not None:
            return int(get())
    raise MrStError(f"{loaded.model_card_data.base_model}: cannot tell the width of its embeddings")


def _set_pooling(modules: list[nn.Module], pooling: str, base: str | Path) -> None:
    place = next((i for i, module in enumerate(modules) if isinstance(module, Pooling)), None)
    if place is None:
        raise UsageError(f"{base} has no pooling module, so pooling={pooling!r} has no place; leave it out")
    old: Any = modules[place]
    try:
        new = Pooling(old.embedding_dimension, pooling, include_prompt=old.include_prompt)
    except ValueError as error:
        raise UsageError(f"pooling is {pooling!r}: {error}") from error
    if place + 1 < len(modules) and new.pooling_output_dimension != old.pooling_output_dimension:
        raise UsageError(
            f"{base} pools to {old.pooling_output_dimension} values, which the modules after it need; "
            f"pooling={pooling!r} gives {new.pooling_output_dimension}: leave it out"
        )
    modules[place] = new


def _read_plain_text(transformer: Transformer) -> None:
    """Embed the text itself: a chat template would put the same words around every text, and pool the last of them."""
    if "text" in transformer.modality_config and "message" in transformer.modality_config:
        del transformer.modality_config["message"]
        transformer.input_formatter.supported_modalities = list(transformer.modality_config)


def _prepare_padding(transformer: Transformer, base: str | Path) -> None:
    """A token to pad with, and padding where no position is shifted by it.

    Padding is told by the attention mask, never by the token, so the end-of-text token will do. The model's own
    configuration is left alone: a ``pad_token_id`` there would freeze that token's embedding after the next load.
    """
    tokenizer = transformer.tokenizer
    if tokenizer is None:
        return
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UsageError(
                f"{base}: its tokenizer has neither a pad nor an end-of-text token, so texts cannot be batched; "
                "set tokenizer.pad_token, save it with the base, and try again"
            )
        tokenizer.pad_token = tokenizer.eos_token
    if is_decoder(transformer.config):
        # On the left, absolute positions would depend on the batch; on the right, no token sees the padding.
        tokenizer.padding_side = "right"
