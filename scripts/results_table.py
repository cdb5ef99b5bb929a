#!/usr/bin/env python3
"""BM25, MiniLM, their hybrid, and a recipe's stage-1 and stage-2 models on one task each: docs/results.md and .json.

    mr-st demo --out runs/quickstart
    mr-st run model_cards/mr-minilm-esci-sample/recipe.yaml --data ESCI --out runs/esci
    scripts/results_table.py --marketplace runs/quickstart --esci runs/esci --esci-data ESCI --docs

A corpus is measured where its run is given; without --docs the tables are printed and nothing is written there.
Vectors and reports are kept in --work, so that a second call is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from doc_pages import DOCS, interval_cell, p_cell, put_into_docs, read_json_or_nothing

from mr_st import __version__
from mr_st.evaluation import BiEncoder, GradedReport, System, compare, side_by_side
from mr_st.evaluation.systems import Bm25System, HybridSystem
from mr_st.files import write_json
from mr_st.measures import holm, plot_margins, plot_similarity_by_grade, save_figure
from mr_st.models import load_sentence_transformer
from mr_st.tasks import get_task
from mr_st.text.wording import protocol_line

JSON, PAGE = DOCS / "results.json", DOCS / "results.md"
METRICS = {
    "ndcg@10": "NDCG@10", "recall@10": "Recall@10", "recall@100": "Recall@100", "precision@10": "Precision@10",
    "judged@10": "judged@10", "margin_average_2_0": "margin 2-0, average", "margin_worst_2_0": "worst case",
}  # fmt: skip
TITLES = {
    "bm25": "BM25", "minilm": "MiniLM, no training", "hybrid": "MiniLM and BM25, RRF", "stage1": "stage 1",
    "stage2": "stage 2", "stage2-hybrid": "stage 2 and BM25, RRF",
}  # fmt: skip
COMMANDS = {
    "marketplace": "scripts/results_table.py --marketplace runs/quickstart --docs",
    "esci": "scripts/results_table.py --esci runs/esci --esci-data ESCI --docs",
}
PROTOCOL = (
    "corpus", "n_items", "split", "n_queries", "n_queries_left_out", "n_judged_pairs", "grades", "gains", "item_text",
    "dataset", "interval",
)  # fmt: skip
DIFFERENCES = (("minilm", "bm25"), ("minilm", "hybrid"), ("minilm", "stage1"), ("minilm", "stage2"),
               ("stage1", "stage2"), ("bm25", "stage2"), ("hybrid", "stage2-hybrid"),
               ("stage2", "stage2-hybrid"))  # fmt: skip


SIDE_BY_SIDE = (("bm25", "hybrid"), ("bm25", "stage2-hybrid"), ("hybrid", "stage2-hybrid"))
"""Control and treatment of the paper's table 2, and what swapping the retriever alone does."""


def systems_of(run: Path, work: Path) -> dict[str, Callable[[], System]]:
    """What makes each system; models come from the run's folder."""

    def model(where: str, name: str) -> BiEncoder:
        return BiEncoder(load_sentence_transformer(where), name, store=work / "vectors", show_progress=True)

    def hybrid(where: str, dense: str, name: str) -> HybridSystem:
        return HybridSystem({"dense": model(where, dense), "lexical": Bm25System()}, name=name)

    stage = {name: str(run / name / "model") for name in ("stage1", "stage2")}
    return {
        "bm25": lambda: Bm25System(name="table/bm25"),
        "minilm": lambda: model("minilm", "table/minilm"),
        "hybrid": lambda: hybrid("minilm", "table/minilm", "table/hybrid"),
        "stage1": lambda: model(stage["stage1"], "table/stage1"),
        "stage2": lambda: model(stage["stage2"], "table/stage2"),
        "stage2-hybrid": lambda: hybrid(stage["stage2"], "table/stage2", "table/stage2-hybrid"),
    }


def measure(task: Any, run: Path, work: Path) -> tuple[dict[str, Any], dict[str, GradedReport]]:
    """Every system on the task's test queries: figures, paired differences, and NDCG@10 on the task's subsets."""
    reports: dict[str, GradedReport] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, make in systems_of(run, work).items():
        found = task.reports(make())
        reports[name] = found["default"]
        for subset, report in found.items():
            report.save(work / "results")
            parts.setdefault(subset, {})[name] = report["ndcg@10"].to_dict()
    compared = {f"{a}|{b}": compare(reports[a], reports[b]) for a, b in DIFFERENCES}
    adjusted = holm([of.p_value for of in compared.values()])
    protocol = reports["minilm"].protocol
    figures = {
        "protocol": {key: value for key, value in protocol.items() if key in PROTOCOL},
        "protocol_line": protocol_line(protocol),
        "systems": {
            name: {
                "revision": report.revision,
                "settings": report.protocol["system"],
                "metrics": {metric: report[metric].to_dict() for metric in METRICS if metric in report.metrics},
            }
            for name, report in reports.items()
        },
        "differences": {
            pair: {**of.interval.to_dict(), "p": of.p_value, "p_holm": float(p), "wins": of.wins, "losses": of.losses}
            for (pair, of), p in zip(compared.items(), adjusted, strict=True)
        },
        "side_by_side": side_by_sides(reports),
        "subsets": {subset: found for subset, found in parts.items() if subset != "default"},
        "mr_st": __version__,
    }
    return figures, reports


