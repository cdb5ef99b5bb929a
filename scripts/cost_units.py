"""Where cost_model.py's unit costs are from: the benchmarks' files in docs/, or a short measurement of its own.

A benchmark's figure counts before an own one. All costs are of one core: seconds times the threads that were used.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bench_losses import DOCS
from cost_plan import SearchPoint, Unit

NEEDED = {
    "encode_item": "item", "encode_query": "query", "exact": "query x item", "merge": "candidate", "annotate": "pair",
    "select": "pair", "pair_text_bytes": "pair", "label_bytes": "pair", "row_bytes": "row",
}  # fmt: skip
"""The units that a plan needs, and what each is of."""
ANNOTATOR = "cross-encoder (CrossEncoderAnnotator)"
ANNOTATOR_THREADS = 2  # of docs/annotators.json's "throughput-cpu", as its protocol says


def read_json_or_nothing(path: Path) -> dict[str, Any]:
    """What a file of figures holds; nothing where it is not there yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def units_from_docs(docs: Path = DOCS) -> tuple[dict[str, Unit], list[SearchPoint]]:
    """The units that the benchmarks measured; what is not there is left out.

    Args:
        docs: The folder with annotators.json, encoding.json and mining.json.
    """
    units: dict[str, Unit] = {}
    pairs = _at(read_json_or_nothing(docs / "annotators.json"), "throughput-cpu", "annotators", ANNOTATOR)
    if pairs:
        seconds = ANNOTATOR_THREADS / pairs["pairs_per_second"]
        units["annotate"] = Unit(seconds, f"annotators.json, throughput-cpu, {ANNOTATOR}", "pair")
    encoding = read_json_or_nothing(docs / "encoding.json")
    if encoding:
        way, of = max(
            ((name, of) for name, of in encoding["ways"].items() if name.startswith("shards")),
            key=lambda one: one[1]["texts_per_second"],
        )
        seconds = encoding["protocol"]["cores"] / of["texts_per_second"]
        units["encode_item"] = Unit(seconds, f"encoding.json, {way}, {encoding['protocol']['cores']} cores", "item")
    return units, []


def units_of_search(measured: Mapping[str, Any], queries: int, k: int, source: str) -> tuple[Unit, list[SearchPoint]]:
    """Exact search's and HNSW's unit costs from what bench_search.py measured at each size.

    Args:
        measured: Items (as text) to arm to its figures: ``exact`` with prepare and search, the others with build and
            search, each time as wall and cpu seconds. Processor seconds are the core-seconds.
        queries: That were searched.
        k: Items asked for.
        source: Where the figures stand.
    """
    largest = max(measured, key=int)
    exact = measured[largest]["exact"]
    seconds = (exact["prepare"]["cpu"] + exact["search"]["cpu"]) / (int(largest) * queries)
    points = []
    for items, arms in measured.items():
        for dtype in ("f16", "i8"):
            if dtype not in arms:
                continue
            build, search = arms[dtype]["build"], arms[dtype]["search"]
            for one in search["searches"]:
                points.append(
                    SearchPoint(
                        dtype, int(items), max(one["expansion"], round(k * search["oversampling"])),
                        one["recall"]["value"], one["search"]["cpu"] / queries, build["build"]["cpu"] / int(items),
                        build["bytes"] / int(items), source,
                    )
                )  # fmt: skip
    return Unit(seconds, f"{source}, exact, {int(largest):,} items", NEEDED["exact"]), points


def measured_units(path: Path) -> tuple[dict[str, Unit], list[SearchPoint]]:
    """The units that ``cost_model.py --measure`` wrote to a file."""
    found = read_json_or_nothing(path)
    source = f"cost_model.py --measure ({found.get('machine', '')})"
    units = {name: Unit(value, source, NEEDED[name]) for name, value in found.get("units", {}).items()}
    return units, [SearchPoint(**point, source=source) for point in found.get("hnsw", [])]


def _at(found: Mapping[str, Any], *keys: str) -> Any:
    value: Any = found
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


# ---- the short measurement -------------------------------------------------------------------------------------------


def measure(size: str = "small", n_items: int = 50_000, n_queries: int = 200, k: int = 150) -> dict[str, Any]:
    """Every unit on this machine, one thread, in a minute or two; less exact than the benchmarks.

    Args:
        size: Of the marketplace whose texts are encoded and annotated.
        n_items, n_queries: Clustered vectors (384 numbers) that are indexed and searched.
        k: Items retrieved for a query.
    """
    import torch

    torch.set_num_threads(1)
    units = _measure_texts(size)
    units |= _measure_bookkeeping(k)
    vectors, queries = clustered(n_items + n_queries, 384)[:n_items], clustered(n_items + n_queries, 384)[n_items:]
    units["exact"], points = _measure_search(vectors, queries, k)
    return {"machine": machine(), "protocol": {"size": size, "items": n_items, "queries": n_queries, "k": k},
            "units": units, "hnsw": points}  # fmt: skip


