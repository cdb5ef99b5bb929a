"""What the pages load when it is asked for: values by query, rankings, separability of each cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.leaderboard.board import Board, Task
from mr_st.leaderboard.results import Result
from mr_st.leaderboard.side_tables import Queries, Ranking, read_histograms, read_queries, read_ranking, side_file
from mr_st.leaderboard.site_data import packed, write_script
from mr_st.leaderboard.texts import Texts

__all__ = ["DEPTH", "write_details"]

DEPTH = 10
"""How many items of each ranking the site shows."""

_METRICS = ("ndcg@10", "ndcg@50", "ndcg@100", "recall@10", "recall@100", "recall@10/2", "precision@10",
            "precision@10/2", "map@100", "mrr@10", "judged@10")  # fmt: skip
_MARGIN = re.compile(r"margin_average_\d+_\d+|margin_worst_2_0")
_FEW = 400  # cells; a board of fewer is written by this process alone


def write_details(board: Board, out: Path, texts: dict[int, Texts] | None = None, n_jobs: int = 1) -> list[list[str]]:
    """Write the files of every cell, task by task.

    Args:
        board: Rows and columns.
        out: The site's folder.
        texts: Task's number to the texts that its pages show.
        n_jobs: Processes.

    Returns:
        For each model and task, which files it has: some of ``q`` (queries), ``r`` (rankings), ``s`` (separability).
    """
    jobs = [(t, task, board.metrics, out, (texts or {}).get(t, Texts())) for t, task in enumerate(board.tasks)]
    if n_jobs > 1 and len(jobs) > 1 and sum(len(task.cells) for task in board.tasks) > _FEW:
        with ProcessPoolExecutor(min(n_jobs, len(jobs)), mp_context=get_context("forkserver")) as pool:
            found = list(pool.map(_write_task, *zip(*jobs, strict=True)))
    else:
        found = [_write_task(*job) for job in jobs]
    return [[of_task.get(row, "") for of_task in found] for row in range(len(board.models))]


def _write_task(t: int, task: Task, metrics: Sequence[str], out: Path, texts: Texts) -> dict[int, str]:
    wanted = list(dict.fromkeys([task.main_metric, *_METRICS, *filter(_MARGIN.fullmatch, metrics)]))
    row_of_metric = {name: i for i, name in enumerate(metrics)}
    there: dict[int, str] = {}
    queries: dict[str, int] = {}
    attributes: dict[str, dict[str, str]] = {}
    items: dict[str, int] = {}
    for row in sorted(task.cells):
        result = task.of(row)
        if result is None or not result.protocol or task.status.get(row) not in ("ok", "partial"):
            continue
        found = ""
        own = read_queries(side_file(result.path, task.split, "per_query"), wanted)
        if own is not None and own.values:
            write_script(out, f"queries/{t}-{row}", _queries(own, queries, attributes, row_of_metric))
            found += "q"
        ranking = read_ranking(side_file(result.path, task.split, "run"), DEPTH)
        if ranking is not None:
            write_script(out, f"rankings/{t}-{row}", _ranking(ranking, queries, items))
            found += "r"
        separability = _separability(result, task)
        if separability is not None:
            write_script(out, f"separability/{t}-{row}", separability)
            found += "s"
        there[row] = found
    if queries:
        write_script(out, f"tasks/{t}", _shared(queries, attributes, items, texts))
    return there


def _queries(
    own: Queries, queries: dict[str, int], attributes: dict[str, dict[str, str]], row_of_metric: dict[str, int]
) -> dict[str, Any]:
    """A model's values; ``rows`` are the places of its queries among the task's."""
    rows = [queries.setdefault(q, len(queries)) for q in own.ids]
    for name, values in own.attributes.items():
        known = attributes.setdefault(name, {})
        for query, value in zip(own.ids, values, strict=True):
            known.setdefault(query, value)
    used = [name for name in own.values if name in row_of_metric]
    values = np.array([own.values[name] for name in used]).reshape(len(used), len(rows))
    return {
        "rows": packed(np.array(rows), "i4"),
        "metrics": [row_of_metric[n] for n in used],
        "values": packed(values, "f4"),
    }


def _ranking(ranking: Ranking, queries: dict[str, int], items: dict[str, int]) -> dict[str, Any]:
    rows = [queries.setdefault(q, len(queries)) for q in ranking.query_ids]
    place = np.array([items.setdefault(item, len(items)) for item in ranking.item_ids] + [-1], dtype=np.int32)
    return {
        "rows": packed(np.array(rows), "i4"),
        "depth": ranking.items.shape[1],
        "items": packed(place[ranking.items], "i4"),
        "grades": packed(ranking.grades, "i1"),
    }


def _separability(result: Result, task: Task) -> dict[str, Any] | None:
    histograms = read_histograms(side_file(result.path, task.split, "similarities"), task.protocol.get("grades") or [])
    if histograms is None and not result.separability:
        return None
    margins = {name: list(entry) for name, entry in result.metrics.items() if name.startswith("margin_")}
    kept = {k: result.separability[k] for k in ("pairs", "boundaries", "pairs_of_grade") if k in result.separability}
    return {"histograms": histograms, "margins": margins, **kept}


def _shared(
    queries: dict[str, int], attributes: dict[str, dict[str, str]], items: dict[str, int], texts: Texts
) -> dict[str, Any]:
    coded = {}
    for name, of_query in attributes.items():
        values = sorted({v for v in of_query.values() if v})
        if values:
            coded[name] = {
                "values": values,
                "of": [values.index(v) if (v := of_query.get(q, "")) else -1 for q in queries],
            }
    return {
        "queries": list(queries),
        "texts": [texts.queries.get(q) for q in queries] if texts.queries else None,
        "attributes": coded,
        "items": list(items),
        "titles": [texts.items.get(i) for i in items] if texts.items else None,
        "texts_from": {"name": texts.name, "license": texts.license} if texts.items else None,
    }
