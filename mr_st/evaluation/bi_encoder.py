"""BiEncoder: a SentenceTransformer as a system, with exact search over its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.encoding import encode, prompt_of
from mr_st.errors import UsageError
from mr_st.evaluation.encoding_speed import EncodingSpeed
from mr_st.evaluation.naming import model_facts, model_identity
from mr_st.evaluation.scoring import pair_similarities
from mr_st.evaluation.vector_memory import VectorMemory
from mr_st.search import ExactSearcher, QueryBatch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.encoding.text_encoder import Side
    from mr_st.evaluation.collection import Collection
    from mr_st.search import TopK

__all__ = ["BiEncoder"]


class BiEncoder:
    """Search with the inner product of unit vectors; queries go through ``encode_query``, items ``encode_document``.

    A text is encoded once: its vector is kept in memory under the text and its side, so that tasks, judged-pool twins
    and subsets share it. The model must stay as it is: its name, revision and vectors are those of now.

    Args:
        model: The model.
        name: ``org/name``; None for the model's Hub id, or ``local/model``.
        revision: None for the content hash of the model.
        store: Folder that keeps embeddings between runs, keyed by content; None keeps nothing.
        batch_size: Texts in one forward pass.
        memory: Bytes of vectors that are kept for each side (queries, items).
        show_progress: Show a progress bar.

    Raises:
        UsageError: a name or revision that cannot stand in a path; later, that the model was changed (train it, and
            make a new BiEncoder).
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
        memory: int = 4 << 30,
    ):
        self.model, self.store, self.batch_size, self.show_progress = model, store, batch_size, show_progress
        self._memory = VectorMemory(self._encode, memory)
        self._state = _state_of(model)
        self.name, self.revision = model_identity(model, name, revision)
        self._facts = model_facts(model)
        self._speed = EncodingSpeed(model)
        self.settings: dict[str, Any] = {
            "kind": "bi-encoder",
            "model": self.revision,
            "search": "exact, inner product of unit vectors",
            "prompts": {"query": prompt_of(model, "query"), "item": prompt_of(model, "item")},
            "max_seq_length": getattr(model, "max_seq_length", None),
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the model; where it has encoded enough items here, how fast and on what."""
        return self._facts | self._speed.facts()

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` items of each query."""
        queries = self.vectors(collection.query_texts, "query")
        return ExactSearcher(self.vectors(collection.item_texts, "item")).search(QueryBatch(vectors=queries), k)

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The similarity of each judged pair, float64 (m,)."""
        queries = self.vectors(collection.query_texts, "query")
        return pair_similarities(queries, self.vectors(collection.item_texts, "item"), collection.judged)

    def vectors(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """Unit vectors of texts, read-only float32 (n, d)."""
        if _state_of(self.model) != self._state:
            raise UsageError(
                f"{self.name}: the model was changed since this BiEncoder was made, so revision {self.revision} is no "
                "longer its own; make a new BiEncoder"
            )
        return self._memory.vectors(texts, side)

    def _encode(self, texts: list[str], side: Side) -> np.ndarray:
        return encode(
            self.model, texts, side, self.store, self.batch_size,
            show_progress=self.show_progress, clock=self._speed.add if side == "item" else None,
        )  # fmt: skip


def _state_of(model: Any) -> Any:
    """What changes when a model is trained or set otherwise; cheap, where its content hash is not."""
    weights = model.named_parameters() if hasattr(model, "named_parameters") else ()
    settings = [getattr(model, name, None) for name in ("max_seq_length", "truncate_dim", "default_prompt_name")]
    prompts = dict(getattr(model, "prompts", None) or {})
    return [(name, weight._version, weight.dtype) for name, weight in weights], settings, prompts
