"""Read result folders leniently: what can be shown, and what was left out and why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from pydantic_core import from_json

__all__ = ["Failure", "LeftOut", "Result", "read_results"]

_NEWEST_FORMAT = 1
_GREATEST = 1e15  # what is larger, infinite or NaN is no score and no size
_MTEB_METRIC = re.compile(r"(ndcg|recall|precision|map|mrr|hit_rate|judged)_at_(\d+)")


Score = tuple[float, float | None, float | None, int | None]
"""value, low, high, n: low and high None without per-query values, n None where unknown."""


@dataclass(frozen=True)
class LeftOut:
    """A file that the page does not show, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Failure:
    """A result file in its place that cannot be shown: its model was tried on that task.

    Args:
        model, revision, task: As the path names them.
        shown_path, reason: As in :class:`LeftOut`.
    """

    model: str
    revision: str
    task: str
    shown_path: str
    reason: str


@dataclass(eq=False)
class Result:
    """One model on one task, split and subset.

    Args:
        model, revision: As the result names them.
        task, split, subset: As in MTEB.
        dataset_revision: Of the data; results of different revisions are not comparable.
        main_metric: What the task ranks by.
        metrics: Name to its score.
        protocol: How it was made; empty for a result of MTEB itself.
        path: The JSON file.
        shown_path: The same as the page shows it, from its results folder on.
        facts: Of the model, where known: n_parameters, embed_dim, max_tokens, license, kind, adapted_from,
            training_datasets.
        where: The queries of a subset, attribute to value; empty for all queries or where it is not said.
        languages: Of the subset, as MTEB writes them (``eng-Latn``).
        separability: As :meth:`mr_st.evaluation.GradedReport.save` writes it; empty where there is none.
        date: Seconds since 1970; 0 where it is not said.
    """

    model: str
    revision: str
    task: str
    split: str
    subset: str
    dataset_revision: str
    main_metric: str
    metrics: dict[str, Score]
    protocol: dict[str, Any]
    path: Path
    shown_path: str
    facts: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    separability: dict[str, Any] = field(default_factory=dict)
    date: float = 0.0


def read_results(folders: Iterable[str | Path]) -> tuple[list[Result], list[Failure], list[LeftOut]]:
    """Every result below some results folders (``{model}/{revision}/{Task}.json``), and what is none.

    A result read twice (the same model, revision, task, split, subset and data) is taken once, the first time.

    Returns:
        The results, the files that stand where a result should and cannot be read, and everything that is left out.
    """
    results: dict[tuple[str, ...], Result] = {}
    failures: list[Failure] = []
    left_out: list[LeftOut] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            left_out.append(LeftOut(_whole_text(str(folder)), "no such folder"))
            continue
        for path in sorted(p for depth in ("", "*/", "*/*/") for p in folder.glob(f"{depth}*.json")):
            relative = path.relative_to(folder)
            if path.name == "model_meta.json" or any(part.startswith(".") for part in relative.parts):
                continue
            shown = _whole_text((Path(folder.name) / relative).as_posix())
            try:
                found = _read(path, len(relative.parts), shown)
            except _Unreadable as error:
                left_out.append(LeftOut(shown, str(error)))
                if len(relative.parts) == 3:
                    meta = _model_meta(path.parent)
                    model, revision = _named(path, {}, meta)
                    failures.append(Failure(model, revision, _whole_text(path.stem), shown, str(error)))
                continue
            for result in found:
                key = (result.model, result.revision, result.task, result.split, result.subset)
                results.setdefault((*key, result.dataset_revision), result)
    return list(results.values()), failures, left_out


class _Unreadable(Exception):
    pass


def _read(path: Path, depth: int, shown: str) -> list[Result]:
    try:
        content = from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _Unreadable(f"not valid JSON ({type(error).__name__}); delete it and evaluate again") from error
    if not isinstance(content, dict) or not isinstance(content.get("scores"), dict) or "task_name" not in content:
        raise _Unreadable("no MTEB result: it lacks task_name or scores")
    if depth != 3:
        raise _Unreadable("a result, but not at {model}/{revision}/{Task}.json, so its model is not known")
    meta = _model_meta(path.parent)
    results = []
    for split, entries in content["scores"].items():
        for scores in entries if isinstance(entries, list) else []:
            if isinstance(scores, dict):
                try:
                    results.append(_one(path, shown, content, str(split), scores, meta))
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise _Unreadable(f"not a whole result ({type(error).__name__}); evaluate again") from error
    results = [r for r in results if r.metrics]
    if not results:
        raise _Unreadable("holds no score that is a number")
    return results