def side_by_sides(reports: Mapping[str, GradedReport]) -> dict[str, Any]:
    """NDCG@10 over queries drawn by frequency; nothing where the queries have none."""
    if all(frequency is None for frequency in reports["bm25"].per_query["frequency"].to_pylist()):
        return {}
    found = {(a, b): side_by_side(reports[a], reports[b]) for a, b in SIDE_BY_SIDE}
    return {f"{a}|{b}": {"n_draws": of.n_draws, **of.traffic.to_dict()} for (a, b), of in found.items()}


def draw(reports: Mapping[str, GradedReport], names: tuple[str, ...], corpus: str) -> None:
    """The paper's figures 2 and 3: similarity by grade, and margins of the queries."""
    histograms = {TITLES[n]: of for n in names if (of := reports[n].similarities) is not None}
    grade_names = reports[names[0]].protocol["grades"]
    figures = {
        "similarity": plot_similarity_by_grade(histograms, grade_names),
        "margins": plot_margins({TITLES[n]: reports[n].margin_values() for n in names}),
    }
    for figure, drawn in figures.items():
        save_figure(drawn, DOCS / f"results_{corpus}_{figure}.png")


def section(found: Mapping[str, Any], command: str) -> str:
    """One corpus as Markdown."""
    lines = [f"{found['protocol_line']}. In brackets 95 % intervals over queries. `{command}`", ""]
    lines += ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for name, system in found["systems"].items():
        cells = [interval_cell(system["metrics"][m]) if m in system["metrics"] else "" for m in METRICS]
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} |")
    lines += ["", "| NDCG@10 | difference | p | p, Holm | won / lost |", "|---|---|---|---|---|"]
    for pair, of in found["differences"].items():
        a, b = (TITLES[name] for name in pair.split("|"))
        lines.append(
            f"| {b}, less {a} | {interval_cell(of, '+.3f')} | {p_cell(of['p'])} | {p_cell(of['p_holm'])} | "
            f"{of['wins']} / {of['losses']} |"
        )
    if found["side_by_side"]:
        n_draws = next(iter(found["side_by_side"].values()))["n_draws"]
        lines += ["", f"Side by side, NDCG@10 over {n_draws:,} queries drawn by frequency:", ""]
        lines += ["| control | treatment | NDCG@10 | relative | p | judged@10 |", "|---|---|---|---|---|---|"]
        for pair, of in found["side_by_side"].items():
            a, b = (TITLES[name] for name in pair.split("|"))
            lines.append(
                f"| {a} | {b} | {of['control']:.3f} to {of['treatment']:.3f} | "
                f"{interval_cell(of['relative'], '+.1%')} | {p_cell(of['p_value'])} | "
                f"{of['judged_control']:.2f} and {of['judged_treatment']:.2f} |"
            )
    if found["subsets"]:
        names = list(found["systems"])
        lines += ["", "| NDCG@10 on | queries | " + " | ".join(TITLES[name] for name in names) + " |"]
        lines += ["|---" * (len(names) + 2) + "|"]
        for subset, of in found["subsets"].items():
            cells = [interval_cell(of[name]) for name in names]
            lines.append(f"| {subset} | {of[names[0]]['n']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--marketplace", type=Path, metavar="RUN", help="the folder of mr-st demo")
    parser.add_argument("--esci", type=Path, metavar="RUN", help="the folder of the ESCI sample's recipe")
    parser.add_argument("--esci-data", type=Path, metavar="FOLDER", help="the ESCI sample")
    parser.add_argument("--work", type=Path, default=Path("build/results_table"), help="vectors and reports, kept")
    parser.add_argument("--docs", action="store_true", help="write docs/results.json and docs/results.md's tables")
    options = parser.parse_args()
    if options.esci and not options.esci_data:
        parser.error("--esci needs --esci-data")
    tasks: dict[str, tuple[Path, Callable[[], Any]]] = {}
    if options.marketplace:
        tasks["marketplace"] = (options.marketplace, lambda: get_task("MarketplaceRetrieval"))
    if options.esci:
        tasks["esci"] = (options.esci, lambda: get_task("ESCIRetrieval", path=options.esci_data))
    if not tasks:
        parser.error("nothing to measure: give --marketplace, --esci or both")
    for corpus, (run, make) in tasks.items():
        found, reports = measure(make(), run, options.work)
        if options.docs:
            draw(reports, ("minilm", "stage1", "stage2"), corpus)
            write_json(JSON, {**read_json_or_nothing(JSON), corpus: found})
            put_into_docs(PAGE, corpus, section(found, COMMANDS[corpus]))
        print(section(found, COMMANDS[corpus]))


if __name__ == "__main__":
    main()
