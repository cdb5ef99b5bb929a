#!/usr/bin/env python3
"""Random order, BM25 and MiniLM on every task of ours and its judged-pool twin: tasks/baselines/{Task}.json.

    scripts/task_baselines.py --esci ../shared/data/esci-us-sample
    scripts/task_baselines.py --task WANDSRetrieval --wands WANDS --whole

The marketplace and the golden set are made here; ESCI and WANDS are measured where a folder is given, and their files
say what was not at hand. An entry replaces that of the same data (by fingerprint); others are kept.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from doc_pages import read_json_or_nothing

from mr_st import __version__
from mr_st.evaluation import BiEncoder, GradedReport, System
from mr_st.evaluation.systems import Bm25System, RandomSystem
from mr_st.files import write_json
from mr_st.models import load_sentence_transformer
from mr_st.tasks import get_task, list_tasks, task_class
from mr_st.tasks.base import GradedRetrievalTask
from mr_st.tasks.statistics import BASELINES

METRICS = ("ndcg@10", "recall@10", "recall@100", "precision@10", "map@10", "mrr@10", "judged@10",
           "margin_average_2_0", "margin_worst_2_0")  # fmt: skip
PROTOCOL = ("corpus", "split", "n_items", "n_queries", "n_queries_left_out", "n_judged_pairs", "gains", "item_text",
            "ties", "interval", "dataset")  # fmt: skip
NOT_AT_HAND = {
    "ESCIRetrieval": "the whole us, es and jp locales: no download was at hand; give --esci FOLDER --locale es",
    "WANDSRetrieval": "WANDS: no download was at hand; give --wands FOLDER",
}


def options_of(name: str, given: argparse.Namespace) -> dict[str, Any] | None:
    """What a task takes here; None where its data is not at hand."""
    if name == "ESCIRetrieval":
        return None if given.esci is None else {"path": given.esci, "locale": given.locale}
    if name == "WANDSRetrieval":
        return None if given.wands is None else {"path": given.wands}
    return {} if given.size is None else {"size": given.size}


def measured(task: GradedRetrievalTask, systems: dict[str, System], data: str) -> dict[str, Any]:
    """One entry: every system on the task's first split and on its subsets."""
    entry: dict[str, Any] = {
        "task": task.metadata.name, "data": data, "fingerprint": task.metadata.revision, "mr_st": __version__,
        "statistics": task.statistics(), "metric_columns": ["value", "low", "high", "n"], "systems": {},
    }  # fmt: skip
    for key, system in systems.items():
        reports = task.reports(system)
        whole = reports.pop("default")
        entry["protocol"] = {name: whole.protocol[name] for name in PROTOCOL if name in whole.protocol}
        entry["systems"][key] = {
            "name": whole.model_name,
            "revision": whole.revision,
            "metrics": {name: figure(whole, name) for name in METRICS if name in whole.metrics},
            "subsets": {name: {"ndcg@10": figure(part, "ndcg@10")} for name, part in reports.items()},
        }
        print(f"{task.metadata.name}, {data}, {key}: ndcg@10 {whole.main_score:.4f}", flush=True)
    return entry


def figure(report: GradedReport, metric: str) -> list[float | int | None]:
    """Value, low, high and number of queries; null where there is none."""
    of = report[metric]
    return [*(None if math.isnan(x) else round(x, 5) for x in (of.value, of.low, of.high)), of.n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="a task, its twin goes with it; may be repeated; all of ours")
    parser.add_argument("--esci", help="folder with ESCI's original files")
    parser.add_argument("--locale", default="us", help="of ESCI")
    parser.add_argument("--wands", help="folder with WANDS' original files")
    parser.add_argument("--whole", action="store_true", help="these folders are whole downloads: nothing is missing")
    parser.add_argument("--size", help="of the marketplace, e.g. tiny for a try")
    parser.add_argument("--model", default="minilm", help="the dense baseline: a folder, a Hub id, or none")
    parser.add_argument("--out", type=Path, default=BASELINES)
    given = parser.parse_args()
    systems: dict[str, System] = {"random": RandomSystem(), "bm25": Bm25System()}
    if given.model != "none":  # one for all tasks, so that each text is encoded once
        systems["dense"] = BiEncoder(load_sentence_transformer(given.model), f"baseline/{Path(given.model).name}")
    for name in given.task or [name for name in list_tasks() if not task_class(name).judged_pool]:
        options = options_of(name, given)
        task = None if options is None else get_task(name, **options)
        names = [name, twin_of(name)]
        for one, made in zip(names, [None, None] if task is None else [task, task.twin()], strict=True):
            path = given.out / f"{one}.json"
            content = read_json_or_nothing(path)
            entries = content.get("entries", [])
            if made is not None:
                where = f"{made.graded.name}: {len(made.graded.items):,} items"
                entry = measured(made, systems, where)
                entries = [e for e in entries if e["fingerprint"] != entry["fingerprint"]] + [entry]
            missing = None if given.whole else NOT_AT_HAND.get(name)
            write_json(path, {"task": one, "not_measured": missing, "entries": entries})


def twin_of(name: str) -> str:
    """The registered twin of a task."""
    of = task_class(name)
    return next(other for other in list_tasks() if task_class(other).judged_pool and issubclass(task_class(other), of))


if __name__ == "__main__":
    main()
