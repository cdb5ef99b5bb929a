"""Search as a stage: a shard is one block of queries against one part of the items; parts are merged afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.vectors import Vectors
from mr_st.identity import settings_hash
from mr_st.mining.earlier_ranking import EarlierRanking
from mr_st.mining.incremental import update_top_k
from mr_st.mining.shard_stage import ShardStage
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["ExactParts", "PartSearchers", "SearchStage", "Span", "merge_top_k", "rows_of_span", "spans_of"]


@dataclass(frozen=True)
class Span:
    """A run of whole shards of vectors, and the rows that they hold.

    Args:
        first_shard: The first shard.
        last_shard: The one behind the last.
        first_row: The first row.
        last_row: The one behind the last.
    """

    first_shard: int
    last_shard: int
    first_row: int
    last_row: int

    def __len__(self) -> int:
        return self.last_row - self.first_row


def spans_of(vectors: Vectors, most_rows: int) -> list[Span]:
    """Cut vectors into runs of whole shards that hold at most ``most_rows`` rows, or one shard that holds more."""
    spans: list[Span] = []
    first_shard = first_row = row = 0
    for shard, size in enumerate(vectors.sizes):
        if shard > first_shard and row + size - first_row > most_rows:
            spans.append(Span(first_shard, shard, first_row, row))
            first_shard, first_row = shard, row
        row += size
    if row > first_row:
        spans.append(Span(first_shard, len(vectors.sizes), first_row, row))
    return spans


def span_identity(vectors: Vectors, span: Span) -> str:
    """Hash of what the rows of a span were made from, wherever they stand."""
    shards = slice(span.first_shard, span.last_shard)
    return settings_hash([vectors.names[shards], vectors.sizes[shards], vectors.dimension, vectors.dtype.name])


def rows_of_span(vectors: Vectors, span: Span, map_folder: str | None) -> np.ndarray:
    """The rows of a span: of the map of all vectors where a local folder holds it, else read into memory."""
    if map_folder is None:
        return vectors.load(span.first_shard, span.last_shard)
    return vectors.map(Path(map_folder))[span.first_row : span.last_row]


def merge_top_k(parts: Sequence[TopK], first_rows: Sequence[int], k: int) -> TopK:
    """The best k of what several searches of different items found for the same queries.

    Args:
        parts: One search a part of the items: ids (n, k_p) count from the part's first row, -1 where there is none.
        first_rows: The row of the first item of each part.
        k: How many to keep.

    Returns:
        ids (n, k) and scores (n, k), best first, equal scores lower row first; -1 and -inf where there are fewer.

    Example:
        >>> here = TopK(np.array([[1, 0]]), np.array([[0.9, 0.5]], dtype=np.float32))
        >>> there = TopK(np.array([[0, -1]]), np.array([[0.9, -np.inf]], dtype=np.float32))
        >>> merge_top_k([here, there], [0, 2], k=3).ids.tolist()
        [[1, 2, 0]]
    """
    ids = np.concatenate([np.where(p.ids >= 0, p.ids + at, -1) for p, at in zip(parts, first_rows, strict=True)], 1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    if len(parts) > 1:
        last = np.iinfo(np.int64).max
        order = np.lexsort((np.where(ids >= 0, ids, last), -scores), axis=-1)[:, :k]
        ids, scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
    ids, scores = ids[:, :k], scores[:, :k]
    short = k - ids.shape[1]
    if short > 0:
        ids = np.pad(ids, ((0, 0), (0, short)), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
    return TopK(np.ascontiguousarray(ids, dtype=np.int64), np.ascontiguousarray(scores, dtype=np.float32))


class PartSearchers(Protocol):
    """The searchers over the parts of the items; it can be pickled, and opens a part when it is first asked for."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes what is found, JSON-ready."""
        ...

    @property
    def parts(self) -> Sequence[Span]:
        """The items' parts."""
        ...

    def identity(self, part: int) -> str:
        """Hash of the part's content."""
        ...

    def open(self, part: int) -> Searcher:
        """The searcher over one part, whose rows count from the part's first."""
        ...


class ExactParts:
    """Exact search over parts of the item vectors.

    Args:
        items: The vectors.
        parts: Spans of them.
        map_folder: A local folder for the map of all of them; None reads a part into memory.
        memory: Bytes that a search may hold, see :class:`~mr_st.search.ExactSearcher`; None leaves its default.
    """

    def __init__(
        self,
        items: Vectors,
        parts: Sequence[Span],
        map_folder: str | None = None,
        memory: int | None = None,
    ):
        self.items, self.parts, self.map_folder, self.memory = items, list(parts), map_folder, memory
        self.device: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What is searched how."""
        return {"kind": "exact"}

    def identity(self, part: int) -> str:
        """Hash of the part's content."""
        return span_identity(self.items, self.parts[part])

    def open(self, part: int) -> Searcher:
        """An exact searcher over one part."""
        return self.over(rows_of_span(self.items, self.parts[part], self.map_folder))

    def over(self, vectors: np.ndarray) -> Searcher:
        """An exact searcher over any rows."""
        from mr_st.search import ExactSearcher

        options: dict[str, Any] = {} if self.memory is None else {"memory": self.memory}
        return ExactSearcher(vectors, device=self.device, **options)


