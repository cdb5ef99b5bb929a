"""GoldenRetrieval: a golden set, a test set of stated make-up; and its judged-pool twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.tasks.base import UNPINNED, GradedRetrievalTask, TaskMetadata, twin_metadata
from mr_st.tasks.marketplace import MarketplaceRetrieval

__all__ = ["GoldenReranking", "GoldenRetrieval"]

_DEFAULT_SIZE, _DEFAULT_SEED = "small", 0
_SHARES: dict[str, Any] = {"zero_share": 0.65, "unseen_share": 0.3, "misspelt_share": 0.1}


class GoldenRetrieval(GradedRetrievalTask):
    """Find items for a golden set's queries: at least 65 % of each query's judged pairs are irrelevant, about 30 % of
    the queries are unseen in training, a tenth is misspelt.

    Args:
        path: A folder that ``mr-st data golden`` wrote; None builds the set from the marketplace, whose policy grades
            the random items: the same set every time.
        size, seed: Of the marketplace, and the seed of the set's draws; not for a folder.
        options: Of :class:`~mr_st.tasks.base.GradedRetrievalTask`.

    The task is called ``GoldenRetrieval`` for the default set, carries size and seed for another shop, and the
    dataset's name and the start of its fingerprint for a folder. Its subset ``unseen`` goes by words: the misspelt
    variant of a query that training has seen belongs to it.

    Raises:
        UsageError: the folder holds no golden set, or is given together with a size or seed.
    """

    metadata = TaskMetadata(
        name="GoldenRetrieval",
        description=(
            "Retrieve items for a golden set of queries: judged pairs and random items, so that 65 % or more of each "
            "query's pairs are irrelevant; 30 % of the queries are unseen in training, 10 % are misspelt. Grades: 2 "
            "relevant, 1 substitute or complement, 0 irrelevant."
        ),
        reference="https://arxiv.org/abs/2602.17654",
        dataset={"path": "mr-st/golden", "revision": UNPINNED},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=MarketplaceRetrieval.metadata.eval_langs,
        main_score="ndcg_at_10",
        date=("2025-01-01", "2026-12-31"),
        domains=["E-commerce", "Constructed", "Written"],
        task_subtypes=["Query-Product Relevance"],
        license="apache-2.0",
        annotations_creators="algorithmic",
        dialect=[],
        sample_creation="created",
        bibtex_citation=MarketplaceRetrieval.metadata.bibtex_citation,
    )
    subsets: ClassVar = {**MarketplaceRetrieval.subsets, "seen": {"seen": "seen"}}

    def __init__(
        self, path: str | Path | None = None, size: str | None = None, seed: int | None = None, **options: Any
    ):
        if path is None:
            size, seed = size or _DEFAULT_SIZE, _DEFAULT_SEED if seed is None else seed
            dataset = _from_marketplace(size, seed)
            is_default = (size, seed) == (_DEFAULT_SIZE, _DEFAULT_SEED)
            marks = () if is_default else (size, f"seed{seed}")
        elif size is not None or seed is not None:
            raise UsageError("a golden set is read from a folder, or built with a size and a seed; give one of them")
        else:
            dataset = GradedDataset.load(path)
            if "golden" not in dataset.source:
                raise UsageError(f"{path} is no golden set; make one of it with `mr-st data golden {path} OUT`")
            options.setdefault("splits", [dataset.source["golden"]["split"]])
            marks = (dataset.name, dataset.fingerprint[:8])
        options.setdefault("name", self.variant(*marks))
        super().__init__(dataset, **options)


class GoldenReranking(GoldenRetrieval):
    """The same queries and judgments, each query ranked over its judged items."""

    metadata = twin_metadata(GoldenRetrieval.metadata)
    judged_pool = True


def _from_marketplace(size: str, seed: int) -> GradedDataset:
    from mr_st.annotation import JudgmentAnnotator
    from mr_st.augment.golden import build_golden_set
    from mr_st.data.marketplace import MarketplacePolicy

    shop = GradedDataset.load("marketplace", size=size, seed=seed)
    annotator = JudgmentAnnotator(MarketplacePolicy.for_dataset(shop))
    return build_golden_set(shop, annotator, **_SHARES, allow_shortfall=True, seed=seed).dataset
