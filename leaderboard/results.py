"""Read result folders leniently: what can be shown, and what was left out and why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from mr_st.leaderboard.model_facts import meta_facts, model_facts
from mr_st.leaderboard.plain import GREATEST, is_count, is_number, plain, plain_name, plain_text, short
from mr_st.leaderboard.separability import read_separability

__all__ = ["WHOLE", "Failure", "LeftOut", "Result", "read_results"]

WHOLE = "default"
"""The subset of all queries; MTEB's name for it."""

_NEWEST_FORMAT = 1
_LARGEST_FILE = 256 * 2**20  # bytes
_LATEST = 4_102_444_800  # the year 2100; a later date is a mistake
_MOST_METRICS, _MOST_SUBSETS, _LONGEST_METRIC = 300, 300, 100
_MTEB_METRIC = re.compile(r"(ndcg|recall|precision|map|mrr|hit_rate|judged)_at_([0-9]{1,6})")


Score = tuple[float, float | None, float | None, int | None]
"""value, low, high, n: low and high None without per-query values, n None where unknown."""


@dataclass(frozen=True)
class LeftOut:
    """A file, or a part of one, that the page does not show, and why."""

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
        protocol: How it was made; empty for a result of MTEB itself, and only the count of queries for a subset.
        path: The JSON file.
        shown_path: The same as the page shows it, from its results folder on.
        facts: Of the model, see :mod:`mr_st.leaderboard.model_facts`.
        where: The queries of a subset, attribute to value; empty for all queries or where it is not said.
        languages: Of the subset, as MTEB writes them (``eng-Latn``).
        separability: See :func:`mr_st.leaderboard.separability.read_separability`; empty where there is none.
        date: Seconds since 1970; 0 where it is not said.
        mean_of: How many subsets it is the mean of: MTEB reports its multilingual tasks by subset only. Else 0.
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
    mean_of: int = 0


def read_results(
    folders: Iterable[str | Path], progress: Callable[[int, int], None] = lambda done, of: None
) -> tuple[list[Result], list[Failure], list[LeftOut]]:
    """Every result below some results folders (``{model}/{revision}/{Task}.json``), and what is none.

    A result read twice (the same model, revision, task, split, subset and data) is taken once, the first time.

    Args:
        folders: Results folders.
        progress: Called with how many of a folder's files are read, and how many it has.

    Returns:
        The results, the files that stand where a result should and cannot be read, and everything that is left out.
    """
    results: dict[tuple[str, ...], Result] = {}
    failures: list[Failure] = []
    left_out: list[LeftOut] = []
    metas: dict[Path, dict[str, Any]] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            left_out.append(LeftOut(plain_text(str(folder)), "no such folder"))
            continue
        paths = _candidates(folder)
        for n_read, path in enumerate(paths):
            progress(n_read, len(paths))
            parts = path.relative_to(folder).parts
            shown = plain_text("/".join((folder.resolve().name, *parts)))
            meta = {} if len(parts) != 3 else metas.get(path.parent)
            if meta is None:
                meta = metas[path.parent] = meta_facts(path.parent / "model_meta.json")
            try:
                found, losses = _read(path, len(parts), shown, meta)
            except _Unreadable as error:
                left_out.append(LeftOut(shown, str(error)))
                if len(parts) == 3:
                    failures.append(Failure(*_named(path, {}, meta), plain_name(path.stem), shown, str(error)))
                continue
            left_out += [LeftOut(shown, loss) for loss in losses]
            for result in found:
                key = (result.model, result.revision, result.task, result.split, result.subset)
                results.setdefault((*key, result.dataset_revision), result)
    return list(results.values()), failures, left_out


class _Unreadable(Exception):
    pass


def _candidates(folder: Path) -> list[Path]:
    found = sorted(path for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}*.json"))
    hidden = [any(part.startswith(".") for part in path.relative_to(folder).parts) for path in found]
    return [path for path, skip in zip(found, hidden, strict=True) if path.name != "model_meta.json" and not skip]


