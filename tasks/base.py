"""GradedRetrievalTask: a GradedDataset as an MTEB retrieval task, with the graded report beside MTEB's own run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.evaluation import BiEncoder, Collection, GradedReport, System, evaluate_system
from mr_st.evaluation.evaluate import language_codes
from mr_st.evaluation.naming import safe_name
from mr_st.tasks.mteb_split import graded_scores, split_data
from mr_st.tasks.statistics import collection_statistics, read_baselines

__all__ = ["UNPINNED", "GradedRetrievalTask", "TaskMetadata", "load_original", "twin_metadata", "twin_name"]

UNPINNED = "set from the data"
"""The revision in a class's metadata; a task itself has the fingerprint of its data."""

WHOLE = "default"
"""The subset of all queries; MTEB's name for it."""

_SAME_DATA = ("revision", "validate")  # options of a source that the fingerprint speaks for, or nothing
_LEVELS, _CHARS = 2, 400  # the item text that a task's name does not speak of
_MODEL_OPTIONS = {"model_name": "name", "revision": "revision", "store": "store", "batch_size": "batch_size",
                  "show_progress": "show_progress"}  # fmt: skip


class GradedRetrievalTask(AbsTaskRetrieval):
    """Retrieval on graded judgments: over the full catalogue or, for a twin, over each query's judged items.

    A subclass gives ``metadata`` and an ``__init__`` that hands over its dataset; ``mteb.evaluate(model, [task])``
    runs it, and :meth:`reports` runs it faster, with the same numbers, with intervals, margins and per-query values.

    ``subsets`` names parts of the queries, searched over the same items. The whole stands beside them as ``default``.
    MTEB's score of a task is the mean over the subsets that it ran, so ``mteb.evaluate`` runs ``default`` alone and
    its main score is the one over all queries; ``task.filter_languages(None, hf_subsets=["head"])`` makes it run
    others. Parts that :meth:`GradedReport.save <mr_st.evaluation.GradedReport.save>` wrote beside the whole are left
    out again by ``ResultCache.load_results(tasks=[task], validate_and_filter=True)``.

    MTEB's cache knows a result by model and task NAME and does not look at the data's revision. So a task whose
    options change its data must be given another ``name``; an item text of another form than the usual adds itself to
    the name; and :func:`mr_st.tasks.run_mteb` checks revisions.

    Args:
        dataset: Judgments and catalogue.
        name: The task's name; None for the class's.
        splits: Splits to evaluate.
        item_text_levels, max_chars: How an item becomes a text. It stands whole in MTEB's ``text``, with no ``title``.
        eval_langs: MTEB's language codes; None for the class's.

    Attributes:
        subsets: Name to a filter of :meth:`GradedReport.take <mr_st.evaluation.GradedReport.take>`.
        judged_pool: Whether each query's own judged items are ranked, and no others.
        twin_task: Name of the judged-pool twin; None where :func:`twin_name` gives it.

    Raises:
        UsageError: a name that cannot name a file, or no such split.
    """

    metadata: TaskMetadata
    subsets: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType({})
    judged_pool: bool = False
    twin_task: str | None = None
    k_values: Sequence[int] = (1, 3, 5, 10, 20, 50, 100, 1000)

    def __init__(
        self,
        dataset: GradedDataset,
        *,
        name: str | None = None,
        splits: Sequence[str] = ("test",),
        item_text_levels: int | None = _LEVELS,
        max_chars: int | None = _CHARS,
        eval_langs: Sequence[str] | None = None,
    ):
        own = type(self).metadata
        name = "-".join([name or own.name, *_text_marks(item_text_levels, max_chars)])
        self.metadata = own.model_copy(
            update={
                "name": safe_name(name, "task"),
                "dataset": {**own.dataset, "revision": dataset.fingerprint},
                "eval_splits": list(splits),
                "eval_langs": _by_subset(list(eval_langs or own.bcp47_codes), self.subsets),
            }
        )
        super().__init__()
        self.hf_subsets = [WHOLE]
        self.graded = dataset
        self.item_text_levels = item_text_levels
        self.max_chars = max_chars
        self._collections: dict[Any, Collection] = {}

    @classmethod
    def variant(cls, *marks: str) -> str:
        """The name of a task whose options change its data: the class's, then the marks."""
        return "-".join([cls.metadata.name, *marks])

    def collection(self, split: str | None = None, gains: Sequence[float] | None = None) -> Collection:
        """What is searched and judged in a split; made once and kept.

        Args:
            split: One of the task's splits; None for the first.
            gains: The gain of each grade, lowest first; None for the dataset's own.

        Raises:
            UsageError: no such split, gains that do not fit, or no query with an item above grade 0.
        """
        split = split or self.metadata.eval_splits[0]
        key = (split, None if gains is None else tuple(gains))
        if key not in self._collections:
            self._collections[key] = Collection.from_dataset(
                self.graded,
                split,
                item_text_levels=self.item_text_levels,
                max_chars=self.max_chars,
                judged_pool=self.judged_pool,
                gains=gains,
            )
        return self._collections[key]

    def report(
        self, model: Any, split: str | None = None, *, gains: Sequence[float] | None = None, **options: Any
    ) -> GradedReport:
        """Evaluate a model or any other system on all queries of a split.

        Args:
            model: A SentenceTransformer, or a :class:`~mr_st.evaluation.System`.
            split: One of the task's splits; None for the first.
            gains: Other gains than the dataset's.
            options: Of :func:`~mr_st.evaluation.evaluate_system`: ks, seed, n_resamples, ...; and for a
                SentenceTransformer model_name, revision, store, batch_size, show_progress.

        Raises:
            UsageError: an option that a system does not take.
        """
        system, options = _as_system(model, options)
        return evaluate_system(
            system,
            self.collection(split, gains),
            **{"task_name": self.metadata.name, "languages": self._languages(WHOLE), **options},
        )

    def reports(
        self,
        system: Any,
        split: str | None = None,
        subsets: Sequence[str] | None = None,
        *,
        gains: Sequence[float] | None = None,
        **options: Any,
    ) -> dict[str, GradedReport]:
        """Evaluate on all queries and on the task's subsets, with one search.

        Args:
            system: As in :meth:`report`.
            split: One of the task's splits; None for the first.
            subsets: Which subsets; None for each that has a query here, ``[]`` for none.
            gains, options: As in :meth:`report`.

        Returns:
            Subset to report; ``default``, all queries, stands first.

        Raises:
            UsageError: no such subset, or one with no query.
        """
        wanted = self._existing(split) if subsets is None else [name for name in subsets if name != WHOLE]
        for name in wanted:
            self._check_subset(name)
        whole = self.report(system, split, gains=gains, **options)
        parts = {name: whole.take(self.subsets[name], name) for name in wanted}
        return {
            WHOLE: whole,
            **{name: replace(part, languages=self._languages(name)) for name, part in parts.items()},
        }

    def statistics(self, split: str | None = None) -> dict[str, Any]:
        """What a split is like (:func:`mr_st.tasks.statistics.collection_statistics`); nothing is written.

        Args:
            split: One of the task's splits; None for the first.
        """
        return {"task": self.metadata.name, **collection_statistics(self.collection(split), self.subsets)}

    @classmethod
    def baselines(cls) -> dict[str, Any]:
        """What was measured on this task before (:func:`mr_st.tasks.statistics.read_baselines`); may be empty."""
        return read_baselines(cls.metadata.name)

    def twin(self) -> GradedRetrievalTask:
        """The judged-pool twin: the same queries and judgments, each query ranked over its judged items only.

        Margins belong there (over all judged pairs), and systems that can only rerank. Its name has ``Reranking`` for
        ``Retrieval``. A twin is its own twin.
        """
        if self.judged_pool:
            return self
        other = copy(self)
        name, own = self.metadata.name, type(self).metadata.name
        if self.twin_task is not None and name.startswith(own):
            name = self.twin_task + name.removeprefix(own)
        else:
            name = twin_name(name)
        other.metadata = twin_metadata(self.metadata, name)
        other.judged_pool = True
        other.hf_subsets = list(self.hf_subsets)
        other._collections = {}
        other.dataset, other.data_loaded = None, False  # type: ignore[assignment]
        return other

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill ``self.dataset`` with what MTEB runs on, every subset that has a query.

        Queries that cannot be judged are left out.

        Raises:
            UsageError: a subset that MTEB is to run has no query.
        """
        if self.data_loaded:
            return
        found: dict[str, dict[str, Any]] = {}
        for split in self.eval_splits:
            collection = self.collection(split)
            whole = split_data(collection)
            found.setdefault(WHOLE, {})[split] = whole
            for name in self._existing(split):
                found.setdefault(name, {})[split] = split_data(collection, self._rows(name, split), whole["corpus"])
            self._top_k = max(self._top_k, int(collection.judged.per_query.max()) if self.judged_pool else 0)
        for name in self.hf_subsets:
            if set(found.get(name, ())) != set(self.eval_splits):
                self._check_subset(name)
                raise UsageError(f"{self.metadata.name}: subset {name} has no query in {', '.join(self.eval_splits)}")
        self.dataset = found
        self.data_loaded = True

    def unload_data(self) -> None:
        """Forget MTEB's form of the data. (MTEB's own method would also put back the class's metadata.)"""
        own = self.metadata
        super().unload_data()
        self.metadata = own

    def task_specific_scores(
        self,
        scores: Any,
        qrels: Any,
        results: dict[str, dict[str, float]],
        hf_split: str,
        hf_subset: str,
    ) -> dict[str, float]:
        """What :meth:`report` gives and MTEB has not, out of MTEB's run: the judged share, figures at higher grades.

        And in a judged pool, whose run is never cut, the margins.
        """
        return graded_scores(self.collection(hf_split), results, self.k_values)

    def calculate_descriptive_statistics(
        self, overwrite_results: bool = False, num_proc: int | None = None
    ) -> dict[str, Any]:
        """MTEB's descriptive statistics of each split's whole; nothing is written. (MTEB's own writes into itself.)"""
        self.load_data(num_proc)
        return {
            split: self._calculate_descriptive_statistics_from_split(split, hf_subset=WHOLE, num_proc=num_proc)
            for split in self.eval_splits
        }

    def _languages(self, subset: str) -> list[str]:
        return list(self.metadata.hf_subsets_to_langscripts[subset])

    def _rows(self, subset: str, split: str | None) -> np.ndarray:
        return self.collection(split).rows_where(self.subsets[subset])

    def _existing(self, split: str | None) -> list[str]:
        return [name for name in self.subsets if len(self._rows(name, split))]

    def _check_subset(self, name: str) -> None:
        if name not in self.subsets and name != WHOLE:
            raise UsageError(
                f"{self.metadata.name} has no subset {name!r}; it has {', '.join([WHOLE, *self.subsets])}"
            )


