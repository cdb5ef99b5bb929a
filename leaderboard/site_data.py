"""The site's data as script files: a page opened from disk may not fetch, but it may load scripts.

A file holds calls ``MR.put(name, value)``; ``assets/core.js`` asks for a value with ``MR.get(name)``. Names are made
of numbers (rows of models, tasks, metrics and subsets in ``board``), so that no text from a result becomes a path. A
value stands in the file of its name, but for the last three: they stand together in ``cells/{task}-{model}``.

=========================  ==========================================================================================
``board``                  models, tasks, metrics, subsets, the status of each cell: what the first page needs
``scores/{metric}-{subset}``  ``value``, ``low``, ``high`` (100,000 times the figure) and ``n``, flat: models x tasks
``tasks/{task}``           query ids, their texts where known, their attributes; item ids and titles of the rankings
``queries/{task}-{model}``  values by query and metric: base64 of float32, metrics x queries
``rankings/{task}-{model}``  the first items of each query: base64 of int32 and of int8 grades, queries x depth
``separability/{task}-{model}``  similarity histograms by grade, AUC, overlap, thresholds
=========================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mr_st.leaderboard.board import WHOLE, Board, Model, Subset, Task
from mr_st.leaderboard.plain import short
from mr_st.leaderboard.zero_shot import zero_shot
from mr_st.text.wording import metric_family, metric_label, protocol_line

__all__ = ["SCALE", "all_scores", "board_data", "kind_label"]

SCALE = 100_000
"""Scores are stored as integers of 1 / SCALE."""

_STATUS_CODE = {"missing": "-", "ok": "o", "partial": "p", "stale": "s", "other": "x", "failed": "f"}
_MOST_NAMES = 40  # of data sets, in the first page's data
_ZERO_SHOT = {True: "y", False: "n", None: "?"}
_KINDS = {"bi-encoder": "bi-encoder", "bm25": "BM25", "hybrid": "hybrid", "reranked": "reranked", "run": "run file",
          "run-file": "run file", "random": "random"}  # fmt: skip


def board_data(
    board: Board, title: str, pages: dict[str, list[str | None]], details: list[list[str]]
) -> dict[str, Any]:
    """What every page needs to know.

    ``status``, ``zero_shot`` and ``details`` hold one entry a model, its characters (or texts) one a task. Status:
    ``o`` ok, ``p`` partial, ``s`` stale, ``x`` other protocol, ``f`` failed, ``-`` missing. Zero-shot: ``y``, ``n``,
    ``?`` unknown. ``notes``: ``"{model}-{task}"`` to what is to be said of a cell. ``scores``: for each metric, the
    subsets on which some cell has it.

    Args:
        board: Rows and columns.
        title: Of the site.
        pages: ``models`` and ``tasks``: the address of each one's page, from the site's root.
        details: For each model and task, which of the other files there are: some of ``q``, ``r``, ``s``.
    """
    default = _default_metric(board)
    subset_row = {s.name: i for i, s in enumerate(board.subsets)}
    return {
        "title": title,
        "metrics": [_metric(name) for name in board.metrics],
        "metric": default,
        "subsets": [_subset(s) for s in board.subsets],
        "models": [_model(m, page) for m, page in zip(board.models, pages["models"], strict=True)],
        "tasks": [
            _task(task, page, board.metrics, subset_row)
            for task, page in zip(board.tasks, pages["tasks"], strict=True)
        ],
        "status": [
            "".join(_STATUS_CODE[t.status.get(m, "missing")] for t in board.tasks) for m in range(len(board.models))
        ],
        "zero_shot": ["".join(_ZERO_SHOT[zero_shot(m.facts, t)] for t in board.tasks) for m in board.models],
        "notes": {f"{m}-{t}": note for t, task in enumerate(board.tasks) for m, note in task.notes.items()},
        "details": details,
        "scores": _scored(board),
    }


def all_scores(board: Board) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The numbers of each metric and subset that some cell has, and the scores of every cell."""
    n_cells = len(board.models) * len(board.tasks)
    for s, subset in enumerate(board.subsets):
        of_metric: dict[str, dict[str, list[Any]]] = {}
        for t, task in enumerate(board.tasks):
            for row, cell in task.cells.items():
                result = cell.get(subset.name)
                at = row * len(board.tasks) + t
                for name, (value, low, high, n) in result.metrics.items() if result is not None else ():
                    into = of_metric.get(name)
                    if into is None:
                        into = of_metric[name] = {key: [None] * n_cells for key in ("value", "low", "high", "n")}
                    into["value"][at] = round(value * SCALE)
                    if low is not None and high is not None:
                        into["low"][at], into["high"][at] = round(low * SCALE), round(high * SCALE)
                    into["n"][at] = n
        yield from ((m, s, of_metric[name]) for m, name in enumerate(board.metrics) if name in of_metric)


