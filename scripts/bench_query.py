#!/usr/bin/env python3
"""How long one query takes from its text to ten items, each way that docs/serving.md shows: p50 and p99.

    scripts/bench_query.py                         MiniLM over the marketplace and 100,000 items (minutes)
    scripts/bench_query.py --model FOLDER          another model
    scripts/bench_query.py --docs                  and put the table into docs/serving.md, the figures beside it
    scripts/bench_query.py --json FILE             write the figures to FILE
    scripts/bench_query.py --queries 20 --items 2000  a small one: does it run?

The queries of the marketplace's test split, one at a time, after a warm-up; time is from the text to the last of ten
rows and scores, encoding included. The larger catalogue is synthetic: the marketplace's vectors drawn again and turned
a little by Gaussian noise, each with the text of the item it was drawn from. Recall@10 is against an exact search by
the same vectors. The server runs in a process of its own and is asked over the loopback interface; so is its client's
JSON counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from doc_pages import DOCS, put_into_docs

K = 10
PAGE = DOCS / "serving.md"
SEED = 0
NOISE = 0.6  # length of the noise beside a unit vector: the items drawn from one have a cosine of about 0.74
WARM_UP = 20

Search = Callable[[str, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass
class Catalogue:
    name: str
    texts: list[str]
    vectors: np.ndarray


def catalogues(texts: list[str], vectors: np.ndarray, n_items: int) -> list[Catalogue]:
    """The marketplace as it is, and a larger one drawn from it."""
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(0, len(vectors), n_items)
    noise = generator.standard_normal((n_items, vectors.shape[1]), dtype=np.float32)
    turned = vectors[drawn] + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return [
        Catalogue("marketplace", texts, vectors),
        Catalogue("synthetic", [texts[row] for row in drawn], turned.astype(np.float32)),
    ]


def ways(catalogue: Catalogue, folder: Path, threads: int) -> Iterator[tuple[str, float, Search]]:
    """Each way to search: its name, the megabytes of its vectors or graph on disk, and the search itself."""
    import faiss

    from mr_st.search import Bm25Searcher, ExactSearcher, HnswSearcher, HybridSearcher, QueryBatch, Searcher

    def asked(searcher: Searcher) -> Search:
        def search(text: str, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            top = searcher.search(QueryBatch([text], vector), K)
            return top.ids[0], top.scores[0]

        return search

    def by_faiss(index: Any) -> Search:
        def search(text: str, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            scores, rows = index.search(vector, K)
            return rows[0], scores[0]

        return search

    vectors = catalogue.vectors
    dense: dict[str, HnswSearcher] = {}
    for dtype in ("f16", "i8"):
        at = folder / f"{catalogue.name}-{dtype}"
        HnswSearcher.build(vectors, at, dtype=dtype, threads=threads, n_shards=1)
        dense[dtype] = HnswSearcher.load(at, vectors=vectors, check=False)
        yield f"usearch HNSW {dtype}, rescored", _megabytes(at), asked(dense[dtype])
    yield "exact, `ExactSearcher`", vectors.nbytes / 1e6, asked(ExactSearcher(vectors))
    faiss.omp_set_num_threads(threads)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    graph = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, 16, faiss.METRIC_INNER_PRODUCT)
    for name, index in (("FAISS flat", flat), ("FAISS HNSW f16", graph)):
        index.train(vectors)
        index.add(vectors)
        if index is graph:
            graph.hnsw.efSearch = 128
        at = folder / f"{catalogue.name}-{name.split()[1]}.faiss"
        faiss.write_index(index, str(at))
        yield name, _megabytes(at), by_faiss(index)
    bm25 = Bm25Searcher(catalogue.texts)
    bm25.save(folder / f"{catalogue.name}-bm25")
    blend = HybridSearcher(
        {"bm25": bm25, "dense": dense["i8"]}, fusion="weighted", weights={"bm25": 0.3, "dense": 0.7}, depth=100
    )
    size = _megabytes(folder / f"{catalogue.name}-bm25") + _megabytes(folder / f"{catalogue.name}-i8")
    yield "BM25 + usearch i8, blended", size, asked(blend)


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files) / 1e6


def timed(encode: Callable[[str], np.ndarray], search: Search | None, queries: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of each query, and the rows that were found."""
    for query in queries[:WARM_UP]:
        vector = encode(query)
        if search:
            search(query, vector)
    whole, searching, rows = [], [], []
    for query in queries:
        start = time.perf_counter()
        vector = encode(query)
        encoded = time.perf_counter()
        if search:
            rows.append(search(query, vector)[0])
        end = time.perf_counter()
        whole.append(1000 * (end - start))
        searching.append(1000 * (end - encoded))
    return {"ms": whole, "search_ms": searching, "rows": rows}


def figures(found: dict[str, Any]) -> dict[str, float]:
    return {
        "p50_ms": float(np.percentile(found["ms"], 50)), "p99_ms": float(np.percentile(found["ms"], 99)),
        "search_p50_ms": float(np.percentile(found["search_ms"], 50)),
        "search_p99_ms": float(np.percentile(found["search_ms"], 99)),
    }  # fmt: skip


