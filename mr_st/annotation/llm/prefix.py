"""The prompts' common beginning run through a model once; then each pair costs its own tokens only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["SharedPrefix", "next_token_logits"]


class SharedPrefix:
    """A beginning of prompts, with the keys and values that a causal model made of it.

    Batches read them through views and append their own: nothing is computed twice. Rows are padded on the right, so
    positions and windows are those of the prompt alone, and what is padded comes after all that is read.

    Args:
        model: A causal language model of transformers.
        ids: The beginning's tokens, one or more.

    Raises:
        ValueError: the model keeps no cache that a batch can share; the message says why.
    """

    def __init__(self, model: Any, ids: Sequence[int]):
        import torch

        self._model = model
        self.ids = list(ids)
        with torch.inference_mode():
            options = {"logits_to_keep": 1} if _keeps_some_logits(model) else {}
            given = model(input_ids=torch.tensor([self.ids], device=model.device), use_cache=True, **options)
        self._cache = getattr(given, "past_key_values", None)
        _check(self._cache, len(self.ids))

    def begins(self, ids: Sequence[int]) -> bool:
        """Whether a prompt begins so and goes on."""
        return len(ids) > len(self.ids) and list(ids[: len(self.ids)]) == self.ids

    def next_token_logits(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits (n, vocabulary) after each whole prompt; all of them begin with the prefix.

        Source: ours; equal to :func:`next_token_logits` up to rounding.
        """
        rest = [ids[len(self.ids) :] for ids in prompts]
        return next_token_logits(self._model, rest, _for_batch(self._cache, len(rest)))


def next_token_logits(model: Any, prompts: Sequence[Sequence[int]], cache: Any = None) -> torch.Tensor:
    """Logits (n, vocabulary) of the token after each prompt, in one forward pass.

    Only the hidden state of a row's last token meets the vocabulary. Padding stands right of everything that is read,
    where a causal model cannot look; so it needs no mask, and a row does not depend on its company.

    Args:
        model: A causal language model of transformers.
        prompts: n lists of tokens, none empty.
        cache: Keys and values of what stands before all of them; it is used up.
    """
    import torch

    longest = max(len(ids) for ids in prompts)
    # a row's own last token as filler: whatever stands there is not read, and no model takes it for padding
    rows = [[*ids, *[ids[-1]] * (longest - len(ids))] for ids in prompts]
    last = torch.tensor([[len(ids) - 1] for ids in prompts], device=model.device)
    options: dict[str, Any] = {"use_cache": False} if cache is None else {"use_cache": True, "past_key_values": cache}
    keeps_some = _keeps_some_logits(model)
    if keeps_some:
        options["logits_to_keep"] = last
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor(rows, device=model.device), **options).logits
    return logits[:, 0] if keeps_some else logits[torch.arange(len(rows)), last[:, 0]]


def _keeps_some_logits(model: Any) -> bool:
    """Whether the model can leave out the logits of tokens that nobody asks about (nearly all can)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in signature(base.forward).parameters


def _check(cache: Any, n_tokens: int) -> None:
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if cache is None:
        raise ValueError("it gives no cache of keys and values")
    if type(cache) is not DynamicCache:
        raise ValueError(f"its cache is {type(cache).__name__}, no plain DynamicCache")
    for layer in cache.layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            raise ValueError(f"its cache has a {type(layer).__name__}, whose state is no list of keys and values")
    if cache.get_seq_length() != n_tokens:
        raise ValueError(f"its cache holds {cache.get_seq_length()} of {n_tokens} tokens")


def _for_batch(cache: Any, n: int) -> Any:
    """The cache for n rows: views of the same keys and values, which updates replace and never write to."""
    from transformers import DynamicCache

    fresh: Any = DynamicCache()
    fresh.layer_class_to_replicate = None
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in fresh.layers:
        layer.keys = layer.keys.expand(n, -1, -1, -1)
        layer.values = layer.values.expand(n, -1, -1, -1)
    return fresh
