#!/usr/bin/env python3
"""How right a fitted annotator is on queries that it never saw, against the simplest annotators and its own labels.

    scripts/bench_annotators.py                       the marketplace, learned from labels with 10 % noise
    scripts/bench_annotators.py --noise uniform       the same, but a wrong label is any other grade
    scripts/bench_annotators.py --llm FOLDER          and a language model that was fitted on the same noisy labels
    scripts/bench_annotators.py --set-aside 1000      scored on 1,000 train queries that it does not learn from
    scripts/bench_annotators.py --esci FOLDER         the ESCI sample in the place of the marketplace
    scripts/bench_annotators.py --write-noisy FOLDER  only save the noisy dataset, to fit a language model on it
    scripts/bench_annotators.py --set epochs=3        another setting of the cross-encoder's fit; repeatable
    scripts/bench_annotators.py --docs                and put the tables into docs/annotators.md, the figures beside it
    scripts/bench_annotators.py --smoke               everything once, tiny: does it run?

All learn from the train split (on the marketplace its labels pass through the noise first) and are scored on the true
labels of the test split, or of train queries that are set aside: pairs of the kind that is learned from. No query that
is scored on has a training pair. What is fitted or graded stays in --work, and a
rerun takes it from there. Intervals and tests are over queries.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from annotator_labels import ASIDE, some_of_each, with_fewer_queries, with_set_aside, without_set_aside
from annotator_tables import FITTED, tables, write_docs

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, dict[str, Any]] = {
    "marketplace": {
        "base": "minilm",
        "epochs": 1,
        "learning_rate": 3e-4,
        "warmup": 0.05,
        "class_weights": "balanced",
        "holdout_share": 0.03,
        "evaluations_per_epoch": 10,
        "patience": 10,
    },
    "esci": {"base": "minilm", "epochs": 3, "learning_rate": 2e-4, "random_negatives": 0.3},
}
"""Of the cross-encoder's fit, besides bf16 where the machine computes in it; else fit_cross_encoder's defaults."""
THRESHOLD_PAIRS = 10_000  # learning pairs that two thresholds are fitted on, at most
SMOKE = {"epochs": 1, "max_length": 32}


# ---- the measurements ----------------------------------------------------------------------------------------------


class Bench:
    """The learning labels, the test pairs, and what each annotator says of them.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        from mr_st.data import GradedDataset
        from mr_st.data.label_noise import LabelNoise, distort_labels

        self.options = options
        self.name = "esci" if options.esci else f"marketplace-{options.noise}"
        self.noise: LabelNoise | None = None
        if options.esci:
            self.clean = self.learned = GradedDataset.load(options.esci)
            self.error_rate = 0.0
        else:
            self.clean = GradedDataset.load("marketplace", size=options.size)
            if options.set_aside:
                self.clean = with_set_aside(self.clean, options.set_aside, options.seed)
            make = LabelNoise.near if options.noise == "near" else LabelNoise.uniform
            self.noise = make(options.rate, self.clean.scale.n_grades)
            self.learned = distort_labels(self.clean, self.noise, options.seed, ("train",)).dataset
            if options.set_aside:
                self.learned = without_set_aside(self.learned)
            self.all_learned = self.learned
            if options.train_queries:
                self.learned = with_fewer_queries(self.learned, options.train_queries, options.seed)
                self.clean = with_fewer_queries(self.clean, options.train_queries, options.seed)
            before, after = (of.judged_pairs("train").grades for of in (self.clean, self.learned))
            self.error_rate = float(np.mean(before != after))
        self.n_grades = self.clean.scale.n_grades
        judged = self.clean.judged_pairs(ASIDE if options.set_aside else "test")
        seen = set(self.clean.judged_pairs("train").query_rows.tolist())
        if seen & set(judged.query_rows.tolist()):
            raise SystemExit(
                "bench_annotators: a query that is scored on has training pairs; the split must be by query"
            )
        rows = some_of_each(judged.query_rows, options.pairs_per_query, options.seed)
        self.truth = judged.grades[rows].astype(np.int64)
        self.pairs = self.clean.pair_table(judged.query_rows[rows], judged.item_rows[rows])
        sources = dict(zip(self.clean.queries["query_id"], self.clean.queries["source_query_id"], strict=True))
        self.roots = [sources[query] or query for query in self.pairs.query_ids]
        drawn = f"-{options.pairs_per_query}-a-query" if options.pairs_per_query else ""
        drawn += "-aside" if options.set_aside else ""
        self.work = Path(options.work) / f"{self.name}-{self.learned.fingerprint}{drawn}"
        self.work.mkdir(parents=True, exist_ok=True)
        self.fits = Path(options.work) / f"{self.name}-{self.learned.fingerprint}"  # whatever they are scored on

    def run(self) -> dict[str, Any]:
        """All annotators' figures, and the fitted ones against the others."""
        from mr_st.annotation.agreement import agreement, compare_annotators

        facts: dict[str, Any] = {}
        fitted, facts["cross-encoder"] = self.cross_encoder()
        given = {"majority": self.majority()}
        for metric in ("accuracy", "macro_f1"):
            given[f"thresholds-{metric.replace('_', '-')}"] = self.thresholds(metric)
        if self.noise is not None:
            given["noisy-labels"] = self.noisy_labels()
        given["cross-encoder"] = fitted
        if self.options.llm:
            given["llm"], facts["llm"] = self.llm()
        figures = {
            name: {**agreement(self.truth, annotations, self.roots), **facts.get(name, {})}
            for name, annotations in given.items()
        }
        comparisons = {
            f"{name} - {other}": compare_annotators(self.truth, given[other], given[name], self.roots)
            for name in FITTED if name in given
            for other in given if other not in FITTED
        }  # fmt: skip
        train = self.learned.judged_pairs("train")
        return {
            "learned_from": {
                "name": self.learned.name, "fingerprint": self.learned.fingerprint, "n_pairs": len(train.grades),
                "n_queries": len(set(train.query_rows.tolist())), "error_rate": self.error_rate,
                "noise": None if self.noise is None else self.options.noise,
            },
            "scored_on": {"set_aside": bool(self.options.set_aside), "n_pairs": len(self.truth),
                          "n_queries": len(set(self.roots)), "pairs_per_query": self.options.pairs_per_query,
                          "by_grade": np.bincount(self.truth, minlength=self.n_grades).tolist()},
            "annotators": figures,
            "comparisons": comparisons,
            "command": self.command(),
        }  # fmt: skip

    def majority(self) -> Any:
        """The commonest grade of the learning labels, as probable as they say."""
        from mr_st.annotation import Annotations

        shares = np.bincount(self.learned.judged_pairs("train").grades, minlength=self.n_grades).astype(float)
        shares /= shares.sum()
        n = len(self.truth)
        return Annotations(np.full(n, shares.argmax(), np.int8), np.tile(shares, (n, 1)))

    def noisy_labels(self) -> Any:
        """What a judge with the same noise would say of the test pairs."""
        from mr_st.annotation import Annotations

        assert self.noise is not None
        given = self.noise.apply(self.truth, np.random.default_rng([self.options.seed, 17]))
        return Annotations.certain(given, self.n_grades)

    def thresholds(self, metric: Any) -> Any:
        """MiniLM's cosine, cut where the learning labels say."""
        from mr_st.annotation import SimilarityAnnotator

        def grade() -> Any:
            train = self.learned.judged_pairs("train")
            drawn = np.random.default_rng([self.options.seed, 31]).permutation(len(train.grades))[:THRESHOLD_PAIRS]
            pairs = self.learned.pair_table(train.query_rows[drawn], train.item_rows[drawn])
            print(f"thresholds for {metric}: encoding", file=sys.stderr, flush=True)
            fitted = SimilarityAnnotator.fit("minilm", pairs, train.grades[drawn], self.n_grades, metric)
            return fitted.grade(self.pairs)

        return self.kept(f"thresholds-{metric}", grade)

    def cross_encoder(self) -> tuple[Any, dict[str, Any]]:
        """Fitted here on the learning labels."""
        from mr_st.identity import settings_hash
        from mr_st.training import fit_cross_encoder

        settings = fit_settings(self.options)
        base = settings.pop("base")
        folder = self.fits / f"cross-encoder-{settings_hash({'base': base, **settings})}"
        fitted = fit_cross_encoder(self.learned, base, folder, **settings, show_progress=sys.stderr.isatty())
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        facts = {
            "identity": fitted.identity, "base": report["base"], "settings": report["settings"],
            "seconds": report["training"]["seconds"],
            "random_items": report["random_items"],
        }  # fmt: skip
        return self.kept(fitted.identity, lambda: fitted.grade(self.pairs)), facts

    def llm(self) -> tuple[Any, dict[str, Any]]:
        """Fitted before, on the same labels."""
        from mr_st.annotation.loading import load_annotator

        folder = Path(self.options.llm)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        same = self.learned
        if self.options.llm_queries:
            same = with_fewer_queries(self.all_learned, self.options.llm_queries, self.options.seed)
        if report["data"]["fingerprint"] != same.fingerprint:
            raise SystemExit(
                f"{folder}: fitted on data {report['data']['fingerprint']}, not on {same.fingerprint}; save the "
                "labels with --write-noisy, fit on them and come back"
            )
        annotator = load_annotator(folder)
        facts = {
            "identity": annotator.identity, "base": report["base"], "settings": report["settings"],
            "seconds": report["training"]["seconds"], "learned_from": report["learned_from"],
        }  # fmt: skip
        return self.kept(annotator.identity, lambda: annotator.grade(self.pairs)), facts

    def kept(self, name: str, grade: Any) -> Any:
        """The annotations of that name, from the work folder or newly made and put there."""
        from mr_st.annotation import Annotations
        from mr_st.files import atomic_path

        path = self.work / f"{name}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as saved:
                return Annotations(saved["grades"], saved["probabilities"])
        started = time.perf_counter()
        annotations = grade()
        seconds = time.perf_counter() - started
        print(f"{name}: {len(annotations):,} pairs in {seconds:,.0f} s", file=sys.stderr, flush=True)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, grades=annotations.grades, probabilities=annotations.probabilities)
        return annotations

    def command(self) -> str:
        """What was called, without the folders of this machine."""
        words = ["scripts/bench_annotators.py"]
        words += (
            ["--esci FOLDER"] if self.options.esci else ["--noise", self.options.noise, "--size", self.options.size]
        )
        if self.options.set_aside:
            words.append(f"--set-aside {self.options.set_aside}")
        if self.options.train_queries:
            words.append(f"--train-queries {self.options.train_queries}")
        if self.options.pairs_per_query:
            words.append(f"--pairs-per-query {self.options.pairs_per_query}")
        words += ["--llm FOLDER"] * bool(self.options.llm)
        words += [f"--llm-queries {self.options.llm_queries}"] * bool(self.options.llm_queries)
        words += [f"--set {setting}" for setting in self.options.set or []]
        return " ".join([*words, "--docs"])


