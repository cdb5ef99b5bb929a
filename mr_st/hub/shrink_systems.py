"""A bi-encoder whose vectors are stored and searched at one setting, as a system that is evaluated like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mr_st.evaluation.scoring import pair_similarities
from mr_st.hub.shrink_vectors import Shrunk, shrink_vectors

if TYPE_CHECKING:
    import numpy as np

    from mr_st.evaluation import BiEncoder, Collection
    from mr_st.hub.shrink_settings import Setting
    from mr_st.search import TopK

__all__ = ["ShrunkEncoder"]


class ShrunkEncoder:
    """Search with the vectors of a :class:`~mr_st.evaluation.BiEncoder` made smaller; nothing is encoded anew.

    Args:
        encoder: Whose vectors they are: it keeps those it has encoded.
        setting: How they are stored and searched.
        n_candidates: How many of the best are scored again, where the setting does so.
    """

    gives_similarities = True

    def __init__(self, encoder: BiEncoder, setting: Setting, n_candidates: int):
        self.encoder, self.setting, self.n_candidates = encoder, setting, n_candidates
        self.name, self.facts = encoder.name, encoder.facts
        self.revision = f"{encoder.revision}-{setting.name}"
        self.settings: dict[str, Any] = {
            **encoder.settings,
            "kind": "bi-encoder, shrunk",
            "dims": setting.dims,
            "dtype": setting.dtype,
            "rescored_with": setting.rescored_with,
            "n_candidates": n_candidates if setting.rescored_with else None,
        }
        self._made: tuple[Collection, Shrunk] | None = None

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` items of each query."""
        return self._shrunk(collection).search(k, self.n_candidates)

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The similarity of each judged pair, on the scale of the cosine: float64 (m,)."""
        return pair_similarities(*self._shrunk(collection).similarity, collection.judged)

    def _shrunk(self, collection: Collection) -> Shrunk:
        if self._made is None or self._made[0] is not collection:
            queries = self.encoder.vectors(collection.query_texts, "query")
            items = self.encoder.vectors(collection.item_texts, "item")
            self._made = collection, shrink_vectors(queries, items, self.setting)
        return self._made[1]
