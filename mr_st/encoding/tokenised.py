"""Batches of texts tokenised ahead in worker processes, while the model is at work on an earlier one."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError
from mr_st.identity import settings_hash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["tokenised_batches", "tokenizer_settings"]

_FEW_BATCHES = 32  # for fewer, starting processes takes longer than it saves
_MOST_WORKERS = 4


def tokenised_batches(
    model: SentenceTransformer, batches: list[list[str]], prompt: str, task: str, n_workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the features of each batch in order, as the model's own preprocessing makes them.

    Args:
        model: Whose ``preprocess`` is called.
        batches: Lists of texts.
        prompt: Put before each text; ``""`` for none.
        task: The route, ``"query"`` or ``"document"``.
        n_workers: Processes that tokenise ahead; 0 tokenises here when a batch is asked for, None chooses.

    Raises:
        MrStError: a worker process died.
    """
    tokenise = partial(_tokenise, model, prompt, task)
    n_workers = min(_chosen(model, len(batches)) if n_workers is None else n_workers, len(batches))
    if n_workers == 0 or multiprocessing.current_process().daemon:  # a daemon may have no children
        yield from map(tokenise, batches)
        return
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,  # each element is a batch already
        num_workers=n_workers,
        collate_fn=tokenise,
        prefetch_factor=4,
        generator=torch.Generator(),  # its own: a training run's random numbers must not depend on our workers
        multiprocessing_context="fork" if "fork" in multiprocessing.get_all_start_methods() else None,
    )
    try:
        with _quiet_tokenizers():
            features = iter(loader)
        yield from features
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise MrStError(
            f"a tokenising process died ({str(error).splitlines()[0]}); free memory or run with token_workers=0"
        ) from error


def tokenizer_settings(model: Any) -> str:
    """Hash of how the model's tokenizers split a text, beside their vocabulary; ``""`` where none can tell."""
    states = []
    for _, module in sorted(model.named_modules()) if hasattr(model, "named_modules") else []:
        backend = getattr(getattr(module, "tokenizer", None), "backend_tokenizer", None)
        if backend is not None:
            state = json.loads(backend.to_str())
            # Not its truncation and padding, which calls change, nor its vocabulary, which the model's hash holds.
            states.append([state.get(part) for part in ("normalizer", "pre_tokenizer", "post_processor")])
            states[-1].append(getattr(module.tokenizer, "truncation_side", None))
    return settings_hash(states) if states else ""


def _tokenise(model: SentenceTransformer, prompt: str, task: str, batch: list[str]) -> dict[str, Any]:
    return model.preprocess(batch, prompt=prompt or None, task=task)


def _chosen(model: SentenceTransformer, n_batches: int) -> int:
    """How many processes pay: none where the forward pass wants all cores itself, or for few batches."""
    if model.device.type == "cpu" or n_batches < _FEW_BATCHES or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    return min(_MOST_WORKERS, len(os.sched_getaffinity(0)) - 1)


@contextmanager
def _quiet_tokenizers() -> Iterator[None]:
    """Tokenizers of forked processes use one thread, and do not warn that they do."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
