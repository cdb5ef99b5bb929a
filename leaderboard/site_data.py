"""The site's data as script files: a page opened from disk may not fetch, but it may load scripts.

Each file holds one call, ``MR.put(name, value)``; ``assets/core.js`` asks for it with ``MR.get(name)``. Names are
made of numbers (rows of models, tasks, metrics and subsets in ``board``), so that no text from a result becomes a
path.

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

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.evaluation.wording import metric_family, metric_label, protocol_line
from mr_st.leaderboard.board import WHOLE, Board, Model, Subset, Task, short
from mr_st.text.html import script_json

__all__ = ["SCALE", "board_data", "packed", "scores_data", "write_script"]

SCALE = 100_000
"""Scores are stored as integers of 1 / SCALE."""

_STATUS_CODE = {"missing": "-", "ok": "o", "partial": "p", "stale": "s", "other": "x", "failed": "f"}
_KINDS = {"bi-encoder": "bi-encoder", "bm25": "BM25", "hybrid": "hybrid", "reranked": "reranked", "run": "run file",
          "run-file": "run file", "random": "random"}  # fmt: skip


def board_data(
    board: Board, title: str, pages: dict[str, list[str | None]], details: list[list[str]]
) -> dict[str, Any]:
    """What every page needs to know.

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
        "notes": {f"{m}-{t}": note for t, task in enumerate(board.tasks) for m, note in task.notes.items()},
        "details": details,
    }


def scores_data(board: Board, metric: str, subset: str) -> dict[str, Any] | None:
    """Every cell's score of one metric on one subset; None where no cell has it."""
    value: list[int | None] = []
    low: list[int | None] = []
    high: list[int | None] = []
    n: list[int | None] = []
    for row in range(len(board.models)):
        for task in board.tasks:
            result = task.cells.get(row, {}).get(subset)
            entry = result.metrics.get(metric) if result is not None else None
            v, lo, hi, count = entry if entry is not None else (None, None, None, None)
            value.append(_scaled(v))
            low.append(_scaled(lo))
            high.append(_scaled(hi))
            n.append(count)
    if all(v is None for v in value):
        return None
    return {"value": value, "low": low, "high": high, "n": n}


def write_script(folder: Path, name: str, value: Any) -> None:
    """Write ``data/{name}.js``."""
    path = folder / "data" / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"MR.put({json.dumps(name)},{script_json(value)});\n", encoding="utf-8")


def packed(array: np.ndarray, dtype: str) -> str:
    """Numbers as base64 of little-endian ``dtype``."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


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
    kind = facts.get("kind")
    organisation, _, own = model.name.rpartition("/")
    return {
        "name": model.name,
        "revision": model.revision,
        "label": model.label,
        "short": short(own or model.name),
        "org": short(organisation),
        "kind": _KINDS.get(str(kind), short(str(kind))) if kind else None,
        "n_parameters": facts.get("n_parameters"),
        "dim": facts.get("embed_dim"),
        "max_tokens": facts.get("max_tokens"),
        "texts_per_second": facts.get("texts_per_second"),
        "base": _text(facts.get("adapted_from")),
        "license": _text(facts.get("license")),
        "training": [short(name) for name in facts["training_datasets"]] if "training_datasets" in facts else None,
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
        "subsets": sorted({subset_row[r.subset] for r in results}),
    }


def _text(value: Any) -> str | None:
    return short(value, 300) if isinstance(value, str) and value else None


def _scaled(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else round(value * SCALE)
