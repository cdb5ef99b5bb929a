"""The arithmetic of cost_model.py: counts times unit costs, stage by stage; no measuring, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mr_st.search.unit_costs import UnitCosts

__all__ = ["Graphs", "Scale", "Stage", "Unit", "graphs_for", "machines_needed", "plan", "sensitivity", "totals"]

SEARCH_SOURCE = "mr_st/search/unit_costs.py"

VECTOR_BYTES = 2  # a number of a stored vector: float16
CANDIDATE_BYTES = 12  # an item's row (int64) and its score (float32), before the shards' answers are merged
DRIVER_BYTES = 24  # a candidate in the driver: query and item row (int64), rank (int32), score (float32)
_LARGE_GRAPH = 50_000_000
MACHINE_SHARE = 0.8  # of a machine's memory that graphs and vectors may take


@dataclass(frozen=True)
class Unit:
    """What one of something costs.

    Args:
        value: Core-seconds, or bytes.
        source: Where the figure is from: a file and its key, or "measured now".
        of: Of what: text, item, pair, ...
    """

    value: float
    source: str
    of: str


@dataclass(frozen=True)
class Graphs:
    """How the catalogue is indexed.

    Args:
        dtype: f16 or i8.
        expansion: Candidates looked at for a query in each graph.
        recall: That the cost rule expects of all graphs together, 0..1.
    """

    dtype: str
    expansion: int
    recall: float


@dataclass(frozen=True)
class Scale:
    """How big the job is, and on what it runs.

    Args:
        items, queries, k: Of the job.
        dim: Numbers in a vector.
        unjudged: Share of the retrieved pairs that nobody judged.
        annotated: Share of those that is annotated.
        taken: Share of the annotated pairs that is kept.
        shard_items: Most items in one graph.
        machines, cores: Machines, and cores of each.
        memory: Bytes of memory of one machine.
        efficiency: Share of the cores' time that does useful work, 0..1.
    """

    items: int = 200_000_000
    queries: int = 10_000_000
    k: int = 150
    dim: int = 384
    unjudged: float = 0.93
    annotated: float = 1.0
    taken: float = 0.1
    shard_items: int = 10_000_000
    machines: int = 50
    cores: int = 16
    memory: float = 64 * 2**30
    efficiency: float = 0.8

    @property
    def shards(self) -> int:
        """Graphs that each query is searched in."""
        return math.ceil(self.items / self.shard_items)

    @property
    def pairs(self) -> float:
        """Pairs that are annotated."""
        return self.queries * self.k * self.unjudged * self.annotated


@dataclass(frozen=True)
class Stage:
    """What one stage costs.

    Args:
        name: The stage.
        count: How many units.
        of: Units of what.
        unit: Core-seconds for one, after extrapolation.
        stored: Bytes on shared storage when it is done.
        moved: Bytes read from and written to the network.
        source: Of the unit cost.
    """

    name: str
    count: float
    of: str
    unit: float
    stored: float
    moved: float
    source: str

    @property
    def core_hours(self) -> float:
        """Core-hours at full efficiency."""
        return self.count * self.unit / 3600


def graphs_for(scale: Scale, costs: UnitCosts, recall: float, dtypes: Sequence[str] = ("f16", "i8")) -> Graphs:
    """The index that takes the least time of those that reach the recall by the cost rule's model.

    Raises:
        ValueError: none reaches it.
    """
    found: list[tuple[float, Graphs]] = []
    for dtype in dtypes:
        for expansion in range(16, 4097, 16):
            expected = costs.expected_recall(dtype, scale.items, scale.shards, scale.k, expansion)
            if expected >= recall:
                looked_at = max(expansion, math.ceil(scale.k * costs.graph(dtype).oversampling))
                graphs = Graphs(dtype, looked_at, expected)
                found.append((sum(index_seconds(scale, costs, graphs)), graphs))
                break
    if not found:
        raise ValueError(f"no graph is expected to reach a recall of {recall}")
    return min(found, key=lambda one: one[0])[1]


def index_seconds(scale: Scale, costs: UnitCosts, graphs: Graphs) -> tuple[float, float]:
    """Core-seconds to build all graphs, and to search all queries in each."""
    rows = math.ceil(scale.items / scale.shards)
    one = costs.query_seconds(graphs.dtype, rows, scale.dim, scale.k, graphs.expansion)
    build = scale.shards * costs.add_seconds(graphs.dtype, rows, scale.dim)
    return build, scale.queries * scale.shards * one


def plan(scale: Scale, units: Mapping[str, Unit], costs: UnitCosts, graphs: Graphs | None) -> list[Stage]:
    """The stages with HNSW graphs, or with exact search where ``graphs`` is None."""
    vector = scale.dim * VECTOR_BYTES
    items, queries, k = float(scale.items), float(scale.queries), scale.k
    encode, encode_query = units["encode_item"], units["encode_query"]
    stages = [
        Stage("encode items", items, "item", encode.value, items * vector, items * vector, encode.source),
        Stage(
            "encode queries", queries, "query", encode_query.value, queries * vector, queries * vector,
            encode_query.source,
        ),
    ]  # fmt: skip
    read_queries = queries * vector * scale.machines  # every machine searches its items for all queries
    if graphs is None:
        n_lists = scale.machines  # each machine searches its part of the items, and gives its best k
        seconds = costs.exact_seconds(1, 1, scale.dim, 1)
        stages.append(
            Stage(
                "exact search", items * queries, "query x item", seconds, 0.0,
                items * vector + read_queries + queries * k * n_lists * CANDIDATE_BYTES, SEARCH_SOURCE,
            )
        )  # fmt: skip
    else:
        n_lists = scale.shards
        build, search = index_seconds(scale, costs, graphs)
        index = float(costs.graph_bytes(graphs.dtype, scale.items, scale.dim))
        stages += [
            Stage(
                f"build {n_lists} {graphs.dtype} graphs", items, "item", build / items, index, items * vector + index,
                SEARCH_SOURCE,
            ),
            Stage(
                "search them", queries * n_lists, "query x graph", search / (queries * n_lists), 0.0,
                index + items * vector + read_queries + queries * k * n_lists * CANDIDATE_BYTES, SEARCH_SOURCE,
            ),
        ]  # fmt: skip
    merge, annotate, select = units["merge"], units["annotate"], units["select"]
    text, label, row = (units[name].value for name in ("pair_text_bytes", "label_bytes", "row_bytes"))
    candidates = queries * k * n_lists
    return [
        *stages,
        Stage(
            "merge parts, drop judged", candidates, "candidate", merge.value, queries * k * CANDIDATE_BYTES,
            candidates * CANDIDATE_BYTES, merge.source,
        ),
        Stage(
            "annotate", scale.pairs, "pair", annotate.value, scale.pairs * label, scale.pairs * (text + label),
            annotate.source,
        ),
        Stage(
            "select, write", scale.pairs, "pair", select.value, scale.pairs * scale.taken * row,
            scale.pairs * (label + CANDIDATE_BYTES + scale.taken * row), select.source,
        ),
    ]  # fmt: skip


def totals(stages: Sequence[Stage], scale: Scale, price: float | None = None) -> dict[str, Any]:
    """Sums over stages; hours of the wall clock on the machines of the scale; money where a core-hour has a price."""
    core_hours = sum(stage.core_hours for stage in stages) / scale.efficiency
    found: dict[str, Any] = {
        "core_hours": core_hours,
        "wall_hours": core_hours / (scale.machines * scale.cores),
        "stored_bytes": sum(stage.stored for stage in stages),
        "moved_bytes": sum(stage.moved for stage in stages),
    }
    if price is not None:
        found["price"] = core_hours * price
    return found


def machines_needed(scale: Scale, costs: UnitCosts, graphs: Graphs) -> int:
    """Machines whose memory holds all graphs, and the vectors that score again what they find."""
    held = costs.graph_bytes(graphs.dtype, scale.items, scale.dim) + scale.items * scale.dim * VECTOR_BYTES
    return math.ceil(held / (scale.memory * MACHINE_SHARE))


def sensitivity(scale: Scale, units: Mapping[str, Unit], costs: UnitCosts, recall: float) -> list[list[Any]]:
    """Core-hours of the whole with one thing changed: (what, value, index and search, all)."""
    rows: list[list[Any]] = []

    def add(what: str, value: str, changed: Scale, target: float = recall) -> None:
        graphs = graphs_for(changed, costs, target)
        whole = totals(plan(changed, units, costs, graphs), changed)["core_hours"]
        search = sum(index_seconds(changed, costs, graphs)) / 3600 / changed.efficiency
        rows.append([what, value.format(graphs=graphs), search, whole])

    for k in (50, 100, 150, 200):
        add("k", f"{k}", replace(scale, k=k))
    large = replace(scale, shard_items=_LARGE_GRAPH)
    for target in (0.9, 0.95, 0.98, 0.99):
        value = f"{target:.0%} ({{graphs.dtype}}, expansion {{graphs.expansion}})"
        add(f"recall aimed at, {_LARGE_GRAPH:,} items in a graph", value, large, target)
    for n_items in (1_000_000, 10_000_000, _LARGE_GRAPH):
        add("items in a graph", f"{n_items:,}", replace(scale, shard_items=n_items))
    for share in (1.0, 0.3, 0.1, 0.03):
        add("share of the unjudged pairs that is annotated", f"{share:.0%}", replace(scale, annotated=share))
    return rows
