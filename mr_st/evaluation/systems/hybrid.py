"""HybridSystem: several systems as one, their lists fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mr_st.errors import UsageError
from mr_st.evaluation.scoring import rank_judged
from mr_st.evaluation.systems.named import full_name
from mr_st.identity import settings_hash
from mr_st.search import TopK
from mr_st.search.fusion import Normalisation, reciprocal_rank_fusion, weighted_score_fusion
from mr_st.search.top import empty_top

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection
    from mr_st.evaluation.system import System

__all__ = ["HybridSystem"]


class HybridSystem:
    """Fuse the lists of several systems, by reciprocal rank or by weighted score.

    Each part gives its best ``depth`` items, whatever is asked of the hybrid, so that a figure at 10 does not hang on
    the largest cut-off; the fused list is as long as they are together. In a judged pool the parts rank the pool, and
    those rankings are fused whole.

    Args:
        parts: Name to system, at least one. What a part is called changes nothing.
        fusion: ``"rrf"`` (:func:`mr_st.search.fusion.reciprocal_rank_fusion`) or ``"weighted"``
            (:func:`mr_st.search.fusion.weighted_score_fusion`).
        weights: Name to weight, 0 or more; a part of weight 0 is left out. None weighs all alike.
        depth: Items taken from each part.
        constant: Of reciprocal rank fusion.
        normalise: Of weighted scores.
        name: ``org/name``.

    Raises:
        UsageError: no parts, weights of other names, or an argument out of range.
    """

    gives_similarities = False

    def __init__(
        self,
        parts: Mapping[str, System],
        *,
        fusion: Literal["rrf", "weighted"] = "rrf",
        weights: Mapping[str, float] | None = None,
        depth: int = 100,
        constant: float = 60,
        normalise: Normalisation = "minmax",
        name: str = "local/hybrid",
    ):
        if not parts:
            raise UsageError("a hybrid of no systems; give a mapping of name to system")
        if fusion not in ("rrf", "weighted"):
            raise UsageError(f"fusion is {fusion!r}; expected 'rrf' or 'weighted'")
        if depth < 1:
            raise UsageError(f"depth is {depth}; it must be 1 or more")
        if weights is not None and set(weights) != set(parts):
            raise UsageError(
                f"weights are for {', '.join(sorted(weights)) or 'nothing'}, but the parts are "
                f"{', '.join(sorted(parts))}; give one weight a part"
            )
        self.name = full_name(name)
        self.fusion, self.depth, self.constant, self.normalise = fusion, depth, float(constant), normalise
        given = {part: 1.0 if weights is None else float(weights[part]) for part in parts}
        self._fuse([empty_top(0, 1)] * len(given), list(given.values()), 1)  # refuses what means nothing
        asked = [part for part, weight in given.items() if weight > 0]
        # by what they are, so that neither their order nor their names change a sum
        asked.sort(key=lambda part: (parts[part].revision, given[part], part))
        self.parts = {part: parts[part] for part in asked}
        self.weights = {part: given[part] for part in asked}
        how: dict[str, Any] = {"kind": "hybrid", "fusion": fusion, "depth": depth}
        how |= {"constant": self.constant} if fusion == "rrf" else {"normalise": normalise}
        self.revision = settings_hash(
            {**how, "parts": [[system.revision, self.weights[part]] for part, system in self.parts.items()]}
        )
        self.settings: dict[str, Any] = {
            **how,
            "parts": {
                part: {"weight": self.weights[part], "settings": system.settings}
                for part, system in self.parts.items()
            },
        }
        self.facts: dict[str, Any] = {"n_parameters": n_parameters(self.parts.values()), "framework": []}

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` items of each query, of those that a part has among its best ``depth``."""
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        depth = min(self.depth, max(1, len(collection.item_ids)))
        tops = [system.search(collection, depth) for system in self.parts.values()]
        return self._fuse(tops, list(self.weights.values()), k)

    def score_pairs(self, collection: Collection) -> np.ndarray | None:
        """The fused score of each judged pair among its query's judged items, float64 (m,); NaN where no part has it.

        None where a part can score no pair.
        """
        judged = collection.judged
        tops = []
        for system in self.parts.values():
            scores = system.score_pairs(collection)
            if scores is None:
                return None
            top = rank_judged(judged, scores)
            tops.append(TopK(np.where(np.isneginf(top.scores), -1, top.ids), top.scores))  # what the part lacks
        width = max(1, int(judged.per_query.max(initial=0)))
        fused = self._fuse(tops, list(self.weights.values()), width)
        found = np.full(judged.n_pairs, np.nan)
        stride = len(collection.item_ids)
        queries, places = np.nonzero(fused.ids >= 0)
        known = judged.query_of_pair * stride + judged.items  # ascends
        found[np.searchsorted(known, queries * stride + fused.ids[queries, places])] = fused.scores[queries, places]
        return found

    def _fuse(self, tops: Sequence[TopK], weights: Sequence[float], k: int) -> TopK:
        if self.fusion == "rrf":
            return reciprocal_rank_fusion(tops, k, weights, self.constant)
        return weighted_score_fusion(tops, k, weights, self.normalise)


def n_parameters(systems: Any) -> int | None:
    """Parameters of several systems together; None where none says."""
    known = [system.facts["n_parameters"] for system in systems if system.facts.get("n_parameters")]
    return sum(known) if known else None
