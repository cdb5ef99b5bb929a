"""Approximate search as stages: an HNSW graph for each part of the items, and what its search misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.vectors import Vectors
from mr_st.errors import MrStError, UsageError
from mr_st.identity import array_hash, file_hash, settings_hash
from mr_st.mining.search_stage import Span, rows_of_span, span_identity
from mr_st.mining.shard_stage import ShardStage
from mr_st.search.hnsw_shard import GraphSettings, build_shard, index_path, local_folder, read_record
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["HnswParts", "HnswSettings", "IndexStage", "RecallStage"]

_SAMPLE = 200
_SEED = 0


@dataclass(frozen=True)
class HnswSettings:
    """How an approximate search is made: all of it changes what is found.

    Args:
        dtype: How the index holds vectors: "f16" or "i8".
        connectivity: Links of a node.
        expansion_add: Candidates looked at to place an item.
        expansion_search: Candidates looked at for a query.
        part_size: Items in one graph, at least (parts are whole shards of vectors).

    Raises:
        UsageError: a number out of range, or another dtype.
    """

    dtype: str = "f16"
    connectivity: int = 16
    expansion_add: int = 64
    expansion_search: int = 192
    part_size: int = 1_000_000

    def __post_init__(self) -> None:
        self.graph  # noqa: B018 - it checks its numbers
        if self.expansion_search < 1 or self.part_size < 1:
            raise UsageError(
                f"expansion_search is {self.expansion_search} and part_size {self.part_size}; each must be 1 or more"
            )

    @property
    def graph(self) -> GraphSettings:
        """What a graph is made of."""
        return GraphSettings(self.dtype, self.connectivity, self.expansion_add)


class HnswParts:
    """Approximate search over parts of the item vectors, each with a graph of its own.

    Args:
        items: The vectors.
        parts: Spans of them.
        settings: Of the graphs and the search.
        folder: A folder of this machine, or a mounted one, for the graphs.
        map_folder: A local folder for the map of all vectors.
    """

    def __init__(self, items: Vectors, parts: Sequence[Span], settings: HnswSettings, folder: str, map_folder: str):
        local_folder(folder)  # refuses a URL
        self.items, self.parts, self.hnsw, self.folder, self.map_folder = (
            items,
            list(parts),
            settings,
            folder,
            map_folder,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What is searched how; the size of the parts shows in the parts."""
        return {"kind": "hnsw", **{key: value for key, value in asdict(self.hnsw).items() if key != "part_size"}}

    def identity(self, part: int) -> str:
        """Hash of the part's content."""
        return span_identity(self.items, self.parts[part])

    def graph_folder(self, part: int) -> Path:
        """Where a part's graph lies: known by the part's content and the graph's settings."""
        return Path(self.folder) / settings_hash([self.identity(part), self.hnsw.graph])

    def rows(self, part: int) -> np.ndarray:
        """The vectors of a part."""
        return rows_of_span(self.items, self.parts[part], self.map_folder)

    def open(self, part: int) -> Searcher:
        """The searcher over one part; what the graph finds is scored again with the vectors."""
        from mr_st.search.hnsw import HnswSearcher

        return HnswSearcher.load(
            self.graph_folder(part), vectors=self.rows(part), expansion_search=self.hnsw.expansion_search, check=False
        )


class IndexStage:
    """Build the graph of each part; a shard is a part.

    Args:
        searchers: Over the parts.
    """

    name, unit = "index", "vector"

    def __init__(self, searchers: HnswParts):
        self.searchers = searchers
        self._found_whole: set[int] = set()

    @property
    def sizes(self) -> Sequence[int]:
        """Items of each part."""
        return [len(span) for span in self.searchers.parts]

    def is_done(self, shard: int) -> bool:
        """Whether the part's graph lies there, whole."""
        if shard not in self._found_whole:
            folder = self.searchers.graph_folder(shard)
            try:
                if file_hash(index_path(folder, 0)) == read_record(folder, 0).hash:
                    self._found_whole.add(shard)
            except (OSError, MrStError):
                return False
        return shard in self._found_whole

    def run(self, shard: int) -> None:
        """Build the graph of one part, by one thread, so that the same vectors give the same bytes."""
        if not self.is_done(shard):
            graph = asdict(self.searchers.hnsw.graph)
            build_shard(self.searchers.rows(shard), self.searchers.graph_folder(shard), **graph)


class RecallStage(ShardStage):
    """How much of what exact search finds the approximate one found too, for a sample of the queries.

    Its one shard holds ``recalls`` float64 (n,), the recall of each query in the sample.

    Args:
        queries: The query vectors.
        searchers: Over the items.
        found: What the approximate search found for every query.
        k: How deep.
        folder: Where the shard lies.
        map_folder: A local folder for the maps of the vectors.
    """

    name, unit = "measure recall", "query"

    def __init__(
        self, queries: Vectors, searchers: HnswParts, found: TopK, k: int, folder: ShardFolder, map_folder: str
    ):
        self.queries, self.searchers, self.k, self.map_folder = queries, searchers, k, map_folder
        drawn = np.random.default_rng(_SEED).permutation(len(queries))[:_SAMPLE]
        self.sample = np.sort(drawn)
        self.found = TopK(found.ids[self.sample], found.scores[self.sample])
        names = [settings_hash([queries.identity, searchers.items.identity, k, array_hash(self.found.ids)])]
        super().__init__(folder, names, [len(self.sample)])

    def compute(self, shard: int) -> dict[str, np.ndarray]:
        """Search the sample exactly, and compare."""
        from mr_st.search.exact import ExactSearcher
        from mr_st.search.recall import recall_by_query

        items = self.searchers.items.map(Path(self.map_folder))
        sample = np.asarray(self.queries.map(Path(self.map_folder))[self.sample], dtype=np.float32)
        best = ExactSearcher(items).search(QueryBatch(vectors=sample), self.k)
        return {"recalls": recall_by_query(self.found, best, items, sample)}

    def report(self) -> dict[str, Any]:
        """Mean and interval, JSON-ready, once the shard is done."""
        from mr_st.search.recall import Recall

        return Recall.of(self.result(0)["recalls"], self.k, _SEED).to_json()
