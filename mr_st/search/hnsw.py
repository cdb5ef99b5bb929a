"""Approximate top-k over a graph (HNSW, usearch) for catalogues that exact search is too slow for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError, UsageError
from mr_st.identity import settings_hash
from mr_st.search.canonical import canonical_scores
from mr_st.search.checks import refuse_unusable
from mr_st.search.hnsw_shard import (
    ShardRecord,
    all_records,
    build_shard,
    facts_of,
    local_folder,
    open_shard,
    quantised,
    remove_other_shards,
    shard_rows,
    shard_vectors_hash,
)
from mr_st.search.protocol import QueryBatch, TopK

if TYPE_CHECKING:
    from usearch.index import Index

__all__ = ["HnswSearcher", "build_shard"]

_QUERY_BLOCK = 1_024  # queries whose candidates are held at once
_RESCORE_BLOCK = 16  # queries whose candidates' vectors are held at once
_OVERSAMPLING = {"f16": 1.0, "i8": 1.3}


class HnswSearcher:
    """Search unit vectors by inner product (their cosine) over a saved HNSW graph: finds most of the best, not all.

    Measure what it finds with :func:`mr_st.search.recall.measure_recall`. With ``vectors`` given, what the graph found
    is scored again with those (products accumulated in float64, rounded to float32), so that scores are
    :class:`ExactSearcher`'s; without, scores are the index's own, of its f16 or int8 numbers. Among what is found,
    equal scores stand lower item row first. The result depends on neither threads nor blocks nor mapping.
    Made with :meth:`build` or :meth:`load`.
    """

    def __init__(
        self,
        folder: Path,
        shards: list[tuple[ShardRecord, Index]],
        vectors: np.ndarray | None,
        expansion_search: int,
        oversampling: float | None,
        threads: int,
    ):
        dtype = shards[0][0].graph.dtype
        if threads < 1:
            raise UsageError(f"threads must be 1 or more, got {threads}")
        if oversampling is not None and not 1 <= oversampling <= 100:
            raise UsageError(f"oversampling is {oversampling}; expected 1 to 100 times k candidates")
        self.folder = folder
        self.vectors = vectors
        self.oversampling = (
            (_OVERSAMPLING[dtype] if oversampling is None else oversampling) if vectors is not None else 1.0
        )
        self.threads = threads
        self._shards = shards
        self.expansion_search = expansion_search
        self._dimension = shards[0][0].dimension

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        folder: str | Path,
        *,
        dtype: str = "f16",
        connectivity: int = 16,
        expansion_add: int = 64,
        expansion_search: int = 192,
        oversampling: float | None = None,
        n_shards: int = 1,
        threads: int = 1,
        reproducible: bool = True,
        ids: Sequence[str] | None = None,
        show_progress: bool = False,
    ) -> HnswSearcher:
        """Build an index, or what of it is missing, into ``folder``, and map it.

        A killed build goes on at the first unfinished shard; other vectors or settings build anew.

        Args:
            vectors: float (N, d), unit rows; may be a memory map. Kept for rescoring.
            folder: A folder of this index alone, on this machine's file system.
            dtype: "f16" or "i8": how the index holds vectors.
            connectivity: Links of a node; memory and build time grow with it.
            expansion_add: Candidates looked at to place an item; build time is about proportional. Low by default:
                where each query is searched once, as in mining, more ``expansion_search`` costs less than this.
            expansion_search: Candidates looked at for a query (at least those asked for): recall against search time.
            oversampling: Candidates to score again, as a multiple of k; default 1 for f16, 1.3 for i8.
            n_shards: Contiguous parts of the rows, each a graph; each is searched.
            threads: Shards built at once, each by one thread; also queries searched at once.
            reproducible: False lets all ``threads`` work on one shard: faster with few shards, other bytes each time.
            ids: N item ids, for messages.
            show_progress: Draw a progress bar over the items.

        Raises:
            UsageError, DataError, MrStError: as :func:`build_shard`.

        Example:
            >>> import tempfile
            >>> vectors = np.eye(8, dtype=np.float32)
            >>> searcher = HnswSearcher.build(vectors, tempfile.mkdtemp(), dtype="i8")
            >>> searcher.search(QueryBatch(vectors=vectors[3:4]), k=1).ids.tolist()
            [[3]]
        """
        from tqdm.auto import tqdm

        where = local_folder(folder)
        if vectors.ndim != 2 or not len(vectors):
            raise UsageError(f"item vectors: an array (N, d) with at least one row expected, got {vectors.shape}")
        if threads < 1:
            raise UsageError(f"threads must be 1 or more, got {threads}")
        shard_rows(len(vectors), n_shards, 0)  # refuses before anything is built
        with tqdm(total=len(vectors), desc="index", unit="vector", disable=not show_progress) as progress:

            def one(shard: int) -> bool:
                return build_shard(
                    vectors, where, shard, n_shards=n_shards, dtype=dtype, connectivity=connectivity,
                    expansion_add=expansion_add, threads=1 if reproducible else threads, ids=ids,
                    on_progress=progress.update,
                )  # fmt: skip

            with ThreadPoolExecutor(threads if reproducible else 1) as pool:  # usearch lets go of Python's lock
                for _ in pool.map(one, range(n_shards)):
                    pass
        remove_other_shards(where, n_shards)
        return cls.load(
            where, vectors=vectors, expansion_search=expansion_search, oversampling=oversampling, threads=threads,
            check=False,
        )  # fmt: skip

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        vectors: np.ndarray | None = None,
        view: bool = True,
        shards: Sequence[int] | None = None,
        expansion_search: int = 192,
        oversampling: float | None = None,
        threads: int = 1,
        check: bool = True,
    ) -> HnswSearcher:
        """Open a saved index.

        Args:
            folder: Where :meth:`build` or :func:`build_shard` wrote it.
            vectors: The (N, d) vectors it was built from, to score again with; all N rows, also for some shards.
            view: Map the files (nothing is read ahead, processes share the memory) rather than load them.
            shards: Only these shards; ids stay item rows of the whole catalogue. Default: all.
            expansion_search: As for :meth:`build`.
            oversampling: As for :meth:`build`.
            threads: Queries searched at once.
            check: Prove by content hashes that the files are whole and that ``vectors`` are theirs (reads both once).

        Raises:
            MrStError: no index, a shard is missing or damaged, or the vectors are not those it was built from.
            UsageError: a shard that does not exist, or a setting out of range.
        """
        where = local_folder(folder)
        records = all_records(where)
        chosen = list(range(len(records))) if shards is None else sorted(set(shards))
        if not chosen or chosen[0] < 0 or chosen[-1] >= len(records):
            raise UsageError(f"shards {chosen} of {where}: expected some of 0 to {len(records) - 1}")
        if vectors is not None:
            _refuse_foreign(vectors, [records[shard] for shard in chosen], where, check)
        opened = [(records[shard], open_shard(where, records[shard], view=view, check=check)) for shard in chosen]
        return cls(where, opened, vectors, expansion_search, oversampling, threads)

    @property
    def expansion_search(self) -> int:
        """Candidates looked at for a query, at least those asked for; may be changed between searches."""
        return self._expansion_search

    @expansion_search.setter
    def expansion_search(self, value: int) -> None:
        if value < 1:
            raise UsageError(f"expansion_search must be 1 or more, got {value}")
        self._expansion_search = value
        for _, index in self._shards:
            index.expansion_search = value  # type: ignore[misc]  # usearch's setter is not seen by mypy

    @property
    def settings(self) -> dict[str, Any]:
        """What is searched how."""
        records = [record for record, _ in self._shards]
        return {
            "kind": "hnsw",
            **facts_of(records),
            "shards": [record.shard for record in records],
            "expansion_search": self.expansion_search,
            "oversampling": self.oversampling,
            "is_rescored": self.vectors is not None,
            "vectors": settings_hash([record.vectors for record in records]),
        }

    def __len__(self) -> int:
        return sum(len(index) for _, index in self._shards)

    def search(self, queries: QueryBatch, k: int) -> TopK:
        """The best ``k`` items of each query that the graph leads to.

        Args:
            queries: A batch with vectors (n, d), of any length but zero.
            k: 1 or more. Where fewer are found (also in a large catalogue: a graph may not reach every item), places
                are filled with id -1 and score -inf.

        Raises:
            UsageError: no vectors, another dimension than the items', or k below 1.
            DataError: a query vector holds NaN or infinity, or is zero.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        vectors = queries.vectors
        if vectors is None:
            raise UsageError("HnswSearcher searches by vector: give QueryBatch(vectors=...)")
        if vectors.ndim != 2 or vectors.shape[1] != self._dimension:
            raise UsageError(f"query vectors {vectors.shape} do not fit item vectors ({len(self)}, {self._dimension})")
        refuse_unusable(vectors, "query vectors")
        ids = np.full((len(vectors), k), -1, dtype=np.int64)
        scores = np.full((len(vectors), k), -np.inf, dtype=np.float32)
        with ThreadPoolExecutor(self.threads) as pool:
            for start in range(0, len(vectors), _QUERY_BLOCK):
                rows = slice(start, start + _QUERY_BLOCK)
                block = np.ascontiguousarray(vectors[rows], dtype=np.float32)
                found, values = self._candidates(block, k)
                if self.vectors is not None:
                    parts = [slice(at, at + _RESCORE_BLOCK) for at in range(0, len(block), _RESCORE_BLOCK)]
                    rescored = pool.map(lambda part: self._rescored(block[part], found[part]), parts)  # noqa: B023
                    values = np.concatenate(list(rescored))
                found, values = _best(found, values, k)
                width = found.shape[1]
                ids[rows, :width], scores[rows, :width] = found, values
        return TopK(ids, scores)

    def _candidates(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, c) and scores of the index's own, -1 and -inf where there is none; the best c over all shards."""
        n_wanted = math.ceil(k * self.oversampling)  # usearch looks at no fewer, whatever the expansion
        all_found, all_values = [], []
        for record, index in self._shards:
            count = min(n_wanted, len(index))
            asked, factor = queries, 1.0
            if record.scale is not None:  # each query by its own largest component: its ranking stays
                scales = 127 / np.abs(queries).max(axis=1, keepdims=True)
                asked, factor = quantised(queries * scales, 1.0), 1 / (scales * record.scale)
            matches = index.search(asked, count, threads=self.threads)
            # one query alone gives one row less deep, and no counts
            keys = np.asarray(matches.keys).reshape(len(queries), -1)
            distances = np.asarray(matches.distances).reshape(len(queries), -1)
            counts = np.asarray(getattr(matches, "counts", [keys.shape[1]])).reshape(-1, 1)
            is_there = np.arange(keys.shape[1]) < counts
            # what lies behind the counts was never written
            all_found.append(np.where(is_there, keys, 0).astype(np.int64) - ~is_there)
            near = (1 - np.where(is_there, distances, 0).astype(np.float64)) * factor
            all_values.append(np.where(is_there, near, -np.inf).astype(np.float32))
        found, values = np.concatenate(all_found, axis=1), np.concatenate(all_values, axis=1)
        return (found, values) if len(self._shards) == 1 else _best(found, values, n_wanted)

    def _rescored(self, queries: np.ndarray, found: np.ndarray) -> np.ndarray:
        assert self.vectors is not None
        at, places = np.nonzero(found >= 0)
        rows = np.take(self.vectors, found[at, places], axis=0)
        values = np.full(found.shape, -np.inf, dtype=np.float32)
        values[at, places] = canonical_scores(queries, _lifted(rows), at, np.arange(len(rows)))
        return values


def _lifted(rows: np.ndarray) -> np.ndarray:
    """float16 as float32, which torch does ten times as fast as numpy."""
    if rows.dtype != np.float16:
        return rows
    import torch

    return torch.from_numpy(rows).float().numpy()


def _best(found: np.ndarray, values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best k columns of each row, equal scores lower item row first."""
    order = np.lexsort((found, -values), axis=1)[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)


def _refuse_foreign(vectors: np.ndarray, records: list[ShardRecord], folder: Path, check: bool) -> None:
    expected = (records[0].n_items, records[0].dimension)
    if vectors.ndim != 2 or vectors.shape != expected:
        raise MrStError(
            f"{folder}: built from vectors {expected}, but {vectors.shape} were given; build the index again"
        )
    for record in records if check else ():
        first, last = record.rows
        if shard_vectors_hash(vectors, first, last) != record.vectors:
            raise MrStError(
                f"{folder}: rows {first:,} to {last:,} were built from other vectors (or of another dtype) than "
                "those given; build the index again"
            )
