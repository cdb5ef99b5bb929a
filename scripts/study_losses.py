#!/usr/bin/env python3
"""The same small training run with every loss, so that docs/losses.md can help to choose one.

    scripts/study_losses.py --out runs/losses            about 12 minutes on 2 idle cores; run it again to resume
    scripts/study_losses.py --out runs/losses --docs     and put the table into docs/losses.md, the figures beside it
    scripts/study_losses.py --out runs/losses --loss circle --loss triplet     some of the losses only
    scripts/study_losses.py --out DIR --smoke            a tiny shop, two steps: does it run?

MiniLM from the base, without heads; the marketplace `small`, its training instances (misspelt variants of 40 % of the
queries beside them for spelling_consistency only), 30 steps of 8 queries, the same batches, learning rate and seed for
all, each loss at its defaults. No setting was tuned for any loss, and no dev set is looked at. Evaluated on the test
split over the full catalogue: NDCG@10 with 95 % intervals over queries, its paired difference to supcon with the
permutation test's p (10,000 signs, Holm-corrected over all rows), and average margins over the judged pairs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doc_pages import DOCS, put_into_docs

from mr_st.cli.io import quiet_libraries
from mr_st.errors import MrStError
from mr_st.files import write_json

if TYPE_CHECKING:
    from mr_st.data import GradedDataset
    from mr_st.evaluation import GradedReport

BASE, BASELINE = "untrained", "supcon"
MARGINS = ("margin_average_2_0", "margin_average_2_1", "margin_average_1_0")
SETTINGS: dict[str, Any] = {"max_steps": 30, "queries_per_batch": 8, "learning_rate": 5e-5, "max_seq_length": 64}
SPELLING_SHARE = 0.4


def train(name: str, dataset: GradedDataset, out: Path, settings: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The model trained with one loss, or the one that an earlier run left; its folder, and what the stage says."""
    from mr_st.augment import misspelt_variants
    from mr_st.data import build_instances
    from mr_st.training import StageConfig, train_stage

    variants = None
    if name == "spelling_consistency":
        variants = misspelt_variants(dataset, share=SPELLING_SHARE, seed=0)[0]
    instances = build_instances(dataset, "train", 1, seed=0, variants=variants)
    config = StageConfig(loss=name, evaluations=1, seed=0, **settings)
    stage = train_stage("minilm", instances, config, out / name, show_progress=False, n_grades=dataset.scale.n_grades)
    return stage.model_dir, {"steps": stage.steps, "seconds": stage.seconds, "loss_config": stage.loss_config}


def evaluate(name: str, model_dir: str | Path, dataset: GradedDataset, out: Path) -> GradedReport:
    """The report of one model on the test split, or the one that an earlier run left of the same model and data."""
    from mr_st.evaluation import GradedReport, evaluate_model
    from mr_st.identity import model_hash
    from mr_st.models import load_sentence_transformer

    model = load_sentence_transformer(model_dir, device="cpu")
    model.max_seq_length = SETTINGS["max_seq_length"]
    revision = model_hash(model)
    path = out / "results" / f"study__{name}" / revision / "LossStudy.json"
    if path.is_file():
        report = GradedReport.load(path, "test")
        if report.dataset_fingerprint == dataset.fingerprint:
            return report
    report = evaluate_model(
        model, dataset, task_name="LossStudy", ks=(10, 100), model_name=f"study/{name}", revision=revision
    )
    report.save(out / "results")
    return report


