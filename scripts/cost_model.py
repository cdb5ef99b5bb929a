#!/usr/bin/env python3
"""What mining at a given size costs: measured unit costs times counts, stage by stage, with the assumptions spelt out.

    scripts/cost_model.py                                             200M items, 10M queries, k 150
    scripts/cost_model.py --items 1000000 --queries 100000 --k 100 --machines 2 --cores 8 --price-per-core-hour 0.04
    scripts/cost_model.py --measure                                   measure here first, a minute or two, one thread
    scripts/cost_model.py --docs                                      and write docs/mining.json and its table

Unit costs are read from docs/encoding.json (bench_encoding.py), docs/mining.json (bench_search.py) and
docs/annotators.json (bench_llm_annotator.py); what they do not hold is taken from --units, which --measure writes.
All are core-seconds or bytes on the machine that is named. No GPU was measured: --gpu NAME=FACTOR says how many of
these cores one GPU replaces in encoding and annotation, and nothing is assumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from bench_losses import DOCS
from cost_plan import Scale, SearchPoint, Unit, machines_needed, pick, plan, sensitivity, totals
from cost_units import NEEDED, machine, measure, measured_units, units_from_docs
from mining_tables import cost_section, merge_into_docs

from mr_st.files import write_json

SHARES = {"unjudged": "already_judged", "taken": "taken"}


def shares_from_study(docs: Path) -> dict[str, float]:
    """The share of retrieved pairs that nobody judged, and of those the share that is taken: the marketplace's."""
    from cost_units import read_json_or_nothing

    study = read_json_or_nothing(docs / "mining.json").get("reannotation")
    if not study:
        return {}
    unjudged = study["false_negatives"]["to_k"]["pairs"]
    retrieved = study["mined_queries"] * study["protocol"]["k"]
    return {"unjudged": unjudged / retrieved, "taken": study["pairs"]["re-annotated"]["pairs"] / unjudged}


def model(scale: Scale, units: dict[str, Unit], points: list[SearchPoint], recall: float, price: float | None) -> Any:
    """Both plans, their sums and what they hang on, JSON-ready."""
    best = pick(points, recall)
    found: dict[str, Any] = {
        "scale": {**dataclasses.asdict(scale), "shards": scale.shards},
        "recall": recall,
        "machines_needed": machines_needed(best, scale),
        "units": {name: dataclasses.asdict(units[name]) for name in NEEDED},
        "point": dataclasses.asdict(best),
        "plans": {},
    }
    for name, point in (("HNSW", best), ("exact", None)):
        stages = plan(scale, units, point)
        found["plans"][name] = {
            "stages": [{**dataclasses.asdict(stage), "core_hours": stage.core_hours} for stage in stages],
            "totals": totals(stages, scale, price),
        }
    found["sensitivity"] = sensitivity(scale, units, points, recall)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Scale()
    for name, told in (
        ("items", "of the catalogue"), ("queries", "that are mined"), ("k", "items retrieved for a query"),
        ("dim", "numbers in a vector"), ("machines", "that share the work"), ("cores", "of a machine"),
        ("shard_items", "most items in one HNSW graph"),
    ):  # fmt: skip
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=getattr(default, name), help=f"{told} ({getattr(default, name):,})")
    parser.add_argument("--memory-gib", type=float, default=default.memory / 2**30, help="of a machine")
    parser.add_argument("--efficiency", type=float, default=default.efficiency, help="share of the cores' time used")
    parser.add_argument("--unjudged", type=float, help="share of the retrieved pairs that nobody judged")
    parser.add_argument("--annotated", type=float, default=1.0, help="share of those that is annotated")
    parser.add_argument("--recall", type=float, default=0.98, help="of HNSW against exact search, in each graph")
    parser.add_argument("--price-per-core-hour", type=float)
    parser.add_argument("--measure", action="store_true", help="measure here what the benchmarks' files do not hold")
    parser.add_argument("--units", type=Path, default=Path("build/cost_units.json"), help="what --measure writes")
    parser.add_argument("--docs", action="store_true", help="write docs/mining.json and docs/mining.md's table")
    options = parser.parse_args()
    if options.measure:
        options.units.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.units, {**measure(), "load_average": os.getloadavg()[0]})
    units, points = measured_units(options.units)
    known, known_points = units_from_docs(DOCS)
    units, points = {**units, **known}, known_points or points
    missing = [name for name in NEEDED if name not in units] + ([] if points else ["HNSW search"])
    if missing:
        raise SystemExit(
            f"cost_model: not measured yet: {', '.join(missing)}; run scripts/bench_encoding.py --docs and "
            "scripts/bench_search.py --docs, or scripts/cost_model.py --measure"
        )
    shares = shares_from_study(DOCS)
    scale = Scale(
        items=options.items, queries=options.queries, k=options.k, dim=options.dim, machines=options.machines,
        cores=options.cores, memory=options.memory_gib * 2**30, efficiency=options.efficiency,
        annotated=options.annotated, shard_items=options.shard_items,
        unjudged=shares.get("unjudged", default.unjudged) if options.unjudged is None else options.unjudged,
        taken=shares.get("taken", default.taken),
    )  # fmt: skip
    found = {
        "command": f"scripts/cost_model.py --items {scale.items} --queries {scale.queries} --k {scale.k} --docs",
        "machine": machine(),
        **model(scale, units, points, options.recall, options.price_per_core_hour),
    }
    print(cost_section(found))
    if options.docs:
        merge_into_docs("cost_model", found)


if __name__ == "__main__":
    main()