def machine() -> str:
    """The processor's name and the number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores"


def clustered(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors about ``n / 50`` centres, float32 (n, dim): neighbours are as near as in a real catalogue."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), dim)).astype(np.float32)
    vectors = centres[rng.integers(0, len(centres), n)] + 0.8 * rng.standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _seconds(work: Callable[[], Any]) -> float:
    """Processor seconds, which do not depend on what else the machine does (but for the caches it shares)."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _measure_texts(size: str) -> dict[str, float]:
    from mr_st.data import GradedDataset
    from mr_st.encoding import encode
    from mr_st.models import load_sentence_transformer

    shop = GradedDataset.load("marketplace", size=size, seed=0)
    items, queries = shop.item_texts(2, 400)[:1000], shop.query_texts()[:1000]
    model = load_sentence_transformer("minilm", device="cpu")
    encode(model, items[:64], "item")  # warms up
    lengths = [float(np.mean([len(text.encode()) for text in texts])) for texts in (items, queries)]
    return {
        "encode_item": _seconds(lambda: encode(model, items, "item")) / len(items),
        "encode_query": _seconds(lambda: encode(model, queries, "query")) / len(queries),
        "pair_text_bytes": sum(lengths),
        "label_bytes": 1.0 + 4 * shop.scale.n_grades,  # the grade and float32 probabilities
    }


def _measure_bookkeeping(k: int) -> dict[str, float]:
    """Merging ten parts' answers, and dropping judged pairs; selecting and writing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mr_st.mining.select import is_judged, select_pairs

    rng = np.random.default_rng(0)
    n_queries, n_parts = 400, 10
    scores = rng.random((n_queries, n_parts * k), dtype=np.float32)
    ids = rng.integers(0, 1_000_000, size=scores.shape)

    def merge() -> None:
        order = np.argpartition(-scores, k, axis=1)[:, :k]
        best = np.take_along_axis(order, np.argsort(-np.take_along_axis(scores, order, 1), axis=1, kind="stable"), 1)
        rows = np.take_along_axis(ids, best, 1)
        is_judged(np.repeat(np.arange(n_queries), k), rows.ravel(), np.arange(n_queries).repeat(20), ids[:, :20].ravel())

    n = n_queries * k * n_parts
    query_rows, ranks = np.repeat(np.arange(n // k), k), np.tile(np.arange(1, k + 1), n // k)
    grades, confidences = (rng.random(n) < 0.07).astype(np.int8), rng.random(n, dtype=np.float32)
    row_bytes = 0.0

    def select() -> None:
        nonlocal row_bytes
        kept = select_pairs(query_rows, ranks, grades, confidences, last_negative_rank=k // 10).taken
        table = pa.table(
            {
                "query_id": pa.array([f"q{row}" for row in query_rows[kept]]),
                "item_id": pa.array([f"I{row:09}" for row in rng.integers(0, 200_000_000, int(kept.sum()))]),
                "grade": grades[kept], "rank": ranks[kept].astype(np.int32), "score": confidences[kept],
                "confidence": confidences[kept],
            }
        )  # fmt: skip
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            pq.write_table(table, file.name)
            row_bytes = Path(file.name).stat().st_size / max(1, table.num_rows)

    found = {"merge": _seconds(merge) / (n_queries * n_parts * k), "select": _seconds(select) / n}
    return {**found, "row_bytes": row_bytes}


def _measure_search(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[float, list[dict[str, Any]]]:
    from mr_st.search import ExactSearcher, QueryBatch
    from mr_st.search.hnsw import HnswSearcher

    batch = QueryBatch(vectors=queries)
    searcher = ExactSearcher(vectors)
    started = time.process_time()
    exact = searcher.search(batch, k)
    exact_seconds = (time.process_time() - started) / (len(vectors) * len(queries))
    points: list[dict[str, Any]] = []
    for dtype in ("f16", "i8"):
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            HnswSearcher.build(vectors, folder, dtype=dtype, threads=1)
            add_seconds = (time.process_time() - started) / len(vectors)
            n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            for expansion in (k, 2 * k, 4 * k):
                index = HnswSearcher.load(folder, vectors=vectors, expansion_search=expansion, threads=1)
                started = time.process_time()
                found = index.search(batch, k)
                seconds = (time.process_time() - started) / len(queries)
                pairs = zip(found.ids, exact.ids, strict=True)
                recall = float(np.mean([len(np.intersect1d(a, b)) / k for a, b in pairs]))
                points.append(
                    {
                        "dtype": dtype, "n_items": len(vectors), "candidates": expansion, "recall": recall,
                        "seconds": seconds, "add_seconds": add_seconds, "item_bytes": n_bytes / len(vectors),
                    }
                )  # fmt: skip
    return exact_seconds, points
