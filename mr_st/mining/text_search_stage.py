"""Lexical search as a stage: blocks of query texts against all item texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.identity import settings_hash, texts_hash
from mr_st.mining.shard_stage import ShardStage
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["TextSearchStage"]


class TextSearchStage(ShardStage):
    """The top k of blocks of query texts by BM25: shard ``b`` holds ``ids`` int64 and ``scores`` float32, (n, k) each.

    Args:
        queries: n query texts.
        items: N item texts.
        k: Items found for a query.
        folder: Where the shards lie.
        language: BCP-47 tag of the texts; None for several.
        block: Queries of one shard.

    Raises:
        MissingExtraError: the extra ``bm25`` is not installed.
    """

    name, unit = "search bm25", "query"

    def __init__(
        self,
        queries: Sequence[str],
        items: Sequence[str],
        k: int,
        folder: ShardFolder,
        language: str | None = None,
        block: int = 2048,
    ):
        from mr_st.errors import require_extra
        from mr_st.search.analyser import Analyser

        require_extra("bm25s", "bm25")
        self.queries, self.items, self.k, self.language = queries, items, k, language
        self.blocks = [slice(start, start + block) for start in range(0, len(queries), block)]
        self.about = {"kind": "bm25", "analyser": Analyser(language).settings}
        searched = [texts_hash(items), self.about, k]
        names = [settings_hash([texts_hash(queries[rows]), searched]) for rows in self.blocks]
        super().__init__(folder, names, [len(queries[rows]) for rows in self.blocks])
        self._searcher: Searcher | None = None

    def compute(self, shard: int) -> dict[str, np.ndarray]:
        """Search for one block of queries."""
        if self._searcher is None:
            from mr_st.search.bm25 import Bm25Searcher

            self._searcher = Bm25Searcher(self.items, language=self.language)
        top = self._searcher.search(QueryBatch(texts=self.queries[self.blocks[shard]]), self.k)
        return {"ids": top.ids, "scores": top.scores}

    def merged(self) -> TopK:
        """The best k of each query, once every shard is done."""
        tops = [self.result(shard) for shard in range(len(self.names))]
        return TopK(np.concatenate([top["ids"] for top in tops]), np.concatenate([top["scores"] for top in tops]))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_searcher": None}