def load_original(
    load: Callable[..., GradedDataset], path: str | Path, data_options: Mapping[str, Any], **more: Any
) -> tuple[GradedDataset, list[str]]:
    """A dataset from its original files or as ``GradedDataset.save`` wrote it, and what its options add to a name.

    Args:
        load: The source's function.
        path: A folder, or what else the source takes.
        data_options: Options of the source; not for a saved dataset.
        more: Further options of the source, which a saved dataset has had already.

    Raises:
        UsageError: options for a saved dataset.
    """
    if (Path(path) / "dataset.yaml").is_file():
        if data_options:
            raise UsageError(f"{path} is a saved dataset: {', '.join(data_options)} cannot be applied to it")
        return GradedDataset.load(path), []
    marks = [f"{key}={data_options[key]}" for key in sorted(data_options) if key not in _SAME_DATA]
    return load(path, **more, **data_options), marks


def twin_name(name: str) -> str:
    """What the judged-pool twin of a task is called.

    Example:
        >>> twin_name("ESCIRetrieval-es")
        'ESCIReranking-es'
    """
    head, found, tail = name.rpartition("Retrieval")
    return f"{head}Reranking{tail}" if found else f"{name}Reranking"


def twin_metadata(metadata: TaskMetadata, name: str | None = None) -> TaskMetadata:
    """The metadata of a task's judged-pool twin, for a class of its own.

    Args:
        metadata: Of the task.
        name: Of the twin; None for :func:`twin_name`'s.

    Example:
        class MyReranking(MyRetrieval):
            metadata = twin_metadata(MyRetrieval.metadata)
            judged_pool = True
    """
    return metadata.model_copy(
        update={
            "name": name or twin_name(metadata.name),
            "type": "Reranking",
            "description": f"{metadata.description} The judged pool: each query's own judged items are ranked.",
            "task_subtypes": ["Product Reranking"],
        }
    )


def _text_marks(levels: int | None, max_chars: int | None) -> list[str]:
    marks = {"levels": (levels, _LEVELS), "chars": (max_chars, _CHARS)}
    return [f"{key}={'all' if is_ is None else is_}" for key, (is_, usual) in marks.items() if is_ != usual]


def _by_subset(languages: list[str], subsets: Mapping[str, Mapping[str, str]]) -> Any:
    if not subsets:
        return languages
    own = {name: language_codes([where["locale"]]) if "locale" in where else [] for name, where in subsets.items()}
    return {WHOLE: languages, **{name: found or languages for name, found in own.items()}}


def _as_system(model: Any, options: Mapping[str, Any]) -> tuple[System, dict[str, Any]]:
    """The model as a system, and the options that are left."""
    of_model = {_MODEL_OPTIONS[key]: value for key, value in options.items() if key in _MODEL_OPTIONS}
    others = {key: value for key, value in options.items() if key not in _MODEL_OPTIONS}
    if not isinstance(model, System):
        return BiEncoder(model, **of_model), others
    if of_model:
        given = ", ".join(key for key in options if key in _MODEL_OPTIONS)
        raise UsageError(f"{model.name} is a system with its own name and revision: it takes no {given}")
    return model, others
