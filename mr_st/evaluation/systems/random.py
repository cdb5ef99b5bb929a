"""RandomSystem: what no knowledge at all is worth on a task."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.systems.named import full_name
from mr_st.identity import settings_hash
from mr_st.search import TopK
from mr_st.search.top import BestSoFar, empty_top, keys_of

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection

__all__ = ["RandomSystem"]

_BLOCK = 2_000_000  # scores made at once: some 50 MB
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # splitmix64's finaliser


class RandomSystem:
    """Rank the items at random: a score in 0..1 that hangs on the seed and on the ids of query and item alone.

    Args:
        seed: Another seed is another ranking.
        name: ``org/name``; None for ``mr-st/random``.

    Raises:
        UsageError: the seed is no integer, or the name cannot name a folder.

    Source: ours; ids go through BLAKE2b, pairs through the finaliser of splitmix64 (Steele et al. 2014).
    """

    gives_similarities = False

    def __init__(self, seed: int = 0, *, name: str = "mr-st/random"):
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"seed is {seed!r}; it must be an integer")
        self.seed, self.name = seed, full_name(name)
        self.settings: dict[str, Any] = {"kind": "random", "seed": seed}
        self.revision = settings_hash(self.settings)
        self.facts: dict[str, Any] = {"framework": []}

    def search(self, collection: Collection, k: int) -> TopK:
        """Any ``k`` items for each query."""
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        queries, items = self._hashes("query", collection.query_ids), self._hashes("item", collection.item_ids)
        n, n_items = len(queries), len(items)
        found = BestSoFar(n, k)
        height = max(1, _BLOCK // max(1, n_items))
        for start in range(0, n, height):
            scores = _mixed(queries[start : start + height, None], items)
            keys = keys_of(scores, np.arange(n_items, dtype=np.int64))
            if k < n_items:
                keys = np.partition(keys, n_items - k, axis=1)[:, n_items - k :]
            found.add_table(np.arange(start, start + len(scores)), keys)
        top = empty_top(n, k)
        found.result(slice(0, n), top.ids, top.scores)
        return top

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The score of each judged pair, float64 (m,), as in a search."""
        judged = collection.judged
        queries, items = self._hashes("query", collection.query_ids), self._hashes("item", collection.item_ids)
        return _mixed(queries[judged.query_of_pair], items[judged.items]).astype(np.float64)

    def _hashes(self, side: str, ids: Sequence[str]) -> np.ndarray:
        key = f"{self.seed} {side} ".encode()
        digests = b"".join(blake2b(key + one.encode("utf-8", "surrogatepass"), digest_size=8).digest() for one in ids)
        return np.frombuffer(digests, dtype="<u8")


def _mixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Numbers in 0..1, float32, out of two hashes each; 24 bits, so that float32 holds them exactly."""
    x = a + b  # wraps around
    for shift, factor in _STEPS:
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
