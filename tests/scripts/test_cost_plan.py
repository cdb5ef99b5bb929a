"""The cost model's arithmetic, by hand."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from cost_plan import (  # noqa: E402 - scripts are no package
    Scale,
    SearchPoint,
    Unit,
    graph_factor,
    machines_needed,
    pick,
    plan,
    sensitivity,
    totals,
)

UNITS = {
    name: Unit(value, "here", "thing")
    for name, value in {
        "encode_item": 0.02, "encode_query": 0.01, "exact": 1e-8, "merge": 1e-7, "annotate": 0.05, "select": 1e-6,
        "pair_text_bytes": 100, "label_bytes": 13, "row_bytes": 20,
    }.items()
}  # fmt: skip
POINT = SearchPoint("i8", 1_000, 200, 0.985, 0.004, 0.001, 500, "here")
SCALE = Scale(items=1_000_000, queries=1_000, k=100, dim=8, unjudged=0.9, annotated=0.5, taken=0.1,
              shard_items=100_000, machines=4, cores=2, memory=2**30, efficiency=0.5)  # fmt: skip


def test_stages_are_counts_times_units() -> None:
    stages = {stage.name: stage for stage in plan(SCALE, UNITS, POINT)}
    assert list(stages) == [
        "encode items", "encode queries", "build i8 HNSW", "search 10 graphs", "merge parts, drop judged", "annotate",
        "select, write",
    ]  # fmt: skip
    assert stages["encode items"].core_hours == pytest.approx(1_000_000 * 0.02 / 3600)
    assert stages["encode items"].stored == 1_000_000 * 8 * 2
    larger = math.log(100_000) / math.log(1_000)
    assert stages["build i8 HNSW"].core_hours == pytest.approx(1_000_000 * 0.001 * larger / 3600)
    assert stages["build i8 HNSW"].stored == 1_000_000 * 500
    assert stages["search 10 graphs"].core_hours == pytest.approx(1_000 * 10 * 0.004 * larger / 3600)
    assert stages["merge parts, drop judged"].count == 1_000 * 10 * 100
    assert stages["annotate"].count == pytest.approx(1_000 * 100 * 0.9 * 0.5)
    assert stages["annotate"].moved == pytest.approx(45_000 * 113)
    exact = {stage.name: stage for stage in plan(SCALE, UNITS, None)}["exact search"]
    assert exact.core_hours == pytest.approx(1_000_000 * 1_000 * 1e-8 / 3600)
    assert exact.moved == 1_000_000 * 16 + 1_000 * 16 * 4 + 1_000 * 100 * 4 * 12


def test_totals_count_idle_cores_and_money() -> None:
    stages = plan(SCALE, UNITS, POINT)
    found = totals(stages, SCALE, price=0.1)
    assert found["core_hours"] == pytest.approx(2 * sum(stage.core_hours for stage in stages))
    assert found["wall_hours"] == pytest.approx(found["core_hours"] / 8)
    assert found["price"] == pytest.approx(found["core_hours"] * 0.1)
    assert "price" not in totals(stages, SCALE)


def test_a_graph_is_never_larger_than_the_catalogue_and_factor_one_where_it_was_measured() -> None:
    assert graph_factor(1_000, 1_000) == 1
    small = replace(SCALE, items=1_000)
    assert small.shards == 1
    stages = {stage.name: stage for stage in plan(small, UNITS, POINT)}
    assert stages["build i8 HNSW"].unit == pytest.approx(0.001)
    assert stages["search 1 graphs"].unit == pytest.approx(0.004)


def test_more_candidates_than_measured_cost_in_proportion() -> None:
    search = {stage.name: stage for stage in plan(replace(SCALE, k=400), UNITS, POINT)}["search 10 graphs"]
    usual = {stage.name: stage for stage in plan(SCALE, UNITS, POINT)}["search 10 graphs"]
    assert search.unit == pytest.approx(2 * usual.unit)


def test_pick_takes_the_cheapest_that_reaches_the_recall_in_the_largest_graph() -> None:
    small = replace(POINT, n_items=10, seconds=1e-9, recall=1.0)
    weak = replace(POINT, seconds=0.001, recall=0.9)
    dear = replace(POINT, seconds=0.009, recall=0.999)
    points = [small, weak, POINT, dear]
    assert pick(points, 0.98) is POINT
    assert pick(points, 0.99) is dear
    assert pick(points, 0.9999) is dear
    assert pick(points, 0.5) is weak


def test_machines_hold_all_graphs() -> None:
    assert machines_needed(POINT, SCALE) == math.ceil(500e6 / (2**30 * 0.8)) == 1
    assert machines_needed(POINT, replace(SCALE, items=10_000_000)) == 6


def test_sensitivity_moves_what_it_names() -> None:
    rows = sensitivity(SCALE, UNITS, [POINT], 0.98)
    by_what: dict[str, list[list[object]]] = {}
    for row in rows:
        by_what.setdefault(row[0], []).append(row)
    annotated = by_what["share of the unjudged pairs that is annotated"]
    assert [row[1] for row in annotated] == ["100%", "30%", "10%", "3%"]
    assert len({row[2] for row in annotated}) == 1  # search does not depend on it
    assert [row[3] for row in annotated] == sorted((row[3] for row in annotated), reverse=True)
    assert any("not reached" in row[1] for row in by_what["recall aimed at in a graph"])
