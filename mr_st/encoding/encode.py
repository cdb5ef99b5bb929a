"""Encode texts with a SentenceTransformer, each distinct text once; what is kept in a store outlives a killed run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.encoding.encode_stage import EncodeStage
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.text_encoder import Side, TextEncoder, prompt_of
from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["encode", "prompt_of"]


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    side: Side,
    store: str | Path | None = None,
    batch_size: int = 64,
    shard_size: int = 4096,
    show_progress: bool = False,
    clock: Callable[[int, float], object] | None = None,
) -> np.ndarray:
    """Encode texts as queries or items, through the model's own prompts and routes, into memory.

    Distinct texts are sorted by length and encoded once. With a store, each shard is written as it is finished (see
    :class:`EncodeStage`): a rerun encodes missing or damaged shards only, a retrained model never meets old vectors,
    and texts in another order, repeated, or among others find the vectors that are there.

    Args:
        model: Anything with ``encode_query`` and ``encode_document`` as SentenceTransformer has them.
        texts: n texts, repeats allowed.
        side: ``"query"`` or ``"item"``.
        store: Folder that keeps vectors between calls; None keeps nothing.
        batch_size: Texts in one forward pass.
        shard_size: Distinct texts in one shard: what a killed run loses at most.
        show_progress: Show a progress bar over the distinct texts.
        clock: Called after each shard that was really encoded, with its number of texts and the seconds it took.

    Returns:
        float32 (n, d), row i for ``texts[i]``, every row of length 1.

    Raises:
        UsageError: an unknown side, a size below 1, or a text that is no string.
        MrStError: a vector that is zero or not finite (the text's index is named), or a store that cannot be written.

    Source: ours.
    """
    _check_arguments(texts, shard_size)
    encoder = TextEncoder(model, side, batch_size)
    distinct = sorted(set(texts))
    distinct.sort(key=len, reverse=True)  # stable: longest first, then by text
    if not distinct:
        return np.empty((0, _dimension(model)), dtype=np.float32)
    row_of = {text: row for row, text in enumerate(distinct)}
    rows = np.fromiter(map(row_of.__getitem__, texts), dtype=np.int64, count=len(texts))
    by_row = np.argsort(rows, kind="stable")  # positions in `texts`, grouped by distinct text
    sorted_rows = rows[by_row]
    places = _FirstPlaces(by_row[np.searchsorted(sorted_rows, np.arange(len(distinct)))])

    from tqdm.auto import tqdm

    with tqdm(total=len(distinct), desc=f"encode {side}", unit="text", disable=not show_progress) as progress:
        shards: Iterator[np.ndarray]
        if store is None:
            shards = _made(encoder, distinct, places, shard_size, progress.update, clock)
        else:
            stage = EncodeStage(
                model, distinct, side, ShardFolder(store),
                batch_size=batch_size, shard_size=shard_size, dtype="float32", ids=places,
            )  # fmt: skip
            shards = (_kept_or_made(stage, shard, progress.update, clock) for shard in range(len(stage.sizes)))
        vectors: np.ndarray | None = None
        start = 0
        for shard in shards:
            if vectors is None:
                vectors = np.empty((len(texts), shard.shape[1]), dtype=np.float32)
            first, last = np.searchsorted(sorted_rows, [start, start + len(shard)])
            all_once = last - first == len(shard)
            vectors[by_row[first:last]] = shard if all_once else shard[sorted_rows[first:last] - start]
            start += len(shard)
    assert vectors is not None
    return vectors


class _FirstPlaces(Sequence[str]):
    """What a message calls a distinct text: its first place among all texts."""

    def __init__(self, places: np.ndarray):
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: Any) -> Any:
        return _FirstPlaces(self.places[row]) if isinstance(row, slice) else f"texts[{self.places[row]}]"


def _made(
    encoder: TextEncoder,
    texts: list[str],
    places: Sequence[str],
    size: int,
    advance: Callable[[int], object],
    clock: Callable[[int, float], object] | None,
) -> Iterator[np.ndarray]:
    for start in range(0, len(texts), size):
        part = places[start : start + size]
        begun = time.perf_counter()
        vectors = encoder.unit_vectors(texts[start : start + size], part.__getitem__, advance=advance)
        if clock is not None:
            clock(len(vectors), time.perf_counter() - begun)
        yield vectors


def _kept_or_made(
    stage: EncodeStage, shard: int, advance: Callable[[int], object], clock: Callable[[int, float], object] | None
) -> np.ndarray:
    kept = stage.read(shard)
    if kept is not None:
        advance(len(kept))
        return kept
    begun = time.perf_counter()
    stage.run(shard, advance)
    seconds = time.perf_counter() - begun
    made = stage.read(shard)
    if made is None:
        raise MrStError(f"{stage.folder.url}: a shard cannot be read after writing it; check the disk and run again")
    if clock is not None:
        clock(len(made), seconds)
    return made


def _check_arguments(texts: Sequence[str], shard_size: int) -> None:
    if shard_size < 1:
        raise UsageError(f"shard_size is {shard_size}; it must be 1 or more")
    if isinstance(texts, str):
        raise UsageError("texts is one string; pass a list of strings")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(f"texts[{index}] is {type(text).__name__}; every text must be a string")


def _dimension(model: SentenceTransformer) -> int:
    dimension = model.get_embedding_dimension()
    return int(dimension) if dimension is not None else 0
