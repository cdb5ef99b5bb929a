"""The rankings that a finished search leaves behind, for the next one after the catalogue changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.mining.incremental import CatalogueChanges, changes_of
from mr_st.search.protocol import TopK

__all__ = ["EarlierRanking", "Rankings", "row_keys"]

_MOST_PLACES = 50_000_000  # of rankings that are kept: 600 MB
_LEAST_GAIN = 3  # new items are searched apart where they are a third of all at most


@dataclass(frozen=True, eq=False)
class EarlierRanking:
    """The exact rankings that this round's queries had in an earlier catalogue.

    Args:
        top: ids (q, k): rows of the earlier catalogue.
        known: bool (q,), the queries that have one.
        changes: From the earlier catalogue to this one.
    """

    top: TopK
    known: np.ndarray
    changes: CatalogueChanges


def row_keys(vectors: np.ndarray) -> np.ndarray:
    """A 128-bit hash of each row's bytes: ``S16`` (n,)."""
    digests = b"".join(hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in vectors)
    return np.frombuffer(digests, dtype="S16")


class Rankings:
    """A folder of finished exact rankings, one for each search (a model, a side's format, k) that was made.

    What a ranking is of is told by the bytes of the vectors, so that nothing is taken over that a search would score
    otherwise.

    Args:
        folder: Where they lie.
        search: Hash of what is searched how, items and queries aside.
    """

    def __init__(self, folder: ShardFolder, search: str):
        self.folder, self.search = folder, search

    def earlier(self, items: np.ndarray, queries: np.ndarray, k: int) -> EarlierRanking | None:
        """What is worth using of the last catalogue's rankings; None where there is none, or little stayed.

        Args:
            items: float (N, d), of the present catalogue.
            queries: float (q, d).
            k: How deep the rankings are.
        """
        names = sorted(name for name in self.folder.names() if name.startswith(self.search))
        kept = self.folder.read(names[0]) if names else None
        if kept is None or kept["ids"].shape[1] != k:
            return None
        changes = changes_of(kept["items"], row_keys(items))
        place = {key: row for row, key in reversed(list(enumerate(kept["queries"].tolist())))}
        rows = np.array([place.get(key, -1) for key in row_keys(queries).tolist()], dtype=np.int64)
        known = rows >= 0
        if len(changes.added) * _LEAST_GAIN > len(items) or known.sum() * 2 < len(rows):
            return None
        return EarlierRanking(TopK(kept["ids"][rows], kept["scores"][rows]), known, changes)

    def keep(self, name: str, items: np.ndarray, queries: np.ndarray, top: TopK) -> None:
        """Write a finished ranking, and then remove the one before it; very large ones are not kept.

        Args:
            name: Hash of the vectors.
            items: float (N, d).
            queries: float (q, d).
            top: ids (q, k), rows of ``items``.

        Raises:
            MrStError: the folder cannot be written.
        """
        own = f"{self.search}-{name}"
        if top.ids.size > _MOST_PLACES or self.folder.has(own):
            return
        self.folder.write(own, items=row_keys(items), queries=row_keys(queries), ids=top.ids, scores=top.scores)
        for other in self.folder.names() - {own}:
            if other.startswith(self.search):
                self.folder.remove(other)
