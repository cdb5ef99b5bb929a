"""What can be evaluated: anything that searches a collection, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from mr_st.evaluation.collection import Collection
    from mr_st.search import TopK

__all__ = ["System"]


@runtime_checkable
class System(Protocol):
    """A search system: a bi-encoder, BM25, a hybrid, a reranker behind a retriever, a run that somebody else made.

    Attributes:
        name: ``org/name``: what its results are filed under.
        revision: Content hash of all that changes what it finds (weights, prompts, fusion weights, k1, ...); no place
            where things happen to lie, no batch size, no device.
        settings: JSON-ready: ``kind`` and what the revision is a hash of, for a reader. It stands in the protocol.
        facts: What MTEB's model_meta.json says besides name and revision, e.g. ``embed_dim``, ``n_parameters``; for
            a bi-encoder also how fast it encoded, and on what.
        gives_similarities: Whether :meth:`score_pairs` gives similarities, comparable between queries: only then have
            margins, histograms and thresholds a meaning (a bi-encoder's and a cross-encoder's are, BM25's are not).
    """

    name: str
    revision: str
    settings: dict[str, Any]
    gives_similarities: bool

    @property
    def facts(self) -> dict[str, Any]:
        """See above; a plain attribute does as well."""
        ...

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` of the collection's items for each of its queries; equal scores: lower item row first."""
        ...

    def score_pairs(self, collection: Collection) -> np.ndarray | None:
        """The score of each judged pair, float64 (m,), in the order of ``collection.judged``.

        NaN where the system has none for the pair (it is ranked last in a judged pool); None for a system that can
        score no pair.
        """
        ...
