"""Results that no model made: as many models and tasks as wanted, in the form in which reports are saved.

For measuring the leaderboard. Qualities, values by query, rankings and similarities are drawn; what stands in the
files is what real reports hold: every metric with its interval, subsets, values by query, the first 100 items of each
query with their grades, similarities by grade, separability. Some cells are missing, stale, partial, by another
protocol or damaged, and some models come from mteb itself.

Run: python scripts/generated_results.py OUT --models 200 --tasks 20
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_QUERIES, N_ITEMS, DEPTH, KS = 200, 3000, 100, (10, 50, 100)
GRADES = ["irrelevant", "partial", "relevant"]
SUBSETS = {"en": ("locale", "en-US"), "de": ("locale", "de-DE"), "head": ("traffic", "head"),
           "tail": ("traffic", "tail"), "misspelt": ("kind", "spelling")}  # fmt: skip
EDGES = np.linspace(-1, 1, 201)
_SIZES = (22_713_216, 33_360_000, 109_486_464, 278_043_648, 567_754_752)


def metric_names() -> list[str]:
    """The metrics of a real report, 42 of them."""
    ranking = [f"{m}@{k}{s}" for s in ("", "/2") for m in ("recall", "precision", "map", "mrr") for k in KS]
    pairs = ("2_0", "1_0", "2_1")
    margins = [f"margin_{how}_{p}{o}" for o in ("", "_overlap70") for p in pairs for how in ("average", "worst")]
    return [*(f"ndcg@{k}" for k in KS), *ranking, *(f"judged@{k}" for k in KS), *margins]


METRICS = metric_names()


@dataclass(frozen=True, eq=False)
class GeneratedTask:
    """What the models of a task share.

    Args:
        name, revision: As in the files.
        difficulty: (n_queries,) of each query.
        attributes: locale, kind, traffic and seen of each query.
        subsets: Subset to a mask of its queries, ``default`` first.
    """

    name: str
    revision: str
    difficulty: np.ndarray
    attributes: dict[str, np.ndarray]
    subsets: dict[str, np.ndarray]


def make_task(number: int) -> GeneratedTask:
    """The task of a number: its queries and their attributes."""
    rng = np.random.default_rng([1, number])
    attributes = {
        "locale": rng.choice(["en-US", "de-DE"], N_QUERIES, p=[0.7, 0.3]),
        "kind": rng.choice(["organic", "spelling"], N_QUERIES, p=[0.85, 0.15]),
        "traffic": rng.choice(["head", "torso", "tail"], N_QUERIES, p=[0.15, 0.25, 0.6]),
        "seen": np.full(N_QUERIES, "unseen"),
    }
    subsets = {"default": np.ones(N_QUERIES, dtype=bool)}
    subsets |= {name: attributes[a] == value for name, (a, value) in SUBSETS.items()}
    return GeneratedTask(
        f"Shop{number:02d}Retrieval", f"{number:016x}", rng.normal(0, 0.2, N_QUERIES), attributes, subsets
    )


def generate(out: Path, n_models: int, n_tasks: int) -> dict[str, int]:
    """Write results; the same ones whenever it is asked.

    Returns:
        How many cells there are of each kind: ok, missing, stale, partial, other, failed, mteb.
    """
    counts: dict[str, int] = {}
    for number in range(n_tasks):
        task = make_task(number)
        for model, fate, rng in _cells(number, n_models):
            counts[fate] = counts.get(fate, 0) + 1
            if fate == "missing":
                continue
            folder = out / f"org-{model % 7}__model-{model:03d}" / f"{model:016x}"
            folder.mkdir(parents=True, exist_ok=True)
            _write_meta(folder, model)
            path = folder / f"{task.name}.json"
            if fate == "failed":
                path.write_text('{"task_name": "Shop')
            elif fate == "mteb":
                path.write_text(json.dumps(_by_mteb(task, model, rng)))
            else:
                _write_report(path, task, model, fate, rng)
    return counts


def _cells(number: int, n_models: int) -> Iterator[tuple[int, str, np.random.Generator]]:
    fates = ("ok", "missing", "stale", "partial", "other", "failed")
    for model in range(n_models):
        rng = np.random.default_rng([2, number, model])
        fate = str(rng.choice(fates, p=[0.89, 0.05, 0.02, 0.01, 0.01, 0.02]))
        yield model, "mteb" if model % 20 == 19 and fate == "ok" else fate, rng


def _write_report(path: Path, task: GeneratedTask, model: int, fate: str, rng: np.random.Generator) -> None:
    kind = "bm25" if model % 50 == 3 else "hybrid" if model % 25 == 4 else "bi-encoder"
    values = _values(task, model, rng)
    n = N_QUERIES if fate != "partial" else N_QUERIES // 2
    names = [name for name in METRICS if kind == "bi-encoder" or not name.startswith("margin")]
    query_ids = [f"{task.name}-q{i:05d}" for i in range(n)]
    per_query = {
        "query_id": query_ids,
        **{name: of_query[:n] for name, of_query in task.attributes.items()},
        "n_judged": pa.array([24] * n, pa.int32()),
        **{name: values[METRICS.index(name)][:n] for name in names},
    }
    _write(path, "per_query", pa.table(per_query))
    items = np.argsort(rng.random((n, N_ITEMS)), axis=1)[:, :DEPTH] if n else np.empty((0, DEPTH))
    grade = rng.choice([-1, 0, 1, 2], n * DEPTH, p=[0.5, 0.25, 0.15, 0.1])
    run = {
        "query_id": np.repeat(np.array(query_ids), DEPTH),
        "rank": pa.array(np.tile(np.arange(1, DEPTH + 1), n), pa.int32()),
        "item_id": np.char.mod("I%07d", items.reshape(-1)),
        "score": pa.array(-np.sort(-rng.random((n, DEPTH)), axis=1).reshape(-1), pa.float32()),
        "grade": pa.array(grade, pa.int8(), mask=grade < 0),
    }
    _write(path, "run", pa.table(run))
    separability = None
    if kind == "bi-encoder":
        counts = [np.histogram(rng.normal(0.2 + 0.2 * g, 0.13, 3000 // (g + 1)), EDGES)[0] for g in range(3)]
        similarities = {
            "grade": pa.array(np.repeat(np.arange(3), len(EDGES) - 1), pa.int8()),
            "low": np.tile(EDGES[:-1], 3),
            "high": np.tile(EDGES[1:], 3),
            "count": np.concatenate(counts),
        }
        _write(path, "similarities", pa.table(similarities))
        separability = _separability(rng)
    scores = []
    for subset, mask in task.subsets.items():
        entry = _scores(subset, mask[:n], [values[METRICS.index(name)][:n] for name in names], names)
        entry["graded"] |= _graded(task, model, fate, kind, n, subset)
        entry["graded"]["separability"] = separability if subset == "default" else None
        scores.append(entry)
    revision = task.revision if fate != "stale" else f"0ld{task.revision[3:]}"
    path.write_text(json.dumps(_content(task, model, revision, scores), indent=2))


def _values(task: GeneratedTask, model: int, rng: np.random.Generator) -> np.ndarray:
    """(n_metrics, n_queries) around the model's quality and the queries' difficulty."""
    quality = 0.35 + 0.4 * math.sin(model) ** 2 + 0.02 * rng.normal()
    levels = np.random.default_rng(3).uniform(-0.15, 0.25, len(METRICS))
    noise = rng.normal(0, 0.08, (len(METRICS), N_QUERIES))
    values = np.clip(quality + levels[:, None] + task.difficulty + noise, 0, 1)
    hard = [i for i, name in enumerate(METRICS) if name.endswith("_overlap70")]
    values[np.ix_(hard, np.flatnonzero(rng.random(N_QUERIES) < 0.6))] = np.nan
    return values


def _scores(subset: str, mask: np.ndarray, values: list[np.ndarray], names: list[str]) -> dict[str, Any]:
    metrics: dict[str, list[Any]] = {}
    for name, of_query in zip(names, values, strict=True):
        own = of_query[mask]
        own = own[~np.isnan(own)]
        if len(own) < 2:
            metrics[name] = [None, None, None, 0]
            continue
        mean, error = float(own.mean()), 1.96 * float(own.std(ddof=1)) / math.sqrt(len(own))
        metrics[name] = [mean, mean - error, mean + error, len(own)]
    flat = {name.replace("@", "_at_").replace("/", "_grade_"): entry[0] for name, entry in metrics.items()}
    return {
        **flat,
        "main_score": metrics["ndcg@10"][0],
        "hf_subset": subset,
        "languages": ["eng-Latn", "deu-Latn"],
        "mteb_version": "2.26.24",
        "graded": {"format": 1, "main_metric": "ndcg@10", "metrics": metrics},
    }


def _graded(task: GeneratedTask, model: int, fate: str, kind: str, n: int, subset: str) -> dict[str, Any]:
    where = {SUBSETS[subset][0]: SUBSETS[subset][1]} if subset in SUBSETS else None
    n_items = N_ITEMS if fate != "other" else 500
    return {
        "metric_columns": ["value", "low", "high", "n"],
        "has_similarities": kind == "bi-encoder",
        "protocol": {
            "corpus": "full catalogue" if fate != "other" else "judged items and random others (seed 0)",
            "n_items": n_items,
            "n_items_in_catalogue": N_ITEMS,
            "split": "test",
            "n_queries": n,
            "n_queries_left_out": 3,
            "n_judged_pairs": 24 * n,
            "grades": GRADES,
            "gains": [0.0, 0.5, 1.0],
            "item_text": {"levels": 2, "max_chars": 400},
            "dataset": {"name": task.name.removesuffix("Retrieval").lower(), "fingerprint": task.revision},
            "ks": list(KS),
            "system": {"kind": kind},
            **({"subset": {"name": subset, "where": where}} if where else {}),
        },
        "model": {
            "name": f"org-{model % 7}/model-{model:03d}",
            "revision": f"{model:016x}",
            "facts": _facts(model) if kind == "bi-encoder" else {"framework": []},
        },
    }


def _separability(rng: np.random.Generator) -> dict[str, Any]:
    def interval() -> dict[str, Any]:
        value = float(rng.uniform(0.3, 0.9))
        return {"value": value, "low": value - 0.03, "high": value + 0.03, "n": N_QUERIES}

    pairs = [
        {"high": high, "low": low, "n_high": 900, "n_low": 1500}
        | {name: interval() for name in ("auc_per_query", "auc_pooled", "overlap")}
        for high, low in ((2, 0), (1, 0), (2, 1))
    ]
    strata = [("locale", "en-US"), ("locale", "de-DE"), ("kind", "organic"), ("kind", "spelling"),
              ("traffic", "head"), ("traffic", "torso"), ("traffic", "tail")]  # fmt: skip
    own = ("f1_own", "f1_common", "f1_lost", "f1_lost_cross_fitted")
    boundaries = [
        {"boundary": boundary, **{name: interval() for name in ("threshold", "precision", "recall", "f1")}}
        | {"f1_cross_fitted": float(rng.random()), "f1_of_all": 0.4, "n_pairs": 4800, "n_positive": 2000}
        | {
            "strata": [
                {"attribute": a, "name": v, "n_queries": 60, "n_pairs": 1400, "n_positive": 500}
                | {"threshold": interval(), **{name: float(rng.random()) for name in own}}
                for a, v in strata
            ]
        }
        for boundary in (1, 2)
    ]
    return {"pairs": pairs, "boundaries": boundaries, "n_queries": N_QUERIES, "pairs_of_grade": [3000, 1500, 1000]}


def _by_mteb(task: GeneratedTask, model: int, rng: np.random.Generator) -> dict[str, Any]:
    names = [name for name in METRICS if name.startswith(("ndcg", "recall", "precision", "map", "mrr"))]
    values = _values(task, model, rng)
    mask = task.subsets["default"]
    entry = _scores("default", mask, [values[METRICS.index(n)] for n in names if "/" not in n],
                    [n for n in names if "/" not in n])  # fmt: skip
    return _content(task, model, task.revision, [{k: v for k, v in entry.items() if k != "graded"}])


def _content(task: GeneratedTask, model: int, revision: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "dataset_revision": revision,
        "task_name": task.name,
        "mteb_version": "2.26.24",
        "scores": {"test": scores},
        "evaluation_time": 1.0,
        "kg_co2_emissions": None,
        "date": 1_795_000_000.0 + model - (1e7 if revision != task.revision else 0),
    }


def _facts(model: int) -> dict[str, Any]:
    return {"n_parameters": _SIZES[model % 5], "embed_dim": 384 * (1 + model % 3), "max_tokens": 512}


def _write_meta(folder: Path, model: int) -> None:
    path = folder / "model_meta.json"
    if path.exists():
        return
    own = {
        "name": f"org-{model % 7}/model-{model:03d}",
        "revision": f"{model:016x}",
        "license": ("apache-2.0", "mit", None)[model % 3],
        "adapted_from": (None, "sentence-transformers/all-MiniLM-L6-v2")[model % 2],
        "training_datasets": (None, ["MSMARCO", "shop03", "ESCI"])[model % 2],
        "model_type": ["dense"],
    }
    path.write_text(json.dumps(own | _facts(model)))


def _write(path: Path, name: str, table: pa.Table) -> None:
    pq.write_table(table, path.with_name(f"{path.stem}.test.{name}.parquet"), compression="zstd")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=20)
    options = parser.parse_args()
    print(json.dumps(generate(options.out, options.models, options.tasks)))
