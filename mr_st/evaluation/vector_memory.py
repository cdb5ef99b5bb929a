"""Vectors of texts kept in memory by what they were made from: tasks, twins and subsets of one run share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mr_st.encoding.text_encoder import Side

__all__ = ["VectorMemory"]


class VectorMemory:
    """What one model has encoded: a text of a side to its row in that side's matrix.

    The key is the side and the whole text, so nothing of another text, side or model is ever served; one memory
    belongs to one model.

    Args:
        encode: Encodes distinct texts of a side into unit vectors, float32 (n, d).
        memory: Bytes of vectors that a side may hold. Where a request would go beyond, what is held is forgotten; a
            request that is larger itself is encoded and not held.

    Example:
        >>> memory = VectorMemory(lambda texts, side: np.array([[len(text)] for text in texts], dtype=np.float32))
        >>> memory.vectors(["mug", "lamp", "mug"], "item").ravel().tolist()
        [3.0, 4.0, 3.0]
    """

    def __init__(self, encode: Callable[[list[str], Side], np.ndarray], memory: int = 4 << 30):
        self.encode, self.memory = encode, memory
        self._rows: dict[Side, dict[str, int]] = {}
        self._vectors: dict[Side, np.ndarray] = {}

    def vectors(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """Vectors of n texts, read-only float32 (n, d), row i for ``texts[i]``; only those not held are encoded."""
        if not texts:
            return self.encode([], side)
        rows = self._rows.setdefault(side, {})
        missing = list(dict.fromkeys(text for text in texts if text not in rows) if rows else dict.fromkeys(texts))
        if missing and rows and self._grown(side, len(missing)) > self.memory:
            rows.clear()
            del self._vectors[side]
            return self.vectors(texts, side)
        if missing:
            made = self.encode(missing, side)
            held = np.concatenate([self._vectors[side], made]) if rows else made
            held.flags.writeable = False
            self._vectors[side] = held
            rows.update(zip(missing, range(len(rows), len(held)), strict=True))
        held = self._vectors[side]
        if len(missing) == len(texts) == len(held):
            found = held
        else:
            at = np.fromiter(map(rows.__getitem__, texts), dtype=np.int64, count=len(texts))
            found = held if len(at) == len(held) and np.array_equal(at, np.arange(len(at))) else held[at]
        if held.nbytes > self.memory:
            rows.clear()
            del self._vectors[side]
        return found

    def _grown(self, side: Side, n_more: int) -> int:
        held = self._vectors[side]
        return held.nbytes + n_more * held[:1].nbytes
