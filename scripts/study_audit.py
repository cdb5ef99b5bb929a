#!/usr/bin/env python3
"""What the engagement audit finds and mends: the marketplace with 10 % wrong labels, and experts who err in 5 %.

    scripts/study_audit.py --out runs/audit                  the small marketplace, cross-encoders as judges
    scripts/study_audit.py --out runs/audit --docs           and put the figures into docs/audit.md, .json and .png
    scripts/study_audit.py --out runs/audit --judge FOLDER   an annotator that was fitted before, on other wrong labels
    scripts/study_audit.py --out runs/audit --judge stand-in a judge that errs on one pair in five: seconds
    scripts/study_audit.py --out runs/audit-smoke --smoke    everything, small: minutes

The judge is a cross-encoder fitted on the wrong labels only, cross-fitted: no pair is judged by a model that saw its
query. A fit is kept in --out and not done twice. Two noises: a wrong label is off by one grade (near), or any other
(uniform).
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from audit_tables import BROAD, RAW, SIZES, plot, tables
from scipy.stats import hypergeom

from mr_st.annotation import Annotations, PairTable, load_annotator
from mr_st.annotation.audit import Audit
from mr_st.annotation.audit.figures import share_interval
from mr_st.annotation.audit.flags import FlagSettings, flag_pairs
from mr_st.annotation.folded import cross_fit_annotators
from mr_st.cli.io import quiet_libraries
from mr_st.data import GradedDataset
from mr_st.data.label_noise import DistortedLabels, LabelNoise, distort_labels
from mr_st.data.marketplace.engagement import EngagementModel, simulate_engagement
from mr_st.data.marketplace.world import make_world
from mr_st.data.schema import arrow_table
from mr_st.files import write_json, write_text

DOCS = Path(__file__).resolve().parents[1] / "docs" / "audit.md"
KEYS = ["query_id", "item_id"]
SPLIT = "train"
NOISES: dict[str, Callable[[float], LabelNoise]] = {"near": LabelNoise.near, "uniform": LabelNoise.uniform}
EVERYTHING = {"min_probability": 0.0, "min_evidence": 0.0}
RULES: dict[str, dict[str, Any]] = {
    "combined": {},
    "clicks alone": {"signals": ("clicks",)},
    "carts alone": {"signals": ("add_to_carts",)},
    "purchases alone": {"signals": ("purchases",)},
    "one standard for all queries": {"query_level": False},
    "carts alone, one standard for all": {"signals": ("add_to_carts",), "query_level": False},
    "without items' appeal": {"item_appeal": False},
    "with the place": {"place": True},
}
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)


class StandIn:
    """A cheap judge for developing: the truth, but for one pair in five."""

    identity = "stand-in"

    def __init__(self, truth: pl.DataFrame, error: float = 0.2, seed: int = 7):
        rng = np.random.default_rng(seed)
        shift = np.where(rng.random(len(truth)) < error, rng.integers(1, 3, len(truth)), 0)
        grades = (truth["true_grade"].to_numpy() + shift) % 3
        self.grades = dict(zip(truth.select(KEYS).iter_rows(), grades.tolist(), strict=True))

    def grade(self, pairs: PairTable) -> Annotations:
        grades = np.array([self.grades[key] for key in zip(pairs.query_ids, pairs.item_ids, strict=True)], dtype=int)
        return Annotations(grades, np.eye(3)[grades] * 0.7 + 0.1)


FIT: dict[str, Any] = {"learning_rate": 3e-4, "class_weights": "balanced"}
"""Of the judges' fits, besides bf16 where the machine computes in it; the rate and the weights leave the majority
class behind within two epochs of so few pairs."""


def judge_of(noisy: DistortedLabels, kind: str, options: argparse.Namespace) -> Any:
    """The judge, fitted where it is not there yet."""
    if options.judge == "stand-in":
        return StandIn(noisy.truth)
    if options.judge != "cross-encoder":
        return load_annotator(options.judge)
    import torch

    from mr_st.training import fit_cross_encoder
    from mr_st.training.precision import computes_in_bfloat16

    def fit(part: GradedDataset, fold: int) -> Any:
        folder = options.out / f"judge-{kind}-seed{options.seed}-fold{fold}of{options.folds}"
        return fit_cross_encoder(
            part,
            options.base,
            folder,
            split=SPLIT,
            epochs=options.epochs,
            seed=options.seed,
            show_progress=True,
            bf16=computes_in_bfloat16(on_cpu=not torch.accelerator.is_available()),
            **FIT,
        )

    return cross_fit_annotators(train_only(noisy.dataset), fit, options.folds, seed=options.seed)


def train_only(dataset: GradedDataset) -> GradedDataset:
    """The dataset without the judgments of dev and test, whose labels are true: nothing may learn from them."""
    return dataset.split(SPLIT)


def expert_answers(pairs: pl.DataFrame, truth: pl.DataFrame, n_experts: int, error: float, seed: int) -> pl.DataFrame:
    """What simulated experts say: the truth, but for a share of pairs, where they give any other grade.

    What an expert says of a pair depends on (seed, expert, pair) alone.
    """
    ordered = truth.sort(KEYS)
    parts = []
    for expert in range(n_experts):
        rng = np.random.default_rng([seed, 11, expert])
        shift = np.where(rng.random(len(ordered)) < error, rng.integers(1, 3, len(ordered)), 0)
        said = pl.Series("grade", (ordered["true_grade"].to_numpy() + shift) % 3, dtype=pl.Int8)
        parts.append(ordered.select(KEYS).with_columns(said, pl.lit(f"expert {expert + 1}").alias("expert")))
    return pl.concat(parts).join(pairs.select(KEYS), on=KEYS, how="semi")


def ranked(noisy: DistortedLabels, rule: dict[str, Any], middle: bool) -> pl.DataFrame:
    """All pairs that engagement speaks against, surest first, with ``wrong``."""
    settings = FlagSettings(**{**EVERYTHING, "middle": middle, **rule})
    table = flag_pairs(noisy.dataset, share=1.0, settings=settings, splits=[SPLIT]).table
    return table.join(noisy.truth.select(*KEYS, "true_grade"), on=KEYS, maintain_order="left").with_columns(
        (pl.col("grade") != pl.col("true_grade")).alias("wrong")
    )


def ranked_raw(noisy: DistortedLabels, middle: bool) -> pl.DataFrame:
    """The same by raw rates: clicks an impression against one threshold for all queries and items."""
    sampled = flag_pairs(noisy.dataset, share=1.0, splits=[SPLIT]).sampled
    least = FlagSettings().min_impressions
    table = sampled.filter(pl.col("impressions") >= least).join(noisy.truth.select(*KEYS, "true_grade"), on=KEYS)
    rate = pl.col("clicks") / pl.col("impressions")
    # as many of each label, from the extreme end; of equal rates those first that more people saw
    table = table.with_columns(pl.when(pl.col("grade") == 0).then(-rate).otherwise(rate).alias("rate"))
    table = table.sort(["grade", "rate", "impressions", *KEYS], descending=[False, False, True, False, False])
    score = -pl.int_range(pl.len()).over("grade")
    if not middle:
        table = table.filter(pl.col("grade") != 1)
    table = table.with_columns(score.alias("score"), (pl.col("grade") != pl.col("true_grade")).alias("wrong"))
    return table.sort(["score", *KEYS], descending=[True, False, False])


def random_flags(noisy: DistortedLabels, flags: pl.DataFrame, seed: int) -> dict[str, Any]:
    """The precision of the flags against random flags of the same number: of any pair, and of pairs alike.

    Alike: of the same labels in the same numbers, among the pairs that were shown often enough to be flagged.
    """
    truth = noisy.truth.filter(pl.col("split") == SPLIT).with_columns(
        (pl.col("grade") != pl.col("true_grade")).alias("wrong")
    )
    flagged = flags.select(KEYS).join(truth, on=KEYS)
    n, hits = len(flagged), int(flagged["wrong"].sum())
    base = int(truth["wrong"].sum())
    shown = noisy.dataset.engagement
    assert shown is not None
    log: Any = pl.DataFrame(arrow_table(shown)).filter(pl.col("impressions") >= FlagSettings().min_impressions)
    pool = truth.join(log, on=KEYS, how="semi")
    rng = np.random.default_rng([seed, 12])
    drawn = np.zeros(10_000, dtype=np.int64)
    for grade in (0, 1, 2):
        alike = pool.filter(pl.col("grade") == grade)["wrong"]
        n_here = int((flagged["grade"] == grade).sum())
        drawn += rng.hypergeometric(int(alike.sum()), len(alike) - int(alike.sum()), n_here, len(drawn))
    return {
        "flags": n,
        "precision": share_interval(flagged["wrong"].to_numpy(), flagged["query_id"].to_list(), seed),
        "random": base / len(truth),
        "p": float(hypergeom.sf(hits - 1, len(truth), base, n)),
        "random_alike": float(drawn.mean() / n) if n else None,
        "p_alike": float((1 + (drawn >= hits).sum()) / (1 + len(drawn))),
    }


def curve(audit: Audit, noisy: DistortedLabels, judged: pl.DataFrame, flags: pl.DataFrame, error: float,
          seed: int) -> list[dict[str, Any]]:  # fmt: skip
    """What each threshold would give, with all labels looked at and one expert."""
    truth = noisy.truth.filter(pl.col("split") == SPLIT)
    n_wrong = int((truth["grade"] != truth["true_grade"]).sum())
    said = expert_answers(flags, truth, 1, error, seed).rename({"grade": "said"}).drop("expert")
    table = flags.join(judged, on=KEYS, how="left").join(said, on=KEYS)
    found = []
    for threshold in THRESHOLDS:
        part = table.filter(pl.col("score") >= threshold)
        asked = part.filter(pl.col("judged") != pl.col("grade"))
        mended = int((asked["wrong"] & (asked["said"] == asked["true_grade"])).sum())
        introduced = int((~asked["wrong"] & (asked["said"] != asked["true_grade"])).sum())
        hits = int(part["wrong"].sum())
        found.append(
            {
                "min_probability": threshold, "flagged": len(part), "flagged_wrong": hits,
                "precision": hits / len(part) if len(part) else None, "recall": hits / n_wrong,
                "experts_asked": len(asked), "mended": mended, "introduced": introduced,
                "mended_of_flagged": mended / hits if hits else None, "errors_after": n_wrong - mended + introduced,
            }
        )  # fmt: skip
    return found


def breadth(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The query's own standard against one for all, in the shop as it is and where broad queries convert far less."""
    found = []
    for exponent in (EngagementModel().breadth, BROAD):
        shop = GradedDataset.load("marketplace", size=options.size, seed=0)
        log = simulate_engagement(make_world(options.size, 0), EngagementModel(breadth=exponent))
        shop = GradedDataset.from_tables(shop.queries, shop.items, shop.judgments, log, name=shop.name)
        noisy = distort_labels(shop, NOISES[kind](options.noise), seed=options.seed, splits=(SPLIT,))
        for signals in (("clicks", "add_to_carts", "purchases"), ("add_to_carts",), ("purchases",)):
            for query_level in (True, False):
                wrong = ranked(noisy, {"signals": signals, "query_level": query_level}, middle=False)[
                    "wrong"
                ].to_numpy()
                precision = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
                found.append(
                    {
                        "breadth": exponent, "signals": list(signals), "query_level": query_level,
                        "average_precision": float(precision[wrong].mean()) if wrong.any() else None,
                        "first_100": float(wrong[:100].mean()) if len(wrong) else None,
                    }
                )  # fmt: skip
    return found


