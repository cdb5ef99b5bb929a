"""What bench_search.py measured: its tables, the cost rule tried on four shapes, and the unit costs fitted to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

GOAL = 0.98
SHAPES = ((10_000, 10_000), (100_000, 10_000), (1_000_000, 10_000), (1_000_000, 100_000))
ARMS: dict[str, tuple[str, int]] = {"f16": ("f16", 1), "i8": ("i8", 1), "f16x2": ("f16", 2), "i8x2": ("i8", 2)}
GIB = 2**30


def name_of(arm: str) -> str:
    """What a table calls an arm."""
    if arm == "exact":
        return "exact"
    dtype, n_shards = ARMS[arm]
    return f"HNSW {dtype}" + (f", {n_shards} shards built at once" if n_shards > 1 else "")


def reaching(searches: list[dict[str, Any]], goal: float = GOAL) -> dict[str, Any]:
    """The quickest search that reaches the recall, or else the one that finds most."""
    good = [one for one in searches if one["recall"]["value"] >= goal]
    if good:
        return min(good, key=lambda one: one["search"]["wall"])
    return max(searches, key=lambda one: one["recall"]["value"])


# ---- the measured arms ---------------------------------------------------------------------------------------------


def size_table(items: int, queries: int, k: int, found: Mapping[str, Any], clock: str = "wall") -> str:
    """One size's arms."""
    lines = [
        f"{items:,} items x {queries:,} queries",
        "",
        f"| search | expansion | build s | search s | queries/s | recall@{k} | index GiB | peak GiB: build | search |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, result in found.items():
        if arm == "exact":
            seconds = result["prepare"][clock] + result["search"][clock]
            lines.append(f"| exact | | | {seconds:.1f} | {queries / seconds:.0f} | 1 | | | {_peak(result)} |")
            continue
        built, chosen = result["build"], reaching(result["search"]["searches"])
        seconds, recall = chosen["search"][clock], chosen["recall"]
        lines.append(
            f"| {name_of(arm)} | {chosen['expansion']} | {built['build'][clock]:.1f} | {seconds:.1f} | "
            f"{queries / seconds:.0f} | {recall['value']:.4f} [{recall['low']:.4f}, {recall['high']:.4f}] | "
            f"{built['bytes'] / GIB:.2f} | {_peak(built)} | {_peak(result['search'])} |"
        )
    return "\n".join(lines)


def _peak(result: Mapping[str, Any]) -> str:
    return f"{result['peak_bytes'] / GIB:.2f} ({result['peak_anonymous_bytes'] / GIB:.2f})"


# ---- the rule ------------------------------------------------------------------------------------------------------


def try_rule(
    measured: Mapping[int, Mapping[str, Any]], n_measured: int, dimension: int, k: int, threads: int, memory: int,
    costs: Any, clock: str = "wall",
) -> list[dict[str, Any]]:  # fmt: skip
    """What the rule chooses on each shape, beside what every arm took there.

    Search time is taken in proportion to the queries; building does not depend on them.
    """
    from mr_st.search.cost import choose_plan

    rows = []
    for items, queries in SHAPES:
        if items not in measured:
            continue
        found = measured[items]
        graphs = {arm: ARMS[arm] for arm in found if arm != "exact"}
        plan = choose_plan(items, queries, dimension, k, memory=memory, min_recall=GOAL, threads=threads, costs=costs)
        seconds = {arm: _seconds(found[arm], queries / n_measured, clock) for arm in found}
        wanted = (plan.dtype, plan.n_shards)
        chosen = "exact" if plan.kind == "exact" else next((arm for arm, of in graphs.items() if of == wanted), None)
        taken, recall = None, 1.0
        if chosen == "exact":
            taken = seconds["exact"]
        elif chosen is not None:
            taken, recall = _at_expansion(found[chosen], plan.expansion, queries / n_measured, clock)
        best = min(seconds, key=lambda arm: seconds[arm])
        rows.append(
            {
                "items": items, "queries": queries, "seconds": seconds, "best": best, "chosen": chosen,
                "chosen_seconds": taken, "chosen_recall": recall, "expansion": plan.expansion,
                "predicted_seconds": plan.seconds, "reason": plan.reason,
                "ratio": None if taken is None else taken / seconds[best],
            }
        )  # fmt: skip
    return rows


def rule_table(rows: list[dict[str, Any]]) -> str:
    """The shapes, every arm's seconds, and the choice."""
    arms = list(dict.fromkeys(arm for row in rows for arm in row["seconds"]))
    lines = [
        f"| items x queries | {' | '.join(f'{name_of(arm)} s' for arm in arms)} | chosen | predicted | to the best |",
        "|---" * (len(arms) + 4) + "|",
    ]
    for row in rows:
        cells = (f"{row['seconds'][arm]:.1f}" if arm in row["seconds"] else "" for arm in arms)
        ratio = "not measured" if row["ratio"] is None else f"{row['ratio']:.2f}"
        chosen = "not measured" if row["chosen"] is None else name_of(row["chosen"])
        lines.append(
            f"| {row['items']:,} x {row['queries']:,} | {' | '.join(cells)} | {chosen} | "
            f"{row['predicted_seconds']:.1f} | {ratio} |"
        )
    return "\n".join(lines)


def _seconds(result: Mapping[str, Any], times: float, clock: str) -> float:
    if "prepare" in result:
        return result["prepare"][clock] + times * result["search"][clock]
    chosen = reaching(result["search"]["searches"])
    return result["build"]["build"][clock] + result["search"]["load"][clock] + times * chosen["search"][clock]


def _at_expansion(result: Mapping[str, Any], expansion: int, times: float, clock: str) -> tuple[float, float]:
    """Seconds and recall at the measured expansion that is the next above the plan's."""
    searches = sorted(result["search"]["searches"], key=lambda one: one["expansion"])
    row = next((one for one in searches if one["expansion"] >= expansion), searches[-1])
    seconds = result["build"]["build"][clock] + result["search"]["load"][clock] + times * row["search"][clock]
    return seconds, row["recall"]["value"]


# ---- the unit costs ------------------------------------------------------------------------------------------------


def fit(
    measured: Mapping[int, Mapping[str, Any]], queries: int, dimension: int, k: int, threads: int, clock: str
) -> dict[str, Any]:
    """Unit costs of one core from all that was measured: what ``mr_st/search/unit_costs.py`` holds.

    Args:
        measured: Items -> arm -> its figures.
        queries: Of every arm.
        dimension: Of the vectors.
        k: Items asked for.
        threads: Cores that searched.
        clock: "wall" on an idle machine; "cpu" where other work ran beside.
    """
    cores = threads if clock == "wall" else 1  # processor seconds are summed over cores already
    # seconds of a query = (exact * items + exact_place * k) * dimension, relative least squares over the sizes
    sizes = sorted(measured)
    one = np.array([measured[items]["exact"]["search"][clock] * cores / queries / dimension for items in sizes])
    terms = np.array([[items / of, k / of] for items, of in zip(sizes, one, strict=True)])
    exact, place = np.linalg.lstsq(terms, np.ones(len(sizes)), rcond=None)[0]
    rescore = float(
        np.median([of[arm]["search"]["rescore"] for of in measured.values() for arm in of if arm != "exact"])
    )
    costs: dict[str, Any] = {"exact": float(exact), "exact_place": float(place), "rescore": rescore}
    for dtype in ("f16", "i8"):
        of = {items: found[dtype] for items, found in measured.items() if dtype in found}
        if of:
            costs[dtype] = {
                **_fit_add(of[max(of)]["build"], max(of), clock),
                **_fit_search(of, queries, dimension, k, cores, rescore, clock),
                **_fit_recall(measured, dtype, k),
                "link_bytes": of[max(of)]["build"]["bytes"] / max(of) - dimension * {"f16": 2, "i8": 1}[dtype],
            }
    return costs


def _fit_add(build: Mapping[str, Any], items: int, clock: str) -> dict[str, float]:
    """Cost of an item = add * (1 + growth * log2(n / 100,000)), by least squares over the largest build's blocks."""
    at = 1 if clock == "wall" else 2
    points = [
        (math.log2((a[0] + b[0]) / 2 / 1e5), (b[at] - a[at]) / (b[0] - a[0]))
        for a, b in itertools.pairwise(build["trace"])
        if a[0]  # the first block waits for the check of all rows
    ]
    growth = 0.0  # too few blocks to tell
    if len(points) > 4:
        logs, seconds = np.array(points).T
        slope, start = np.polyfit(logs, seconds, 1)
        growth = slope / start
    mean = 1 + growth * (math.log2(items / 1e5) - 1 / math.log(2))
    return {"add": build["build"][clock] / items / mean, "add_growth": growth}  # checks and hashes counted in


def _fit_search(
    of: Mapping[int, Mapping[str, Any]], queries: int, dimension: int, k: int, cores: int, rescore: float, clock: str
) -> dict[str, float]:
    """Cost of a query = (start + search * expansion) * (1 + growth * log2(n / 100,000)), relative least squares."""
    rows = []
    for items, result in of.items():
        n_scored = math.ceil(k * result["search"]["oversampling"])
        for one in result["search"]["searches"]:
            seconds = one["search"][clock] * cores / queries - n_scored * dimension * rescore
            rows.append((max(one["expansion"], n_scored), math.log2(items / 1e5), seconds))
    expansion, logs, seconds = np.array(rows).T
    best = None
    for growth in np.arange(0, 0.5, 0.005):
        share = np.maximum(1 + growth * logs, 0.2) / seconds
        (start, slope), *_ = np.linalg.lstsq(
            np.stack([share, expansion * share], axis=1), np.ones(len(rows)), rcond=None
        )
        error = float(((start * share + slope * expansion * share - 1) ** 2).sum())
        if best is None or error < best[0]:
            best = (error, start, slope, growth)
    assert best is not None
    return {"search_start": float(best[1]), "search": float(best[2]), "search_growth": float(best[3])}


def _fit_recall(measured: Mapping[int, Mapping[str, Any]], dtype: str, k: int) -> dict[str, float]:
    """Missed = miss * (rows / 100,000) ** growth * (looked at / 2 k) ** -decay, by least squares of logarithms."""
    rows = []
    for items, found in measured.items():
        for arm, (of, n_shards) in ARMS.items():
            if arm not in found or of != dtype:
                continue
            least = k * found[arm]["search"]["oversampling"]
            for one in found[arm]["search"]["searches"]:
                missed = 1 - one["recall"]["value"]
                if 5e-4 < missed < 0.2:
                    looked_at = max(one["expansion"], least) * n_shards / k
                    rows.append((math.log(items / n_shards / 1e5), math.log(looked_at / 2), math.log(missed)))
    logs, looked_at, missed = np.array(rows).T
    (level, growth, decay), *_ = np.linalg.lstsq(
        np.stack([np.ones(len(rows)), logs, -looked_at], axis=1), missed, rcond=None
    )
    return {"miss": float(np.exp(level)), "miss_growth": float(growth), "miss_decay": float(decay)}


def calibrated(dimension: int) -> dict[str, Any]:
    """This machine's unit costs by the library's own calibration, JSON-ready."""
    from mr_st.search.unit_costs import calibrate

    return asdict(calibrate(dimension))


def costs_of(facts: Mapping[str, Any]) -> Any:
    """UnitCosts from their JSON."""
    from mr_st.search.unit_costs import GraphCosts, UnitCosts

    return UnitCosts(**{**facts, "f16": GraphCosts(**facts["f16"]), "i8": GraphCosts(**facts["i8"])})


# ---- the section of the page ---------------------------------------------------------------------------------------


def search_section(found: Mapping[str, Any]) -> str:
    """The key ``search`` of docs/mining.json as a section of docs/mining.md."""
    at = found["protocol"]
    lines = [
        "## Exact or HNSW",
        "",
        f"{at['vectors']} {at['measured']} `{found['command']}`",
        "",
    ]
    for items, arms in found["measured"].items():
        lines += [size_table(int(items), at["queries"], at["k"], arms), ""]
    lines += ["### The cost rule", "", f"{at['rule']}", ""]
    for name, rows in found["rule"].items():
        lines += [f"Unit costs: {name}.", "", rule_table(rows), ""]
    return "\n".join(lines)
