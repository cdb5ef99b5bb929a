"""MarketplaceRetrieval: the synthetic shop, whose every pair's true grade is known."""

from __future__ import annotations

from typing import Any

from mr_st.data import GradedDataset
from mr_st.tasks.base import UNPINNED, GradedRetrievalTask, TaskMetadata

__all__ = ["MarketplaceRetrieval"]

_DEFAULT_SIZE, _DEFAULT_SEED = "small", 0


class MarketplaceRetrieval(GradedRetrievalTask):
    """Find the items of a seeded synthetic shop, judged by its explicit relevance policy.

    Args:
        size: Size of the shop.
        seed: Seed of the shop.
        options: Of :class:`~mr_st.tasks.base.GradedRetrievalTask`.

    The task is called ``MarketplaceRetrieval`` for the default shop and carries size and seed in its name otherwise.
    """

    metadata = TaskMetadata(
        name="MarketplaceRetrieval",
        description=(
            "Retrieve the items of a synthetic online shop for shoppers' queries. Every pair is graded by an explicit "
            "policy: 2 relevant, 1 substitute or complement, 0 irrelevant. Made by a seeded generator, offline."
        ),
        reference="https://arxiv.org/abs/2602.17654",
        dataset={"path": "mr-st/marketplace", "revision": UNPINNED},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        date=("2025-01-01", "2026-12-31"),
        domains=["E-commerce", "Constructed", "Written"],
        task_subtypes=["Query-Product Relevance"],
        license="apache-2.0",
        annotations_creators="algorithmic",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )

    def __init__(self, size: str = _DEFAULT_SIZE, seed: int = _DEFAULT_SEED, **options: Any):
        is_default = (size, seed) == (_DEFAULT_SIZE, _DEFAULT_SEED)
        options.setdefault("name", None if is_default else f"MarketplaceRetrieval-{size}-seed{seed}")
        super().__init__(GradedDataset.load("marketplace", size=size, seed=seed), **options)
