"""The files of one task's cells: values by query, rankings, separability. Light to import, for workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.leaderboard.plain import plain_names
from mr_st.leaderboard.script_files import packed, write_scripts
from mr_st.leaderboard.side_tables import (
    Queries,
    Ranking,
    read_attributes,
    read_histograms,
    read_queries,
    read_rankings,
    side_file,
)

__all__ = ["DEPTH", "write_cells"]

DEPTH = 10
"""How many items of each ranking the site shows."""


def write_cells(job: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files of every cell of a task.

    Args:
        job: Plain JSON, as ``mr_st.leaderboard.details`` makes it: ``out``, ``task`` (its number),
            ``split``, ``wanted`` (metrics), ``metric_rows`` (their places on the board), ``grades`` (names) and
            ``cells`` (``row``, ``path``, ``separability``, ``margins``).

    Returns:
        Plain JSON: ``files``, (row, some of ``q``, ``r``, ``s``) of each cell; ``queries`` and ``items``, the ids in
        the order that the files count them by; ``attributes``, name to the value of each query.
    """
    out, t, split = Path(job["out"]), job["task"], job["split"]
    queries, items = Numbering(), Numbering()
    attributes: dict[str, dict[str, str]] = {}
    described = pa.array([], pa.string())  # queries whose attributes are known
    paths = [Path(cell["path"]) for cell in job["cells"]]
    tables = zip(
        read_queries([side_file(path, split, "per_query") for path in paths], job["wanted"]),
        read_rankings([side_file(path, split, "run") for path in paths], DEPTH),
        read_histograms([side_file(path, split, "similarities") for path in paths], job["grades"]),
        strict=True,
    )
    files = []
    for cell, path, (own, ranking, histograms) in zip(job["cells"], paths, tables, strict=True):
        row, found = cell["row"], ""
        shown: dict[str, Any] = {}
        if own is not None and len(own.ids) and own.values:
            rows = queries.of(own.ids)
            if pc.index_in(own.ids, described).null_count:
                of_queries = read_attributes(side_file(path, split, "per_query"))
                for name, values in of_queries.items():
                    attributes[name] = {**values, **attributes.get(name, {})}
                if of_queries:
                    described = pa.concat_arrays([described, own.ids])
            shown[f"queries/{t}-{row}"] = _queries(own, rows, job["metric_rows"])
            found += "q"
        if ranking is not None and len(ranking.query_ids):
            shown[f"rankings/{t}-{row}"] = _ranking(ranking, queries, items)
            found += "r"
        if histograms is not None or cell["separability"]:
            figures = {"histograms": histograms, "margins": cell["margins"], **cell["separability"]}
            shown[f"separability/{t}-{row}"] = figures
            found += "s"
        if shown:
            write_scripts(out, f"cells/{t}-{row}", shown)
        files.append((row, found))
    ids = queries.texts.to_pylist()
    return {
        "files": files,
        "queries": plain_names(ids),
        "items": plain_names(items.texts.to_pylist()),
        "attributes": {name: [known.get(query, "") for query in ids] for name, known in attributes.items()},
    }


class Numbering:
    """Texts counted in the order in which they come first.

    Example:
        >>> numbers = Numbering()
        >>> numbers.of(pa.array(["b", "a"])).tolist(), numbers.of(pa.array(["c", "b"])).tolist()
        ([0, 1], [2, 0])
    """

    def __init__(self) -> None:
        self.texts = pa.array([], pa.string())

    def of(self, texts: pa.StringArray) -> np.ndarray:
        """int32 (n,), the numbers of some texts; new ones get the next."""
        places = pc.index_in(texts, self.texts)
        if places.null_count:
            new = texts.filter(places.is_null()).unique()
            self.texts = pa.concat_arrays([self.texts, new])
            places = pc.index_in(texts, self.texts)
        return places.to_numpy()


def _queries(own: Queries, rows: np.ndarray, metric_rows: Mapping[str, int]) -> dict[str, Any]:
    """A model's values; ``rows`` are the places of its queries among the task's."""
    return {
        "rows": packed(rows, "i4"),
        "metrics": [metric_rows[name] for name in own.values],
        "values": packed(np.array(list(own.values.values())), "f4"),
    }


def _ranking(ranking: Ranking, queries: Numbering, items: Numbering) -> dict[str, Any]:
    place = np.append(items.of(ranking.item_ids), -1)
    return {
        "rows": packed(queries.of(ranking.query_ids), "i4"),
        "depth": ranking.items.shape[1],
        "items": packed(place[ranking.items], "i4"),
        "grades": packed(ranking.grades, "i1"),
    }