def study(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures under one noise."""
    shop = GradedDataset.load("marketplace", size=options.size, seed=0, engagement=True)
    noisy = distort_labels(shop, NOISES[kind](options.noise), seed=options.seed, splits=(SPLIT,))
    truth = noisy.truth.filter(pl.col("split") == SPLIT)
    started = time.perf_counter()
    judge = judge_of(noisy, kind, options)
    figures: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - started, 1)}
    rules = {}
    for middle in (True, False):
        for name, rule in RULES.items():
            rules[name, middle] = ranked(noisy, rule, middle)
        rules[RAW, middle] = ranked_raw(noisy, middle)
    figures["rules"] = [
        {
            "rule": name, "middle": middle,
            "precision_at": {str(n): float(table["wrong"][:n].to_numpy().mean()) for n in SIZES if n <= len(table)},
        }
        for (name, middle), table in rules.items()
    ]  # fmt: skip
    flags = rules["combined", True]
    figures["breadth"] = breadth(kind, options)
    figures["precision_curve"] = {
        name: [round(float(v), 4) for v in np.cumsum(t["wrong"]) / np.arange(1, len(t) + 1)][9:800:10]
        for (name, middle), t in rules.items()
        if middle
    }
    figures["audits"] = []
    for share in (0.3, 1.0):
        folder = options.out / f"audit-{kind}-{judge.identity}-seed{options.seed}-share{share}"
        audit = Audit(noisy.dataset, judge, folder, share=share, seed=options.seed, splits=[SPLIT])
        audit.run()
        differing = pl.read_parquet(folder / "differing.parquet")
        for n_experts in (1, 3):
            answers = expert_answers(differing, truth, n_experts, options.expert_error, options.seed)
            (folder / "answers.parquet").unlink(missing_ok=True)
            report = audit.decide(answers, truth=truth).report
            figures["audits"].append({"share": share, "experts": n_experts, **report})
        against = random_flags(noisy, pl.read_parquet(folder / "flags.parquet"), options.seed)
        figures[f"against_random_share_{share}"] = against
    pairs = audit.pairs(flags)
    given = judge.grade(pairs)
    judged = flags.select(KEYS).with_columns(pl.Series("judged", given.grades))
    figures["judge"] = {
        "identity": judge.identity,
        "accuracy_on_pairs_with_engagement_against_the_label": float(
            (given.grades == flags["true_grade"].to_numpy()).mean()
        ),
    }
    figures["curve"] = curve(audit, noisy, judged, flags, options.expert_error, options.seed)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/audit"))
    parser.add_argument("--size", default="small", help="of the marketplace")
    parser.add_argument("--noise", type=float, default=0.1, help="share of wrong labels")
    parser.add_argument("--noises", nargs="+", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--judge", default="cross-encoder", help="cross-encoder, stand-in, or a fitted folder")
    parser.add_argument("--base", default="minilm", help="what the judges are fitted from")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--expert-error", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="the tiny marketplace, one epoch")
    parser.add_argument("--docs", action="store_true", help="write docs/audit.json, .png and .md's figures")
    options = parser.parse_args()
    quiet_libraries()
    if options.smoke:
        options.size, options.epochs = "tiny", 1
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {
        name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items() if name not in ("docs", "out")
    }
    if options.judge not in ("cross-encoder", "stand-in"):
        settings["judge"] = "fitted before"
    result = {"settings": settings, "noises": {kind: study(kind, options) for kind in options.noises}}
    block = tables(result)
    print(block)
    write_json(options.out / "audit.json", result)
    plot(result, options.out / "audit.png")
    if options.docs:
        write_json(DOCS.with_suffix(".json"), result)
        plot(result, DOCS.with_suffix(".png"))
        picture = "![Share of wrong labels among the first pairs of each rule](audit.png)"
        marked = f"<!-- figures: start -->\n{block}\n\n{picture}\n<!-- figures: end -->"
        text = DOCS.read_text(encoding="utf-8")
        write_text(DOCS, re.sub(r"<!-- figures: start -->.*<!-- figures: end -->", lambda _: marked, text, flags=re.S))


if __name__ == "__main__":
    main()
