#!/usr/bin/env python3
"""Exact search against HNSW (f16 and i8): time, memory and recall@100, build and search apart; then the cost rule.

    scripts/bench_search.py                          10k, 100k and 1M items x 10k queries x 384, each arm once
    scripts/bench_search.py --items 100000           one size only
    scripts/bench_search.py --arms exact i8          some arms only: exact, f16, i8, i8x2 (two shards built at once)
    scripts/bench_search.py --connectivity 24 --expansion-add 96      another graph (kept apart from the others)
    scripts/bench_search.py --fit                    print unit costs fitted to what was measured (for unit_costs.py)
    scripts/bench_search.py --docs                   put what was measured into docs/mining.json, key "search"

Every step of an arm runs in a process of its own (its peak memory is the kernel's count, mapped files included) and
leaves a JSON under --work; a rerun takes it from there, so a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from search_tables import ARMS, GIB, calibrated, costs_of, fit, rule_table, size_table, try_rule

ROOT = Path(__file__).resolve().parents[1]
EXPANSIONS = (128, 160, 192, 256, 384, 512)
BLOCK = 25_000
VECTORS = """Vectors: unit rows, float16 on disk, in a seeded hierarchy: departments (one for 10,000 items), clusters
in them (one for 100, of unequal sizes), items in those; each level is spread unevenly over all dimensions (a falling
spectrum). Queries are further draws of the same kind. At 3,700 rows their local intrinsic dimension is 16.4; that of
MiniLM's vectors of the marketplace's titles is 15.9."""
PER_CLUSTER, PER_DEPARTMENT = 100, 10_000
SPREAD = {"cluster": 1.0, "item": 0.8}  # of a level around the one above, before rows are made unit


# ---- the vectors ---------------------------------------------------------------------------------------------------


def make_vectors(path: Path, n_items: int, n_rows: int, dim: int, seed: int, part: int) -> None:
    """Write n_rows clustered unit vectors as float16, block by block; the centres depend on n_items and seed alone."""
    rng = np.random.default_rng([seed, n_items, dim])
    n_clusters, n_departments = max(1, n_items // PER_CLUSTER), max(1, n_items // PER_DEPARTMENT)
    spectrum = np.arange(1, dim + 1) ** -0.5
    spectrum = (spectrum / np.linalg.norm(spectrum)).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)  # so that no axis is special
    departments = unit(rng.standard_normal((n_departments, dim), dtype=np.float32) * spectrum)
    clusters = departments[rng.integers(0, n_departments, n_clusters)]
    clusters = unit(clusters + SPREAD["cluster"] * rng.standard_normal((n_clusters, dim), dtype=np.float32) * spectrum)
    share = np.arange(1, n_clusters + 1) ** -0.5
    share /= share.sum()
    temporary = path.with_name(f".tmp-{path.name}")
    out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=(n_rows, dim))
    for start in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - start)
        of_block = np.random.default_rng([seed, n_items, dim, part, start])
        rows = clusters[of_block.choice(n_clusters, n, p=share)]
        rows = rows + SPREAD["item"] * of_block.standard_normal((n, dim), dtype=np.float32) * spectrum
        out[start : start + n] = unit(rows @ turn)
    out.flush()
    os.replace(temporary, path)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---- one step, in a process of its own -----------------------------------------------------------------------------


def run_exact(at: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Exact search over all queries; its answers are kept as the truth."""
    import torch

    from mr_st.search import ExactSearcher, QueryBatch

    torch.set_num_threads(at.threads)
    items, queries = opened(folder)
    clock = Clock()
    searcher = ExactSearcher(items)
    prepared = clock.lap()
    searcher.search(QueryBatch(vectors=queries[:64]), at.k)  # what is loaded once is not counted, as with HNSW
    clock.lap()
    found = searcher.search(QueryBatch(vectors=queries), at.k)
    searched = clock.lap()
    save_arrays(folder / f"truth-{at.k}.npz", ids=found.ids, scores=found.scores)
    return {"prepare": prepared, "search": searched}


