"""The arithmetic of cost_model.py: counts times unit costs, stage by stage; no measuring, no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Scale", "SearchPoint", "Stage", "Unit", "graph_factor", "pick", "plan", "sensitivity", "totals"]

VECTOR_BYTES = 2  # a number of a stored vector: float16
CANDIDATE_BYTES = 12  # an item's row (int64) and its score (float32), before the shards' answers are merged
MACHINE_SHARE = 0.8  # of a machine's memory that indexes may take


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
class SearchPoint:
    """One measured HNSW setting.

    Args:
        dtype: f16 or i8.
        n_items: Items in the graph.
        candidates: Looked at for a query: the larger of ``expansion_search`` and what is asked for.
        recall: recall@k against exact search, 0..1.
        seconds: Core-seconds for one query in one graph.
        add_seconds: Core-seconds to place one item.
        item_bytes: Bytes of the saved index for one item.
        source: As in :class:`Unit`.
    """

    dtype: str
    n_items: int
    candidates: int
    recall: float
    seconds: float
    add_seconds: float
    item_bytes: float
    source: str


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


def graph_factor(n_items: float, measured: float) -> float:
    """How much dearer an insertion or a search is in a graph of ``n_items`` than in the one measured: ln n / ln n0.

    An HNSW graph has about ln n layers, and a search goes through each (Malkov and Yashunin, arXiv 1603.09320, 4.2).

    Example:
        >>> round(graph_factor(10_000_000, 1_000_000), 3)
        1.167
    """
    return math.log(max(n_items, 2)) / math.log(max(measured, 2))


def pick(points: Sequence[SearchPoint], recall: float) -> SearchPoint:
    """The cheapest setting of the largest graph measured that reaches a recall; the best in recall where none does."""
    largest = [point for point in points if point.n_items == max(point.n_items for point in points)]
    reaching = [point for point in largest if point.recall >= recall]
    return min(reaching, key=lambda point: point.seconds) if reaching else max(largest, key=lambda point: point.recall)


def search_seconds(point: SearchPoint, scale: Scale) -> float:
    """Core-seconds of one query in one graph: linear in the candidates looked at, ln n in the graph's size."""
    n_items = min(scale.items, scale.shard_items)
    return point.seconds * max(1.0, scale.k / point.candidates) * graph_factor(n_items, point.n_items)


def plan(scale: Scale, units: dict[str, Unit], point: SearchPoint | None) -> list[Stage]:
    """The stages with an HNSW index of the setting ``point``, or with exact search where that is None."""
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
    if point is None:
        unit, n_lists = units["exact"], scale.machines
        stages.append(
            Stage(
                "exact search", items * queries, "query x item", unit.value, 0.0,
                items * vector + read_queries + queries * k * n_lists * CANDIDATE_BYTES, unit.source,
            )
        )  # fmt: skip
    else:
        n_items, n_lists = min(scale.items, scale.shard_items), scale.shards
        index = items * point.item_bytes
        add = point.add_seconds * graph_factor(n_items, point.n_items)
        stages += [
            Stage(f"build {point.dtype} HNSW", items, "item", add, index, items * vector + index, point.source),
            Stage(
                f"search {scale.shards} graphs", queries * scale.shards, "query x graph",
                search_seconds(point, scale), 0.0,
                index + read_queries + queries * k * n_lists * CANDIDATE_BYTES, point.source,
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


def machines_needed(point: SearchPoint, scale: Scale) -> int:
    """Machines whose memory holds all graphs."""
    return math.ceil(scale.items * point.item_bytes / (scale.memory * MACHINE_SHARE))


def sensitivity(scale: Scale, units: dict[str, Unit], points: Sequence[SearchPoint], recall: float) -> list[list[Any]]:
    """Core-hours of the whole with one thing changed: (what, value, search's core-hours, the whole's)."""
    rows: list[list[Any]] = []

    def add(what: str, value: str, changed: Scale, point: SearchPoint) -> None:
        stages = plan(changed, units, point)
        search = sum(stage.core_hours for stage in stages if stage.name.startswith(("build", "search")))
        rows.append([what, value, search / changed.efficiency, totals(stages, changed)["core_hours"]])

    best = pick(points, recall)
    for k in (50, 100, 150, 200):
        add("k", f"{k}", replace(scale, k=k), best)
    for share in (1.0, 0.3, 0.1, 0.03):
        add("share of the unjudged pairs that is annotated", f"{share:.0%}", replace(scale, annotated=share), best)
    for n_items in (1_000_000, 10_000_000, 50_000_000):
        add("items in a graph", f"{n_items:,}", replace(scale, shard_items=n_items), best)
    for target in sorted({0.95, 0.98, 0.99, recall}):
        point = pick(points, target)
        told = f"{target} ({point.dtype}, {point.candidates} candidates: measured {point.recall:.3f})"
        if point.recall < target:
            told += ", **not reached**"
        add("recall aimed at in a graph", told, scale, point)
    return rows
