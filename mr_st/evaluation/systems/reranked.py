"""RerankedSystem: a retriever's best items in the order of a second, slower look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.data.pairs import PairTable
from mr_st.errors import MrStError, UsageError
from mr_st.evaluation.systems.hybrid import n_parameters
from mr_st.evaluation.systems.named import full_name
from mr_st.identity import settings_hash
from mr_st.search import TopK
from mr_st.search.top import empty_top

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection
    from mr_st.evaluation.system import System
    from mr_st.evaluation.systems.pair_scorers import PairScorer

__all__ = ["RerankedSystem"]

_CHUNK = 2048  # pairs between two moves of the progress bar

_Pair = tuple[str, str, str, str, str]  # query id, item id, query text, item text, locale


class RerankedSystem:
    """Rerank the best ``depth`` items of a retriever, and nothing below them: what it does not find stays unfound.

    A judged pool is reranked whole, without the retriever. A pair's score is kept for the next task and the twin.

    Args:
        retriever: Finds the items.
        reranker: Scores pairs: :class:`~mr_st.evaluation.systems.pair_scorers.CrossEncoderScorer` or
            :class:`~mr_st.evaluation.systems.pair_scorers.AnnotatorScorer`.
        depth: Items reranked, whatever is asked of the system.
        name: ``org/name``.
        show_progress: Show a progress bar over the pairs.

    Raises:
        UsageError: a depth below 1, or a name that cannot name a folder.
    """

    gives_similarities = True

    def __init__(
        self,
        retriever: System,
        reranker: PairScorer,
        *,
        depth: int = 100,
        name: str = "local/reranked",
        show_progress: bool = False,
    ):
        if depth < 1:
            raise UsageError(f"depth is {depth}; it must be 1 or more")
        self.name, self.show_progress = full_name(name), show_progress
        self.retriever, self.reranker, self.depth = retriever, reranker, depth
        how = {"kind": "rerank", "depth": depth}
        self.revision = settings_hash({**how, "reranker": reranker.identity, "retriever": retriever.revision})
        self.settings: dict[str, Any] = {
            **how,
            "reranker": {"kind": "reranker", "identity": reranker.identity},
            "retriever": retriever.settings,
        }
        size = n_parameters([retriever, reranker])
        self.facts: dict[str, Any] = {"framework": [], **reranker.facts, "n_parameters": size}
        self._known: dict[_Pair, float] = {}

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` of the retriever's ``depth`` items for each query, by the reranker."""
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        found = self.retriever.search(collection, min(self.depth, max(1, len(collection.item_ids))))
        queries, places = np.nonzero(found.ids >= 0)
        rows = found.ids[queries, places]
        scores = self._scores(collection, queries, rows).astype(np.float32)
        order = np.lexsort((rows, -scores, queries))
        counts = np.bincount(queries, minlength=len(found.ids))
        ranks = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = ranks < k
        top = empty_top(len(found.ids), k)
        top.ids[queries[kept], ranks[kept]] = rows[order][kept]
        top.scores[queries[kept], ranks[kept]] = scores[order][kept]
        return top

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The reranker's score of each judged pair, float64 (m,), whether or not the retriever finds it."""
        return self._scores(collection, collection.judged.query_of_pair, collection.judged.items)

    def _scores(self, collection: Collection, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The reranker's scores of pairs of query and item rows, float64 (m,)."""
        from tqdm.auto import tqdm

        locales = collection.attributes.get("locale") or [None] * collection.n_queries
        pairs: list[_Pair] = [
            (
                collection.query_ids[q],
                collection.item_ids[i],
                collection.query_texts[q],
                collection.item_texts[i],
                locales[q] or "und",
            )
            for q, i in zip(queries.tolist(), rows.tolist(), strict=True)
        ]
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        with tqdm(total=len(new), desc="rerank", unit="pair", disable=not (self.show_progress and new)) as progress:
            for start in range(0, len(new), _CHUNK):
                part = new[start : start + _CHUNK]
                query_ids, item_ids, query_texts, item_texts, of_locale = map(list, zip(*part, strict=True))
                scores = self.reranker.score(PairTable(query_ids, item_ids, query_texts, item_texts, of_locale))
                if len(scores) != len(part) or not np.isfinite(scores).all():
                    raise MrStError(f"{self.reranker.identity}: a score is missing or not finite; mend the reranker")
                self._known.update(zip(part, np.asarray(scores, dtype=np.float64).tolist(), strict=True))
                progress.update(len(part))
        return np.array([self._known[pair] for pair in pairs], dtype=np.float64)
