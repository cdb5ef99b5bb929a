#!/usr/bin/env python3
"""What mining at a given size costs: measured unit costs times counts, stage by stage, with the assumptions spelt out.

    scripts/cost_model.py                                             200M items, 10M queries, k 150
    scripts/cost_model.py --items 1000000 --queries 100000 --k 100 --machines 2 --cores 8 --price-per-core-hour 0.04
    scripts/cost_model.py --measure                                   measure here first, a minute or two, one thread
    scripts/cost_model.py --docs                                      and write docs/mining.json and its table

Unit costs are read from docs/encoding.json (bench_encoding.py), docs/annotators.json (bench_llm_annotator.py) and, for
search, from the cost rule's constants, which bench_search.py measured; what is in none of them is taken from --units,
which --measure writes, or from the last time (docs/mining.json). All are core-seconds or bytes. No GPU was measured:
with --gpu-encode, --gpu-annotate and --gpu-exact (texts, pairs, and query x item products a second of your GPU) the
GPU-hours stand beside.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from cost_plan import DRIVER_BYTES, Scale, Unit, graphs_for, machines_needed, plan, sensitivity, totals
from cost_units import NEEDED, machine, measure, measured_units, units_from_docs, units_of_last_time
from doc_pages import DOCS, read_json_or_nothing
from mining_tables import cost_section, merge_into_docs

from mr_st.files import write_json
from mr_st.search.unit_costs import DEFAULT_COSTS, UnitCosts

GPU_STAGES = {"gpu_encode": "encode", "gpu_annotate": "annotate", "gpu_exact": "exact"}
"""How the names of the stages begin that each GPU rate is of."""


def shares_from_study(docs: Path) -> dict[str, float]:
    """The share of retrieved pairs that nobody judged, and of those the share that is taken: the marketplace's."""
    study = read_json_or_nothing(docs / "mining.json").get("reannotation")
    if not study:
        return {}
    unjudged = study["false_negatives"]["to_k"]["pairs"]
    retrieved = study["mined_queries"] * study["protocol"]["k"]
    return {"unjudged": unjudged / retrieved, "taken": study["pairs"]["re-annotated"]["pairs"] / unjudged}


def model(
    scale: Scale, units: dict[str, Unit], costs: UnitCosts, recall: float, price: float | None, gpu: dict[str, float]
) -> dict[str, Any]:
    """Both plans, their sums and what they hang on, JSON-ready.

    Args:
        scale: The job.
        units: What is not search.
        costs: Of search.
        recall: To reach with graphs.
        price: Of a core-hour.
        gpu: Stage, as its name begins, to how many a second a GPU does.
    """
    graphs = graphs_for(scale, costs, recall)
    found: dict[str, Any] = {
        "scale": {**dataclasses.asdict(scale), "shards": scale.shards},
        "recall": recall,
        "graphs": dataclasses.asdict(graphs),
        "machines_needed": machines_needed(scale, costs, graphs),
        "driver_bytes": scale.queries * scale.k * DRIVER_BYTES,
        "units": {name: dataclasses.asdict(units[name]) for name in NEEDED},
        "search_costs": {
            "hardware": costs.hardware,
            "exact": costs.exact,
            "graph": dataclasses.asdict(costs.graph(graphs.dtype)),
        },
        "plans": {},
    }
    for name, of in (("HNSW", graphs), ("exact search", None)):
        stages = plan(scale, units, costs, of)
        rows = [{**dataclasses.asdict(stage), "core_hours": stage.core_hours} for stage in stages]
        for row in rows:
            rates = [rate for begin, rate in gpu.items() if row["name"].startswith(begin)]
            if rates:
                row["gpu_hours"] = row["count"] / rates[0] / 3600
        found["plans"][name] = {"stages": rows, "totals": totals(stages, scale, price)}
    found["sensitivity"] = sensitivity(scale, units, costs, recall)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Scale()
    for name, told in (
        ("items", "of the catalogue"), ("queries", "that are mined"), ("k", "items retrieved for a query"),
        ("dim", "numbers in a vector"), ("machines", "that share the work"), ("cores", "of a machine"),
        ("shard_items", "most items in one HNSW graph"),
    ):  # fmt: skip
        flag, usual = f"--{name.replace('_', '-')}", getattr(default, name)
        parser.add_argument(flag, type=int, default=usual, help=f"{told} ({usual:,})")
    parser.add_argument("--memory-gib", type=float, default=default.memory / 2**30, help="of a machine")
    parser.add_argument("--efficiency", type=float, default=default.efficiency, help="share of the cores' time used")
    parser.add_argument("--unjudged", type=float, help="share of the retrieved pairs that nobody judged")
    parser.add_argument("--annotated", type=float, default=1.0, help="share of those that is annotated")
    parser.add_argument("--recall", type=float, default=0.98, help="of HNSW against exact search")
    for name in GPU_STAGES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help="a second, on one GPU; not measured here")
    parser.add_argument("--price-per-core-hour", type=float)
    parser.add_argument("--measure", action="store_true", help="measure here what no benchmark did")
    parser.add_argument("--units", type=Path, default=Path("build/cost_units.json"), help="what --measure writes")
    parser.add_argument("--docs", action="store_true", help="write docs/mining.json and docs/mining.md's table")
    options = parser.parse_args()
    if options.measure:
        options.units.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.units, {**measure(), "load_average": os.getloadavg()[0]})
    units = units_of_last_time(DOCS) | measured_units(options.units) | units_from_docs(DOCS)
    missing = [name for name in NEEDED if name not in units]
    if missing:
        raise SystemExit(
            f"cost_model: not measured yet: {', '.join(missing)}; run scripts/cost_model.py --measure (and "
            "scripts/bench_encoding.py --docs, whose figures count before its own)"
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
        "command": f"scripts/cost_model.py {shlex.join(sys.argv[1:])}".rstrip(),
        "machine": machine(),
        **model(
            scale,
            units,
            DEFAULT_COSTS,
            options.recall,
            options.price_per_core_hour,
            {begin: rate for name, begin in GPU_STAGES.items() if (rate := getattr(options, name))},
        ),
    }
    print(cost_section(found))
    if options.docs:
        merge_into_docs("cost_model", found)


if __name__ == "__main__":
    main()