def _read(path: Path, depth: int, shown: str, meta: Mapping[str, Any]) -> tuple[list[Result], list[str]]:
    """The results of a file, and why parts of it are left out."""
    content = _content(path)
    if not isinstance(content, dict) or not isinstance(content.get("scores"), dict) or "task_name" not in content:
        raise _Unreadable("no MTEB result: it lacks task_name or scores")
    if depth != 3:
        raise _Unreadable("a result, but not at {model}/{revision}/{Task}.json, so its model is not known")
    results: list[Result] = []
    losses: list[str] = []
    for split, entries in content["scores"].items():
        found: dict[str, Result] = {}
        for scores in _list(entries):
            result = _one(path, shown, content, split, scores, meta) if isinstance(scores, dict) else None
            if result is not None:
                found.setdefault(result.subset, result)
        n_found = len(found)
        if n_found and n_found < len(entries):
            n_lost = len(entries) - n_found
            losses.append(f"{n_lost} of {len(entries)} entries of its split {short(plain_text(split))} hold no score")
        if found and WHOLE not in found:
            found = {WHOLE: _mean(list(found.values())), **found}
        if n_found > _MOST_SUBSETS:
            losses.append(f"shows {_MOST_SUBSETS} of its {n_found:,} subsets; their mean is over all of them")
        results += list(found.values())[: _MOST_SUBSETS + 1]
    if not results:
        raise _Unreadable("holds no score that is a number")
    if not plain_name(content["task_name"]):
        raise _Unreadable("no MTEB result: its task_name is no text")
    return results, losses


def _content(path: Path) -> Any:
    try:
        if not path.is_file():
            raise _Unreadable("not a file that can be read (a folder, a pipe or a broken link)")
        if path.stat().st_size > _LARGEST_FILE:
            raise _Unreadable(f"larger than {_LARGEST_FILE >> 20} MB")
        read = path.read_bytes()
        try:
            return from_json(read)
        except ValueError:
            return json.loads(read)  # slower; it takes halves of characters ("\\ud83d") too
    except OSError as error:
        raise _Unreadable(f"cannot be read ({error.strerror or type(error).__name__})") from error
    except (ValueError, RecursionError) as error:
        raise _Unreadable("not valid JSON; delete it and evaluate again") from error


def _one(
    path: Path, shown: str, content: dict[str, Any], split: str, scores: dict[str, Any], meta: Mapping[str, Any]
) -> Result | None:
    """One entry of MTEB's scores; None where it holds no score that is a number."""
    ours = _mapping(scores.get("graded"))
    version = ours.get("format", _NEWEST_FORMAT)
    if not is_number(version) or version > _NEWEST_FORMAT:
        raise _Unreadable(f"written by a newer mr-st (format {plain_text(str(plain(version)))[:20]}); upgrade mr-st")
    metrics = _graded_metrics(ours.get("metrics")) or _mteb_metrics(scores)
    if not metrics:
        return None
    main = ours.get("main_metric")
    if not isinstance(main, str) or main not in metrics:
        main = _main_of(scores, metrics)
    model = _mapping(ours.get("model"))
    name, revision = _named(path, model, meta)
    subset = plain_name(scores.get("hf_subset")) or WHOLE
    protocol = _mapping(ours.get("protocol"))
    where = _mapping(_mapping(protocol.get("subset")).get("where"))
    kind = _mapping(protocol.get("system")).get("kind")
    languages = scores.get("languages")
    date = content.get("date")
    return Result(
        model=name,
        revision=revision,
        task=plain_name(content["task_name"]),
        split=plain_name(split),
        subset=subset,
        dataset_revision=plain_name(content.get("dataset_revision")),
        main_metric=main,
        metrics=metrics,
        protocol=_protocol(protocol, subset == WHOLE),
        path=path,
        shown_path=shown,
        facts=model_facts(meta, _mapping(model.get("facts")), kind),
        where={short(plain_text(k)): short(plain_text(v)) for k, v in where.items() if isinstance(v, str)},
        languages=tuple(short(plain_text(x)) for x in _list(languages)[:300] if isinstance(x, str)),
        separability=read_separability(ours.get("separability")) if subset == WHOLE else {},
        date=float(date) if is_number(date) and 0 < date < _LATEST else 0.0,
    )


