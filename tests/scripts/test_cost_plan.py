"""The cost model's arithmetic, by hand."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from cost_plan import Scale, Unit, graphs_for, machines_needed, plan, sensitivity, totals

from mr_st.search.unit_costs import DEFAULT_COSTS, GraphCosts, UnitCosts

UNITS = {
    name: Unit(value, "here", "thing")
    for name, value in {
        "encode_item": 0.02, "encode_query": 0.01, "merge": 1e-7, "annotate": 0.05, "select": 1e-6,
        "pair_text_bytes": 100, "label_bytes": 13, "row_bytes": 20,
    }.items()
}  # fmt: skip
GRAPH = GraphCosts(
    add=1e-3, add_growth=0.0, search=2e-6, search_start=0.0, search_growth=0.0, link_bytes=100, value_bytes=1,
    oversampling=1.0, miss=0.01, miss_growth=0.0, miss_decay=1.0,
)  # fmt: skip
COSTS = UnitCosts(
    "here", exact=1e-11, exact_place=0.0, rescore=0.0, f16=replace(GRAPH, value_bytes=2, add=2e-3), i8=GRAPH
)
SCALE = Scale(items=1_000_000, queries=1_000, k=100, dim=384, unjudged=0.9, annotated=0.5, taken=0.1,
              shard_items=100_000, machines=4, cores=2, memory=2**30, efficiency=0.5)  # fmt: skip


def test_the_cheapest_graph_that_reaches_the_recall_is_taken() -> None:
    graphs = graphs_for(SCALE, COSTS, 0.98)
    # missed: .01 * 2k / (expansion * shards), at least k candidates: 10 shards of 100 candidates miss .2 %
    assert (graphs.dtype, graphs.expansion) == ("i8", 100)
    assert graphs.recall == pytest.approx(0.998)
    single = replace(SCALE, shard_items=1_000_000)
    assert graphs_for(single, COSTS, 0.995).expansion == 400
    with pytest.raises(ValueError, match="recall"):
        graphs_for(single, COSTS, 0.99999)


def test_stages_are_counts_times_units() -> None:
    graphs = graphs_for(SCALE, COSTS, 0.98)
    stages = {stage.name: stage for stage in plan(SCALE, UNITS, COSTS, graphs)}
    assert list(stages) == [
        "encode items", "encode queries", "build 10 i8 graphs", "search them", "merge parts, drop judged", "annotate",
        "select, write",
    ]  # fmt: skip
    assert stages["encode items"].core_hours == pytest.approx(1_000_000 * 0.02 / 3600)
    assert stages["encode items"].stored == 1_000_000 * 768
    assert stages["build 10 i8 graphs"].core_hours == pytest.approx(1_000_000 * 1e-3 / 3600)
    assert stages["build 10 i8 graphs"].stored == 1_000_000 * (384 + 100)
    assert stages["search them"].core_hours == pytest.approx(1_000 * 10 * 100 * 2e-6 / 3600)
    assert stages["merge parts, drop judged"].count == 1_000 * 10 * 100
    assert stages["annotate"].count == pytest.approx(1_000 * 100 * 0.9 * 0.5)
    assert stages["annotate"].moved == pytest.approx(45_000 * 113)
    exact = {stage.name: stage for stage in plan(SCALE, UNITS, COSTS, None)}["exact search"]
    assert exact.core_hours == pytest.approx(1_000_000 * 1_000 * 384 * 1e-11 / 3600)
    assert exact.moved == 1_000_000 * 768 + 1_000 * 768 * 4 + 1_000 * 100 * 4 * 12


def test_totals_count_idle_cores_and_money() -> None:
    stages = plan(SCALE, UNITS, COSTS, None)
    found = totals(stages, SCALE, price=0.1)
    assert found["core_hours"] == pytest.approx(2 * sum(stage.core_hours for stage in stages))
    assert found["wall_hours"] == pytest.approx(found["core_hours"] / 8)
    assert found["price"] == pytest.approx(found["core_hours"] * 0.1)
    assert "price" not in totals(stages, SCALE)


def test_machines_hold_graphs_and_vectors() -> None:
    graphs = graphs_for(SCALE, COSTS, 0.98)
    assert machines_needed(SCALE, COSTS, graphs) == math.ceil(1_000_000 * (484 + 768) / (2**30 * 0.8)) == 2


def test_sensitivity_moves_what_it_names() -> None:
    by_what: dict[str, list[list[object]]] = {}
    for row in sensitivity(SCALE, UNITS, DEFAULT_COSTS, 0.98):
        by_what.setdefault(row[0], []).append(row)
    annotated = by_what["share of the unjudged pairs that is annotated"]
    assert [row[1] for row in annotated] == ["100%", "30%", "10%", "3%"]
    assert len({row[2] for row in annotated}) == 1  # search does not depend on it
    assert [row[3] for row in annotated] == sorted((row[3] for row in annotated), reverse=True)
    recalls = by_what["recall aimed at, 50,000,000 items in a graph"]
    assert [row[2] for row in recalls] == sorted(row[2] for row in recalls)
    ks = by_what["k"]
    assert [row[3] for row in ks] == sorted(row[3] for row in ks)