def _scored(board: Board) -> list[list[int]]:
    of_subset: dict[str, set[str]] = {}
    for task in board.tasks:
        for cell in task.cells.values():
            for subset, result in cell.items():
                of_subset.setdefault(subset, set()).update(result.metrics)
    return [
        [s for s, subset in enumerate(board.subsets) if metric in of_subset.get(subset.name, ())]
        for metric in board.metrics
    ]


def kind_label(kind: Any) -> str | None:
    """What a kind of system is called; None where it is not known."""
    return _KINDS.get(str(kind), short(str(kind))) if kind else None


def _default_metric(board: Board) -> int:
    mains = [task.main_metric for task in board.tasks]
    return board.metrics.index(max(set(mains), key=lambda m: (mains.count(m), m))) if mains else 0


def _metric(name: str) -> dict[str, Any]:
    family, k = metric_family(name)
    return {
        "key": name,
        "family": family,
        "k": k,
        "label": metric_label(name, with_k=False),
        "title": metric_label(name),
    }


def _subset(subset: Subset) -> dict[str, Any]:
    label = "All queries" if subset.name == WHOLE else short(subset.name)
    return {"key": subset.name, "label": label, "group": subset.attribute, "value": subset.value}


def _model(model: Model, page: str | None) -> dict[str, Any]:
    facts = model.facts
    organisation, _, own = model.name.rpartition("/")
    return {
        "name": model.name,
        "revision": model.revision,
        "label": model.label,
        "short": short(own or model.name),
        "org": short(organisation),
        "kind": kind_label(facts.get("kind")),
        "n_parameters": facts.get("n_parameters"),
        "dim": facts.get("embed_dim"),
        "max_tokens": facts.get("max_tokens"),
        "texts_per_second": facts.get("texts_per_second"),
        "hardware": _text(facts.get("hardware")),
        "base": _text(facts.get("adapted_from")),
        "license": _text(facts.get("license")),
        "training": _first(facts["training_datasets"]) if "training_datasets" in facts else None,
        "page": page,
    }


def _task(task: Task, page: str | None, metrics: Sequence[str], subset_row: dict[str, int]) -> dict[str, Any]:
    results = [r for cell in task.cells.values() for r in cell.values()]
    protocol = task.protocol
    return {
        "name": task.name,
        "split": task.split,
        "label": task.label,
        "page": page,
        "main": metrics.index(task.main_metric),
        "corpus": _text(protocol.get("corpus")),
        "protocol": protocol_line(protocol),
        "revision": task.revision,
        "n_queries": protocol.get("n_queries"),
        "n_items": protocol.get("n_items"),
        "grades": protocol.get("grades") or [],
        "gains": protocol.get("gains") or [],
        "languages": sorted({language for r in results for language in r.languages}),
        "subsets": sorted({subset_row[r.subset] for r in results if r.subset in subset_row}),
    }


def _first(names: Sequence[str]) -> list[str]:
    more = len(names) - _MOST_NAMES
    return [*names[:_MOST_NAMES], f"and {more:,} more"] if more > 0 else list(names)


def _text(value: Any) -> str | None:
    return short(value, 300) if isinstance(value, str) and value else None
