"""MarketplaceRetrieval: the synthetic shop, whose every pair's true grade is known; and its judged-pool twin."""

from __future__ import annotations

from typing import Any, ClassVar

from mr_st.data import GradedDataset
from mr_st.tasks.base import UNPINNED, GradedRetrievalTask, TaskMetadata, twin_metadata

__all__ = ["MarketplaceReranking", "MarketplaceRetrieval"]

_DEFAULT_SIZE, _DEFAULT_SEED = "small", 0


class MarketplaceRetrieval(GradedRetrievalTask):
    """Find the items of a seeded synthetic shop, judged by its explicit relevance policy.

    Subsets: the queries of each language, frequent and rare ones, misspelt ones, and those that training never saw;
    all are searched in the whole catalogue.

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
        eval_langs=["eng-Latn", "deu-Latn", "fra-Latn", "jpn-Jpan", "spa-Latn"],
        main_score="ndcg_at_10",
        date=("2025-01-01", "2026-12-31"),
        domains=["E-commerce", "Constructed", "Written"],
        task_subtypes=["Query-Product Relevance"],
        license="apache-2.0",
        annotations_creators="algorithmic",
        dialect=[],
        sample_creation="created",
        bibtex_citation="""@article{xi2026mine,
  title={Mine and Refine: Optimizing Graded Relevance in E-commerce Search Retrieval},
  author={Xi, Jiaqi and Saboo, Raghav and Chen, Luming and Wang, Martin and Das, Sudeep},
  journal={arXiv preprint arXiv:2602.17654},
  year={2026}
}""",
    )
    subsets: ClassVar = {
        **{language: {"locale": language} for language in ("en", "de", "es", "fr", "ja")},
        "head": {"traffic": "head"},
        "tail": {"traffic": "tail"},
        "misspelt": {"kind": "spelling"},
        "unseen": {"seen": "unseen"},
    }

    def __init__(self, size: str = _DEFAULT_SIZE, seed: int = _DEFAULT_SEED, **options: Any):
        is_default = (size, seed) == (_DEFAULT_SIZE, _DEFAULT_SEED)
        options.setdefault("name", self.variant(*() if is_default else (size, f"seed{seed}")))
        super().__init__(GradedDataset.load("marketplace", size=size, seed=seed), **options)


class MarketplaceReranking(MarketplaceRetrieval):
    """The same queries and judgments, each query ranked over its judged items."""

    metadata = twin_metadata(MarketplaceRetrieval.metadata)
    judged_pool = True
