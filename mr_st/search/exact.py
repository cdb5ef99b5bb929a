"""Exact top-k by inner product: a blocked matrix product, so that memory does not grow with the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import DataError, Problem, UsageError
from mr_st.search.protocol import QueryBatch, TopK

if TYPE_CHECKING:
    import torch

__all__ = ["ExactSearcher"]


class ExactSearcher:
    """Search all item vectors by inner product (cosine, for unit vectors), in float32.

    Equal scores stand lower item row first, also where a tie straddles the k-th place. At most
    ``query_block * item_block`` scores are held at once; ``vectors`` may be a memory map.

    Args:
        vectors: float (N, d), one row an item; converted to float32 block by block.
        query_block: Queries scored at once.
        item_block: Items scored at once.
        device: Where torch multiplies, e.g. "cuda"; None is the CPU.

    Raises:
        UsageError: no rows, or not two dimensions.
        DataError: a row holds NaN or infinity, or is zero; the message names the first such row.

    Example:
        >>> searcher = ExactSearcher(np.eye(3, dtype=np.float32))
        >>> searcher.search(QueryBatch(vectors=np.array([[0.1, 0.9, 0.0]])), k=2).ids.tolist()
        [[1, 0]]
    """

    def __init__(
        self, vectors: np.ndarray, query_block: int = 256, item_block: int = 65_536, device: str | None = None
    ):
        if vectors.ndim != 2 or not len(vectors):
            raise UsageError(f"item vectors: an array (N, d) with at least one row expected, got {vectors.shape}")
        if query_block < 1 or item_block < 1:
            raise UsageError(f"blocks must be 1 or more, got {query_block} queries and {item_block} items")
        for start in range(0, len(vectors), item_block):
            _refuse_unusable(vectors[start : start + item_block], "item vectors", start)
        self.vectors = vectors
        self.query_block = query_block
        self.item_block = item_block
        self.device = device or "cpu"

    @property
    def settings(self) -> dict[str, Any]:
        """What is searched how: nothing here changes what is found."""
        return {"kind": "exact"}

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: QueryBatch, k: int) -> TopK:
        """The best ``k`` items of each query.

        Args:
            queries: A batch with vectors (n, d).
            k: 1 or more; beyond the catalogue, places are filled with id -1 and score -inf.

        Raises:
            UsageError: no vectors, another dimension than the items', or k below 1.
            DataError: a query vector holds NaN or infinity, or is zero.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        vectors = queries.vectors
        if vectors is None:
            raise UsageError("ExactSearcher searches by vector: give QueryBatch(vectors=...)")
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise UsageError(f"query vectors {vectors.shape} do not fit item vectors {self.vectors.shape}")
        _refuse_unusable(vectors, "query vectors", 0)
        n, found = len(vectors), min(k, len(self.vectors))
        ids = np.full((n, k), -1, dtype=np.int64)
        scores = np.full((n, k), -np.inf, dtype=np.float32)
        for start in range(0, n, self.query_block):
            rows = slice(start, start + self.query_block)
            ids[rows, :found], scores[rows, :found] = self._search_block(vectors[rows], found)
        return TopK(ids, scores)

    def _search_block(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        import torch

        block = _tensor(queries, self.device)
        best_ids = np.empty((len(queries), 0), dtype=np.int64)
        best_scores = np.empty((len(queries), 0), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(self.vectors), self.item_block):
                scores = block @ _tensor(self.vectors[start : start + self.item_block], self.device).T
                ids, values = _top(scores, k)
                # candidates of earlier blocks stand first, so a stable sort keeps the lower row in front
                best_ids = np.concatenate([best_ids, ids + start], axis=1)
                best_scores = np.concatenate([best_scores, values], axis=1)
                order = np.argsort(-best_scores, axis=1, kind="stable")[:, :k]
                best_ids = np.take_along_axis(best_ids, order, axis=1)
                best_scores = np.take_along_axis(best_scores, order, axis=1)
        return best_ids, best_scores


def _top(scores: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Best k columns of each row, equal scores in column order (which torch.topk does not promise)."""
    width = scores.shape[1]
    k = min(k, width)
    values, columns = (t.cpu().numpy() for t in scores.topk(min(k + 1, width), dim=1))
    if k < width:
        for row in np.flatnonzero(values[:, k - 1] == values[:, k]):  # a tie across the k-th place
            order = np.argsort(-scores[int(row)].cpu().numpy(), kind="stable")[: k + 1]
            columns[row], values[row] = order, scores[int(row)].cpu().numpy()[order]
    columns, values = columns[:, :k], values[:, :k]
    order = np.lexsort((columns, -values), axis=-1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _tensor(array: np.ndarray, device: str) -> torch.Tensor:
    import torch

    array = np.ascontiguousarray(array, dtype=np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def _refuse_unusable(vectors: np.ndarray, where: str, first: int) -> None:
    """Raise for the first row that cannot be compared: NaN or infinite, or all zeros."""
    block = np.asarray(vectors, dtype=np.float32)
    squared = np.einsum("nd,nd->n", block, block)
    wrong = ~np.isfinite(squared) | (squared == 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        what = "a zero vector" if squared[at] == 0 else "NaN or infinite values"
        mend = "check the text and the model that made it"
        raise DataError(Problem(where, f"{what}, which no similarity can rank", mend, row=first + at + 1))