@contextmanager
def server(model: str, folder: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """The page's own server on a free port: yields what encodes a query there."""
    (code,) = re.findall(r"^```python\n(# embedding_server\.py\n.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.M)
    (folder / "embedding_server.py").write_text(code, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "embedding_server.py", model, address.rpartition(":")[2]],
            cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            if process.poll() is not None:
                raise SystemExit((folder / "server.log").read_text())
            time.sleep(0.2)
        import openai

        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")

        def encode(text: str) -> np.ndarray:
            answer = client.embeddings.create(model="query", input=[text], encoding_format="float")
            return np.array([answer.data[0].embedding], dtype=np.float32)

        yield encode
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def measure(model_name: str, n_queries: int, n_items: int, size: str, repeats: int, threads: int) -> dict[str, Any]:
    """All figures, with their protocol."""
    import torch

    from mr_st.data import GradedDataset
    from mr_st.data.item_text import format_items
    from mr_st.models import load_sentence_transformer

    torch.set_num_threads(threads)
    load_before = os.getloadavg()[0]
    shop = GradedDataset.load("marketplace", size=size)
    items = shop.items.with_format("arrow")[:]
    texts = format_items(items["title"], items["category_path"])
    queries = sorted(set(shop.split("test").queries["text"]))[:n_queries] * repeats
    model = load_sentence_transformer(model_name)
    vectors = model.encode_document(texts, normalize_embeddings=True, batch_size=64)

    def encode(text: str) -> np.ndarray:
        return model.encode_query([text], normalize_embeddings=True, show_progress_bar=False)

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save(str(folder / "model"), create_model_card=False)
        rows.append({"way": "encode only", "catalogue": None, **figures(timed(encode, None, queries))})
        searches: dict[str, Search] = {}
        for catalogue in catalogues(texts, vectors, n_items):
            distinct = queries[: len(queries) // repeats]
            exact = {text: set(np.argsort(-(catalogue.vectors @ encode(text)[0]))[:K].tolist()) for text in distinct}
            for name, megabytes, search in ways(catalogue, folder, threads):
                found = timed(encode, search, queries)
                hit = [len(exact[q].intersection(r.tolist())) / K for q, r in zip(queries, found["rows"], strict=True)]
                is_dense = "BM25" not in name
                rows.append(
                    {
                        "way": name, "catalogue": catalogue.name, "n_items": len(catalogue.texts), "mb": megabytes,
                        **figures(found), "recall@10": float(np.mean(hit)) if is_dense else None,
                    }
                )  # fmt: skip
                if "i8, rescored" in name:
                    searches[catalogue.name] = search
                print(f"{catalogue.name}, {name}: {rows[-1]['p50_ms']:.1f} / {rows[-1]['p99_ms']:.1f} ms", flush=True)
        with server(str(folder / "model"), folder) as remote:
            for catalogue_name, search in searches.items():
                found = timed(remote, search, queries)
                rows.append({"way": "server + usearch i8", "catalogue": catalogue_name, **figures(found)})
    return {
        "rows": rows,
        "protocol": {
            "model": model_name, "dimensions": int(vectors.shape[1]), "k": K, "n_queries": len(queries) // repeats,
            "repeats": repeats, "n_marketplace": len(texts), "n_synthetic": n_items, "noise": NOISE, "seed": SEED,
            "threads": threads, "cores": os.cpu_count(), "machine": _processor(), "load_before": round(load_before, 2),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("torch", "sentence-transformers", "usearch", "faiss-cpu",
                                                          "bm25s", "litserve")},
        },
    }  # fmt: skip


def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return platform.machine()


def table(found: dict[str, Any]) -> str:
    """The figures as the page shows them."""
    protocol, rows = found["protocol"], found["rows"]
    small, large = f"{protocol['n_marketplace']:,} items", f"{protocol['n_synthetic']:,} items"
    lines = [
        f"| from text to {K} items, ms | {small}: p50 | p99 | {large}: p50 | p99 | search alone | recall@10 | MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        of = {row["catalogue"]: row for row in rows if row["way"] == way}
        one = of.get(None) or of["marketplace"]
        other = of.get("synthetic")
        cells = [f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}"]
        if other is None:
            cells += [""] * 5
        else:
            recall, size = other.get("recall@10"), other.get("mb")
            cells += [f"{other['p50_ms']:.1f}", f"{other['p99_ms']:.1f}", f"{other['search_p50_ms']:.2f}"]
            cells += ["" if recall is None else f"{recall:.3f}", "" if size is None else f"{size:.0f}"]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += [
        "",
        f"`scripts/bench_query.py --docs`: {protocol['model']}, {protocol['dimensions']} dimensions, "
        f"{protocol['n_queries']:,} queries of the marketplace's test split, {protocol['repeats']} times, each alone, "
        f"{protocol['threads']} threads on {protocol['cores']} cores ({protocol['machine']}), load "
        f"{protocol['load_before']} before. The {protocol['n_synthetic']:,} items are synthetic: the marketplace's "
        f"vectors drawn again and turned by noise of length {protocol['noise']}. The last three "
        "columns are of these (search alone: p50); "
        "recall is against exact search; MB are of the saved index.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm", help="a model's folder, or minilm")
    parser.add_argument("--queries", type=int, default=400, help="distinct queries, at most")
    parser.add_argument("--items", type=int, default=100_000, help="of the synthetic catalogue")
    parser.add_argument("--size", default="small", help="of the marketplace")
    parser.add_argument("--repeats", type=int, default=3, help="times that the queries are asked")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/serving.md")
    args = parser.parse_args()
    found = measure(args.model, args.queries, args.items, args.size, args.repeats, args.threads)
    for path in [args.json] * bool(args.json) + [DOCS / "serving.json"] * args.docs:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    if args.docs:
        put_into_docs(PAGE, "serving", table(found))


if __name__ == "__main__":
    main()
