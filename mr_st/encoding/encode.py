"""Encode texts with a SentenceTransformer: each distinct text once, in shards that outlive a killed run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mr_st.encoding.shards import ShardStore
from mr_st.errors import MrStError, UsageError
from mr_st.files import write_json
from mr_st.identity import model_hash, settings_hash, texts_hash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["encode", "prompt_of"]

Side = Literal["query", "item"]

_PROMPT_NAMES = {"query": ("query",), "item": ("document", "passage", "corpus")}
_BATCHES_PER_CALL = 8  # how often the progress bar moves


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    side: Side,
    store: str | Path | None = None,
    batch_size: int = 64,
    shard_size: int = 4096,
    show_progress: bool = False,
) -> np.ndarray:
    """Encode texts as queries or items, through the model's own prompts and routes.

    Distinct texts are sorted by length and encoded once. With a store, each shard is written as it is finished, under
    ``store/<key>/`` where the key hashes the model's weights and settings, the side, its prompt and the texts: a rerun
    encodes missing or damaged shards only, and a retrained model never meets old vectors. Texts in another order, or
    repeated, find the same shards.

    Args:
        model: Anything with ``encode_query`` and ``encode_document`` as SentenceTransformer has them.
        texts: n texts, repeats allowed.
        side: ``"query"`` or ``"item"``.
        store: Folder that keeps vectors between calls; None keeps nothing.
        batch_size: Texts in one forward pass.
        shard_size: Distinct texts in one shard: what a killed run loses at most.
        show_progress: Show a progress bar over the distinct texts.

    Returns:
        float32 (n, d), row i for ``texts[i]``, every row of length 1.

    Raises:
        UsageError: an unknown side, a size below 1, or a text that is no string.
        MrStError: a vector that is zero or not finite (the text's index is named), or a store that cannot be written.

    Source: ours.
    """
    _check_arguments(texts, side, batch_size, shard_size)
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    row_of = {text: row for row, text in enumerate(distinct)}
    rows = np.fromiter((row_of[text] for text in texts), dtype=np.int64, count=len(texts))
    by_row = np.argsort(rows, kind="stable")  # positions in `texts`, grouped by distinct text
    sorted_rows = rows[by_row]

    shards = None if store is None else _open_store(Path(store), model, side, distinct)
    vectors: np.ndarray | None = None
    for start, shard in _shards(model, distinct, side, shards, batch_size, shard_size, show_progress, texts):
        if vectors is None:
            vectors = np.empty((len(texts), shard.shape[1]), dtype=np.float32)
        first, last = np.searchsorted(sorted_rows, [start, start + len(shard)])
        vectors[by_row[first:last]] = shard[sorted_rows[first:last] - start]
    return np.empty((0, _dimension(model)), dtype=np.float32) if vectors is None else vectors


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


def _check_arguments(texts: Sequence[str], side: str, batch_size: int, shard_size: int) -> None:
    if side not in _PROMPT_NAMES:
        raise UsageError(f"side is {side!r}; expected 'query' or 'item'")
    if batch_size < 1 or shard_size < 1:
        raise UsageError(f"batch_size is {batch_size} and shard_size {shard_size}; both must be 1 or more")
    if isinstance(texts, str):
        raise UsageError("texts is one string; pass a list of strings")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(f"texts[{index}] is {type(text).__name__}; every text must be a string")


def _open_store(store: Path, model: SentenceTransformer, side: Side, distinct: list[str]) -> ShardStore:
    about = {
        "model": model_hash(model),
        "side": side,
        "prompt": prompt_of(model, side),
        "texts": texts_hash(distinct),
        "n_texts": len(distinct),
    }
    folder = store / settings_hash(about)
    if not (folder / "about.json").exists():
        write_json(folder / "about.json", about)
    return ShardStore(folder)


def _shards(
    model: SentenceTransformer,
    distinct: list[str],
    side: Side,
    shards: ShardStore | None,
    batch_size: int,
    shard_size: int,
    show_progress: bool,
    texts: Sequence[str],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, vectors) of every shard, from the store where it has them."""
    from tqdm.auto import tqdm

    with tqdm(total=len(distinct), desc=f"encode {side}", unit="text", disable=not show_progress) as progress:
        for start in range(0, len(distinct), shard_size):
            stop = min(start + shard_size, len(distinct))
            shard = shards.read(start, stop) if shards is not None else None
            if shard is None:
                shard = np.concatenate(
                    [
                        _encode_block(model, distinct[first : min(first + batch_size * _BATCHES_PER_CALL, stop)], side,
                                      batch_size, texts, progress)
                        for first in range(start, stop, batch_size * _BATCHES_PER_CALL)
                    ]
                )  # fmt: skip
                if shards is not None:
                    shards.write(start, shard)
            else:
                progress.update(stop - start)
            yield start, shard


def _encode_block(
    model: SentenceTransformer, block: list[str], side: Side, batch_size: int, texts: Sequence[str], progress: Any
) -> np.ndarray:
    run = model.encode_query if side == "query" else model.encode_document
    vectors = np.asarray(run(block, batch_size=batch_size, show_progress_bar=False), dtype=np.float32)
    # The norm in float64, so that a tiny but real vector is told from zero.
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        text = block[bad[0]]
        what = "zero" if np.isfinite(norms[bad[0], 0]) else "not finite"
        raise MrStError(
            f"texts[{list(texts).index(text)}] ({text[:60]!r}): its {side} vector is {what}; "
            "the model's weights are damaged or its training diverged: use an earlier checkpoint"
        )
    progress.update(len(block))
    return (vectors / norms).astype(np.float32)


def _dimension(model: SentenceTransformer) -> int:
    dimension = model.get_embedding_dimension()
    return int(dimension) if dimension is not None else 0
