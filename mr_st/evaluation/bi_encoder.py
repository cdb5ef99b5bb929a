"""BiEncoder: a SentenceTransformer as a system, with exact search over its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.encoding import encode, prompt_of
from mr_st.evaluation.naming import model_facts, model_identity
from mr_st.evaluation.scoring import pair_similarities
from mr_st.search import ExactSearcher, QueryBatch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.encoding.text_encoder import Side
    from mr_st.evaluation.collection import Collection
    from mr_st.search import TopK

__all__ = ["BiEncoder"]


class BiEncoder:
    """Search with the inner product of unit vectors; queries go through ``encode_query``, items ``encode_document``.

    Args:
        model: The model.
        name: ``org/name``; None for the model's Hub id, or ``local/model``.
        revision: None for the content hash of the model.
        store: Folder that keeps embeddings between calls, keyed by content; None keeps nothing.
        batch_size: Texts in one forward pass.
        show_progress: Show a progress bar.

    Raises:
        UsageError: a name or revision that cannot stand in a path.
    """

    gives_similarities = True

    def __init__(
        self,
        model: SentenceTransformer,
        name: str | None = None,
        revision: str | None = None,
        *,
        store: str | Path | None = None,
        batch_size: int = 64,
        show_progress: bool = False,
    ):
        self.model, self.store, self.batch_size, self.show_progress = model, store, batch_size, show_progress
        self.name, self.revision = model_identity(model, name, revision)
        self.facts = model_facts(model)
        self.settings: dict[str, Any] = {
            "kind": "bi-encoder",
            "model": self.revision,
            "search": "exact, inner product of unit vectors",
            "prompts": {"query": prompt_of(model, "query"), "item": prompt_of(model, "item")},
            "max_seq_length": getattr(model, "max_seq_length", None),
        }

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` items of each query."""
        queries = self.vectors(collection.query_texts, "query")
        return ExactSearcher(self.vectors(collection.item_texts, "item")).search(QueryBatch(vectors=queries), k)

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The similarity of each judged pair, float64 (m,)."""
        queries = self.vectors(collection.query_texts, "query")
        return pair_similarities(queries, self.vectors(collection.item_texts, "item"), collection.judged)

    def vectors(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """Unit vectors of texts, float32 (n, d)."""
        return encode(self.model, texts, side, self.store, self.batch_size, show_progress=self.show_progress)
