"""Which search to use, exact or HNSW: the plan that takes the least time of those that fit and find enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from mr_st.errors import UsageError
from mr_st.search.unit_costs import DEFAULT_COSTS, UnitCosts

__all__ = ["SearchPlan", "choose_plan", "predicted"]

_EXPANSION_STEP = 16
_LARGEST_EXPANSION = 4096
_SMALLEST_SHARD = 1_000
_HEADROOM = 1.1  # no plan is taken on the last bytes of memory


@dataclass(frozen=True)
class SearchPlan:
    """One way to search, and what it is expected to cost.

    Args:
        kind: "exact" or "hnsw".
        dtype: How the graph holds vectors ("f16", "i8"); None for exact search.
        n_shards: Graphs that the items are cut into; 1 for exact search.
        expansion: ``expansion_search``; 0 for exact search.
        build_seconds: To build the index.
        search_seconds: To answer all queries.
        bytes: What is held in memory at the worst moment, vectors included.
        recall: Expected recall@k; 1 for exact search.
        fits: Whether that memory is there.
        reason: Why it was chosen, in one sentence; empty for one that was not.
        alternatives: The best plan of each other kind.
    """

    kind: Literal["exact", "hnsw"]
    dtype: str | None
    n_shards: int
    expansion: int
    build_seconds: float
    search_seconds: float
    bytes: int
    recall: float
    fits: bool = True
    reason: str = ""
    alternatives: tuple[SearchPlan, ...] = ()

    @property
    def seconds(self) -> float:
        """Build and search together."""
        return self.build_seconds + self.search_seconds

    @property
    def label(self) -> str:
        """Short: ``exact``, ``i8 HNSW in 2 shards``."""
        if self.kind == "exact":
            return "exact search"
        return f"{self.dtype} HNSW" + (f" in {self.n_shards} shards" if self.n_shards > 1 else "")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def predicted(
    n_items: int,
    n_queries: int,
    dimension: int,
    k: int,
    *,
    dtype: str | None = None,
    n_shards: int = 1,
    expansion: int = 0,
    threads: int = 1,
    has_index: bool = False,
    costs: UnitCosts = DEFAULT_COSTS,
) -> SearchPlan:
    """What one way to search would cost. See :func:`choose_plan` for the model.

    Args:
        n_items: 1 or more.
        n_queries: 0 or more.
        dimension: Of the vectors.
        k: Items asked for.
        dtype: "f16" or "i8" for HNSW, None for exact search.
        n_shards: Of the HNSW index.
        expansion: Of the HNSW search.
        threads: Cores.
        has_index: The index lies there already.
        costs: Of the machine.
    """
    if dtype is None:
        resident = n_items * dimension * 2 + costs.working_bytes
        seconds = costs.exact_seconds(n_items, n_queries, dimension, threads, k)
        return SearchPlan("exact", None, 1, 0, 0.0, seconds, resident, 1.0)
    rows = math.ceil(n_items / n_shards)
    rounds = math.ceil(n_shards / threads)  # shards are built side by side, one core each
    add = 0.0 if has_index else rounds * costs.add_seconds(dtype, rows, dimension)
    one = n_shards * costs.query_seconds(dtype, rows, dimension, k, expansion)
    at_once = min(n_shards, threads)  # more shards than cores are built and searched in turn
    resident = at_once * (costs.graph_bytes(dtype, rows, dimension) + rows * dimension * 2) + costs.working_bytes
    recall = costs.expected_recall(dtype, n_items, n_shards, k, expansion)
    return SearchPlan("hnsw", dtype, n_shards, expansion, add, n_queries * one / threads, int(resident), recall)


def choose_plan(
    n_items: int,
    n_queries: int,
    dimension: int,
    k: int,
    *,
    memory: int,
    min_recall: float = 0.98,
    threads: int = 1,
    has_index: bool = False,
    min_saving: float = 0.0,
    dtypes: Sequence[str] = ("f16", "i8"),
    costs: UnitCosts = DEFAULT_COSTS,
) -> SearchPlan:
    """Choose between exact search and HNSW: the least build and search time of the plans that fit and find enough.

    The model: exact search costs a constant for each query x item x dimension, and another for each of the k places.
    A graph costs for each item added and for each candidate of a query's expansion, both a little more with every
    doubling of the graph; shards are built side by side, and each is searched. The expansion is the smallest expected
    to reach the recall. Exact search reads the vectors block by block, so it is there also where they do not fit in
    memory (as fast as they can be read); an index fits if the shards worked on at once do, with their vectors.

    Recall is what clustered vectors gave (``scripts/bench_search.py``). Yours may be harder: measure it with
    :func:`mr_st.search.recall.measure_recall`, mend it with :func:`mr_st.search.recall.tune_expansion`.

    Args:
        n_items: 1 or more.
        n_queries: How many queries will be searched in all; 1 or more.
        dimension: Of the vectors.
        k: Items asked for, for each query.
        memory: Bytes that may be held, vectors included.
        min_recall: Recall@k to reach, above 0; 1 leaves exact search only.
        threads: Cores.
        has_index: An index of these items lies there already, so that building costs nothing.
        min_saving: Seconds that an approximate plan has to save to be chosen over exact search.
        dtypes: The graphs to look at: "f16", "i8"; none leaves exact search only.
        costs: Of the machine: :func:`mr_st.search.unit_costs.calibrate` measures them.

    Raises:
        UsageError: a number out of range, or too little memory for any search.

    Example:
        >>> choose_plan(10_000, 10_000, 384, 100, memory=8 * 2**30, threads=2).kind
        'exact'
    """
    if min(n_items, n_queries, dimension, k, threads) < 1 or not 0 < min_recall <= 1:
        raise UsageError(
            f"{n_items} items, {n_queries} queries, dimension {dimension}, k {k}, threads {threads}, min_recall "
            f"{min_recall}: each must be 1 or more, and the recall above 0 and at most 1"
        )
    if memory < costs.working_bytes * _HEADROOM:
        raise UsageError(
            f"memory is {memory / 2**20:,.0f} MiB, but any search here needs "
            f"{costs.working_bytes * _HEADROOM / 2**20:,.0f} MiB"
        )
    exact = predicted(n_items, n_queries, dimension, k, threads=threads, costs=costs)
    exact = replace(exact, bytes=min(exact.bytes, memory))
    best_of_kind = [exact]
    for dtype in dtypes if min_recall < 1 else ():
        plans = []
        for n_shards in _shard_counts(n_items, threads):
            expansion = _expansion(dtype, n_items, n_shards, k, min_recall, costs)
            if expansion is None:
                continue
            plan = predicted(
                n_items, n_queries, dimension, k, dtype=dtype, n_shards=n_shards, expansion=expansion,
                threads=threads, has_index=has_index, costs=costs,
            )  # fmt: skip
            plans.append(replace(plan, fits=plan.bytes * _HEADROOM <= memory))
        if plans:
            best_of_kind.append(_best(plans, threads))
    chosen = min(
        (plan for plan in best_of_kind if plan.fits),
        key=lambda plan: plan.seconds + (min_saving if plan.kind == "hnsw" else 0.0),
    )
    others = tuple(sorted((plan for plan in best_of_kind if plan is not chosen), key=lambda plan: plan.seconds))
    reason = _reason(chosen, others, n_items, n_queries, threads, costs)
    if any(plan.fits and plan.seconds < chosen.seconds for plan in others):
        reason += f"; an approximate search has to save {_duration(min_saving)}"
    return replace(chosen, reason=reason, alternatives=others)


def _shard_counts(n_items: int, threads: int) -> list[int]:
    """1, one for each core, and powers of two above that for where memory is short."""
    counts = {1, threads} | {2**power for power in range(1, 13) if 2**power > threads}
    return sorted(count for count in counts if count == 1 or count * _SMALLEST_SHARD <= n_items)


def _best(plans: Sequence[SearchPlan], threads: int) -> SearchPlan:
    """The quickest that fits with at most a shard for each core; with more only where memory asks for them."""
    few = [plan for plan in plans if plan.fits and plan.n_shards <= threads]
    if few:
        return min(few, key=lambda plan: plan.seconds)
    return next((plan for plan in plans if plan.fits), plans[-1])


def _expansion(dtype: str, n_items: int, n_shards: int, k: int, min_recall: float, costs: UnitCosts) -> int | None:
    """The smallest expansion expected to reach the recall, or None where none does."""
    for expansion in range(_EXPANSION_STEP, max(_LARGEST_EXPANSION, 2 * k) + 1, _EXPANSION_STEP):
        if costs.expected_recall(dtype, n_items, n_shards, k, expansion) >= min_recall:
            return max(expansion, math.ceil(k * costs.graph(dtype).oversampling))  # the searcher looks at no fewer
    return None


def _reason(
    chosen: SearchPlan, others: Sequence[SearchPlan], n_items: int, n_queries: int, threads: int, costs: UnitCosts
) -> str:
    parts = []
    for plan in others:
        lacks = "" if plan.fits else f", which needs {plan.bytes / 2**30:.1f} GiB"
        parts.append(f"{plan.label} {_said(plan)}{lacks}")
    rest = f"; {', '.join(parts)}" if parts else ""
    cores = f"{threads} core{'s' if threads > 1 else ''}"
    return (
        f"{chosen.label} is expected to take {_said(chosen)} for {n_items:,} items x {n_queries:,} queries on {cores} "
        f"({costs.hardware}){rest}"
    )


def _said(plan: SearchPlan) -> str:
    if plan.kind == "exact" or not plan.build_seconds:
        return _duration(plan.search_seconds)
    return f"{_duration(plan.seconds)} ({_duration(plan.build_seconds)} to build)"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} s"
