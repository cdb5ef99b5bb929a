"""What the leaderboard compares: models as rows, tasks as columns, and what each cell is worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mr_st.leaderboard.plain import is_count, short
from mr_st.leaderboard.results import WHOLE, Failure, LeftOut, Result
from mr_st.text.wording import metric_family

__all__ = ["WHOLE", "Board", "Model", "Status", "Subset", "Task", "file_stem", "make_board", "short"]

Status = Literal["missing", "ok", "partial", "stale", "other", "failed"]
"""What a cell is: never evaluated; comparable; on fewer queries or on some subsets only; on another revision of the
data; by another protocol (other items, gains or corpus); a file that cannot be read. Only ``ok`` is ranked."""

_MOST_METRICS, _MOST_SUBSETS = 200, 400
_FAMILY_ORDER = ("ndcg", "recall", "recall/2", "precision", "precision/2", "map", "map/2", "mrr", "mrr/2",
                 "hit_rate", "judged")  # fmt: skip


@dataclass(frozen=True)
class Subset:
    """A part of the queries: its name, and the attribute that it is a part by (empty where that is not known)."""

    name: str
    attribute: str = ""
    value: str = ""


@dataclass(eq=False)
class Task:
    """A column: one task and split, on the newest revision of its data that was evaluated.

    Args:
        name, split: As in MTEB.
        label: Tells it from the others.
        revision: Of the data.
        pool: What was searched and how it was judged, in a few words; empty where no result says.
        protocol: Of the results that are ``ok``.
        main_metric: What it ranks by.
        cells: Model's row to its results by subset; they may be of another revision, see ``status``.
        status: Model's row to what its cell is; absent: missing.
        notes: Model's row to why its cell is not ``ok``, or to what else is to be said of it.
    """

    name: str
    split: str
    label: str
    revision: str
    pool: str
    protocol: dict[str, Any]
    main_metric: str
    cells: dict[int, dict[str, Result]] = field(default_factory=dict)
    status: dict[int, Status] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    def of(self, model: int) -> Result | None:
        """A model's result over all queries, whatever its status."""
        return self.cells.get(model, {}).get(WHOLE)


@dataclass(frozen=True, eq=False)
class Model:
    """A row: a model or another system, at one revision.

    Args:
        name, revision: As its results say.
        label: Tells it from the others.
        facts: Where known, see :mod:`mr_st.leaderboard.model_facts`.
    """

    name: str
    revision: str
    label: str
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Board:
    """Rows, columns, and the metrics and subsets that some cell has, the most important first.

    ``left_out`` says which metrics and subsets are not among them, where there are too many.
    """

    models: list[Model]
    tasks: list[Task]
    metrics: list[str]
    subsets: list[Subset]
    left_out: list[LeftOut] = field(default_factory=list)


