"""What one step of each kind of search costs on a machine: measured defaults, and a calibration of a few seconds."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.search.exact import ExactSearcher
from mr_st.search.hnsw import HnswSearcher
from mr_st.search.protocol import QueryBatch

__all__ = ["DEFAULT_COSTS", "GraphCosts", "UnitCosts", "calibrate"]

_AT_ITEMS = 100_000  # where the graphs' costs are given
_AT_DIMENSION = 384
_FIXED_DIMENSIONS = 150.0  # a step of a graph costs as much apart from arithmetic as this many dimensions do
_SMALLEST_SHARE = 0.2  # of the cost at 100,000 items: what no smaller graph falls below
_MIB = 2**20


@dataclass(frozen=True)
class GraphCosts:
    """An HNSW graph's unit costs on one core, at 100,000 items of 384 dimensions, connectivity 16, expansion_add 64.

    Args:
        add: Seconds to place one item.
        add_growth: By how much that grows with each doubling of the items, as a share of ``add``.
        search: Seconds for each candidate of the expansion that a query looks at.
        search_start: Seconds of a query before that.
        search_growth: By how much both grow with each doubling of the items, as a share.
        link_bytes: Of an item, its vector apart.
        value_bytes: Of one component of a vector.
        oversampling: Candidates scored again, as a multiple of k.
        miss: Share of the 100 best missed where the expansion is 200 and the items are 100,000.
        miss_growth: The power of the number of items with which that grows.
        miss_decay: The power of the expansion, as a multiple of k, with which it falls.
    """

    add: float
    add_growth: float
    search: float
    search_start: float
    search_growth: float
    link_bytes: float
    value_bytes: int
    oversampling: float
    miss: float
    miss_growth: float
    miss_decay: float


@dataclass(frozen=True)
class UnitCosts:
    """What steps cost, on one core where nothing else is said; more cores are taken to share the work evenly.

    Args:
        hardware: What it was measured on, for messages.
        exact: Seconds of exact search for each query x item x dimension; of the whole device where it is no CPU.
        exact_place: Seconds of exact search for each query x place of its k x dimension, whatever the items: to keep
            and score the best.
        rescore: Seconds to score one candidate again, for each dimension.
        f16: Of an f16 graph.
        i8: Of an i8 graph.
        device: Where exact search multiplies.
        working_bytes: What any search holds besides vectors and graphs.
    """

    hardware: str
    exact: float
    exact_place: float
    rescore: float
    f16: GraphCosts
    i8: GraphCosts
    device: str = "cpu"
    working_bytes: int = 512 * _MIB

    def graph(self, dtype: str) -> GraphCosts:
        """The costs of one kind of graph."""
        return {"f16": self.f16, "i8": self.i8}[dtype]

    def exact_seconds(self, n_items: int, n_queries: int, dimension: int, threads: int, k: int = 0) -> float:
        """Seconds to search exactly; k = 0 leaves out what the places cost, which is little for many items."""
        one = (self.exact * n_items + self.exact_place * min(k, n_items)) * dimension
        return n_queries * one / (threads if self.device == "cpu" else 1)

    def add_seconds(self, dtype: str, n_items: int, dimension: int) -> float:
        """Seconds of one core to build one graph of so many items: the sum of what each costs when it is placed."""
        of = self.graph(dtype)
        # the mean over 1..n of a cost that grows with log2 lies 1 / ln 2 doublings before its end
        share = 1 + of.add_growth * (math.log2(max(n_items, 1) / _AT_ITEMS) - 1 / math.log(2))
        return n_items * of.add * max(share, _SMALLEST_SHARE) * _of_dimension(dimension)

    def query_seconds(self, dtype: str, n_items: int, dimension: int, k: int, expansion: int) -> float:
        """Seconds of one core for one query in one graph, its rescoring included."""
        of = self.graph(dtype)
        share = max(1 + of.search_growth * math.log2(max(n_items, 1) / _AT_ITEMS), _SMALLEST_SHARE)
        n_scored = min(n_items, math.ceil(k * of.oversampling))
        walk = (
            (of.search_start + of.search * min(max(expansion, n_scored), n_items)) * share * _of_dimension(dimension)
        )
        return walk + n_scored * dimension * self.rescore

    def graph_bytes(self, dtype: str, n_items: int, dimension: int) -> int:
        """Bytes of graphs of so many items, on disk and in memory."""
        of = self.graph(dtype)
        return int(n_items * (dimension * of.value_bytes + of.link_bytes))

    def expected_recall(self, dtype: str, n_items: int, n_shards: int, k: int, expansion: int) -> float:
        """Recall@k to expect on vectors as clustered as those of ``scripts/bench_search.py``; yours may differ.

        With shards each graph is smaller, and has to find its part of the best only.
        """
        of = self.graph(dtype)
        n_looked_at = max(expansion, math.ceil(k * of.oversampling)) * n_shards / k
        missed = of.miss * (n_items / n_shards / _AT_ITEMS) ** of.miss_growth * (n_looked_at / 2) ** -of.miss_decay
        return 1 - min(missed, 1.0)


DEFAULT_COSTS = UnitCosts(
    hardware="one core of an AMD EPYC with AVX512-VNNI",
    exact=2.6e-11,
    exact_place=8.3e-9,
    rescore=2.2e-9,
    f16=GraphCosts(
        add=4.4e-4, add_growth=0.155, search=3.2e-6, search_start=3.8e-4, search_growth=0.195, link_bytes=148.5,
        value_bytes=2, oversampling=1.0, miss=0.0099, miss_growth=0.34, miss_decay=1.78,
    ),
    i8=GraphCosts(
        add=2.7e-4, add_growth=0.133, search=2.5e-6, search_start=8.6e-5, search_growth=0.185, link_bytes=148.5,
        value_bytes=1, oversampling=1.3, miss=0.0093, miss_growth=0.43, miss_decay=1.58,
    ),
)  # fmt: skip
"""Measured by ``scripts/bench_search.py`` (``--fit`` prints these numbers from what it measured)."""


def calibrate(dimension: int = 384, device: str | None = None) -> UnitCosts:
    """Measure the unit costs of this machine in a few seconds.

    A small exact search and two small graphs are timed, in seconds of a core; how costs and recall change with the
    number of items is taken from :data:`DEFAULT_COSTS`.

    Args:
        dimension: Of the vectors to be searched; the costs are meant for this one.
        device: Where exact search will multiply, e.g. "cuda"; None is the CPU.

    Raises:
        UsageError: dimension below 1.
    """
    if dimension < 1:
        raise UsageError(f"dimension is {dimension}; expected 1 or more")
    rows, queries = _unit_rows(32_768, dimension), _unit_rows(512, dimension, seed=1)
    seconds, n_few = [], len(rows) // 8
    for n in (n_few, len(rows)):
        exact = ExactSearcher(rows[:n], device=device)
        exact.search(QueryBatch(vectors=queries[:64]), 100)  # what is compiled or moved once is not counted
        run = partial(exact.search, QueryBatch(vectors=queries), 100)
        seconds.append(_quickest(run, on_cpu=exact.device == "cpu") / len(queries) / dimension)
    each_item = max(seconds[1] - seconds[0], 0.05 * seconds[1]) / (len(rows) - n_few)
    costs = replace(
        DEFAULT_COSTS,
        hardware="this machine, calibrated",
        device=exact.device,
        exact=each_item,
        exact_place=max(seconds[0] - each_item * n_few, 0.0) / 100,
    )
    return replace(
        costs,
        f16=_calibrated_graph("f16", rows[:2_500], queries[:250]),
        i8=_calibrated_graph("i8", rows[:2_500], queries[:250]),
    )


def _calibrated_graph(dtype: str, rows: np.ndarray, queries: np.ndarray) -> GraphCosts:
    """The default costs of a graph, times how much slower this machine builds and searches a small one."""
    base, of = DEFAULT_COSTS, DEFAULT_COSTS.graph(dtype)
    n, dimension = rows.shape
    with tempfile.TemporaryDirectory(prefix="mr_st-calibrate-") as folder:
        add = _quickest(lambda: HnswSearcher.build(rows, folder, dtype=dtype), n_times=1)
        searcher = HnswSearcher.load(folder, vectors=rows, check=False)
        one = _quickest(lambda: searcher.search(QueryBatch(vectors=queries), 100)) / len(queries)
    slower_add = add / base.add_seconds(dtype, n, dimension)
    slower_search = one / base.query_seconds(dtype, n, dimension, 100, searcher.expansion_search)
    return replace(
        of, add=of.add * slower_add, search=of.search * slower_search, search_start=of.search_start * slower_search
    )


def _of_dimension(dimension: int) -> float:
    return (dimension + _FIXED_DIMENSIONS) / (_AT_DIMENSION + _FIXED_DIMENSIONS)


def _quickest(run: Callable[[], Any], n_times: int = 2, on_cpu: bool = True) -> float:
    """Seconds of the fastest run; on a CPU summed over its cores, so that other work on the machine counts little."""
    clock = time.process_time if on_cpu else time.perf_counter
    fastest = math.inf
    for _ in range(n_times):
        start = clock()
        run()
        fastest = min(fastest, clock() - start)
    return fastest


def _unit_rows(n: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Seeded clustered unit rows (of few distinct draws: that takes a tenth of the time)."""
    rng = np.random.default_rng([seed, dimension])
    centres = np.random.default_rng(dimension).standard_normal((64, dimension), dtype=np.float32)
    spread = rng.standard_normal((2_048, dimension), dtype=np.float32)
    rows = centres[rng.integers(0, len(centres), n)] + spread[rng.integers(0, len(spread), n)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
