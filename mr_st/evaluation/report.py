"""GradedReport: the figures of one model on one task, each with its interval, its queries and its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from mr_st.errors import UsageError
from mr_st.evaluation.attributes import ATTRIBUTES, matching
from mr_st.evaluation.scoring import main_metric
from mr_st.measures import INTERVAL_METHOD, Interval, SimilarityHistogram, bootstrap_intervals

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection
    from mr_st.search import TopK

__all__ = ["GradedReport"]

_CONFIDENCE = 0.95
RUN_DEPTH = 100
"""How deep a report keeps the run of each query."""


@dataclass(frozen=True, eq=False)
class GradedReport:
    """The result of one evaluation. Make it with :func:`mr_st.evaluation.evaluate_model`, or :meth:`load` one.

    Args:
        task_name: The task, also the name of its file.
        model_name: ``org/name``.
        revision: The model's revision, by default its content hash.
        metrics: Metric name to mean, 95 % interval and number of queries.
        per_query: query_id, locale, kind, traffic, seen, frequency (null: unknown;
            :func:`~mr_st.evaluation.attributes.query_attributes`), n_judged, n_relevant, and one float64 column a
            metric, null where it is undefined.
        run: query_id, rank (from 1), item_id, score, grade (null: nobody judged it); the first 100 of each query.
        similarities: Histogram of the similarity of judged pairs by grade; None for a run without similarities.
        protocol: How the figures were made; JSON-ready.
        model_facts: What MTEB's model_meta.json says besides name and revision.
        languages: Of the task, as MTEB writes them, e.g. ``eng-Latn``.
        evaluation_time: Seconds.
        subset: ``default`` for all queries of the split, or what a part of them is called (:meth:`take`).
        separability: How well the similarities keep the grades apart, JSON-ready; None without similarities.
    """

    task_name: str
    model_name: str
    revision: str
    metrics: dict[str, Interval]
    per_query: pa.Table
    run: pa.Table
    similarities: SimilarityHistogram | None
    protocol: dict[str, Any]
    model_facts: dict[str, Any] = field(default_factory=dict)
    languages: list[str] = field(default_factory=lambda: ["eng-Latn"])
    evaluation_time: float = 0.0
    subset: str = "default"
    separability: dict[str, Any] | None = None

    def __getitem__(self, metric: str) -> Interval:
        """The interval of a metric.

        Raises:
            UsageError: the report has no such metric; the message names those it has.
        """
        if metric not in self.metrics:
            raise UsageError(f"{self.task_name}: no metric {metric!r}; it has {', '.join(self.metrics)}")
        return self.metrics[metric]

    @property
    def main_metric(self) -> str:
        """The metric that models are ranked by."""
        return main_metric(self.protocol["ks"])

    @property
    def main_score(self) -> float:
        """The mean of the main metric."""
        return self.metrics[self.main_metric].value

    @property
    def split(self) -> str:
        """The split that was evaluated."""
        return self.protocol["split"]

    @property
    def dataset_fingerprint(self) -> str:
        """Content hash of the dataset that was evaluated on."""
        return self.protocol["dataset"]["fingerprint"]

    def values(self, metric: str) -> np.ndarray:
        """Per-query values of a metric, float64 (n,), NaN where undefined, in the order of ``per_query``."""
        self[metric]
        return self.per_query[metric].to_numpy(zero_copy_only=False).astype(np.float64)

    def margin_values(self) -> dict[tuple[int, int], np.ndarray]:
        """Average margins of each query by grade pair, for :func:`mr_st.measures.plots.plot_margins`."""
        found = {}
        for name in self.metrics:
            parts = name.split("_")
            if name.startswith("margin_average_") and len(parts) == 4:
                found[int(parts[2]), int(parts[3])] = self.values(name)
        return found

    def take(self, where: Mapping[str, str], subset: str) -> GradedReport:
        """The same run over a part of the queries: metrics and intervals anew, without similarities.

        Args:
            where: Attribute to value, e.g. ``{"traffic": "head"}``; a locale may be given by its language (``es``).
            subset: What to call the part.

        Raises:
            UsageError: an attribute that the report has not, or no such query.
        """
        known = [name for name in ("query_id", *ATTRIBUTES) if name in self.per_query.column_names]
        keep = matching({name: self.per_query[name].to_pylist() for name in known}, where)
        if not keep.any():
            raise UsageError(f"{self.task_name}, {self.model_name}: no query with {dict(where)}")
        per_query = self.per_query.filter(pa.array(keep))
        how = self.protocol["interval"]
        part = replace(self, per_query=per_query, subset=subset, similarities=None, separability=None)
        ids = pa.array(per_query["query_id"].to_pylist(), pa.string())
        values = {name: part.values(name) for name in self.metrics}
        metrics = bootstrap_intervals(values, how["seed"], how["n_resamples"], how["confidence"])
        protocol = {
            **self.protocol,
            "n_queries": len(ids),
            "n_judged_pairs": int(np.sum(per_query["n_judged"].to_numpy())),
            "interval": {**how, "method": INTERVAL_METHOD},  # these were made now, whatever made the whole's
            "subset": {"name": subset, "where": dict(where)},
        }
        run = self.run.filter(pa.compute.is_in(self.run["query_id"], ids))
        return replace(part, metrics=metrics, protocol=protocol, run=run)

    def save(self, results_dir: str | Path) -> Path:
        """Write the report under a results folder and return the path of its JSON.

        ``results_dir/{org__name}/{revision}/{Task}.json`` is MTEB's own result file: ``mteb`` reads it when
        ``results_dir`` is called ``results`` (``ResultCache(results_dir.parent).load_results()``). What MTEB does not
        know stands there under ``graded``, and beside it in ``{Task}.{split}.{per_query,run,similarities}.parquet``.
        Other splits of the same data that the file holds are kept. Saving the whole of a split drops its parts
        (:meth:`take`): save them after it; of a part only the figures are written, its tables are the whole's.

        Raises:
            MrStError: the folder cannot be written, or a part is saved where the whole split is not.
        """
        from mr_st.evaluation.results import save_report

        return save_report(self, Path(results_dir))

    @classmethod
    def load(cls, path: str | Path, split: str | None = None, subset: str = "default") -> GradedReport:
        """Read a report that :meth:`save` wrote.

        Args:
            path: The JSON file.
            split: Which split; None when the file holds one.
            subset: Which part of it.

        Raises:
            MrStError: the file is missing, broken, or MTEB's own without the graded part.
            UsageError: no such split or subset, or several splits and none named.
        """
        from mr_st.evaluation.results import load_report

        return load_report(Path(path), split, subset)

    @classmethod
    def from_scores(
        cls,
        collection: Collection,
        top: TopK,
        values: Mapping[str, np.ndarray],
        *,
        task_name: str,
        model_name: str,
        revision: str,
        similarities: SimilarityHistogram | None = None,
        protocol: Mapping[str, Any] | None = None,
        seed: int = 0,
        n_resamples: int = 2000,
        **more: Any,
    ) -> GradedReport:
        """Put a report together from a run and per-query values, with an interval for each metric.

        Args:
            collection: What was searched.
            top: The run.
            values: Metric name to float64 (n,), NaN where undefined.
            task_name, model_name, revision: As in the class.
            similarities: As in the class.
            protocol: Added to the collection's own.
            seed: Seed of the bootstrap.
            n_resamples: Bootstrap samples.
            more: Further fields of the class.
        """
        judged = collection.judged
        columns = {"query_id": pa.array(collection.query_ids, pa.string())}
        for name, found in collection.attributes.items():
            columns[name] = pa.array(found, pa.float64() if name == "frequency" else pa.string())
        columns["n_judged"] = pa.array(judged.per_query, pa.int32())
        columns["n_relevant"] = pa.array(judged.count_at_least(1), pa.int32())
        columns |= {name: pa.array(value, pa.float64(), from_pandas=True) for name, value in values.items()}
        return cls(
            task_name=task_name,
            model_name=model_name,
            revision=revision,
            metrics=bootstrap_intervals(values, seed, n_resamples, _CONFIDENCE),
            per_query=pa.table(columns),
            run=run_table(collection, top),
            similarities=similarities,
            protocol={
                **collection.protocol,
                **(protocol or {}),
                "interval": {
                    "method": INTERVAL_METHOD, "confidence": _CONFIDENCE, "n_resamples": n_resamples, "seed": seed
                },
            },
            **more,
        )  # fmt: skip


def run_table(collection: Collection, top: TopK, depth: int = RUN_DEPTH) -> pa.Table:
    """The first places of each query's run, with grades."""
    ids, scores = top.ids[:, :depth], top.scores[:, :depth]
    grades = collection.judged.look_up(ids)
    queries, places = np.nonzero(ids >= 0)
    grade = grades[queries, places]
    return pa.table(
        {
            "query_id": pa.array(collection.query_ids, pa.string()).take(pa.array(queries)),
            "rank": pa.array(places + 1, pa.int32()),
            "item_id": pa.array(collection.item_ids, pa.string()).take(pa.array(ids[queries, places])),
            "score": pa.array(scores[queries, places], pa.float32()),
            "grade": pa.array(grade, pa.int8(), mask=grade < 0),
        }
    )
