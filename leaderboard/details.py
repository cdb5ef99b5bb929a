"""What the pages load when it is asked for: values by query, rankings, separability of each cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mr_st.leaderboard.board import Board, Task
from mr_st.leaderboard.results import Result
from mr_st.leaderboard.script_files import write_script
from mr_st.leaderboard.side_tables import side_file
from mr_st.leaderboard.texts import Texts
from mr_st.leaderboard.worker import started

__all__ = ["MANY", "expected_details", "started_details"]

_METRICS = ("ndcg@10", "ndcg@50", "ndcg@100", "recall@10", "recall@100", "recall@10/2", "precision@10",
            "precision@10/2", "map@100", "mrr@10", "judged@10")  # fmt: skip
_MARGIN = re.compile(r"margin_average_\d+_\d+|margin_worst_2_0")
MANY = 400
"""Cells; a board of fewer is written by this process alone."""


@contextmanager
def started_details(
    board: Board, out: Path, n_jobs: int = 1, done: Callable[[], None] = lambda: None
) -> Iterator[Callable[[Mapping[int, Texts]], list[list[str]]]]:
    """Start writing the files of every cell, task by task, in processes of their own where there are many.

    Args:
        board: Rows and columns.
        out: The site's folder.
        n_jobs: Processes.
        done: Called after each task.

    Yields:
        A function that waits for it: it takes a task's number to the texts that its pages show, and gives for each
        model and task which files it has: some of ``q`` (queries), ``r`` (rankings), ``s`` (separability).
    """
    jobs = [_job(t, task, board.metrics, out) for t, task in enumerate(board.tasks)]
    n_cells = sum(len(job["cells"]) for job in jobs)
    with started(jobs, n_jobs if n_cells > MANY else 1, done) as answers:

        def finish(texts: Mapping[int, Texts]) -> list[list[str]]:
            details = [[""] * len(board.tasks) for _ in board.models]
            for t, answer in enumerate(answers()):
                for row, files in answer["files"]:
                    details[row][t] = files
                if answer["queries"]:
                    write_script(out, f"tasks/{t}", _shared(answer, texts.get(t, Texts())))
            return details

        yield finish


def expected_details(board: Board) -> list[list[str]]:
    """What :func:`started_details` will say of each model and task, as far as the files that are there tell."""
    expected = [[""] * len(board.tasks) for _ in board.models]
    for t, task in enumerate(board.tasks):
        for row in task.cells:
            result = _shown(task, row)
            if result is not None:
                there = [side_file(result.path, task.split, n).is_file() for n in ("per_query", "run", "similarities")]
                has = (there[0], there[1], there[2] or bool(result.separability))
                expected[row][t] = "".join(letter for letter, is_there in zip("qrs", has, strict=True) if is_there)
    return expected


def _shown(task: Task, row: int) -> Result | None:
    """The result whose cell gets files; None for one that is not ranked, or of mteb."""
    result = task.of(row)
    return result if result is not None and result.protocol and task.status.get(row) in ("ok", "partial") else None


def _job(t: int, task: Task, metrics: list[str], out: Path) -> dict[str, Any]:
    wanted = [name for name in metrics if name in (task.main_metric, *_METRICS) or _MARGIN.fullmatch(name)]
    cells = []
    for row in sorted(task.cells):
        result = _shown(task, row)
        if result is None:
            continue
        margins = {name: list(entry) for name, entry in result.metrics.items() if name.startswith("margin_")}
        cells.append({"row": row, "path": str(result.path), "separability": result.separability, "margins": margins})
    return {
        "out": str(out),
        "task": t,
        "split": task.split,
        "wanted": wanted,
        "metric_rows": {name: i for i, name in enumerate(metrics) if name in wanted},
        "grades": task.protocol.get("grades") or [],
        "cells": cells,
    }


def _shared(answer: Mapping[str, Any], texts: Texts) -> dict[str, Any]:
    """What the cells of a task share; see :mod:`mr_st.leaderboard.site_data`."""
    coded = {}
    for name, of_query in answer["attributes"].items():
        values = sorted(set(of_query) - {""})
        place = {value: i for i, value in enumerate(values)}
        if values:
            coded[name] = {"values": values, "of": [place.get(value, -1) for value in of_query]}
    return {
        "queries": answer["queries"],
        "texts": [texts.queries.get(q) for q in answer["queries"]] if texts.queries else None,
        "attributes": coded,
        "items": answer["items"],
        "titles": [texts.items.get(i) for i in answer["items"]] if texts.items else None,
        "texts_from": {"name": texts.name, "license": texts.license} if texts.items else None,
    }
