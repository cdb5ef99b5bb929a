"""Results with figures written by hand, so that ranks and means can be computed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REVISION = "1234567890abcdef"
ONE, TWO = "OneRetrieval", "TwoRetrieval"

FIGURES: dict[str, dict[str, tuple[float, float, float]]] = {
    "shop/alpha": {ONE: (0.80, 0.76, 0.84), TWO: (0.60, 0.57, 0.64)},
    "shop/beta": {ONE: (0.78, 0.75, 0.82), TWO: (0.70, 0.66, 0.73)},
    "shop/gamma": {ONE: (0.60, 0.58, 0.62), TWO: (0.50, 0.47, 0.53)},
    "other/delta": {ONE: (0.90, 0.88, 0.92)},
}
"""NDCG@10 of each model on each task, with its interval."""

FACTS: dict[str, dict[str, Any]] = {
    "shop/alpha": {"n_parameters": 22_713_216, "embed_dim": 384, "training_datasets": ["One"]},
    "shop/beta": {"n_parameters": 109_000_000, "embed_dim": 768, "adapted_from": "base/big", "training_datasets": []},
    "shop/gamma": {},
    "other/delta": {"n_parameters": 7_110_000_000, "license": "mit"},
}
KINDS = {"shop/alpha": "bi-encoder", "shop/beta": "bi-encoder", "shop/gamma": "bm25", "other/delta": "hybrid"}


def write_hand_made(results: Path, samples: Any) -> Path:
    """Write them, and one cell of each status that does not count.

    Args:
        results: Folder for them.
        samples: The module sample_results.
    """
    for model, of_task in FIGURES.items():
        for task, figures in of_task.items():
            _write(results, model, task, figures)
    _write(results, "shop/old", TWO, (0.99, 0.98, 1.0), revision="fedcba0987654321")
    _write(results, "shop/part", ONE, (0.95, 0.93, 0.97), n_queries=30)
    _write(results, "shop/otherwise", ONE, (0.97, 0.96, 0.98), n_items=500)
    _write(results, "shop/broken", ONE, (0.40, 0.38, 0.42))
    (results / "shop__broken" / "c0ffee" / f"{TWO}.json").write_text('{"task_name": "Two')
    for task, score in ((ONE, 0.70), (TWO, 0.55)):
        samples.write_mteb_result(results, "mteb/exact", task, score)
        path = results / "mteb__exact" / "1a2b3c4d5e6f" / f"{task}.json"
        path.write_text(path.read_text().replace("0123456789abcdef", REVISION))
    return results


def _write(
    results: Path,
    model: str,
    task: str,
    figures: tuple[float, float, float],
    n_queries: int = 40,
    n_items: int = 2400,
    revision: str = REVISION,
) -> None:
    entries = [_entry(model, figures, n_queries, n_items, "default", {})]
    if KINDS.get(model) == "bi-encoder" and task == ONE:
        lower = (figures[0] - 0.3, figures[1] - 0.3, figures[2] - 0.3)
        entries.append(_entry(model, lower, 10, n_items, "en", {"locale": "en"}))
    content = {
        "dataset_revision": revision, "task_name": task, "mteb_version": "2.26.24", "scores": {"test": entries},
        "evaluation_time": 1.0, "kg_co2_emissions": None,
    }  # fmt: skip
    path = results / model.replace("/", "__") / "c0ffee" / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _entry(
    model: str, figures: tuple[float, float, float], n_queries: int, n_items: int, subset: str, where: dict[str, str]
) -> dict[str, Any]:
    value, low, high = figures
    metrics = {
        "ndcg@10": [value, low, high, n_queries],
        "ndcg@50": [value / 2, low / 2, high / 2, n_queries],
        "recall@10": [1 - value, 1 - high, 1 - low, n_queries],
    }
    protocol = {
        "corpus": "full catalogue", "n_items": n_items, "split": "test", "n_queries": n_queries,
        "grades": ["irrelevant", "relevant"], "gains": [0.0, 1.0], "system": {"kind": KINDS.get(model, "run")},
    } | ({"subset": {"name": subset, "where": where}} if where else {})  # fmt: skip
    graded = {
        "format": 1, "main_metric": "ndcg@10", "metrics": metrics, "metric_columns": ["value", "low", "high", "n"],
        "has_similarities": False, "protocol": protocol,
        "model": {"name": model, "revision": "c0ffee", "facts": FACTS.get(model, {})},
    }  # fmt: skip
    return {
        "ndcg_at_10": value, "main_score": value, "hf_subset": subset, "languages": ["eng-Latn"], "graded": graded
    }  # fmt: skip
