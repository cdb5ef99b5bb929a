"""Exact top-k by inner product: a cheap first pass with a proven error, then one score however a pair was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.search import first_pass as passes
from mr_st.search.checks import refuse_unusable
from mr_st.search.deep import deep_best, deep_pays
from mr_st.search.guess import guess_thresholds, worth_guessing
from mr_st.search.protocol import QueryBatch, TopK
from mr_st.search.top import MOST_ITEMS, BestSoFar, empty_top, keys_of
from mr_st.search.waiting import HELD, Waiting, bytes_waiting

__all__ = ["ExactSearcher"]

FIRST_PASSES = ("auto", "int8", "float32")
GIB = 1 << 30
_FEW_QUERIES = 32  # below this, making int8 codes of the items costs more than it saves
_GUESSED = 3  # times fewer candidates wait where thresholds are guessed
_FAR = 1 << 18  # items after which candidates are settled, so that those of a memory map are still at hand
_SHALLOW = 400  # of more items than this for each place sought, int8 products are worth their loose bounds
_SCRATCH = 16 << 20  # what the matrix product packs


class ExactSearcher:
    """Search all item vectors by inner product (cosine, for unit vectors); the result is exact.

    A first pass meets blocks of queries with blocks of items and keeps the pairs that may, its error counted in, beat
    the k-th best score so far. Those are scored again: products accumulated in float64, rounded to float32. So neither
    blocks, threads, device nor first pass change a score. Equal scores stand lower item row first, also where a tie
    straddles the k-th place. Where a first pass lets too much through (near-equal scores, components of very uneven
    size), the block goes to the next finer one: int8, float32, float64. Where k is a good part of the catalogue, a
    sample of the items first tells about where the k-th best score lies (:mod:`mr_st.search.guess`); a query that this
    misleads is searched again without.

    Args:
        vectors: float32 or float16 (N, d), one row an item; may be a memory map, which is read block by block.
        memory: Bytes to work in, beside vectors, queries and result; block sizes follow from it.
        device: Where torch multiplies, e.g. "cuda"; None is the CPU.
        first_pass: "int8" (CPUs with VNNI), "float32", or "auto": int8 where it
            can be used and pays.
        ids: N item ids, by which an unusable row is called; None to call it by its number.
        query_block: Queries met at once; None derives it from ``memory``.
        item_block: Items met at once; None derives it from ``memory``.

    Raises:
        UsageError: no rows, not two dimensions, too little memory, or an int8 first pass this machine has not.
        DataError: a row holds NaN or infinity, is zero, or is longer than 1e18; the message names the first such row.

    Example:
        >>> searcher = ExactSearcher(np.eye(3, dtype=np.float32))
        >>> searcher.search(QueryBatch(vectors=np.array([[0.1, 0.9, 0.0]])), k=2).ids.tolist()
        [[1, 0]]
    """

    def __init__(
        self,
        vectors: np.ndarray,
        *,
        memory: int = GIB,
        device: str | None = None,
        first_pass: str = "auto",
        ids: Sequence[str] | None = None,
        query_block: int | None = None,
        item_block: int | None = None,
    ):
        if vectors.ndim != 2 or not 0 < len(vectors) <= MOST_ITEMS or not vectors.shape[1]:
            raise UsageError(f"item vectors: an array (N, d) with at least one row expected, got {vectors.shape}")
        for name, block in (("query_block", query_block), ("item_block", item_block)):
            if block is not None and block < 1:
                raise UsageError(f"blocks must be 1 or more, got {name}={block}")
        if first_pass not in FIRST_PASSES:
            raise UsageError(f"first_pass is {first_pass!r}; it is one of {', '.join(FIRST_PASSES)}")
        if ids is not None and len(ids) != len(vectors):
            raise UsageError(f"{len(ids):,} item ids for {len(vectors):,} item vectors; give one of each")
        self.vectors = vectors
        self.memory = memory
        self.device = device or "cpu"
        self.first_pass = first_pass
        self._given = (query_block, item_block)
        d = vectors.shape[1]
        if first_pass == "int8" and not (self.device == "cpu" and passes.int8_is_exact(d)):
            raise UsageError(
                f"first_pass='int8' needs a CPU with VNNI and 8 or more components, not {self.device!r} with {d}; "
                "use first_pass='auto'"
            )
        self._blocks(1)
        self.longest = refuse_unusable(vectors, "item vectors", ids=ids)
        self._codes: dict[int, passes.Int8Side] = {}

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
            UsageError: no vectors, another dimension than the items', k below 1, or too little memory for this k.
            DataError: a query vector holds NaN or infinity, is zero, or is longer than 1e18.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        vectors = queries.vectors
        if vectors is None:
            raise UsageError("ExactSearcher searches by vector: give QueryBatch(vectors=...)")
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise UsageError(f"query vectors {vectors.shape} do not fit item vectors {self.vectors.shape}")
        refuse_unusable(vectors, "query vectors")
        top, found, d = empty_top(len(vectors), k), min(k, len(self)), vectors.shape[1]
        n_at_once, query_block, item_block = self._blocks(found)
        for start in range(0, len(vectors), n_at_once):
            rows = slice(start, start + n_at_once)
            guesses = guess_thresholds(self.vectors, vectors[rows], found, self.device)
            best = None
            if guesses is not None and self.device == "cpu" and self.first_pass == "auto" and deep_pays(d):
                best = deep_best(self.vectors, vectors[rows], found, guesses, self.longest, (query_block, item_block))
            if best is None:
                best = _Search(self, vectors[rows], found, query_block, item_block, guesses).run()
            _write(best, top, start, found)
            if guesses is not None:
                misled = np.flatnonzero(best.thresholds <= guesses)
                for first in range(0, len(misled), max(n_at_once // _GUESSED, 1)):
                    again = misled[first : first + max(n_at_once // _GUESSED, 1)]
                    alone = empty_top(len(again), k)
                    _write(_Search(self, vectors[rows][again], found, query_block, item_block).run(), alone, 0, found)
                    top.ids[start + again], top.scores[start + again] = alone.ids, alone.scores
        return top

    def _blocks(self, k: int) -> tuple[int, int, int]:
        """Queries searched at once, queries of a block, items of a block, so that all fits in the memory."""
        given_queries, given_items = self._given
        d = self.vectors.shape[1]
        most = (256, 4096) if self.device == "cpu" else (4096, 32_768)
        if self.device == "cpu" and worth_guessing(len(self), k):
            most = (512, 4096)  # no float64 pass is to be feared, and threads meet half as often
        n_queries, n_items = given_queries or most[0], min(given_items or most[1], len(self))

        def needed() -> int:
            # the float64 pass is the widest: products, three roundings of them, masks, keys and a sort of these
            return 56 * n_queries * n_items + 24 * d * (n_queries + n_items) + 32 * n_queries * k + _SCRATCH

        while needed() > 0.6 * self.memory:
            if not given_items and n_items > 256:
                n_items = (n_items + 1) // 2
            elif not given_queries and n_queries > 8:
                n_queries = (n_queries + 1) // 2
            else:
                least = (needed() * 5 // 3 >> 20) + 1
                raise UsageError(f"memory={self.memory:,} bytes is too little here; give {least:,} MiB or more")
        held = HELD // _GUESSED if worth_guessing(len(self), k) else HELD
        a_query = 12 * k + d + 16 + bytes_waiting(k, held)  # keys, lower bounds, int8 codes, candidates
        return max(n_queries, int(0.2 * self.memory) // a_query), n_queries, n_items


class _Search:
    """One walk over all items with some queries."""

    def __init__(
        self,
        searcher: ExactSearcher,
        queries: np.ndarray,
        k: int,
        query_block: int,
        item_block: int,
        guesses: np.ndarray | None = None,
    ):
        self.searcher = searcher
        self.queries = queries
        self.k = k
        self.query_block = query_block
        self.item_block = item_block
        self.best = BestSoFar(len(queries), k)
        self.waiting = [
            Waiting(searcher.vectors, queries[rows], rows.start, self.best, searcher.longest)
            if guesses is None
            else Waiting(
                searcher.vectors, queries[rows], rows.start, self.best, searcher.longest,
                guesses[rows], HELD // _GUESSED,
            )
            for rows in (slice(first, first + query_block) for first in range(0, len(queries), query_block))
        ]  # fmt: skip
        self.room = passes.Room(query_block, item_block, searcher.device)
        self.n_int8, self.n_coarse = 0, 0  # blocks that met in int8, and those where it let too much through
        d = queries.shape[1]
        self.use_int8 = searcher.device == "cpu" and searcher.first_pass != "float32" and passes.int8_is_exact(d)
        if searcher.first_pass == "auto" and (len(queries) < _FEW_QUERIES or len(searcher) < _SHALLOW * k):
            self.use_int8 = False
        self.query_codes: dict[int, passes.Int8Side] = {}

    def run(self) -> BestSoFar:
        import torch

        with torch.inference_mode(), ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for first_item, items in self._sides(self.searcher.vectors, self.item_block):
                for (first, queries), waiting in zip(
                    self._sides(self.queries, self.query_block), self.waiting, strict=True
                ):
                    self._meet(first, queries, first_item, items, waiting)
                if (first_item + self.item_block) // _FAR > first_item // _FAR:
                    list(threads.map(Waiting.settle, self.waiting))
            list(threads.map(Waiting.settle, self.waiting))
        return self.best

    def _sides(self, vectors: np.ndarray, size: int) -> Iterator[tuple[int, passes.Float32Side]]:
        for start in range(0, len(vectors), size):
            yield start, passes.Float32Side.of(vectors[start : start + size], self.searcher.device)

    def _meet(
        self,
        first: int,
        queries: passes.Float32Side,
        first_item: int,
        items: passes.Float32Side,
        waiting: Waiting,
    ) -> None:
        """Let a block of items compete for the places of a block of queries."""
        n, m = len(queries.values), len(items.values)
        limits = waiting.limits()
        most = max(n * m // 16, 4 * n)
        found = None
        if self.use_int8 and np.isfinite(limits).all():
            if first not in self.query_codes:
                self.query_codes[first] = passes.Int8Side.of(queries)
            codes = self._item_codes(first_item, items)
            found = passes.int8_pairs(self.query_codes[first], codes, limits, self.room, most)
            self.n_int8 += 1
            if found is None:
                self.n_coarse += 1
                self.use_int8 = self.n_coarse < 8 + self.n_int8 // 4
        if found is None:
            found = passes.float32_pairs(queries, items, limits, self.k, self.room, most)
        if found is not None:
            waiting.add(found, first_item)
            return
        waiting.settle()
        thresholds = self.best.thresholds[first : first + n]
        scores = passes.double_scores(queries, items, thresholds, self.k)
        places = np.flatnonzero(scores > thresholds[:, None])
        if len(places) > most:
            self.best.add_table(np.arange(first, first + n), keys_of(scores, np.arange(first_item, first_item + m)))
        else:
            rows, columns = np.divmod(places, m)
            self.best.add_pairs(first, rows, keys_of(scores.reshape(-1)[places], first_item + columns))

    def _item_codes(self, first_item: int, items: passes.Float32Side) -> passes.Int8Side:
        """The items' codes, kept for later walks over the same blocks where there is memory for all."""
        kept = self.searcher._codes
        if first_item not in kept:
            codes = passes.Int8Side.of(items)
            if len(self.searcher) * (self.queries.shape[1] + 12) > 0.2 * self.searcher.memory:
                kept.clear()  # only the block at hand
            kept[first_item] = codes
        return kept[first_item]


def _write(best: BestSoFar, top: TopK, start: int, k: int) -> None:
    """The best of all queries into the rows of ``top`` from ``start``."""
    for first in range(0, len(best.thresholds), 1024):
        part = slice(first, min(first + 1024, len(best.thresholds)))
        into = slice(start + part.start, start + part.stop)
        best.result(part, top.ids[into, :k], top.scores[into, :k])
