"""What the leaderboard compares: models as rows, tasks as columns, and what each cell is worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mr_st.evaluation.wording import metric_family
from mr_st.leaderboard.results import Failure, Result

__all__ = ["WHOLE", "Board", "Model", "Status", "Subset", "Task", "make_board"]

WHOLE = "default"
"""The subset of all queries; MTEB's name for it."""

Status = Literal["missing", "ok", "partial", "stale", "other", "failed"]
"""What a cell is: never evaluated; comparable; on fewer queries or on some subsets only; on another revision of the
data; by another protocol (other items, gains or corpus); a file that cannot be read. Only ``ok`` is ranked."""

_LABEL = 60  # characters of a name where there is little room
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
        notes: Model's row to why its cell is not ``ok``.
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
        facts: n_parameters, embed_dim, max_tokens, license, kind, adapted_from, training_datasets; where known.
    """

    name: str
    revision: str
    label: str
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Board:
    """Rows, columns, and the metrics and subsets that some cell has, the most important first."""

    models: list[Model]
    tasks: list[Task]
    metrics: list[str]
    subsets: list[Subset]


def make_board(results: Sequence[Result], failures: Sequence[Failure] = ()) -> Board:
    """Arrange results as a table.

    A task's column is of one revision of its data and one protocol: of the newest result that says its protocol. What
    was evaluated otherwise keeps its figures and is marked ``stale`` or ``other``.
    """
    models = _models(results, failures)
    row_of = {(m.name, m.revision): row for row, m in enumerate(models)}
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.split), []).append(result)
    splits = Counter(name for name, _ in groups)
    tasks = [
        _task(found, row_of, short(f"{name} · {split}" if splits[name] > 1 else name))
        for (name, split), found in sorted(groups.items())
    ]
    for failure in failures:
        of_name = [task for task in tasks if task.name == failure.task]
        for task in of_name:
            row = row_of[failure.model, failure.revision]
            if row not in task.status:
                task.status[row] = "failed"
                task.notes[row] = failure.reason
    return Board(models, tasks, _metrics(results), _subsets(results))


def short(text: str, limit: int = _LABEL) -> str:
    """A name on one line and cut where there is little room."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _task(results: list[Result], row_of: dict[tuple[str, str], int], label: str) -> Task:
    newest = max(results, key=lambda r: (bool(r.protocol), r.subset == WHOLE, r.date, r.dataset_revision))
    revision, pool = newest.dataset_revision, _pool(newest)
    task = Task(newest.task, newest.split, label, revision, pool, newest.protocol, newest.main_metric)
    of_model: dict[int, list[Result]] = {}
    for result in results:
        of_model.setdefault(row_of[result.model, result.revision], []).append(result)
    for row, found in sorted(of_model.items()):
        current = [r for r in found if r.dataset_revision == revision]
        chosen = current or found
        last = max(chosen, key=lambda r: r.date).dataset_revision
        task.cells[row] = {r.subset: r for r in chosen if r.dataset_revision == last}
        task.status[row], note = _status(task, row)
        if note:
            task.notes[row] = note
    return task


def _status(task: Task, row: int) -> tuple[Status, str]:
    cell = task.cells[row]
    any_result = cell.get(WHOLE) or next(iter(cell.values()))
    if any_result.dataset_revision != task.revision:
        theirs, ours = any_result.dataset_revision or "not said", task.revision or "not said"
        return "stale", f"data revision {short(theirs, 16)}; this column shows {short(ours, 16)}"
    if WHOLE not in cell:
        return "partial", "only on " + short(", ".join(sorted(cell)), 200)
    pool = _pool(cell[WHOLE])
    if pool and task.pool and pool != task.pool:
        n, of = cell[WHOLE].protocol.get("n_queries"), task.protocol.get("n_queries")
        if _without_queries(cell[WHOLE]) == _without_queries_of(task) and isinstance(n, int) and isinstance(of, int):
            return ("partial", f"{n:,} of {of:,} queries") if n < of else ("other", f"{n:,} queries, not {of:,}")
        return "other", f"{pool}; this column shows {task.pool}"
    return "ok", ""


def _pool(result: Result) -> str:
    p = result.protocol
    return f"{_without_queries(result)}, {p.get('n_queries', '?')} queries" if p else ""


def _without_queries(result: Result) -> str:
    p = result.protocol
    return f"{p.get('corpus', '')}, {p.get('n_items', '?')} items, gains {p.get('gains', '?')}"


def _without_queries_of(task: Task) -> str:
    p = task.protocol
    return f"{p.get('corpus', '')}, {p.get('n_items', '?')} items, gains {p.get('gains', '?')}"


def _models(results: Sequence[Result], failures: Sequence[Failure]) -> list[Model]:
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        facts.setdefault((result.model, result.revision), {}).update(result.facts)
    for failure in failures:
        facts.setdefault((failure.model, failure.revision), {})
    of_name = Counter(name for name, _ in facts)
    return [
        Model(name, revision, short(f"{name} @ {revision[:8]}" if of_name[name] > 1 else name), found)
        for (name, revision), found in sorted(facts.items())
    ]


def _metrics(results: Sequence[Result]) -> list[str]:
    def order(name: str) -> tuple[int, str, int]:
        family, k = metric_family(name)
        place = _FAMILY_ORDER.index(family) if family in _FAMILY_ORDER else len(_FAMILY_ORDER)
        return place, family, k or 0

    return sorted({name for result in results for name in result.metrics}, key=order)


def _subsets(results: Sequence[Result]) -> list[Subset]:
    found: dict[str, Subset] = {}
    for result in results:
        attribute, value = next(iter(result.where.items()), ("", ""))
        found.setdefault(result.subset, Subset(result.subset, attribute, value))
    found.setdefault(WHOLE, Subset(WHOLE))
    return sorted(found.values(), key=lambda s: (s.name != WHOLE, s.attribute == "", s.attribute, s.name))


_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def file_stem(name: str) -> str:
    """The part of a page's file name that a person reads: letters, digits and hyphens only."""
    return _UNSAFE.sub("-", name).strip("-").lower()[:60].strip("-") or "unnamed"