def _one(
    path: Path, shown: str, content: dict[str, Any], split: str, scores: dict[str, Any], meta: dict[str, Any]
) -> Result:
    graded = scores.get("graded")
    ours: dict[str, Any] = graded if isinstance(graded, dict) else {}
    version = ours.get("format", 1)
    if not isinstance(version, int) or version > _NEWEST_FORMAT:
        raise _Unreadable(f"written by a newer mr-st (format {str(version)[:20]}); upgrade mr-st")
    model = ours.get("model") if isinstance(ours.get("model"), dict) else {}
    assert isinstance(model, dict)
    metrics = _graded_metrics(ours.get("metrics")) or _mteb_metrics(scores)
    main = ours.get("main_metric")
    if main not in metrics:
        main = _main_of(scores, metrics)
    protocol = _protocol(ours.get("protocol"))
    system = protocol.get("system")
    kind = system.get("kind") if isinstance(system, dict) else None
    facts = {**meta, **{k: v for k, v in (model.get("facts") or {}).items() if v is not None}, "kind": kind}
    subset = protocol.get("subset")
    where = subset.get("where") if isinstance(subset, dict) else None
    languages = scores.get("languages")
    separability = ours.get("separability")
    date = content.get("date")
    name, revision = _named(path, model, meta)
    return Result(
        model=name,
        revision=revision,
        task=str(content["task_name"]),
        split=split,
        subset=str(scores.get("hf_subset") or "default"),
        dataset_revision=str(content.get("dataset_revision") or ""),
        main_metric=main,
        metrics=metrics,
        protocol=protocol,
        path=path,
        shown_path=shown,
        facts=_facts(facts),
        where={str(k): str(v) for k, v in where.items()} if isinstance(where, dict) else {},
        languages=tuple(map(str, languages)) if isinstance(languages, list) else (),
        separability=separability if isinstance(separability, dict) else {},
        date=float(date) if _is_number(date) else 0.0,
    )


def _named(path: Path, model: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str, str]:
    """A model's name and revision: as the result says, else its model_meta.json, else its folder."""
    name = model.get("name") or meta.get("name") or path.parts[-3].replace("__", "/")
    revision = model.get("revision") or meta.get("revision") or path.parts[-2]
    return _whole_text(str(name)), _whole_text(str(revision))


def _whole_text(text: str) -> str:
    """The text with a question mark for each half of a character, as a path that is no UTF-8 has them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _protocol(protocol: Any) -> dict[str, Any]:
    """The protocol without what has another type than it should."""
    if not isinstance(protocol, dict):
        return {}
    kept = dict(protocol)
    for key, is_good in (("grades", lambda x: isinstance(x, str)), ("gains", _is_number)):
        if not isinstance(kept.get(key), list) or not all(map(is_good, kept[key])):
            kept.pop(key, None)
    return kept


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes that are numbers, data sets that are a list of texts, other facts that are text."""
    sizes = ("n_parameters", "embed_dim", "max_tokens", "texts_per_second")
    found = {k: v for k, v in facts.items() if (_is_number(v) if k in sizes else isinstance(v, str))}
    training = facts.get("training_datasets")
    if isinstance(training, (list, dict)):
        found["training_datasets"] = [str(name) for name in training]
    return found


def _graded_metrics(metrics: Any) -> dict[str, Score]:
    found: dict[str, Score] = {}
    for name, entry in metrics.items() if isinstance(metrics, Mapping) else ():
        if not isinstance(entry, Sequence) or len(entry) != 4 or not _is_number(entry[0]):
            continue
        has_interval = _is_number(entry[1]) and _is_number(entry[2])
        low, high = (float(entry[1]), float(entry[2])) if has_interval else (None, None)
        found[str(name)] = (float(entry[0]), low, high, entry[3] if isinstance(entry[3], int) else None)
    return found


def _mteb_metrics(scores: Mapping[str, Any]) -> dict[str, Score]:
    """What MTEB itself reports, without intervals; only the main score of a task that is no ranking."""
    found: dict[str, Score] = {}
    for name, value in scores.items():
        match = _MTEB_METRIC.fullmatch(str(name))
        if match and _is_number(value):
            found[f"{match[1]}@{match[2]}"] = (float(value), None, None, None)
    if not found and _is_number(scores.get("main_score")):
        found["main_score"] = (float(scores["main_score"]), None, None, None)
    return found


def _main_of(scores: Mapping[str, Any], metrics: Mapping[str, Score]) -> str:
    """The metric whose value is MTEB's main score, NDCG@10 first; else the first there is."""
    preferred = sorted(metrics, key=lambda name: name != "ndcg@10")
    main = scores.get("main_score")
    same = [n for n in preferred if math.isclose(metrics[n][0], float(main), abs_tol=1e-9)] if _is_number(main) else []
    return next(iter(same or preferred), "main_score")


def _model_meta(folder: Path) -> dict[str, Any]:
    try:
        read = json.loads((folder / "model_meta.json").read_text(encoding="utf-8"))
        meta = json.loads(_whole_text(json.dumps(read, ensure_ascii=False)))
    except (OSError, ValueError, RecursionError):
        return {}
    wanted = ("name", "revision", "n_parameters", "embed_dim", "max_tokens", "license", "adapted_from",
              "training_datasets")  # fmt: skip
    return {k: meta[k] for k in wanted if meta.get(k) is not None} if isinstance(meta, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _GREATEST
