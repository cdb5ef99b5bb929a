"""ESCIRetrieval: Amazon's Shopping Queries Dataset over its whole catalogue; and its judged-pool twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mr_st.errors import UsageError
from mr_st.tasks.base import UNPINNED, GradedRetrievalTask, TaskMetadata, load_original, twin_metadata

__all__ = ["ESCIGradedReranking", "ESCIRetrieval"]

_LANGUAGES = {"us": "eng-Latn", "es": "spa-Latn", "jp": "jpn-Jpan"}


class ESCIRetrieval(GradedRetrievalTask):
    """Find the products of one of ESCI's locales for its test queries, on human labels.

    Args:
        path: A folder with the original Parquet files, a folder that ``GradedDataset.save`` wrote, or a Hub dataset
            id; None for ``tasksource/esci`` on the Hub.
        locale: ``us``, ``es`` or ``jp``.
        data_options: Further options of the ESCI source, e.g. ``{"grades": 4}``; ``{"revision": "<commit>"}`` pins a
            Hub dataset.
        options: Of :class:`~mr_st.tasks.base.GradedRetrievalTask`.

    The task is called ``ESCIRetrieval`` for the us locale and ``ESCIRetrieval-es`` and so on for the others; data
    options that change the data are added to the name. A part of the dataset has another revision than the whole:
    compare by revision. MTEB has an ``ESCIReranking`` of its own (binary, other candidates): the twin is called
    ``ESCIGradedReranking``, so that neither is served the other's results.

    Raises:
        UsageError: an unknown locale.
    """

    metadata = TaskMetadata(
        name="ESCIRetrieval",
        description=(
            "Retrieve products for real shopping queries over the whole catalogue. Human labels: exact is graded 2, "
            "substitute and complement 1, irrelevant 0."
        ),
        reference="https://arxiv.org/abs/2206.06588",
        dataset={"path": "tasksource/esci", "revision": UNPINNED},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        date=("2021-01-01", "2022-06-30"),
        domains=["E-commerce", "Written"],
        task_subtypes=["Query-Product Relevance"],
        license="apache-2.0",
        annotations_creators="human-annotated",
        dialect=[],
        sample_creation="found",
        bibtex_citation="""@article{reddy2022shopping,
  title={Shopping Queries Dataset: A Large-Scale {ESCI} Benchmark for Improving Product Search},
  author={Reddy, Chandan K. and M{\\`a}rquez, Llu{\\'i}s and Valero, Fran and Rao, Nikhil and Zaragoza, Hugo and
    Bandyopadhyay, Sambaran and Biswas, Arnab and Xing, Anlu and Subbian, Karthik},
  journal={arXiv preprint arXiv:2206.06588},
  year={2022}
}""",
    )
    twin_task = "ESCIGradedReranking"

    def __init__(
        self,
        path: str | Path | None = None,
        locale: str = "us",
        data_options: dict[str, Any] | None = None,
        **options: Any,
    ):
        if locale not in _LANGUAGES:
            raise UsageError(f"ESCI has no locale {locale!r}; choose one of {', '.join(_LANGUAGES)}")
        from mr_st.data.sources.esci import load_esci

        source = path or type(self).metadata.dataset["path"]
        dataset, marks = load_original(load_esci, source, data_options or {}, locale=locale)
        options.setdefault("name", self.variant(*([] if locale == "us" else [locale]), *marks))
        options.setdefault("eval_langs", [_LANGUAGES[locale]])
        super().__init__(dataset, **options)


class ESCIGradedReranking(ESCIRetrieval):
    """The same queries and judgments, each query ranked over its judged items."""

    metadata = twin_metadata(ESCIRetrieval.metadata, ESCIRetrieval.twin_task)
    judged_pool = True
