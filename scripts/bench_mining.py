"""Our mining against sentence-transformers' mine_hard_negatives on the same vectors: time, memory, candidates.

    python scripts/bench_mining.py                                  20,000 queries x 200,000 items x 384, top 100
    python scripts/bench_mining.py --queries 2000 --items 20000     a tenth of each
    python scripts/bench_mining.py --docs                           also writes the table into docs/mining.json

Each arm runs in a process of its own, so that its peak memory is its own, and writes
build/bench_mining/<size>/<arm>.json; an arm that is there is not run again (--again runs it). Encoding costs nothing
here: a model that serves vectors made beforehand stands in for one that computes them. It scores by dot product, which
for unit vectors is the cosine, and spares mine_hard_negatives the normalising that its cosine would repeat a batch.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
K = 100
BATCHES = (64, 256, 1024)
ARMS = ["ours", "bare", "theirs-default", *(f"theirs-{batch}" for batch in BATCHES), "theirs-faiss"]


def peak() -> int:
    """The most bytes this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make(folder: Path, n_queries: int, n_items: int, dim: int, seed: int) -> None:
    """Clustered unit vectors and each query's positive, a random item of the query's cluster."""
    if (folder / "positives.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    n_clusters = max(n_items // 200, 1)
    centres = rng.standard_normal((n_clusters, dim), dtype=np.float32)
    members = rng.integers(0, n_clusters, n_items)
    for name, of in (("items", members), ("queries", rng.integers(0, n_clusters, n_queries))):
        out = np.empty((len(of), dim), dtype=np.float32)
        for start in range(0, len(of), 8192):
            part = of[start : start + 8192]
            rows = centres[part] + 0.8 * rng.standard_normal((len(part), dim), dtype=np.float32)
            out[start : start + len(part)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.save(folder / f"{name}.npy", out)
    by_cluster = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[by_cluster], np.arange(n_clusters))
    counts = np.bincount(members, minlength=n_clusters)
    place = starts[of] + (rng.random(n_queries) * counts[of]).astype(np.int64)
    np.save(folder / "positives.npy", by_cluster[np.minimum(place, n_items - 1)])


class Cost:
    """What has been spent since this was made; reading the result back, for the comparison, is not part of it."""

    def __init__(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def so_far(self) -> dict[str, float]:
        cpu = time.process_time() - self._cpu
        return {"seconds": time.perf_counter() - self._start, "cpu_seconds": cpu, "peak_bytes": peak()}


def texts_of(n_queries: int, n_items: int) -> tuple[list[str], list[str]]:
    return [f"query {row}" for row in range(n_queries)], [f"item {row}" for row in range(n_items)]


def run_ours(
    queries: np.ndarray, items: np.ndarray, positives: np.ndarray, memory: int
) -> tuple[Any, dict[str, float]]:
    import pyarrow as pa

    from mr_st.mining.candidates import candidates_of, drop_judged
    from mr_st.mining.select import cap_per_query
    from mr_st.search import ExactSearcher, QueryBatch

    query_texts, item_texts = texts_of(len(queries), len(items))
    cost = Cost()
    top = ExactSearcher(items, memory=memory).search(QueryBatch(vectors=queries), K + 1)
    rows = np.arange(len(queries))
    found, _ = drop_judged(candidates_of(top, rows, np.arange(len(items))), rows, positives)
    taken = cap_per_query(found.query_rows, found.ranks[:, 0], np.ones(len(found), dtype=bool), K)
    kept = found.take(taken)
    # the table that they return holds texts, so ours does too
    table = pa.table(
        {
            "query": pa.array(query_texts).take(pa.array(kept.query_rows)),
            "positive": pa.array(item_texts).take(pa.array(positives[kept.query_rows])),
            "item": pa.array(item_texts).take(pa.array(kept.item_rows)),
            "score": pa.array(kept.scores),
        }
    )
    spent = cost.so_far()
    assert len(table) == len(queries) * K
    return kept.item_rows.reshape(len(queries), K), spent


def run_bare(queries: np.ndarray, items: np.ndarray) -> tuple[None, dict[str, float]]:
    """A blocked float32 product with top-k, and nothing else."""
    import torch

    cost = Cost()
    wide_items, block = torch.from_numpy(items), 8192
    for first in range(0, len(queries), 256):
        part = torch.from_numpy(queries[first : first + 256])
        values, ids = torch.empty(len(part), 0), torch.empty(len(part), 0, dtype=torch.int64)
        for row in range(0, len(items), block):
            best = (part @ wide_items[row : row + block].T).topk(min(K, len(items) - row), dim=1)
            values, ids = torch.cat([values, best.values], 1), torch.cat([ids, best.indices + row], 1)
            merged = values.topk(min(K, values.shape[1]), dim=1)
            values, ids = merged.values, ids.gather(1, merged.indices)
    return None, cost.so_far()


def run_theirs(
    queries: np.ndarray, items: np.ndarray, positives: np.ndarray, batch: int, use_faiss: bool
) -> tuple[Any, dict[str, float]]:
    import torch
    from datasets import Dataset
    from sentence_transformers.util import dot_score, mine_hard_negatives, pairwise_dot_score

    query_texts, item_texts = texts_of(len(queries), len(items))

    def serve(vectors: np.ndarray) -> Any:
        def encode(texts: list[str], **_: Any) -> np.ndarray:
            assert len(texts) == len(vectors)
            return vectors

        return encode

    model = SimpleNamespace(
        device=torch.device("cpu"),
        encode_document=serve(items),
        encode_query=serve(queries),
        similarity=dot_score,
        similarity_pairwise=pairwise_dot_score,
        get_embedding_dimension=lambda: items.shape[1],
    )
    dataset = Dataset.from_dict({"query": query_texts, "positive": [item_texts[row] for row in positives]})
    cost = Cost()
    mined = mine_hard_negatives(
        dataset, model, corpus=item_texts, num_negatives=K, sampling_strategy="top", output_format="n-tuple",
        faiss_batch_size=batch, use_faiss=use_faiss, verbose=False,
    )  # fmt: skip
    spent = cost.so_far()
    columns = [mined[f"negative_{place}"] for place in range(1, K + 1)]
    ids = np.array([[int(text[5:]) for text in column] for column in columns], dtype=np.int64).T
    at = np.array([int(text[6:]) for text in mined["query"]])
    return ids[np.argsort(at)], spent


def run_arm(arm: str, folder: Path, threads: int, memory: int) -> None:
    import torch

    torch.set_num_threads(threads)
    if arm.startswith("theirs"):
        import datasets  # noqa: F401
        import sentence_transformers.util  # noqa: F401
    else:
        import mr_st.mining.candidates
        import mr_st.search  # noqa: F401
    queries, items = np.load(folder / "queries.npy"), np.load(folder / "items.npy")
    positives = np.load(folder / "positives.npy")
    loaded = peak()
    if arm == "ours":
        ids, spent = run_ours(queries, items, positives, memory)
    elif arm == "bare":
        ids, spent = run_bare(queries, items)
    else:
        kind = arm.removeprefix("theirs-")
        batch = int(kind) if kind.isdigit() else 16_384
        ids, spent = run_theirs(queries, items, positives, batch, kind == "faiss")
    result = {"arm": arm, **spent, "peak_above_inputs_bytes": spent["peak_bytes"] - loaded}
    if ids is not None:
        np.save(folder / f"{arm}.npy", ids)
    (folder / f"{arm}.json").write_text(json.dumps(result, indent=1) + "\n")


def differing(ours: np.ndarray, theirs: np.ndarray, queries: np.ndarray, items: np.ndarray) -> int:
    """Pairs that only one found and whose score is over 1e-6 from the query's last one: no tie excuses them."""
    n_wrong = 0
    for row in np.flatnonzero((np.sort(ours, axis=1) != np.sort(theirs, axis=1)).any(axis=1)):
        only = np.setxor1d(ours[row], theirs[row])
        query = queries[row].astype(np.float64)
        last = (items[ours[row]].astype(np.float64) @ query).min()
        n_wrong += int((np.abs(items[only].astype(np.float64) @ query - last) > 1e-6).sum())
    return n_wrong


def tell(folder: Path, size: tuple[int, int, int], threads: int, memory: int) -> dict[str, Any]:
    queries, items = np.load(folder / "queries.npy", mmap_mode="r"), np.load(folder / "items.npy", mmap_mode="r")
    arms = [json.loads((folder / f"{arm}.json").read_text()) for arm in ARMS if (folder / f"{arm}.json").exists()]
    ours = next((arm for arm in arms if arm["arm"] == "ours"), None)
    for arm in arms:
        if ours is None:
            continue
        arm["seconds_over_ours"] = arm["seconds"] / ours["seconds"]
        arm["peak_over_ours"] = arm["peak_bytes"] / ours["peak_bytes"]
        if arm["arm"].startswith("theirs"):
            found = np.load(folder / f"{arm['arm']}.npy"), np.load(folder / "ours.npy")
            arm["pairs_that_differ"] = differing(found[1], found[0], queries, items)
    for arm in arms:
        print(
            f"{arm['arm']:16s} {arm['seconds']:8.1f} s  ({arm['cpu_seconds']:.1f} s CPU)  "
            f"peak {arm['peak_bytes'] / 2**20:8.0f} MiB  "
            f"above inputs {arm['peak_above_inputs_bytes'] / 2**20:8.0f} MiB  "
            f"{arm.get('seconds_over_ours', float('nan')):5.2f} x our time  "
            f"{arm.get('peak_over_ours', float('nan')):5.2f} x our peak  differ {arm.get('pairs_that_differ', '-')}"
        )
    protocol = {
        "queries": size[0], "items": size[1], "dim": size[2], "k": K, "threads": threads,
        "our_memory_argument_bytes": memory, "machine": platform.processor() or platform.machine(),
        "vectors": "clustered unit vectors, about 200 items a cluster, noise 0.8 a component, float32, seed 0",
        "time": "from vectors to a table of (query, positive, negative texts); encoding excluded",
        "peak": "ru_maxrss of the arm's own process, imports and inputs included; also what is above those",
        "command": f"python scripts/bench_mining.py --queries {size[0]} --items {size[1]} --dim {size[2]}",
    }  # fmt: skip
    return {"protocol": protocol, "arms": arms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=192, help="MiB that our searcher may work in")
    parser.add_argument("--again", action="store_true", help="run arms whose result is there")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/mining.json")
    parser.add_argument("--in-process", choices=ARMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = (args.queries, args.items, args.dim)
    folder = ROOT / "build" / "bench_mining" / "x".join(map(str, size))
    if args.in_process:
        run_arm(args.in_process, folder, args.threads, args.memory << 20)
        return
    make(folder, *size, seed=0)
    for arm in args.arms:
        if args.again or not (folder / f"{arm}.json").exists():
            done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--in-process", arm])
            if done.returncode:
                print(f"{arm}: ended with {done.returncode}", file=sys.stderr)
    table = tell(folder, size, args.threads, args.memory << 20)
    if args.docs:
        path = ROOT / "docs" / "mining.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        known["against_mine_hard_negatives"] = table
        path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
