"""The files of each cell: values by query, rankings, separability; whatever stands in the tables beside a result."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mr_st.leaderboard import tables, worker
from mr_st.leaderboard.cells import write_cells
from mr_st.leaderboard.separability import read_separability
from mr_st.leaderboard.side_tables import Ranking, read_attributes, read_histograms, read_queries, read_rankings
from mr_st.leaderboard.tables import read_columns, read_many


def put(folder: Path, name: str, **columns: Any) -> Path:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def ranking_of(path: Path) -> Ranking | None:
    (found,) = read_rankings([path], 10)
    return found


def script(folder: Path, name: str, file: str | None = None) -> Any:
    text = (folder / "data" / f"{file or name}.js").read_text()
    calls = dict(re.findall(r'^MR\.put\("([^"]*)",(.*)\);$', text, re.MULTILINE))
    return json.loads(calls[name])


def unpacked(text: str, dtype: str) -> list[float]:
    return np.frombuffer(base64.b64decode(text), dtype).tolist()


def job(folder: Path, *models: str, task: int = 0) -> dict[str, Any]:
    cells = [
        {"row": row, "path": str(folder / f"{model}.json"), "separability": {}, "margins": {}}
        for row, model in enumerate(models)
    ]
    shared = {"wanted": ["ndcg@10"], "metric_rows": {"ndcg@10": 4}, "grades": ["no", "yes"], "cells": cells}
    return {"out": str(folder / "site"), "task": task, "split": "test", **shared}


@pytest.fixture
def two_models(tmp_path) -> Path:
    put(tmp_path, "a.test.per_query", **{"query_id": ["q1", "q2"], "locale": ["en", None], "ndcg@10": [0.5, 0.25]})
    put(tmp_path, "b.test.per_query", **{"query_id": ["q2", "q3"], "locale": ["x", "de"], "ndcg@10": [1.0, None]})
    run = {"query_id": ["q2", "q2", "q1"], "rank": [2, 1, 1], "item_id": ["i", "j", "k"], "grade": [1, None, 0]}
    put(tmp_path, "b.test.run", **run)
    return tmp_path


def test_queries_and_items_are_counted_over_all_models(two_models):
    answer = write_cells(job(two_models, "a", "b"))
    assert answer["files"] == [(0, "q"), (1, "qr")]
    assert answer["queries"] == ["q1", "q2", "q3"]
    assert answer["attributes"] == {"locale": ["en", "", "de"]}
    site = two_models / "site"
    assert unpacked(script(site, "queries/0-1", "cells/0-1")["rows"], "<i4") == [1, 2]
    values = unpacked(script(site, "queries/0-1", "cells/0-1")["values"], "<f4")
    assert values[0] == 1.0
    assert np.isnan(values[1])
    ranking = script(site, "rankings/0-1", "cells/0-1")
    assert unpacked(ranking["rows"], "<i4") == [1, 0]
    items = [answer["items"][i] if i >= 0 else None for i in unpacked(ranking["items"], "<i4")]
    assert items == ["j", "i", *[None] * 8, "k", *[None] * 9]
    assert unpacked(ranking["grades"], "i1")[:3] == [-1, 1, -1]


def test_workers_give_the_same_answers_and_this_process_mends_what_they_cannot(two_models, monkeypatch):
    jobs = [job(two_models, "a", "b", task=t) for t in range(3)]
    expected = json.loads(json.dumps([write_cells(j) for j in jobs]))
    with worker.started(jobs, 2) as answers:
        assert json.loads(json.dumps(answers())) == expected
    monkeypatch.setattr(worker, "_MAIN", "sys:exit")
    with worker.started(jobs, 2) as answers:
        assert json.loads(json.dumps(answers())) == expected


def test_leaving_early_ends_the_workers(two_models):
    with pytest.raises(KeyError), worker.started([job(two_models, "a")] * 50, 2):
        raise KeyError


@pytest.mark.parametrize(
    "columns",
    [
        {"query_id": [1, 2], "rank": ["a", "b"], "item_id": ["i", "j"], "grade": [0, 1]},
        {"query_id": ["a", "b"], "rank": [0, -1], "item_id": ["i", "j"], "grade": [0, 1]},
        {"query_id": ["a", None], "rank": [1, 1], "item_id": ["i", "j"], "grade": [0, 1]},
        {"query_id": ["a", "b"], "rank": [1, 1], "item_id": [["i"], []], "grade": [0, 1]},
        {"query_id": ["a", "b"], "rank": [1, 1], "item_id": ["i", "j"], "grade": [0, 1000]},
        {"query_id": ["a", "b"], "rank": [1, 1], "grade": [0, 1]},
    ],
)
def test_a_ranking_of_other_types_is_none(tmp_path, columns):
    assert ranking_of(put(tmp_path, "run", **columns)) is None


def test_ranks_far_down_and_given_twice_do_no_harm(tmp_path):
    columns = {"query_id": ["q"] * 3, "rank": [10**9, 1, 1], "item_id": ["i", "j", "k"], "grade": [-7, 1, 1]}
    ranking = ranking_of(put(tmp_path, "run", **columns))
    assert ranking.items.shape == (1, 10)
    assert ranking.item_ids.to_pylist() == ["j", "k"]


def test_a_query_given_twice_counts_once_and_infinite_values_are_none(tmp_path):
    columns = {"query_id": ["a", "b", "a", None], "m": [1.0, np.inf, 3.0, 4.0], "text": ["x"] * 4}
    queries = next(read_queries([put(tmp_path, "q", **columns)], ["m", "text", "absent"]))
    assert queries.ids.to_pylist() == ["a", "b"]
    np.testing.assert_array_equal(queries.values["m"], [1.0, np.nan])
    assert list(queries.values) == ["m"]


def test_a_pipe_or_junk_in_place_of_a_table_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1junk")
    for name in ("pipe", "junk", "absent"):
        path = tmp_path / f"{name}.parquet"
        assert list(read_queries([path], ["m"])) == [None]
        assert list(read_rankings([path], 10)) == [None]
        assert list(read_histograms([path], [])) == [None]
        assert read_attributes(path) == {}


def test_histograms_are_cut_to_what_is_filled(tmp_path):
    low = np.linspace(-1, 0.9, 20)
    counts = np.zeros(20, dtype=np.int64)
    counts[10:12] = (3, 4)
    columns = {"grade": [0] * 20, "low": low, "high": low + 0.1, "count": counts}
    (found,) = read_histograms([put(tmp_path, "s", **columns)], ["irrelevant"])
    assert found["edges"] == [-0.1, 0.0, 0.1, 0.2, 0.3]
    assert found["grades"] == [{"grade": 0, "name": "irrelevant", "counts": [0, 3, 4, 0]}]
    for wrong in ({"count": ["x"] * 20}, {"low": [np.nan] * 20}, {"grade": [-1] * 20}, {"count": [-1] * 20}):
        assert list(read_histograms([put(tmp_path, "s", **{**columns, **wrong})], [])) == [None]


def test_separability_keeps_what_it_may_hold():
    good = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    turned = {"value": 0.5, "low": 0.9, "high": 0.6, "n": "many"}
    found = read_separability(
        {
            "pairs": [
                {"high": 2, "low": 0, "overlap": good, "auc_pooled": turned, "<b>": 1},
                {"high": "2", "low": 0},
                7,
            ],
            "boundaries": [
                {"boundary": 1, "threshold": good, "f1_of_all": float("nan"), "strata": [{"attribute": "a"}, None]},
                {"boundary": 1000},
            ],
            "pairs_of_grade": [1, -1],
            "method": {"x": 1},
        }
    )
    (pair,), (boundary,) = found["pairs"], found["boundaries"]
    assert pair["overlap"] == good
    assert pair["auc_pooled"] == {"value": 0.5, "low": None, "high": None, "n": None}
    assert pair["n_high"] is None
    assert "<b>" not in pair
    assert boundary["f1_of_all"] is None
    assert boundary["strata"] == []
    assert found["pairs_of_grade"] == []
    assert "method" not in found
    for nothing in (None, [], "x", {"pairs": "x", "boundaries": {}, "pairs_of_grade": 3}):
        assert read_separability(nothing) == {}


RUN = {"query_id": pl.String(), "rank": pl.Int32(), "item_id": pl.String(), "grade": pl.Int8()}


def run(n: int, **columns: Any) -> dict[str, Any]:
    plain = {
        "query_id": [f"q{i // 20}" for i in range(n)],
        "rank": pa.array([1 + i % 20 for i in range(n)], pa.int32()),
        "item_id": [f"i{i}" for i in range(n)],
        "score": [1.0] * n,
        "grade": pa.array([None if i % 3 else 1 for i in range(n)], pa.int8()),
    }
    return plain | columns


def test_many_tables_read_together_are_what_each_is_alone(tmp_path):
    folder = tmp_path / "a [b] * ? {c}"
    folder.mkdir()
    paths = [put(folder, f"{i}=x", **run(20 * i + 20)) for i in range(5)]
    together = list(read_many(paths, RUN, ("rank", 10)))
    assert [t.num_rows for t in together] == [10, 20, 30, 40, 50]
    for path, table in zip(paths, together, strict=True):
        assert table.to_pydict() == read_columns(path, list(RUN), ("rank", 10)).to_pydict()


@pytest.mark.parametrize(
    "odd",
    [
        run(3, rank=["1", "2", "x"]),
        run(3, grade=pa.array([0, 1, 300], pa.int64())),
        run(0),
        run(3, rank=pa.array([None] * 3, pa.int32())),
        run(3, query_id=pa.array([[1], [2], []])),
        None,
    ],
)
def test_a_table_that_does_not_fit_harms_no_other(tmp_path, odd):
    paths = [put(tmp_path, name, **run(40)) for name in "ace"]
    wrong = put(tmp_path, "b", **run(20) if odd is None else odd)
    if odd is None:
        wrong.write_bytes(wrong.read_bytes()[:300] + bytes(200) + wrong.read_bytes()[500:])
    absent = tmp_path / "absent.parquet"
    found = list(read_rankings([paths[0], wrong, paths[1], absent, paths[2]], 10))
    assert found[3] is None
    for ranking in (found[0], found[2], found[4]):
        assert ranking.query_ids.to_pylist() == ["q0", "q1"]
        assert len(ranking.item_ids) == 20
    (alone,) = read_rankings([wrong], 10)
    assert (found[1] is None) == (alone is None)
    assert found[1] is None or len(found[1].query_ids) == len(alone.query_ids)


def test_a_table_without_a_column_lacks_it_in_either_way(tmp_path):
    full = put(tmp_path, "full", **{"query_id": ["a", "b"], "m": [0.5, np.nan], "n": [0.1, 0.2]})
    less = put(tmp_path, "less", **{"query_id": ["a"], "n": [0.3]})
    for paths in ([full, less], [less, full]):
        found = dict(zip(paths, read_queries(paths, ["m", "n"]), strict=True))
        assert list(found[full].values) == ["m", "n"]
        assert list(found[less].values) == ["n"]
    ungraded = put(tmp_path, "run", **{"query_id": ["a"], "rank": pa.array([1], pa.int32()), "item_id": ["i"]})
    for found in (*read_rankings([ungraded], 10), *read_rankings([ungraded, put(tmp_path, "b", **run(20))], 10)):
        assert found.grades[0, 0] == (-1 if len(found.item_ids) == 1 else 1)


def test_more_than_memory_holds_is_read_in_portions(tmp_path, monkeypatch):
    paths = [put(tmp_path, str(i), **run(40)) for i in range(4)]
    monkeypatch.setattr(tables, "_MOST_BYTES", 2 * paths[0].stat().st_size)
    sizes = []
    monkeypatch.setattr(tables, "_together", lambda some, *rest: sizes.append(len(some)))
    assert [t.num_rows for t in read_many(paths, RUN)] == [40] * 4
    assert sizes == [2, 2]
