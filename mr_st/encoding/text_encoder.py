"""Texts to unit vectors, as the model's encode_query or encode_document gives them; tokenised ahead where it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mr_st.encoding.tokenised import tokenised_batches
from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Side", "TextEncoder", "prompt_of"]

Side = Literal["query", "item"]

_PROMPT_NAMES = {"query": ("query",), "item": ("document", "passage", "corpus")}
_TASKS = {"query": "query", "item": "document"}
_BATCHES_PER_BLOCK = 8  # how often vectors leave the device, bad ones are found and a progress bar moves
_OWN_METHODS = ("encode", "encode_query", "encode_document", "_inference", "forward", "__call__")


def prompt_of(model: SentenceTransformer, side: Side) -> str:
    """The prompt that the model puts before texts of this side, ``""`` where it has none.

    Args:
        model: A SentenceTransformer.
        side: ``"query"`` or ``"item"``.
    """
    prompts = getattr(model, "prompts", None) or {}
    for name in (*_PROMPT_NAMES[side], getattr(model, "default_prompt_name", None)):
        if name in prompts:
            return prompts[name] or ""
    return ""


class TextEncoder:
    """Encodes lists of texts with one model, one side and one batch size.

    A plain SentenceTransformer is run batch by batch, with the next batches tokenised meanwhile. Any other object, and
    a SentenceTransformer whose encoding was changed, is asked through its own ``encode_query``/``encode_document``.

    Args:
        model: Anything with ``encode_query`` and ``encode_document`` as SentenceTransformer has them.
        side: ``"query"`` or ``"item"``.
        batch_size: Texts in one forward pass.
        token_workers: Processes that tokenise ahead; 0 tokenises in this one, None chooses.
        device: Where the model is moved before the first text; None leaves it where it is.

    Raises:
        UsageError: an unknown side, a size below 1 or a negative number of processes.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        side: Side,
        batch_size: int = 64,
        token_workers: int | None = None,
        device: str | None = None,
    ):
        if side not in _PROMPT_NAMES:
            raise UsageError(f"side is {side!r}; expected 'query' or 'item'")
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be 1 or more")
        if token_workers is not None and token_workers < 0:
            raise UsageError(f"token_workers is {token_workers}; it must be 0 or more, or None to choose")
        self.model, self.side, self.batch_size = model, side, batch_size
        self.token_workers, self.device = token_workers, device

    def unit_vectors(
        self,
        texts: list[str],
        place_of: Callable[[int], str],
        dtype: str = "float32",
        advance: Callable[[int], object] | None = None,
    ) -> np.ndarray:
        """Vectors of length 1, row i for ``texts[i]``; give texts of like length side by side.

        Args:
            texts: At least one text.
            place_of: What a message calls the text at a position of ``texts``.
            dtype: ``"float32"`` or ``"float16"``: what the float32 unit vectors are rounded to.
            advance: Called with the number of texts done, now and then.

        Raises:
            MrStError: a vector that is zero or not finite, or a tokenising process that died.
        """
        vectors: np.ndarray | None = None
        start = 0
        for block in self._blocks(texts):
            # The norm in float64, so that a tiny but real vector is told from zero.
            norms = np.linalg.norm(block.astype(np.float64), axis=1, keepdims=True)
            bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
            if len(bad):
                what = "zero" if np.isfinite(norms[bad[0], 0]) else "not finite"
                raise MrStError(
                    f"{place_of(start + int(bad[0]))} ({texts[start + bad[0]][:60]!r}): its {self.side} vector is "
                    f"{what}; the model's weights are damaged or its training diverged: use an earlier checkpoint"
                )
            if vectors is None:
                vectors = np.empty((len(texts), block.shape[1]), dtype=dtype)
            np.divide(block, norms, out=vectors[start : start + len(block)], casting="same_kind")
            start += len(block)
            if advance is not None:
                advance(len(block))
        assert vectors is not None, "unit_vectors was given no text"
        return vectors

    def _blocks(self, texts: list[str]) -> Iterator[np.ndarray]:
        """The model's float32 vectors of all texts in order, some batches at a time."""
        if self.device is not None and hasattr(self.model, "to"):
            self.model.to(self.device)
        if _is_plain(self.model):
            yield from self._own_blocks(texts)
            return
        run = self.model.encode_query if self.side == "query" else self.model.encode_document
        step = self.batch_size * _BATCHES_PER_BLOCK
        for start in range(0, len(texts), step):
            vectors = run(texts[start : start + step], batch_size=self.batch_size, show_progress_bar=False)
            yield np.asarray(vectors, dtype=np.float32)

    def _own_blocks(self, texts: list[str]) -> Iterator[np.ndarray]:
        """What SentenceTransformer.encode does with a batch, over batches that may be tokenised elsewhere."""
        import torch
        from sentence_transformers.util import batch_to_device, truncate_embeddings

        model, task = self.model, _TASKS[self.side]
        model.eval()
        batches = [texts[start : start + self.batch_size] for start in range(0, len(texts), self.batch_size)]
        tokenised = tokenised_batches(model, batches, prompt_of(model, self.side), task, self.token_workers)
        waiting: list[torch.Tensor] = []
        for number, features in enumerate(tokenised, start=1):
            with torch.inference_mode():
                output = model(batch_to_device(features, model.device), task=task)["sentence_embedding"]
                if model.truncate_dim is not None:
                    output = truncate_embeddings(output, model.truncate_dim)
            waiting.append(output)
            if number % _BATCHES_PER_BLOCK == 0 or number == len(batches):
                yield torch.cat(waiting).float().cpu().numpy()
                waiting = []


def _is_plain(model: Any) -> bool:
    """Whether the model encodes as SentenceTransformer does: nothing overridden, on one device that it knows."""
    from sentence_transformers import SentenceTransformer

    if not isinstance(model, SentenceTransformer):
        return False
    changed = any(
        name in vars(model) or getattr(type(model), name, None) is not getattr(SentenceTransformer, name, None)
        for name in _OWN_METHODS
    )
    elsewhere = (
        getattr(model, "_distributed_inference", None) is not None
        or getattr(model, "_placement_is_delegated", False)
        or model.device.type == "hpu"
    )
    return not changed and not elsewhere
