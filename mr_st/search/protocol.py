"""What every searcher takes and gives, so that dense, lexical and hybrid ones can stand in for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mr_st.errors import UsageError

__all__ = ["QueryBatch", "Searcher", "TopK"]


@dataclass(frozen=True)
class QueryBatch:
    """Queries for any searcher: texts for a lexical one, vectors for a dense one, both for a hybrid.

    Args:
        texts: n query texts, or None.
        vectors: float (n, d), or None.

    Raises:
        UsageError: neither is given, or they differ in number.
    """

    texts: Sequence[str] | None = None
    vectors: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.texts is None and self.vectors is None:
            raise UsageError("a QueryBatch needs texts, vectors or both")
        if self.texts is not None and self.vectors is not None and len(self.texts) != len(self.vectors):
            raise UsageError(f"{len(self.texts)} query texts but {len(self.vectors)} query vectors; give one of each")

    def __len__(self) -> int:
        return len(self.texts) if self.texts is not None else len(self.vectors)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TopK:
    """The best k items of each query, best first.

    Args:
        ids: int64 (n, k), item rows, -1 where fewer than k items were found.
        scores: float32 (n, k), never rising along a row, -inf where the id is -1.
    """

    ids: np.ndarray
    scores: np.ndarray


@runtime_checkable
class Searcher(Protocol):
    """Anything that finds the best items for queries: ``len()`` tells how many items it knows."""

    @property
    def settings(self) -> dict[str, Any]:
        """JSON-ready: ``kind`` and all that changes what is found (not blocks, threads, devices or paths)."""
        ...

    def __len__(self) -> int: ...

    def search(self, queries: QueryBatch, k: int) -> TopK:
        """The best ``k`` items of each query; equal scores stand lower item row first."""
        ...