def fit_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The cross-encoder's settings: the dictionary above, --smoke, --set."""
    import torch

    from mr_st.cli.data import parse_options
    from mr_st.training.precision import computes_in_bfloat16

    settings = {**SETTINGS["esci" if options.esci else "marketplace"], **(SMOKE if options.smoke else {})}
    bf16 = computes_in_bfloat16(on_cpu=not torch.accelerator.is_available())
    return {"seed": options.seed, "bf16": bf16, **settings, **parse_options(options.set)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", choices=("near", "uniform"), default="near", help="where a wrong label goes")
    parser.add_argument("--rate", type=float, default=0.1, help="share of wrong labels")
    parser.add_argument("--size", default="large", help="of the marketplace")
    parser.add_argument("--set-aside", type=int, metavar="N", help="score on pairs of N of the marketplace's train "
                        "queries, which are not learned from, and not on the test split's")  # fmt: skip
    parser.add_argument("--train-queries", type=int, help="learn from this many of the marketplace's train queries")
    parser.add_argument("--pairs-per-query", type=int, help="score this many random pairs of a test query at most")
    parser.add_argument("--esci", type=Path, help="folder of the ESCI sample, in the place of the marketplace")
    parser.add_argument("--llm", type=Path, help="folder of a language model that was fitted on the same labels")
    parser.add_argument("--llm-queries", type=int, help="it was fitted on the same labels of this many queries")
    parser.add_argument("--write-noisy", type=Path, metavar="FOLDER", help="save the dataset that is learned from")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="of the cross-encoder's fit; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and the fit")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_annotators", help="where things are kept")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--from", type=Path, dest="source", help="figures of --json instead of measuring")
    parser.add_argument("--docs", action="store_true", help="write docs/annotators.json and docs/annotators.md")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    options = parser.parse_args()
    if options.smoke:
        options.size = "tiny"
        if options.docs:
            raise SystemExit("bench_annotators: --smoke measures nothing worth writing down; leave out --docs")
    from mr_st.cli.io import quiet_libraries
    from mr_st.errors import MrStError

    quiet_libraries()
    try:
        if options.source:
            found = json.loads(options.source.read_text(encoding="utf-8"))
        else:
            bench = Bench(options)
            if options.write_noisy:
                bench.learned.save(options.write_noisy)
                print(f"{options.write_noisy}: {bench.learned.name}, fingerprint {bench.learned.fingerprint}")
                return
            name = bench.name
            if options.set_aside:
                name += f"-{ASIDE}" + (f"-{options.train_queries}" if options.train_queries else "")
            found = {name: bench.run()}
    except MrStError as error:
        raise SystemExit(f"bench_annotators: {error}") from error
    for figures in found.values():
        print(tables(figures))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.docs:
        write_docs(found, {name: tables(of) for name, of in found.items()})


if __name__ == "__main__":
    main()
