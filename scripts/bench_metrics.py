#!/usr/bin/env python3
"""The ranking metrics against pytrec_eval: 10,000 queries, 100 deep, all metrics at k = 10, 50, 100, in one process.

    scripts/bench_metrics.py                           the figures of issue 7: ours has to be under 0.5 s
    scripts/bench_metrics.py --queries 1000 --depth 1000 --ks 1,3,5,10,20,50,100,1000     what mteb asks of a task
    scripts/bench_metrics.py --out docs/metrics.json   write what was measured

Ours starts from the run as arrays and the judgments as pairs: grades looked up, ideal taken, and NDCG, recall,
precision, MAP and MRR at each grade threshold, and judged@k, computed per query. pytrec_eval starts from the
dictionaries that it takes, made beforehand; its constructor (it keeps the qrels there) is timed apart, and it is asked
for NDCG, recall, precision and MAP at the same cut-offs and for MRR without one, once for each threshold but NDCG.
Repeats alternate. Every shared figure is compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.evaluation.scoring import ranking_metrics
from mr_st.files import write_json
from mr_st.grades import GradeScale
from mr_st.measures import Judged

LIMIT = 0.5


def make_case(at: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A run (n, K), and judged pairs of which a share was returned: queries, items, grades."""
    rng = np.random.default_rng(at.seed)
    run = np.empty((at.queries, at.depth), dtype=np.int64)
    queries, items = [], []
    n_found = min(at.depth, round(at.judged * at.returned))
    for query in range(at.queries):
        drawn = rng.choice(at.items, size=at.depth + at.judged - n_found, replace=False)
        run[query] = drawn[: at.depth]
        judged = np.concatenate([rng.choice(drawn[: at.depth], n_found, replace=False), drawn[at.depth :]])
        queries.append(np.full(len(judged), query))
        items.append(judged)
    flat = np.concatenate(queries)
    return run, flat, np.concatenate(items), rng.integers(0, at.grades, size=len(flat))


def theirs_of(run: np.ndarray, pairs: tuple[np.ndarray, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run and the qrels as pytrec_eval takes them; scores fall with the rank, so no tie is left to it."""
    scores = [float(score) for score in range(run.shape[1], 0, -1)]
    as_run = {f"q{q}": dict(zip((f"d{i}" for i in row), scores, strict=True)) for q, row in enumerate(run.tolist())}
    qrels: dict[str, dict[str, int]] = {}
    for query, item, grade in zip(*(part.tolist() for part in pairs), strict=True):
        qrels.setdefault(f"q{query}", {})[f"d{item}"] = grade
    return as_run, qrels


def measures_of(ks: tuple[int, ...], threshold: int) -> set[str]:
    cuts = ",".join(map(str, ks))
    names = ("ndcg_cut", "recall", "P", "map_cut") if threshold == 1 else ("recall", "P", "map_cut")
    return {f"{name}.{cuts}" for name in names} | {"recip_rank"}


def largest_difference(ours: dict[str, np.ndarray], theirs: list[dict[str, Any]], ks: tuple[int, ...]) -> float:
    """Over every query, metric, cut-off and threshold that both have."""
    worst = 0.0
    for threshold, found in enumerate(theirs, start=1):
        suffix = "" if threshold == 1 else f"/{threshold}"
        names = {"recall": "recall", "P": "precision", "map_cut": "map"} | ({"ndcg_cut": "ndcg"} if not suffix else {})
        rows = [found[f"q{query}"] for query in range(len(found))]
        for k in ks:
            for name, our_name in names.items():
                expected = np.array([row[f"{name}_{k}"] for row in rows])
                worst = max(worst, float(np.abs(ours[f"{our_name}@{k}{suffix}"] - expected).max()))
            whole = np.array([row["recip_rank"] for row in rows])
            cut = np.where(whole >= 1 / k, whole, 0)
            worst = max(worst, float(np.abs(ours[f"mrr@{k}{suffix}"] - cut).max()))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--items", type=int, default=100_000, help="items of the catalogue")
    parser.add_argument("--judged", type=int, default=40, help="judged items of a query")
    parser.add_argument("--returned", type=float, default=0.5, help="share of them that the run returned")
    parser.add_argument("--grades", type=int, default=3)
    parser.add_argument("--ks", type=lambda text: tuple(int(k) for k in text.split(",")), default=(10, 50, 100))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that the median of ours may take")
    parser.add_argument("--out", type=Path, help="a JSON file for what was measured")
    at = parser.parse_args()

    import pytrec_eval

    run, *pairs = make_case(at)
    scale = GradeScale(tuple(map(str, range(at.grades))), tuple(float(grade) for grade in range(at.grades)))
    as_run, qrels = theirs_of(run, tuple(pairs))
    seconds: dict[str, list[float]] = {"judgments": [], "ours": [], "pytrec_eval_built": [], "pytrec_eval": []}
    for _ in range(at.repeats):
        start = time.perf_counter()
        judged = Judged.from_pairs(*pairs, at.queries)
        seconds["judgments"].append(time.perf_counter() - start)
        start = time.perf_counter()
        ours = ranking_metrics(judged, run, at.ks, scale, empty=0.0)
        seconds["ours"].append(time.perf_counter() - start)

        start = time.perf_counter()
        evaluators = [
            pytrec_eval.RelevanceEvaluator(qrels, measures_of(at.ks, threshold), relevance_level=threshold)
            for threshold in range(1, at.grades)
        ]
        seconds["pytrec_eval_built"].append(time.perf_counter() - start)
        start = time.perf_counter()
        theirs = [evaluator.evaluate(as_run) for evaluator in evaluators]
        seconds["pytrec_eval"].append(time.perf_counter() - start)

    medians = {name: statistics.median(values) for name, values in seconds.items()}
    found = {
        "case": {name: getattr(at, name) for name in ("queries", "depth", "items", "judged", "returned", "grades")}
        | {"ks": list(at.ks), "seed": at.seed},
        "metrics": len(ours),
        "seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "times_faster": round(medians["pytrec_eval"] / medians["ours"], 1),
        "largest_difference": largest_difference(ours, theirs, at.ks),
        "limit_seconds": at.limit,
    }
    print(json.dumps(found, indent=2))
    if at.out:
        write_json(at.out, found)
    too_slow, differs = medians["ours"] > at.limit, found["largest_difference"] > 1e-9
    if too_slow or differs:
        print(f"failed: {'over the limit of time' if too_slow else 'figures differ'}", file=sys.stderr)
    return int(too_slow or differs)


if __name__ == "__main__":
    sys.exit(main())