class SearchStage(ShardStage):
    """The top k of blocks of queries in parts of the items.

    Shard ``p * n_blocks + b`` (a part is opened once for all blocks) holds ``ids`` int64 (n, k), rows from the part's
    first on, and ``scores`` float32 (n, k). It is named by what is searched, how and for what, so that a part that
    stays the same is not searched again for the same queries.

    Args:
        queries: The query vectors.
        searchers: Over the items.
        k: Items found for a query in each part.
        folder: Where the shards lie.
        block: Queries of one shard, at most (or one shard of vectors that holds more).
        map_folder: A local folder for the map of the query vectors; None reads a block into memory.
        label: What a progress bar calls it.
        earlier: The same queries' rankings of an earlier catalogue: only new items are searched, and by queries that
            lost too many all. It changes nothing that is found; one part and exact search are needed.
    """

    unit = "query"

    def __init__(
        self,
        queries: Vectors,
        searchers: PartSearchers,
        k: int,
        folder: ShardFolder,
        block: int = 2048,
        map_folder: str | None = None,
        label: str = "search",
        earlier: EarlierRanking | None = None,
    ):
        self.name, self.k = label, k
        self.queries, self.searchers, self.map_folder = queries, searchers, map_folder
        self.blocks = spans_of(queries, block)
        parts = range(len(searchers.parts))
        asked = [span_identity(queries, span) for span in self.blocks]
        searched = [[searchers.identity(part), searchers.settings, k] for part in parts]
        names = [settings_hash([block, how]) for how in searched for block in asked]
        super().__init__(folder, names, [len(span) for _ in parts for span in self.blocks])
        self.earlier = earlier if len(parts) == 1 and isinstance(searchers, ExactParts) else None
        self.device: str | None = None
        """Where an exact search multiplies; a process that runs shards may set it before."""
        self._opened: tuple[int, Searcher] | None = None
        self._new_items: Searcher | None = None

    def compute(self, shard: int) -> dict[str, np.ndarray]:
        """Search one part for one block of queries."""
        part, block = divmod(shard, len(self.blocks))
        span = self.blocks[block]
        queries = QueryBatch(vectors=rows_of_span(self.queries, span, self.map_folder))
        top = self._search(part, queries) if self.earlier is None else self._updated(self.earlier, span, queries)
        return {"ids": top.ids, "scores": top.scores}

    def _search(self, part: int, queries: QueryBatch) -> TopK:
        if self._opened is None or self._opened[0] != part:
            self._opened = None  # let go of the one before
            if isinstance(self.searchers, ExactParts):
                self.searchers.device = self.device
            self._opened = part, self.searchers.open(part)
        return self._opened[1].search(queries, self.k)

    def _updated(self, earlier: EarlierRanking, span: Span, queries: QueryBatch) -> TopK:
        """The earlier rankings brought up to date; a query whose list no longer says enough searches anew."""
        assert queries.vectors is not None
        assert isinstance(self.searchers, ExactParts), "only exact rankings are brought up to date"
        n, added = len(queries), earlier.changes.added
        new = TopK(np.full((n, self.k), -1, dtype=np.int64), np.full((n, self.k), -np.inf, dtype=np.float32))
        if len(added):
            if self._new_items is None:
                items = rows_of_span(self.searchers.items, self.searchers.parts[0], self.searchers.map_folder)
                self._new_items = self.searchers.over(items[added])
            found = self._new_items.search(queries, self.k)
            new = TopK(np.where(found.ids >= 0, added[found.ids], -1), found.scores)
        rows = slice(span.first_row, span.last_row)
        old = TopK(earlier.top.ids[rows], earlier.top.scores[rows])
        top, stale = update_top_k(old, earlier.changes.row_map, new, self.k)
        stale = np.union1d(stale, np.flatnonzero(~earlier.known[rows]))
        if len(stale):
            anew = self._search(0, QueryBatch(vectors=queries.vectors[stale]))
            top.ids[stale], top.scores[stale] = anew.ids, anew.scores
        return top

    def merged(self) -> TopK:
        """The best k of each query over all parts, once every shard is done.

        Raises:
            MrStError: a shard is gone or damaged.
        """
        first_rows = [span.first_row for span in self.searchers.parts]
        n_queries = sum(map(len, self.blocks))
        ids = np.empty((n_queries, self.k), dtype=np.int64)
        scores = np.empty((n_queries, self.k), dtype=np.float32)
        for number, block in enumerate(self.blocks):
            parts = [TopK(**self.result(part * len(self.blocks) + number)) for part in range(len(first_rows))]
            top = merge_top_k(parts, first_rows, self.k)
            rows = slice(block.first_row, block.last_row)
            ids[rows], scores[rows] = top.ids, top.scores
        return TopK(ids, scores)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None, "_new_items": None}