def make_board(results: Sequence[Result], failures: Sequence[Failure] = ()) -> Board:
    """Arrange results as a table.

    A task's column is of the newest revision of its data, the one whose first evaluation is the latest, and of the
    protocol that most of its models share, then the one over the most queries and items. Results that say their
    protocol go before those that do not. What was evaluated otherwise keeps its figures and is marked.

    A failure fills the cell of its model on a task that others have results of; elsewhere it makes neither row nor
    column: any foreign file could.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    stems: dict[str, set[str]] = {}
    for result in results:
        groups.setdefault((result.task, result.split), []).append(result)
        stems.setdefault(result.task, {result.task}).add(result.path.stem)
    failures = [f for f in failures if any(f.task in names for names in stems.values())]
    models = _models(results, failures)
    row_of = {(m.name, m.revision): row for row, m in enumerate(models)}
    splits = Counter(name for name, _ in groups)
    labels = _labels([f"{name} · {split}" if splits[name] > 1 else name for name, split in sorted(groups)])
    tasks = [_task(found, row_of, label) for label, (_, found) in zip(labels, sorted(groups.items()), strict=True)]
    for failure in failures:
        row = row_of[failure.model, failure.revision]
        for task in tasks:
            if failure.task in stems[task.name] and row not in task.status:
                task.status[row] = "failed"
                task.notes[row] = failure.reason
    metrics, of_metrics = _metrics(results, {task.main_metric for task in tasks})
    subsets, of_subsets = _subsets(results)
    return Board(models, tasks, metrics, subsets, [*of_metrics, *of_subsets])


def _task(results: list[Result], row_of: dict[tuple[str, str], int], label: str) -> Task:
    revision = _newest_revision(results)
    reference = _reference([r for r in results if r.dataset_revision == revision])
    protocol = reference.protocol if reference.subset == WHOLE else {}
    task = Task(reference.task, reference.split, label, revision, _pool(protocol), protocol, reference.main_metric)
    of_model: dict[int, list[Result]] = {}
    for result in results:
        of_model.setdefault(row_of[result.model, result.revision], []).append(result)
    for row, found in sorted(of_model.items()):
        chosen = [r for r in found if r.dataset_revision == revision] or found
        last = max(chosen, key=lambda r: (r.date, r.dataset_revision)).dataset_revision
        task.cells[row] = {r.subset: r for r in chosen if r.dataset_revision == last}
    n_subsets = max((cell[WHOLE].mean_of for cell in task.cells.values() if WHOLE in cell), default=0)
    for row in task.cells:
        task.status[row], note = _status(task, row, n_subsets)
        if note:
            task.notes[row] = note
    return task


def _newest_revision(results: Sequence[Result]) -> str:
    """The revision of the data that came last: an old one that somebody evaluated again stays old."""
    of_revision: dict[str, list[Result]] = {}
    for result in results:
        of_revision.setdefault(result.dataset_revision, []).append(result)

    def order(revision: str) -> tuple[bool, float, int, str]:
        found = of_revision[revision]
        first = min((r.date for r in found if r.date), default=0.0)
        return any(_says_protocol(r) for r in found), first, len({(r.model, r.revision) for r in found}), revision

    return max(of_revision, key=order)


def _reference(results: Sequence[Result]) -> Result:
    """The result whose protocol a column shows."""
    n_models = Counter(_pool(r.protocol) for r in results if r.subset == WHOLE)

    def order(result: Result) -> tuple[Any, ...]:
        p = result.protocol
        size = p.get("n_queries", 0), p.get("n_items", 0)
        return (_says_protocol(result), result.subset == WHOLE, n_models[_pool(p)], *size, result.date, str(p))

    return max(results, key=order)


def _status(task: Task, row: int, n_subsets: int) -> tuple[Status, str]:
    cell = task.cells[row]
    any_result = cell.get(WHOLE) or next(iter(cell.values()))
    if any_result.dataset_revision != task.revision:
        theirs, ours = any_result.dataset_revision or "not said", task.revision or "not said"
        return "stale", f"data revision {short(theirs, 16)}; this column shows {short(ours, 16)}"
    if WHOLE not in cell:
        return "partial", "only on " + short(", ".join(sorted(cell)), 200)
    whole = cell[WHOLE]
    if not whole.protocol:
        if whole.mean_of and task.protocol:
            return "other", f"the mean of {whole.mean_of:,} subsets; this column shows all queries"
        if whole.mean_of < n_subsets and whole.mean_of:
            return "partial", f"{whole.mean_of:,} of {n_subsets:,} subsets"
        return "ok", f"the mean of {whole.mean_of:,} subsets, as MTEB takes it" if whole.mean_of else ""
    if _pool(whole.protocol) == task.pool:
        return "ok", ""
    n, of = whole.protocol.get("n_queries"), task.protocol.get("n_queries")
    if _searched(whole.protocol) == _searched(task.protocol) and is_count(n) and is_count(of):
        return ("partial", f"{n:,} of {of:,} queries") if n < of else ("other", f"{n:,} queries, not {of:,}")
    return "other", f"{_pool(whole.protocol)}; this column shows {task.pool}"


def _says_protocol(result: Result) -> bool:
    return result.subset == WHOLE and bool(result.protocol)


def _pool(protocol: Mapping[str, Any]) -> str:
    return f"{_searched(protocol)}, {_count(protocol, 'n_queries')} queries" if protocol else ""


def _searched(protocol: Mapping[str, Any]) -> str:
    """What was searched and how it was judged, the same words for the same thing."""
    gains = protocol.get("gains")
    shown = ", ".join(f"{gain:g}" for gain in gains) if gains else "not said"
    corpus = short(str(protocol.get("corpus") or "corpus not said"), 200)
    return f"{corpus}, {_count(protocol, 'n_items')} items, gains {shown}"


def _count(protocol: Mapping[str, Any], key: str) -> str:
    n = protocol.get(key)
    return f"{n:,}" if is_count(n) else "?"


def _models(results: Sequence[Result], failures: Sequence[Failure]) -> list[Model]:
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        facts.setdefault((result.model, result.revision), {}).update(result.facts)
    for failure in failures:
        facts.setdefault((failure.model, failure.revision), {})
    of_name = Counter(name for name, _ in facts)
    found = sorted(facts.items())
    labels = _labels([f"{name} @ {revision[:8]}" if of_name[name] > 1 else name for (name, revision), _ in found])
    return [Model(*key, label, own) for label, (key, own) in zip(labels, found, strict=True)]


def _labels(names: Sequence[str]) -> list[str]:
    """Names on one line where there is little room; where two would look alike, numbered."""
    shown = [short(name) or "(no name)" for name in names]
    n, seen = Counter(shown), Counter[str]()
    labels = []
    for label in shown:
        seen[label] += 1
        labels.append(f"{label} ({seen[label]})" if n[label] > 1 else label)
    return labels


def _metrics(results: Sequence[Result], mains: Iterable[str]) -> tuple[list[str], list[LeftOut]]:
    def order(name: str) -> tuple[int, str, int]:
        family, k = metric_family(name)
        place = _FAMILY_ORDER.index(family) if family in _FAMILY_ORDER else len(_FAMILY_ORDER)
        return place, family, k or 0

    n_results = Counter(name for result in results if result.subset == WHOLE for name in result.metrics)
    n_results.update({name: len(results) + 1 for name in mains})
    kept, left_out = _most_used(n_results, _MOST_METRICS, "metrics")
    return sorted(kept, key=order), left_out


def _subsets(results: Sequence[Result]) -> tuple[list[Subset], list[LeftOut]]:
    found: dict[str, Subset] = {WHOLE: Subset(WHOLE)}
    for result in results:
        attribute, value = next(iter(result.where.items()), ("", ""))
        found.setdefault(result.subset, Subset(result.subset, attribute, value))
    n_results = Counter(result.subset for result in results)
    n_results[WHOLE] = len(results) + 1
    kept, left_out = _most_used(n_results, _MOST_SUBSETS, "subsets")
    order = sorted(kept, key=lambda name: (name != WHOLE, not found[name].attribute, found[name].attribute, name))
    return [found[name] for name in order], left_out


def _most_used(n_results: Mapping[str, int], limit: int, what: str) -> tuple[list[str], list[LeftOut]]:
    names = sorted(n_results, key=lambda name: (-n_results[name], name))
    left_out = LeftOut(what, f"{len(names) - limit:,} of {len(names):,} are not shown; those most in use are")
    return names[:limit], [left_out] if len(names) > limit else []


_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def file_stem(name: str) -> str:
    """The part of a page's file name that a person reads: letters, digits and hyphens only."""
    return _UNSAFE.sub("-", name[:300]).strip("-").lower()[:60].strip("-") or "unnamed"
