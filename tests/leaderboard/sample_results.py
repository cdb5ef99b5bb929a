"""Result folders as they really are: reports written by GradedReport.save, and files as mteb itself writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from mr_st.evaluation import GradedReport
from mr_st.measures import SimilarityHistogram, bootstrap_interval

QUALITY = {"base": 0.55, "stage1": 0.62, "control": 0.625, "stage2": 0.70}
NAMES = {
    "base": "sentence-transformers/all-MiniLM-L6-v2",
    "stage1": "mr-st/mr-minilm-marketplace-stage1",
    "control": "mr-st/mr-minilm-marketplace-control",
    "stage2": "mr-st/mr-minilm-marketplace",
}


def make_report(
    arm: str, task: str = "MarketplaceRetrieval", n_queries: int = 60, name: str | None = None, shift: float = 0.0
) -> GradedReport:
    """A report whose values rise with the arm's quality; the queries' difficulty is shared, as in real runs."""
    quality = QUALITY[arm] + shift
    shared = np.random.default_rng(7).normal(0, 0.22, n_queries)
    own = np.random.default_rng(sum(map(ord, arm + task)))

    def values(level: float, noise: float = 0.07) -> np.ndarray:
        return np.clip(level + shared + own.normal(0, noise, n_queries), 0, 1)

    columns: dict[str, np.ndarray] = {}
    for k, gain in ((10, 0.0), (50, 0.05), (100, 0.08)):
        columns[f"ndcg@{k}"] = values(quality + gain)
    for suffix, drop in (("", 0.0), ("/2", 0.05)):
        for k, level in ((10, 0.35), (50, 0.7), (100, 0.82)):
            columns[f"recall@{k}{suffix}"] = values(level + quality / 5 - drop)
        for k, level in ((10, 0.5), (50, 0.22), (100, 0.13)):
            columns[f"precision@{k}{suffix}"] = values(level + quality / 8 - drop)
    columns["judged@10"] = values(0.6)
    for high, low, scale in ((2, 0, 0.45), (1, 0, 0.3), (2, 1, 0.18)):
        for kind, less in (("average", 0.0), ("worst", 0.35)):
            columns[f"margin_{kind}_{high}_{low}"] = (
                shared / 3 + scale * quality - less + own.normal(0, 0.05, n_queries)
            )
    columns["margin_average_2_0_overlap70"] = np.where(np.arange(n_queries) < 4, 0.1 * quality, np.nan)
    edges = np.linspace(-1, 1, 81)
    counts = [
        np.histogram(own.normal(0.15 + grade * 0.3 * quality, 0.13, 900 // (grade + 1)), edges)[0]
        for grade in range(3)
    ]
    query_ids = [f"q{i}" for i in range(n_queries)]
    return GradedReport(
        task_name=task,
        model_name=name or NAMES[arm],
        revision=f"{sum(map(ord, arm)):08x}c0ffee00",
        metrics={metric: bootstrap_interval(value, 0, 400) for metric, value in columns.items()},
        per_query=pa.table(
            {
                "query_id": query_ids,
                "n_judged": pa.array([24] * n_queries, pa.int32()),
                **{metric: pa.array(value, pa.float64(), from_pandas=True) for metric, value in columns.items()},
            }
        ),
        run=pa.table({"query_id": query_ids, "rank": [1] * n_queries, "item_id": ["i"] * n_queries}),
        similarities=SimilarityHistogram(edges, np.array(counts, dtype=np.int64)),
        protocol={
            "corpus": "full catalogue",
            "n_items": 2400,
            "n_items_in_catalogue": 2400,
            "split": "test",
            "n_queries": n_queries,
            "n_queries_left_out": 2,
            "n_judged_pairs": 1440,
            "grades": ["irrelevant", "partial", "relevant"],
            "gains": [0.0, 0.5, 1.0],
            "item_text": {"levels": 2, "max_chars": 400},
            "dataset": {"name": task.removesuffix("Retrieval").lower(), "fingerprint": "0123456789abcdef"},
            "ks": [10, 50, 100],
        },
        model_facts={"max_tokens": 256, "embed_dim": 384, "n_parameters": 22_713_216},
        evaluation_time=1.5,
    )


def write_mteb_result(
    results: Path, model: str = "intfloat/e5-small-v2", task: str = "MarketplaceRetrieval", score: float = 0.581
) -> Path:
    """A result as mteb alone writes it: no interval, no per-query file."""
    folder = results / model.replace("/", "__") / "1a2b3c4d5e6f"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_meta.json").write_text(
        json.dumps({"name": model, "revision": "1a2b3c4d5e6f", "n_parameters": 33_400_000, "embed_dim": 384})
    )
    scores = {f"{family}_at_{k}": value for family, value in (("ndcg", score), ("recall", 0.47)) for k in (10, 100)}
    content = {
        "dataset_revision": "0123456789abcdef",
        "task_name": task,
        "mteb_version": "2.26.24",
        "scores": {
            "test": [
                {
                    **scores,
                    "nauc_ndcg_at_10_max": 0.2,
                    "main_score": score,
                    "hf_subset": "default",
                    "languages": ["eng-Latn"],
                }
            ]
        },
        "evaluation_time": 3.0,
        "kg_co2_emissions": None,
    }
    path = folder / f"{task}.json"
    path.write_text(json.dumps(content))
    return path


def write_sample(results: Path) -> Path:
    """Four arms on the marketplace, three of them on ESCI too, one model of mteb's own, and three broken files."""
    for arm in QUALITY:
        make_report(arm).save(results)
    for arm in ("base", "stage1", "stage2"):
        make_report(arm, "ESCIRetrieval", 40, shift=0.1).save(results)
    write_mteb_result(results)
    (results / "intfloat__e5-small-v2" / "1a2b3c4d5e6f" / "Broken.json").write_text('{"task_name": "Bro')
    (results / "intfloat__e5-small-v2" / "1a2b3c4d5e6f" / "Foreign.json").write_text("[1, 2, 3]")
    return results