def _mean(of_subsets: Sequence[Result]) -> Result:
    """The mean over a split's subsets, as MTEB takes it, of the metrics that all of them have."""
    first, n = of_subsets[0], len(of_subsets)
    shared = [name for name in first.metrics if all(name in result.metrics for result in of_subsets)]
    if first.main_metric not in shared:
        raise _Unreadable("its subsets have no metric in common")
    means = {name: math.fsum(result.metrics[name][0] for result in of_subsets) / n for name in shared}
    languages = sorted({language for result in of_subsets for language in result.languages})
    return replace(
        first,
        subset=WHOLE,
        metrics={name: (mean, None, None, None) for name, mean in means.items()},
        protocol={},
        where={},
        languages=tuple(languages),
        mean_of=n,
    )


def _named(path: Path, model: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str, str]:
    """A model's name and revision: as the result says, else its model_meta.json, else its folder."""
    name = plain_name(model.get("name")) or meta.get("name") or plain_name(path.parts[-3].replace("__", "/"))
    return name, plain_name(model.get("revision")) or meta.get("revision") or plain_name(path.parts[-2])


def _protocol(protocol: Mapping[str, Any], is_whole: bool) -> dict[str, Any]:
    """The protocol without what has another type than it should; of a subset only the count of its queries."""
    if not is_whole:
        n_queries = protocol.get("n_queries")
        return {"n_queries": n_queries} if is_count(n_queries) else {}
    kept = plain(protocol)
    for key, is_good in (("grades", lambda x: isinstance(x, str)), ("gains", is_number)):
        if not isinstance(kept.get(key), list) or not all(map(is_good, kept[key])):
            kept.pop(key, None)
    for key in [key for key in kept if key.startswith("n_") and not is_count(kept[key])]:
        del kept[key]
    return kept


def _graded_metrics(metrics: Any) -> dict[str, Score]:
    found: dict[str, Score] = {}
    for name, entry in list(_mapping(metrics).items())[:_MOST_METRICS]:
        score = _score(entry)
        if score is not None and len(name) <= _LONGEST_METRIC:
            found[_metric_name(name)] = score
    return found


def _score(entry: Any) -> Score | None:
    if not isinstance(entry, list) or len(entry) != 4:
        return None
    value, low, high, n = entry
    of_usual_types = type(value) is type(low) is type(high) is float and type(n) is int
    if of_usual_types and -GREATEST < low <= high < GREATEST and abs(value) < GREATEST and 0 <= n < GREATEST:
        return value, low, high, n  # quickly: there may be a million
    if not is_number(value):
        return None
    count = n if is_count(n) else None
    if is_number(low) and is_number(high) and low <= high:
        return float(value), float(low), float(high), count
    return float(value), None, None, count


_metric_name = lru_cache(1000)(plain_text)


def _mteb_metrics(scores: Mapping[str, Any]) -> dict[str, Score]:
    """What MTEB itself reports, without intervals; only the main score of a task that is no ranking."""
    found: dict[str, Score] = {}
    for name, value in scores.items():
        match = _MTEB_METRIC.fullmatch(name)
        if match and is_number(value) and len(found) < _MOST_METRICS:
            found[f"{match[1]}@{int(match[2])}"] = (float(value), None, None, None)
    if not found and is_number(scores.get("main_score")):
        found["main_score"] = (float(scores["main_score"]), None, None, None)
    return found


def _main_of(scores: Mapping[str, Any], metrics: Mapping[str, Score]) -> str:
    """The metric whose value is MTEB's main score, NDCG@10 first; else the first there is."""
    preferred = sorted(metrics, key=lambda name: name != "ndcg@10")
    main = scores.get("main_score")
    same = [n for n in preferred if math.isclose(metrics[n][0], float(main), abs_tol=1e-9)] if is_number(main) else []
    return next(iter(same or preferred))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
