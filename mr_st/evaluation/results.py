"""Reports on disk: MTEB's result JSON with our part inside, and Parquet tables beside it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation.naming import folder_name, safe_name
from mr_st.evaluation.report import GradedReport
from mr_st.evaluation.scoring import mteb_name
from mr_st.files import atomic_path, read_json, write_json, write_text
from mr_st.measures import Interval, SimilarityHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["find_reports", "load_report", "save_report"]

_FORMAT = 1
_DEFAULT = "default"
_OURS = "graded"  # the key in MTEB's scores under which our part stands


def save_report(report: GradedReport, results_dir: Path) -> Path:
    """Write a report; see :meth:`GradedReport.save`. The JSON comes last, so that what it names is there."""
    task = safe_name(report.task_name, "task")
    split = safe_name(report.split, "split")
    folder = results_dir / folder_name(report.model_name) / safe_name(report.revision, "revision")
    path = folder / f"{task}.json"
    is_whole = report.subset == _DEFAULT
    tables = {"per_query": report.per_query, "run": report.run} if is_whole else {}  # a part is read out of the whole
    if is_whole and report.similarities is not None:
        tables["similarities"] = _histogram_table(report.similarities)
    for name, table in tables.items():
        with atomic_path(_side_file(path, split, name)) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    _write_model_meta(report, folder / "model_meta.json")
    mteb_version = version("mteb")
    others = _other_scores(path, report)
    of_split = [scores for scores in others.get(split, []) if not is_whole and scores["hf_subset"] != report.subset]
    if not is_whole and not any(scores["hf_subset"] == _DEFAULT for scores in of_split):
        raise MrStError(f"{path}: subset {report.subset} stands beside the whole split; save that first")
    write_json(
        path,
        {
            "dataset_revision": report.dataset_fingerprint,
            "task_name": task,
            "mteb_version": mteb_version,
            "scores": {**others, split: [*of_split, _scores(report, mteb_version)]},
            "evaluation_time": report.evaluation_time,
            "kg_co2_emissions": None,
            "date": datetime.now(UTC).timestamp(),
            "evaluation_phases": None,
        },
    )
    return path


def load_report(path: Path, split: str | None = None, subset: str = _DEFAULT) -> GradedReport:
    """Read a report; see :meth:`GradedReport.load`."""
    if not path.is_file():
        raise MrStError(f"{path}: no such result file; run `mr-st evaluate` first")
    content = read_json(path)
    try:
        splits = content["scores"]
        split = _the_split(path, splits, split)
        scores = _the_subset(path, splits[split], _DEFAULT)
        if _OURS not in scores:
            raise MrStError(f"{path}: a result of MTEB itself, with no value per query; run `mr-st evaluate` for it")
        ours = scores[_OURS]
        if ours["format"] > _FORMAT:
            raise MrStError(f"{path}: written by a newer mr-st (format {ours['format']}); upgrade mr-st")
        similarities = None
        if ours["has_similarities"]:
            similarities = _histogram(pq.read_table(_side_file(path, split, "similarities")))
        report = GradedReport(
            task_name=content["task_name"],
            model_name=ours["model"]["name"],
            revision=ours["model"]["revision"],
            metrics={
                name: Interval(_number(value), _number(low), _number(high), n)
                for name, (value, low, high, n) in ours["metrics"].items()
            },
            per_query=pq.read_table(_side_file(path, split, "per_query")),
            run=pq.read_table(_side_file(path, split, "run")),
            similarities=similarities,
            protocol=ours["protocol"],
            model_facts=ours["model"]["facts"],
            languages=scores["languages"],
            evaluation_time=content["evaluation_time"],
            separability=ours.get("separability"),
        )
        if subset == _DEFAULT:
            return report
        part = _the_subset(path, splits[split], subset)[_OURS]["protocol"]["subset"]
        return report.take(part["where"], subset)
    except (KeyError, IndexError, TypeError, OSError, pa.ArrowInvalid) as error:
        raise MrStError(
            f"{path}: not a whole result ({type(error).__name__}: {error}); delete it and evaluate again"
        ) from error


def find_reports(results_dirs: Iterable[str | Path]) -> list[Path]:
    """All result files below the folders ``results_dirs`` that carry our part, sorted."""
    found = []
    for folder in map(Path, results_dirs):
        for path in sorted(folder.glob("*/*/*.json")):
            if path.name != "model_meta.json" and any(
                path.parent.glob(f"{path.stem.replace('[', '[[]')}.*.per_query.parquet")
            ):
                found.append(path)
    return found


def _the_split(path: Path, splits: dict[str, Any], split: str | None) -> str:
    if split is None and len(splits) == 1:
        return next(iter(splits))
    if split is None or split not in splits:
        asked = "several splits, name one" if split is None else f"no split {split!r}"
        raise UsageError(f"{path}: {asked}; it holds {', '.join(splits)}")
    return split


def _the_subset(path: Path, found: list[dict[str, Any]], subset: str) -> dict[str, Any]:
    for scores in found:
        if scores.get("hf_subset", _DEFAULT) == subset:
            return scores
    raise UsageError(f"{path}: no subset {subset!r}; it holds {', '.join(s.get('hf_subset', '?') for s in found)}")


def _scores(report: GradedReport, mteb_version: str) -> dict[str, Any]:
    flat = {mteb_name(name): i.value for name, i in report.metrics.items() if not math.isnan(i.value)}
    return {
        **flat,
        "main_score": report.main_score,
        "hf_subset": report.subset,
        "languages": list(report.languages),
        "mteb_version": mteb_version,
        _OURS: {
            "format": _FORMAT,
            "main_metric": report.main_metric,
            "metrics": {
                name: [*map(_null, (i.value, i.low, i.high)), i.n] for name, i in report.metrics.items()
            },
            "metric_columns": ["value", "low", "high", "n"],
            "has_similarities": report.similarities is not None,
            "protocol": report.protocol,
            "separability": report.separability,
            "model": {"name": report.model_name, "revision": report.revision, "facts": report.model_facts},
        },
    }  # fmt: skip


def _other_scores(path: Path, report: GradedReport) -> dict[str, Any]:
    """Scores that the file holds for the same data, by split."""
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except MrStError:
        return {}
    same = isinstance(content, dict) and content.get("dataset_revision") == report.dataset_fingerprint
    return content.get("scores", {}) if same else {}


def _write_model_meta(report: GradedReport, path: Path) -> None:
    from mteb.models import ModelMeta, SentenceTransformerEncoderWrapper

    known = {k: v for k, v in report.model_facts.items() if k in ModelMeta.model_fields}
    meta = ModelMeta.create_empty(
        {**known, "name": report.model_name, "revision": report.revision, "loader": SentenceTransformerEncoderWrapper}
    )
    write_text(path, json.dumps(meta.to_dict(), default=str, indent=4) + "\n")


def _histogram_table(histogram: SimilarityHistogram) -> pa.Table:
    n_grades, n_bins = histogram.counts.shape
    return pa.table(
        {
            "grade": pa.array(np.repeat(np.arange(n_grades), n_bins), pa.int8()),
            "low": np.tile(histogram.edges[:-1], n_grades),
            "high": np.tile(histogram.edges[1:], n_grades),
            "count": histogram.counts.reshape(-1),
        }
    )


def _histogram(table: pa.Table) -> SimilarityHistogram:
    n_grades = int(table["grade"].to_numpy().max()) + 1
    n_bins = table.num_rows // n_grades
    edges = np.append(table["low"].to_numpy()[:n_bins], table["high"].to_numpy()[n_bins - 1])
    return SimilarityHistogram(edges, table["count"].to_numpy().reshape(n_grades, n_bins))


def _side_file(path: Path, split: str, name: str) -> Path:
    return path.with_name(f"{path.stem}.{split}.{name}.parquet")


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
