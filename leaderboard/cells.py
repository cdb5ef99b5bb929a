"""The files of one task's cells: values by query, rankings, separability. Light to import, for workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.leaderboard.script_files import packed, write_script
from mr_st.leaderboard.side_tables import Queries, Ranking, read_histograms, read_queries, read_ranking, side_file

__all__ = ["DEPTH", "write_cells"]

DEPTH = 10
"""How many items of each ranking the site shows."""


def write_cells(job: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files of every cell of a task.

    Args:
        job: Plain JSON, as :func:`mr_st.leaderboard.details.write_details` makes it: ``out``, ``task`` (its number),
            ``split``, ``wanted`` (metrics), ``metric_rows`` (their places on the board), ``grades`` (names) and
            ``cells`` (``row``, ``path``, ``separability``, ``margins``).

    Returns:
        Plain JSON: ``files``, (row, some of ``q``, ``r``, ``s``) of each cell; ``queries`` and ``items``, the ids in
        the order that the files count them by; ``attributes``, name to the value of each query.
    """
    out, t = Path(job["out"]), job["task"]
    queries: dict[str, int] = {}
    items: dict[str, int] = {}
    attributes: dict[str, dict[str, str]] = {}
    files = []
    for cell in job["cells"]:
        row, path, found = cell["row"], Path(cell["path"]), ""
        own = read_queries(side_file(path, job["split"], "per_query"), job["wanted"])
        if own is not None and own.ids and own.values:
            write_script(out, f"queries/{t}-{row}", _queries(own, queries, attributes, job["metric_rows"]))
            found += "q"
        ranking = read_ranking(side_file(path, job["split"], "run"), DEPTH)
        if ranking is not None and ranking.query_ids:
            write_script(out, f"rankings/{t}-{row}", _ranking(ranking, queries, items))
            found += "r"
        histograms = read_histograms(side_file(path, job["split"], "similarities"), job["grades"])
        if histograms is not None or cell["separability"]:
            shown = {"histograms": histograms, "margins": cell["margins"], **cell["separability"]}
            write_script(out, f"separability/{t}-{row}", shown)
            found += "s"
        files.append((row, found))
    of_queries = {name: [known.get(q, "") for q in queries] for name, known in attributes.items()}
    return {"files": files, "queries": list(queries), "items": list(items), "attributes": of_queries}


def _queries(
    own: Queries, queries: dict[str, int], attributes: dict[str, dict[str, str]], metric_rows: Mapping[str, int]
) -> dict[str, Any]:
    """A model's values; ``rows`` are the places of its queries among the task's."""
    rows = [queries.setdefault(q, len(queries)) for q in own.ids]
    for name, values in own.attributes.items():
        known = attributes.setdefault(name, {})
        for query, value in zip(own.ids, values, strict=True):
            known.setdefault(query, value)
    return {
        "rows": packed(np.array(rows), "i4"),
        "metrics": [metric_rows[name] for name in own.values],
        "values": packed(np.array(list(own.values.values())), "f4"),
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