def figures_of(reports: Mapping[str, GradedReport], stages: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One row a model."""
    from mr_st.evaluation import compare
    from mr_st.measures import holm

    against = {name: compare(reports[BASELINE], report) for name, report in reports.items() if name != BASELINE}
    adjusted = holm([comparison.p_value for comparison in against.values()])
    corrected = dict(zip(against, adjusted.tolist(), strict=True))
    rows = {}
    for name, report in reports.items():
        row: dict[str, Any] = {key: report[key].to_dict() for key in ("ndcg@10", *MARGINS) if key in report.metrics}
        if name in against:
            found = against[name]
            row["difference"] = {key: getattr(found, key) for key in ("difference", "low", "high", "p_value")}
            row["p_holm"] = corrected[name]
        rows[name] = row | stages.get(name, {})
    report = reports[BASELINE]
    return {
        "protocol": f"{report.protocol['dataset']['name']}, test split, {report['ndcg@10'].n} queries, all "
        f"{report.protocol['n_items']:,} items, gains {report.protocol['gains']}; MiniLM from the base, one seed",
        "fingerprint": report.dataset_fingerprint,
        "rows": rows,
    }


def table_of(figures: Mapping[str, Any]) -> str:
    """The figures as Markdown, best NDCG first."""
    settings = figures["settings"]
    lines = [
        f"{figures['protocol']}; {settings['max_steps']} steps of {settings['queries_per_batch']} queries at a "
        f"learning rate of {settings['learning_rate']:g} for all, defaults of each loss, nothing tuned. 95 % "
        f"intervals over queries; p of the paired permutation test against `{BASELINE}`, Holm-corrected over rows. "
        "`scripts/study_losses.py --out runs/losses --docs`",
        "",
        f"| loss | NDCG@10 | against `{BASELINE}` | p | margin 2-0 | 2-1 | 1-0 | training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = sorted(figures["rows"].items(), key=lambda item: -item[1]["ndcg@10"]["value"])
    for name, row in rows:
        ndcg, found = row["ndcg@10"], row.get("difference")
        against = "" if found is None else f"{found['difference']:+.3f} [{found['low']:+.3f} {found['high']:+.3f}]"
        p = "" if found is None else "<.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
        margins = " | ".join(f"{row[key]['value']:.3f}" if key in row else "" for key in MARGINS)
        training = f"{row['seconds']:.0f} s" if "seconds" in row else ""
        title = name if name == BASE else f"`{name}`"
        lines.append(
            f"| {title} | {ndcg['value']:.3f} [{ndcg['low']:.3f} {ndcg['high']:.3f}] | {against} | {p} | {margins} | "
            f"{training} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the stages and results go")
    parser.add_argument("--loss", action="append", help=f"one of the losses, beside {BASELINE}; default: all")
    parser.add_argument("--docs", action="store_true", help="write docs/losses_study.json and docs/losses.md's table")
    parser.add_argument("--smoke", action="store_true", help="a tiny shop and two steps")
    options = parser.parse_args()
    if options.docs and (options.smoke or options.loss):
        parser.error("--docs is for the whole study: leave out --smoke and --loss")
    quiet_libraries()
    from mr_st.data import GradedDataset
    from mr_st.losses import LOSSES

    unknown = sorted(set(options.loss or []) - set(LOSSES))
    if unknown:
        parser.error(f"there is no loss {unknown[0]}; the losses are {', '.join(LOSSES)}")
    dataset = GradedDataset.load("marketplace", size="tiny" if options.smoke else "small", seed=0)
    settings = SETTINGS | ({"max_steps": 2, "queries_per_batch": 3} if options.smoke else {})
    reports: dict[str, GradedReport] = {}
    stages: dict[str, dict[str, Any]] = {}
    for name in [BASE, BASELINE, *(loss for loss in options.loss or LOSSES if loss != BASELINE)]:
        started = time.perf_counter()
        model_dir: str | Path = "minilm"
        if name != BASE:
            try:
                model_dir, stages[name] = train(name, dataset, options.out, settings)
            except MrStError as error:
                raise SystemExit(f"study_losses: {error}") from error
        reports[name] = evaluate(name, model_dir, dataset, options.out)
        print(f"{name}: NDCG@10 {reports[name]['ndcg@10']}, {time.perf_counter() - started:.0f} s", flush=True)
    figures = {**figures_of(reports, stages), "settings": settings}
    table = table_of(figures)
    print(table)
    write_json(options.out / "study.json", figures)
    if options.docs:
        (DOCS / "losses_study.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        put_into_docs(DOCS / "losses.md", "study", table)


if __name__ == "__main__":
    main()
