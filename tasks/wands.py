"""WANDSRetrieval: Wayfair's annotated searches for furniture and things for the home; and its judged-pool twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mr_st.errors import UsageError
from mr_st.tasks.base import UNPINNED, GradedRetrievalTask, TaskMetadata, load_original, twin_metadata

__all__ = ["WANDSReranking", "WANDSRetrieval"]


class WANDSRetrieval(GradedRetrievalTask):
    """Find Wayfair's products for a fifth of WANDS' queries, on human labels: the test split of the WANDS source.

    Args:
        path: A folder with product.csv, query.csv and label.csv, a clone of github.com/wayfair/WANDS, or a folder that
            ``GradedDataset.save`` wrote. WANDS lies on no Hub, so a path is needed.
        data_options: Options of the WANDS source, e.g. ``{"test_share": 0.5}``; they stand in the task's name.
        options: Of :class:`~mr_st.tasks.base.GradedRetrievalTask`.

    Raises:
        UsageError: no path, or an option without a meaning.
        DataError: the files are damaged.
    """

    metadata = TaskMetadata(
        name="WANDSRetrieval",
        description=(
            "Retrieve Wayfair's products (furniture, things for the home) for shoppers' queries over the whole "
            "catalogue. Human labels: exact is graded 2, partial 1, irrelevant 0."
        ),
        reference="https://github.com/wayfair/WANDS",
        dataset={"path": "wayfair/WANDS", "revision": UNPINNED},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        date=("2021-01-01", "2022-04-30"),
        domains=["E-commerce", "Written"],
        task_subtypes=["Query-Product Relevance"],
        license="mit",
        annotations_creators="human-annotated",
        dialect=[],
        sample_creation="found",
        bibtex_citation="""@inproceedings{wands,
  title={{WANDS}: Dataset for Product Search Relevance Assessment},
  author={Chen, Yan and Liu, Shujian and Liu, Zheng and Sun, Weiyi and Baltrunas, Linas and Schroeder, Benjamin},
  booktitle={Proceedings of the 44th European Conference on Information Retrieval},
  year={2022}
}""",
    )

    def __init__(self, path: str | Path | None = None, data_options: dict[str, Any] | None = None, **options: Any):
        if path is None:
            raise UsageError(
                f"{self.metadata.name} needs WANDS' files; clone github.com/wayfair/WANDS and give path=FOLDER"
            )
        from mr_st.data.sources.wands import load_wands

        dataset, marks = load_original(load_wands, path, data_options or {})
        options.setdefault("name", self.variant(*marks))
        super().__init__(dataset, **options)


class WANDSReranking(WANDSRetrieval):
    """The same queries and judgments, each query ranked over its judged items."""

    metadata = twin_metadata(WANDSRetrieval.metadata)
    judged_pool = True
