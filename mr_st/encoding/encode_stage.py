"""Encoding as a stage: texts in row order, a shard of vectors at a time, each named by what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.encoding.known import KnownVectors, text_keys
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.text_encoder import Side, TextEncoder, prompt_of
from mr_st.encoding.tokenised import tokenizer_settings
from mr_st.encoding.vectors import Vectors
from mr_st.errors import MrStError, UsageError
from mr_st.identity import model_hash, settings_hash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["EncodeStage"]

_NAME_LENGTH = 32  # hexadecimal digits of a shard's name


class EncodeStage:
    """A :class:`~mr_st.encoding.stage.Stage` that encodes texts as queries or items into shards of unit vectors.

    Shard i holds rows ``i * shard_size`` and on, in row order: ``vectors`` (rows, d) and ``keys`` uint8 (rows, 16), a
    hash of each text. The shards lie under ``folder/<key>/``, where the key hashes the model's weights and settings,
    the side, its prompt and the dtype, so that a retrained model never meets old vectors; a shard's name hashes its
    texts. Within a shard distinct texts are encoded once, longest first.

    A shard that is not there takes over what older shards of that folder hold of its texts, and encodes the others: a
    catalogue of which one text in a hundred changed costs a hundredth. Shards of this stage's own plan are no source,
    so what a killed run left does not change the result. (A text's vector depends on the batch that it was encoded in
    by float noise, about 1e-7: what is taken over has the noise of its own batch.)

    Args:
        model: Anything with ``encode_query`` and ``encode_document`` as SentenceTransformer has them.
        texts: n texts in row order, repeats allowed.
        side: ``"query"`` or ``"item"``.
        folder: Where vectors are kept, for all models and sides.
        batch_size: Texts in one forward pass.
        shard_size: Rows in one shard: what a killed run loses at most, and what is held in memory.
        dtype: ``"float16"`` or ``"float32"``.
        token_workers: Processes that tokenise ahead; 0 tokenises in this one, None chooses.
        device: Where the model is moved on the first run; None leaves it where it is. A process that runs shards may
            set the attribute before.
        ids: What messages call the texts; None says ``texts[row]``.

    Raises:
        UsageError: an unknown side or dtype, a size below 1, ids that do not fit, or one string instead of texts.

    Example:
        >>> from sentence_transformers import SentenceTransformer  # doctest: +SKIP
        >>> stage = EncodeStage(SentenceTransformer("model"), texts, "item", ShardFolder("work"))  # doctest: +SKIP
        >>> for shard in range(len(stage.sizes)):  # doctest: +SKIP
        ...     stage.run(shard)
        >>> stage.vectors().map(Path("work")).shape  # doctest: +SKIP
        (1215854, 384)

    Source: ours.
    """

    unit = "text"

    def __init__(
        self,
        model: SentenceTransformer,
        texts: Sequence[str],
        side: Side,
        folder: ShardFolder,
        *,
        batch_size: int = 64,
        shard_size: int = 16_384,
        dtype: str = "float16",
        token_workers: int | None = None,
        device: str | None = None,
        ids: Sequence[str] | None = None,
    ):
        if shard_size < 1:
            raise UsageError(f"shard_size is {shard_size}; it must be 1 or more")
        if dtype not in ("float16", "float32"):
            raise UsageError(f"dtype is {dtype!r}; expected 'float16' or 'float32'")
        if isinstance(texts, str):
            raise UsageError("texts is one string; pass a list of strings")
        if ids is not None and len(ids) != len(texts):
            raise UsageError(f"{len(ids):,} ids for {len(texts):,} texts; give one for each")
        self._encoder = TextEncoder(model, side, batch_size, token_workers)
        self.texts, self.side, self.ids = texts, side, ids
        self.shard_size, self.dtype, self.device = shard_size, dtype, device
        self.about = {
            "model": model_hash(model),
            "side": side,
            "prompt": prompt_of(model, side),
            "max_seq_length": getattr(model, "max_seq_length", None),
            "tokenizer": tokenizer_settings(model),
            "dtype": dtype,
        }
        self.key = settings_hash(self.about)
        self.folder = folder / self.key
        self._names: list[str | None] = [None] * len(self.sizes)
        self._known: KnownVectors | None = None
        self._is_described = False

    @property
    def name(self) -> str:
        """``encode item`` or ``encode query``."""
        return f"encode {self.side}"

    @property
    def sizes(self) -> list[int]:
        """Rows of each shard."""
        n = len(self.texts)
        return [min(self.shard_size, n - start) for start in range(0, n, self.shard_size)]

    @property
    def shard_names(self) -> list[str]:
        """The shards' names in row order: hashes of the key and the texts."""
        return [self._name(shard) for shard in range(len(self._names))]

    def is_done(self, shard: int) -> bool:
        """Whether the shard's file is there."""
        return self.folder.has(self._name(shard))

    def read(self, shard: int) -> np.ndarray | None:
        """The rows of a shard that is done, or None where it is missing or damaged."""
        arrays = self.folder.read(self._name(shard), only=["vectors"])
        return None if arrays is None else arrays["vectors"]

    def run(self, shard: int, advance: Callable[[int], object] | None = None) -> None:
        """Make one shard and write it.

        Args:
            shard: Its number.
            advance: Called with the number of rows done, now and then.

        Raises:
            MrStError: a vector that is zero or not finite (its text is named), or a folder that cannot be written.
        """
        self._describe()
        first = shard * self.shard_size
        texts = [self.texts[row] for row in range(first, min(first + self.shard_size, len(self.texts)))]
        keys = self._keys(texts, first)
        row_of = {text: row for row, text in reversed(list(enumerate(texts)))}  # the first of its repeats
        distinct = sorted(row_of, key=lambda text: (-len(text), text))
        rows = np.array([row_of[text] for text in distinct], dtype=np.int64)
        found, vectors = self._older().take(keys[rows])
        missing = np.flatnonzero(~found)
        if len(missing):
            self._encoder.device = self.device
            encoded = self._encoder.unit_vectors(
                [distinct[at] for at in missing],
                lambda position: self._place(first + int(rows[missing[position]])),
                self.dtype,
                advance,
            )
            if vectors is None:
                vectors = np.empty((len(distinct), encoded.shape[1]), dtype=self.dtype)
            vectors[missing] = encoded
        assert vectors is not None, "a shard has texts"
        place_of = {text: place for place, text in enumerate(distinct)}
        places = np.array([place_of[text] for text in texts], dtype=np.int64)
        self.folder.write(self._name(shard), keys=keys, vectors=vectors[places])
        if advance is not None:
            advance(len(texts) - len(missing))

    def vectors(self) -> Vectors:
        """All rows, once every shard is done.

        Raises:
            MrStError: the model does not tell its dimension and the first shard is not done.
        """
        return Vectors(self.folder, self.shard_names, self.sizes, self._dimension(), self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": None, "_is_described": False}

    def _name(self, shard: int) -> str:
        name = self._names[shard]
        if name is None:
            first = shard * self.shard_size
            texts = [self.texts[row] for row in range(first, min(first + self.shard_size, len(self.texts)))]
            keys = self._keys(texts, first)
            name = hashlib.sha256(self.key.encode() + keys.tobytes()).hexdigest()[:_NAME_LENGTH]
            self._names[shard] = name
        return name

    def _keys(self, texts: list[str], first: int) -> np.ndarray:
        for row, text in enumerate(texts, start=first):
            if not isinstance(text, str):
                raise UsageError(f"{self._place(row)} is {type(text).__name__}; every text must be a string")
        return text_keys(texts)

    def _place(self, row: int) -> str:
        return f"texts[{row}]" if self.ids is None else str(self.ids[row])

    def _older(self) -> KnownVectors:
        if self._known is None:
            self._known = KnownVectors(self.folder, self.folder.names() - set(self.shard_names))
        return self._known

    def _describe(self) -> None:
        """Write what the folder holds, for people, before anything is encoded."""
        if not self._is_described:
            self.folder.describe(self.about)
            self._is_described = True

    def _dimension(self) -> int:
        known = getattr(self._encoder.model, "get_embedding_dimension", None)
        dimension = known() if callable(known) else None
        if dimension is None and self._names:
            first = self.read(0)
            if first is None:
                raise MrStError(f"{self.folder.url}: the first shard is not there; run the stage before its vectors")
            dimension = first.shape[1]
        return int(dimension or 0)
