"""Several searchers as one: each is asked, and their lists are fused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from mr_st.errors import UsageError
from mr_st.search.fusion import Normalisation, reciprocal_rank_fusion, weighted_score_fusion
from mr_st.search.protocol import QueryBatch, Searcher, TopK

__all__ = ["HybridSearcher"]


class HybridSearcher:
    """Search the same items with several searchers and fuse what they find.

    Every searcher gets the whole batch: texts for the lexical ones, vectors for the dense ones.

    Args:
        searchers: Name to searcher, at least one, all of the same items in the same rows.
        fusion: ``"rrf"``: by reciprocal rank; ``"weighted"``: by normalised score.
        weights: Name to weight, 0 or more (0: not asked at all); None weighs all alike.
        depth: Items taken from each searcher; more are taken where ``k`` is larger.
        constant: Of reciprocal rank fusion (:func:`~mr_st.search.fusion.reciprocal_rank_fusion`).
        normalise: Of score fusion (:func:`~mr_st.search.fusion.weighted_score_fusion`).

    Raises:
        UsageError: no searchers, searchers of different catalogues, weights of other names, or an argument out of
            range.

    Example:
        >>> from mr_st.search import ExactSearcher
        >>> from mr_st.search.bm25 import Bm25Searcher
        >>> items = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> searcher = HybridSearcher(
        ...     {"dense": ExactSearcher(items), "lexical": Bm25Searcher(["red mug", "red shoe", "blue shoe"])},
        ...     weights={"dense": 2, "lexical": 1},
        ... )
        >>> searcher.search(QueryBatch(["shoe"], np.array([[1.0, 0.1]])), k=2).ids.tolist()
        [[1, 2]]
    """

    def __init__(
        self,
        searchers: Mapping[str, Searcher],
        *,
        fusion: Literal["rrf", "weighted"] = "rrf",
        weights: Mapping[str, float] | None = None,
        depth: int = 100,
        constant: float = 60,
        normalise: Normalisation = "minmax",
    ):
        if not searchers:
            raise UsageError("no searchers; give a mapping of name to searcher")
        if fusion not in ("rrf", "weighted"):
            raise UsageError(f"fusion is {fusion!r}; expected 'rrf' or 'weighted'")
        if depth < 1:
            raise UsageError(f"depth is {depth}; it must be 1 or more")
        if weights is not None and set(weights) != set(searchers):
            names = f"{', '.join(sorted(weights)) or 'nothing'}, but the searchers are {', '.join(sorted(searchers))}"
            raise UsageError(f"weights are for {names}; give one weight a searcher")
        sizes = {name: len(searcher) for name, searcher in searchers.items()}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{name}: {size:,}" for name, size in sizes.items())
            raise UsageError(
                f"the searchers know different catalogues ({counts} items); build them from the same items"
            )
        self.searchers = {name: searchers[name] for name in sorted(searchers)}  # the same sums whatever their order
        self.weights = {name: 1.0 if weights is None else float(weights[name]) for name in self.searchers}
        self.fusion, self.depth, self.constant, self.normalise = fusion, depth, constant, normalise
        nothing = TopK(np.empty((0, 1), dtype=np.int64), np.empty((0, 1), dtype=np.float32))
        self._fuse(dict.fromkeys(self.searchers, nothing), 1)  # refuses weights and settings that mean nothing

    @property
    def settings(self) -> dict[str, Any]:
        """The fusion, its weights, and every searcher's own settings."""
        how = {"constant": self.constant} if self.fusion == "rrf" else {"normalise": self.normalise}
        parts = {
            name: {"weight": self.weights[name], "settings": searcher.settings}
            for name, searcher in self.searchers.items()
        }
        return {"kind": "hybrid", "fusion": self.fusion, **how, "depth": self.depth, "searchers": parts}

    def __len__(self) -> int:
        return len(next(iter(self.searchers.values())))

    def search(self, queries: QueryBatch, k: int) -> TopK:
        """The best ``k`` items of each query.

        Args:
            queries: A batch with all that the searchers need, as a rule texts and vectors.
            k: 1 or more; places that are left are filled with id -1 and score -inf.

        Raises:
            UsageError: k below 1, or a searcher lacks texts or vectors.
            DataError: a query vector holds NaN or infinity, or is zero.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        depth = min(max(self.depth, k), len(self))
        asked = {name: searcher for name, searcher in self.searchers.items() if self.weights[name] > 0}
        return self._fuse({name: searcher.search(queries, depth) for name, searcher in asked.items()}, k)

    def _fuse(self, tops: Mapping[str, TopK], k: int) -> TopK:
        lists, weights = list(tops.values()), [self.weights[name] for name in tops]
        if self.fusion == "rrf":
            return reciprocal_rank_fusion(lists, k, weights, self.constant)
        return weighted_score_fusion(lists, k, weights, self.normalise)
