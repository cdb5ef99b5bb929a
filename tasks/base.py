"""GradedRetrievalTask: a GradedDataset as an MTEB retrieval task, with the graded report beside MTEB's own run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata

from mr_st.evaluation import Collection, GradedReport, evaluate_model
from mr_st.evaluation.naming import safe_name

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["UNPINNED", "GradedRetrievalTask", "TaskMetadata"]

UNPINNED = "set from the data"
"""The revision in a class's metadata; a task itself has the fingerprint of its data."""


class GradedRetrievalTask(AbsTaskRetrieval):
    """Full-catalogue retrieval on graded judgments.

    A subclass gives ``metadata`` and an ``__init__`` that hands over its dataset; ``mteb.evaluate(model, [task])``
    runs it, and :meth:`report` runs it faster, with the same numbers and with intervals, margins and per-query values.

    MTEB's cache knows a result by model and task NAME and does not look at the data's revision. So a task whose
    options change its data must be given another ``name``, and :func:`mr_st.tasks.run_mteb` checks revisions.

    Args:
        dataset: Judgments and catalogue.
        name: The task's name; None for the class's.
        splits: Splits to evaluate.
        item_text_levels, max_chars: How an item becomes a text. It stands whole in MTEB's ``text``, with no ``title``.
        eval_langs: MTEB's language codes; None for the class's.

    Raises:
        UsageError: a name that cannot name a file, or no such split.
    """

    metadata: TaskMetadata
    k_values: Sequence[int] = (1, 3, 5, 10, 20, 50, 100, 1000)

    def __init__(
        self,
        dataset: GradedDataset,
        *,
        name: str | None = None,
        splits: Sequence[str] = ("test",),
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
        eval_langs: Sequence[str] | None = None,
    ):
        own = type(self).metadata
        self.metadata = own.model_copy(
            update={
                "name": safe_name(name or own.name, "task"),
                "dataset": {**own.dataset, "revision": dataset.fingerprint},
                "eval_splits": list(splits),
                "eval_langs": list(eval_langs or own.eval_langs),
            }
        )
        super().__init__()
        self.graded = dataset
        self.item_text_levels = item_text_levels
        self.max_chars = max_chars

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill ``self.dataset`` with what MTEB runs on; queries that cannot be judged are left out."""
        if self.data_loaded:
            return
        self.dataset = {"default": {split: self._split_data(split) for split in self.metadata.eval_splits}}
        self.data_loaded = True

    def unload_data(self) -> None:
        """Forget MTEB's form of the data. (MTEB's own method would also put back the class's metadata.)"""
        own = self.metadata
        super().unload_data()
        self.metadata = own

    def report(self, model: Any, split: str | None = None, **options: Any) -> GradedReport:
        """Evaluate a model on this task with :func:`mr_st.evaluation.evaluate_model`.

        Args:
            model: A SentenceTransformer.
            split: One of the task's splits; None for the first.
            options: Further arguments of ``evaluate_model``: model_name, revision, store, batch_size, ks, seed, ...
        """
        return evaluate_model(
            model,
            self.graded,
            task_name=self.metadata.name,
            split=split or self.metadata.eval_splits[0],
            item_text_levels=self.item_text_levels,
            max_chars=self.max_chars,
            **options,
        )

    def _split_data(self, split: str) -> RetrievalSplitData:
        found = Collection.from_dataset(
            self.graded, split, item_text_levels=self.item_text_levels, max_chars=self.max_chars
        )
        judged = found.judged
        qrels: dict[str, dict[str, int]] = {query_id: {} for query_id in found.query_ids}
        for query, item, grade in zip(
            judged.query_of_pair.tolist(), judged.items.tolist(), judged.grades.tolist(), strict=True
        ):
            qrels[found.query_ids[query]][found.item_ids[item]] = grade  # tolist: MTEB refuses numpy's integers
        return RetrievalSplitData(
            corpus=Dataset.from_dict({"id": found.item_ids, "text": found.item_texts}),
            queries=Dataset.from_dict({"id": found.query_ids, "text": found.query_texts}),
            relevant_docs=qrels,
            top_ranked=None,
        )
