"""How often intervals cover and tests reject, over simulated per-query scores: docs/significance.json and its tables.

    python scripts/study_intervals.py --jobs 2 --docs docs/significance.md   # some eight minutes of one core in all
    python scripts/study_intervals.py --simulations 400 --queries 40 --out runs/significance.json

For each distribution of ``simulated_scores.py`` and each number of queries it counts how often the true mean lies
below and above the interval of ``mr_st.measures.bootstrap_intervals`` and of other methods, and how often
``paired_permutation_test`` rejects at .05 where two systems are exchangeable. ``--docs`` writes the tables into
docs/significance.md between its marks, from the figures in ``--out`` (``--tables`` does only that).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from simulated_scores import SCORES, WEIGHTS, beta, candidates, with_atoms

from mr_st.files import write_text
from mr_st.measures import bootstrap_intervals, paired_permutation_test

BLOCK = 500  # simulations that share one set of resamples
METHODS = ("Student", "percentile", "basic", "BCa", "BCa, widened", "studentised", "Hall, t")
Pair = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--queries", type=int, nargs="+", default=[40, 110, 400])
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--signs", type=int, default=999, help="sign vectors of each permutation test")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("docs/significance.json"))
    parser.add_argument("--docs", type=Path, help="file whose tables are written anew, e.g. docs/significance.md")
    parser.add_argument("--tables", action="store_true", help="measure nothing, only write the tables of --docs")
    given = parser.parse_args()
    if not given.tables:
        sizes, n_simulations = given.queries, given.simulations
        with ProcessPoolExecutor(given.jobs) as pool:
            covers = [
                pool.submit(coverage, name, n, n_simulations, given.resamples) for n in sizes[::-1] for name in SCORES
            ]
            rejects = [pool.submit(rejection, name, n, n_simulations, given.signs) for n in sizes for name in NULLS]
            found = {
                "command": f"scripts/study_intervals.py --simulations {n_simulations} --queries "
                f"{' '.join(map(str, sizes))} --resamples {given.resamples} --signs {given.signs}",
                "simulations": n_simulations,
                "coverage": [row.result() for row in covers],
                "rejection": [row.result() for row in rejects],
            }
        write_text(given.out, json.dumps(found, indent=1) + "\n")
    if given.docs:
        text = given.docs.read_text(encoding="utf-8")
        for mark, table in tables(json.loads(given.out.read_text(encoding="utf-8"))).items():
            opened, closed = f"<!-- {mark} -->", f"<!-- /{mark} -->"
            text = re.sub(f"{opened}.*?{closed}", lambda _, t=f"{opened}\n{table}\n{closed}": t, text, flags=re.DOTALL)
        write_text(given.docs, text)


def coverage(name: str, n: int, n_simulations: int, n_resamples: int) -> dict[str, Any]:
    """Percent of simulations whose interval holds the mean, lies above it, and lies below it, method by method."""
    scores, place = SCORES[name], list(SCORES).index(name)
    rng = np.random.default_rng([n, place])
    above: dict[str, float] = {}
    below: dict[str, float] = {}
    widths: dict[str, list[float]] = {}
    for block, start in enumerate(range(0, n_simulations, BLOCK)):
        sample = scores.draw(rng, (min(BLOCK, n_simulations - start), n)).astype(np.float64)
        seed = 1000 * place + block
        places = np.random.default_rng(seed).integers(0, n, (n_resamples, n)) + n * np.arange(n_resamples)[:, None]
        times = np.bincount(places.ravel(), minlength=n * n_resamples).reshape(n_resamples, n).astype(np.float64)
        ends = candidates(sample, times)
        ours = bootstrap_intervals({str(row): values for row, values in enumerate(sample)}, seed, n_resamples).values()
        ends["ours"] = np.array([of.low for of in ours]), np.array([of.high for of in ours])
        for method, (low, high) in ends.items():
            rounding = 1e-12 * (1 + abs(scores.mean))  # an end that is the mean itself holds it
            above[method] = above.get(method, 0) + np.count_nonzero(low > scores.mean + rounding)
            below[method] = below.get(method, 0) + np.count_nonzero(high < scores.mean - rounding)
            widths.setdefault(method, []).append(float(np.median(high - low)))
    percent = 100 / n_simulations
    return {
        "scores": name,
        "kind": scores.kind,
        "n": n,
        "methods": {
            method: {
                "covers": round(100 - percent * (above[method] + below[method]), 2),
                "lies_above": round(percent * above[method], 2),
                "lies_below": round(percent * below[method], 2),
                "width_to_student": round(float(np.mean(widths[method]) / np.mean(widths["Student"])), 3),
            }
            for method in above
        },
    }


def exchangeable(first: Callable[..., np.ndarray], noise: Callable[..., np.ndarray] | None = None) -> Pair:
    """Two systems drawn alike and independently for each query; with noise, one draw each that is common to both."""

    def pair(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        return first(rng, (n,)), first(rng, (n,))

    def around(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        common = first(rng, (n,))
        assert noise is not None
        return tuple(np.clip(common + noise(rng, (n,)), 0, 1) for _ in range(2))  # type: ignore[return-value]

    return pair if noise is None else around


def _mostly_equal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (SCORES["Beta(.5, 1.5)"].draw(rng, (n,)) for _ in range(2))
    return a, np.where(rng.random(n) < 0.6, a, b)


def _few_differ(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (SCORES["recall of 1 to 5 items, mean .3"].draw(rng, (n,)) for _ in range(2))
    return a, np.where(rng.random(n) < 0.8, a, b)


def _skewed_differences(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(n), rng.exponential(size=n) - 1


NULLS: dict[str, Pair] = {
    "exponential against exponential": exchangeable(SCORES["exponential"].draw),
    "lognormal(0, 1) against the same": exchangeable(SCORES["lognormal(0, 1)"].draw),
    "Beta(.5, 1.5) against the same": exchangeable(SCORES["Beta(.5, 1.5)"].draw),
    "NDCG with atoms at 0 and 1, each a common score and noise": exchangeable(
        with_atoms({0: 0.3, 1: 0.15}, beta(2, 2)), lambda rng, shape: rng.laplace(0, 0.1, shape)
    ),
    "recall of 1 to 5 items": exchangeable(SCORES["recall of 1 to 5 items, mean .3"].draw),
    "reciprocal rank": exchangeable(SCORES["reciprocal rank at 10"].draw),
    "Beta(.5, 1.5), equal in 60 % of queries": _mostly_equal,
    "recall of 1 to 5 items, equal in 80 % of queries": _few_differ,
    "success .7 (two values)": exchangeable(SCORES["success, .7"].draw),
    "not exchangeable: differences are exponential - 1": _skewed_differences,
}


def rejection(name: str, n: int, n_simulations: int, n_signs: int) -> dict[str, Any]:
    """Percent of simulations of a true null that the permutation test rejects at .05, with its Monte-Carlo error."""
    rng = np.random.default_rng([n, list(NULLS).index(name)])
    rejected = sum(
        paired_permutation_test(*NULLS[name](rng, n), seed, n_signs) <= 0.05 for seed in range(n_simulations)
    )
    rate = rejected / n_simulations
    error = np.sqrt(rate * (1 - rate) / n_simulations)
    return {"scores": name, "n": n, "rejects": round(100 * rate, 2), "error": round(100 * float(error), 2)}


def tables(found: dict[str, Any]) -> dict[str, str]:
    """The three tables of docs/significance.md."""
    cells = {(row["scores"], row["n"]): row["methods"] for row in found["coverage"]}
    sizes = sorted({n for _, n in cells})
    lines = [
        "| scores | " + " | ".join(f"n = {n}: ours | below, above | width" for n in sizes) + " |",
        "|---|" + "---:|" * 3 * len(sizes),
    ]
    for kind in ("score", "difference"):
        for name in [name for name, scores in SCORES.items() if scores.kind == kind and (name, sizes[0]) in cells]:
            parts = []
            for n in sizes:
                one = cells[name, n]["ours"]
                parts.append(
                    f"{_marked(one['covers'])} | {one['lies_below']:.1f}, {one['lies_above']:.1f} | "
                    f"{one['width_to_student']:.2f}"
                )
            lines.append(f"| {name} | " + " | ".join(parts) + " |")
    methods = [*METHODS, "ours"]
    compared = [
        "| scores, n = " + str(sizes[0]) + " | " + " | ".join(methods) + " |",
        "|---|" + "---:|" * len(methods),
    ]
    for name in SCORES:
        row = cells[name, sizes[0]]
        compared.append(f"| {name} | " + " | ".join(_marked(row[m]["covers"]) for m in methods) + " |")
    summary = [
        "| method | " + " | ".join(f"n = {n}: outside | worst" for n in sizes) + " |",
        "|---|" + "---:|" * 2 * len(sizes),
    ]
    for method in [*METHODS, *(f"weight {w}" for w in WEIGHTS if 0 < w < 1), "ours"]:
        parts = []
        for n in sizes:
            covers = [cells[name, n][method]["covers"] for name in SCORES]
            worst = max(covers, key=lambda c: abs(c - 95))
            parts.append(f"{sum(not 94 <= c <= 96 for c in covers)} | {worst:.1f}")
        summary.append(f"| {method} | " + " | ".join(parts) + " |")
    rejects = [
        "| two systems, alike but for chance | " + " | ".join(f"n = {n}" for n in sizes) + " |",
        "|---|" + "---:|" * len(sizes),
    ]
    rates = {(row["scores"], row["n"]): row for row in found["rejection"]}
    for name in NULLS:
        row = [rates[name, n] for n in sizes]
        rejects.append(f"| {name} | " + " | ".join(f"{one['rejects']:.1f} ± {one['error']:.1f}" for one in row) + " |")
    command = f"\n\n`{found['command']}`."
    return {
        "ours": "\n".join(lines) + command,
        "methods": "\n".join(summary),
        "n40": "\n".join(compared),
        "rejection": "\n".join(rejects),
    }


def _marked(covers: float) -> str:
    return f"{covers:.1f}" if 94 <= covers <= 96 else f"**{covers:.1f}**"


if __name__ == "__main__":
    main()
