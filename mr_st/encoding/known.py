"""Vectors that a folder's older shards hold, found by a hash of their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder

__all__ = ["KnownVectors", "text_keys"]

_KEY_BYTES = 16


def text_keys(texts: Sequence[str]) -> np.ndarray:
    """A hash of each text, uint8 (n, 16)."""
    digests = (
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest() for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _KEY_BYTES)


class KnownVectors:
    """Looks texts up in shards that hold ``keys`` uint8 (n, 16) and ``vectors`` (n, d).

    The keys of all shards are held in memory, 32 bytes a row; of the vectors only the shard that is read.

    Args:
        folder: Where the shards lie.
        names: Which of them to look in; a text that several hold is taken from the first by name.
    """

    def __init__(self, folder: ShardFolder, names: Iterable[str]):
        self.folder = folder
        self.names = sorted(names)
        self._read: tuple[str, np.ndarray | None] = ("", None)
        shards = [self._keys_of(name) for name in self.names]
        keys = np.concatenate([np.empty(0, dtype=f"S{_KEY_BYTES}"), *shards])
        self._order = np.argsort(keys, kind="stable")  # equal keys stand in the order of the shards' names
        self._keys = keys[self._order]
        self._starts = np.concatenate([[0], np.cumsum([len(shard) for shard in shards])]).astype(np.int64)

    def take(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What is known of some texts.

        Args:
            keys: uint8 (n, 16), from :func:`text_keys`.

        Returns:
            bool (n,), which texts are known; and their vectors in the rows of (n, d), the other rows unset, or None
            where no text is known.
        """
        found = np.zeros(len(keys), dtype=bool)
        vectors: np.ndarray | None = None
        if not len(self._keys) or not len(keys):
            return found, None
        wanted = _as_strings(keys)
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        hits = np.flatnonzero(self._keys[at] == wanted)
        places = self._order[at[hits]]
        shards = np.searchsorted(self._starts, places, side="right") - 1
        for shard in np.unique(shards):
            rows = self._vectors_of(self.names[shard])
            if rows is None:
                continue
            if vectors is None:
                vectors = np.empty((len(keys), rows.shape[1]), dtype=rows.dtype)
            here = shards == shard
            vectors[hits[here]] = rows[places[here] - self._starts[shard]]
            found[hits[here]] = True
        return found, vectors

    def _keys_of(self, name: str) -> np.ndarray:
        arrays = self.folder.read(name, only=["keys"])
        return np.empty(0, dtype=f"S{_KEY_BYTES}") if arrays is None else _as_strings(arrays["keys"])

    def _vectors_of(self, name: str) -> np.ndarray | None:
        if self._read[0] != name:
            arrays = self.folder.read(name, only=["vectors"])
            self._read = (name, None if arrays is None else arrays["vectors"])
        return self._read[1]


def _as_strings(keys: np.ndarray) -> np.ndarray:
    """Rows of 16 bytes as one sortable value each (trailing zeros, which such values drop, are alike in all)."""
    return np.ascontiguousarray(keys).view(f"S{_KEY_BYTES}").ravel()