def run_build(at: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Build an index, noting when how many items were in; two shards at once are two threads of one each."""
    from mr_st.search.hnsw import HnswSearcher
    from mr_st.search.hnsw_shard import build_shard

    dtype, n_shards = ARMS[at.step]
    items, _ = opened(folder)
    graph = {"dtype": dtype, "connectivity": at.connectivity, "expansion_add": at.expansion_add}
    where = index_folder(at, folder)
    trace: list[tuple[int, float, float]] = [(0, time.perf_counter(), time.process_time())]

    def note(n: int) -> None:
        trace.append((trace[-1][0] + n, time.perf_counter(), time.process_time()))

    clock = Clock()
    if n_shards == 1:
        build_shard(items, where, on_progress=note, **graph)
    else:
        HnswSearcher.build(items, where, n_shards=n_shards, threads=at.threads, **graph)
    built = clock.lap()
    size = sum(path.stat().st_size for path in where.iterdir())
    first = trace[0]
    return {
        "build": built,
        "bytes": size,
        "trace": [[n, wall - first[1], cpu - first[2]] for n, wall, cpu in trace] if n_shards == 1 else None,
    }


def run_search(at: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Search all queries at every expansion, against the truth."""
    from mr_st.search import QueryBatch, TopK
    from mr_st.search.hnsw import HnswSearcher
    from mr_st.search.recall import Recall, recall_by_query

    items, queries = opened(folder)
    clock = Clock()
    searcher = HnswSearcher.load(index_folder(at, folder), vectors=items, threads=at.threads)
    loaded = clock.lap()
    with np.load(folder / f"truth-{at.k}.npz", allow_pickle=False) as truth:
        best = TopK(truth["ids"], truth["scores"])
    searcher.search(QueryBatch(vectors=queries[:256]), at.k)  # what is mapped is read once before the clock starts
    rows = []
    for expansion in at.expansions:
        searcher.expansion_search = expansion
        clock.lap()
        found = searcher.search(QueryBatch(vectors=queries), at.k)
        lap = clock.lap()
        recall = Recall.of(recall_by_query(found, best, items, queries), at.k)
        rows.append({"expansion": expansion, "search": lap, "recall": recall.to_json()})
        print(f"    expansion {expansion}: {len(queries) / lap['wall']:.0f}/s, {recall}")
    return {
        "load": loaded,
        "oversampling": searcher.oversampling,
        "searches": rows,
        "rescore": rescoring(items, best.ids),
    }


def rescoring(items: np.ndarray, ids: np.ndarray) -> float:
    """Processor seconds to score one candidate again, for each dimension."""
    from mr_st.search.canonical import canonical_scores

    rows = ids[:200].ravel()
    queries = np.asarray(items[:200], dtype=np.float32)
    at = np.repeat(np.arange(200), ids.shape[1])
    canonical_scores(queries, items, at, rows)
    clock = Clock()
    canonical_scores(queries, items, at, rows)
    return clock.lap()["cpu"] / len(rows) / items.shape[1]


class Clock:
    """Wall and processor seconds since the last lap."""

    def __init__(self) -> None:
        self.last = (time.perf_counter(), time.process_time())

    def lap(self) -> dict[str, float]:
        """Seconds since the last lap."""
        now = (time.perf_counter(), time.process_time())
        wall, cpu = now[0] - self.last[0], now[1] - self.last[1]
        self.last = now
        return {"wall": wall, "cpu": cpu}


class AnonymousPeak(threading.Thread):
    """The most memory the process held apart from mapped files, looked at ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        """Watch."""
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self.bytes = max(self.bytes, int(line.split()[1]) * 1024)
            time.sleep(0.1)


def child(at: argparse.Namespace) -> None:
    """Run one step and write what it measured."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    watch = AnonymousPeak()
    watch.start()
    run = {"exact": run_exact, "build": run_build, "search": run_search}["exact" if at.step == "exact" else at.phase]
    result = run(at, data_folder(at))
    result["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result["peak_anonymous_bytes"] = watch.bytes
    result["threads"] = at.threads
    write_json(Path(at.out), result)


# ---- all steps -----------------------------------------------------------------------------------------------------


def data_folder(at: argparse.Namespace) -> Path:
    """Where the vectors of one size and their results lie."""
    return Path(at.work) / f"{at.items}x{at.queries}x{at.dim}-seed{at.seed}"


def index_folder(at: argparse.Namespace, folder: Path) -> Path:
    """Where an index lies."""
    return folder / f"{at.step}-c{at.connectivity}-a{at.expansion_add}"


def opened(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Items, mapped, and queries, read."""
    return np.load(folder / "items.npy", mmap_mode="r"), np.load(folder / "queries.npy")


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Save whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


def measure(options: argparse.Namespace, items: int) -> dict[str, Any]:
    """All arms at one size; what is already there is taken."""
    at = argparse.Namespace(**vars(options) | {"items": items})
    folder = data_folder(at)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n_rows, part in (("items.npy", items, 0), ("queries.npy", at.queries, 1)):
        if not (folder / name).exists():
            make_vectors(folder / name, items, n_rows, at.dim, at.seed, part)
    found: dict[str, Any] = {}
    for arm in ["exact", *(arm for arm in at.arms if arm != "exact")]:  # the truth is needed by all
        at.step = arm
        if arm == "exact":
            found[arm] = step(at, folder / f"exact-{at.k}-t{at.threads}.json", "exact")
            continue
        where = index_folder(at, folder)
        found[arm] = {
            "build": step(at, where.with_name(f"{where.name}-build.json"), "build"),
            "search": step(at, where.with_name(f"{where.name}-search-{at.k}-t{at.threads}.json"), "search"),
        }
    return found


def step(at: argparse.Namespace, out: Path, phase: str) -> dict[str, Any]:
    """One step in a process of its own, unless it was measured before."""
    if not out.exists() or at.again:
        print(f"  {at.step} {phase}, {at.items:,} items ...", flush=True)
        command = [sys.executable, __file__, "--step", at.step, "--phase", phase, "--out", str(out)]
        for name in ("items", "queries", "dim", "seed", "k", "threads", "connectivity", "expansion_add", "work"):
            command += [f"--{name.replace('_', '-')}", str(getattr(at, name))]
        command += ["--expansions", *map(str, at.expansions)]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": str(at.threads)}, check=False)
        if done.returncode:
            raise SystemExit(f"bench_search: {at.step} {phase} at {at.items:,} items ended with {done.returncode}")
    return json.loads(out.read_text())


def main() -> None:
    """Read the options, run what is missing, print the tables."""
    options = parse()
    if options.step:
        child(options)
        return
    measured = {items: measure(options, items) for items in sorted(options.items)}
    for items, found in measured.items():
        print(f"\n{size_table(items, options.queries, options.k, found, options.clock)}")
    rule = {name: rule_of(options, measured, costs) for name, costs in both_costs(options).items()}
    for name, rows in rule.items():
        print(f"\nThe rule with unit costs {name}:\n\n{rule_table(rows)}")
    if options.fit:
        figures = fit(measured, options.queries, options.dim, options.k, options.threads, options.clock)
        print(json.dumps(figures, indent=2))
    if options.docs:
        write_docs(options, measured, rule)


def both_costs(options: argparse.Namespace) -> dict[str, Any]:
    """The library's default unit costs, and this machine's as it calibrates them (once for each --work)."""
    from mr_st.search.unit_costs import DEFAULT_COSTS

    path = Path(options.work) / f"calibrated-{options.dim}.json"
    if not path.exists() or options.again:
        write_json(path, calibrated(options.dim))
    return {f"measured before ({DEFAULT_COSTS.hardware})": DEFAULT_COSTS,
            "calibrated in seconds, here": costs_of(json.loads(path.read_text()))}  # fmt: skip


def rule_of(options: argparse.Namespace, measured: dict[int, Any], costs: Any) -> list[dict[str, Any]]:
    """The rule's choices on the four shapes."""
    of = (options.queries, options.dim, options.k, options.threads, int(options.memory_gib * GIB))
    return try_rule(measured, *of, costs, options.clock)


def write_docs(options: argparse.Namespace, measured: dict[int, Any], rule: dict[str, Any]) -> None:
    """Put all into docs/mining.json under "search", beside what is there."""
    path = Path(options.docs)
    known = json.loads(path.read_text()) if path.exists() else {}
    short = json.loads(json.dumps(measured))  # a copy; keys become text
    for found in short.values():
        for arm, result in found.items():
            if arm != "exact":
                result["build"].pop("trace")
    known["search"] = {
        "protocol": {
            "queries": options.queries, "dimension": options.dim, "k": options.k, "seed": options.seed,
            "threads": options.threads, "connectivity": options.connectivity, "expansion_add": options.expansion_add,
            "machine": machine(), "memory_gib": options.memory_gib, "clock": options.clock,
            "vectors": " ".join(VECTORS.split()),
            "measured": f"k = {options.k}; {options.threads} threads for exact search and HNSW queries; a graph is "
            "built by one thread (two shards by two, side by side). Each step in a process of its own; peak memory is "
            "the kernel's count with mapped files, in brackets without. Recall against exact search over all queries, "
            f"95 % bootstrap interval over queries; the quickest expansion that reaches .98. {machine()}.",
            "rule": f"Seconds to build and search on each shape: measured, search time in proportion to the queries; "
            f"the rule had {options.memory_gib:g} GiB, {options.threads} cores and recall .98 to keep to.",
        },
        "measured": short,
        "rule": rule,
        "fitted": fit(measured, options.queries, options.dim, options.k, options.threads, options.clock),
        "command": "scripts/bench_search.py --docs",
    }  # fmt: skip
    write_json(path, known)


def machine() -> str:
    """The processor, cores and memory."""
    name = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")), "unknown processor")  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{VECTORS}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of exact search, of HNSW search, and shards at once")
    parser.add_argument("--arms", nargs="+", choices=("exact", *ARMS), default=["exact", "f16", "i8", "i8x2"])
    parser.add_argument("--connectivity", type=int, default=16)
    parser.add_argument("--expansion-add", type=int, default=64)
    parser.add_argument("--expansions", type=int, nargs="+", default=EXPANSIONS)
    parser.add_argument("--work", default=str(ROOT / "build" / "bench_search"))
    parser.add_argument(
        "--again", action="store_true", help="measure anew (indexes that lie there are not built anew)"
    )
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: where other work runs beside")
    parser.add_argument("--memory-gib", type=float, default=8.0, help="what the rule may plan with")
    parser.add_argument("--fit", action="store_true", help="print the unit costs fitted to what was measured")
    parser.add_argument(
        "--docs", nargs="?", const=str(ROOT / "docs" / "mining.json"), help="write the key 'search' of this file"
    )
    for hidden in ("--step", "--phase", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        options.items = options.items[0]
    return options


if __name__ == "__main__":
    main()
