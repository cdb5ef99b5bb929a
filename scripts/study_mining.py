#!/usr/bin/env python3
"""Does re-annotation pay? Mining with the annotator against naive negatives, on the marketplace, from one stage 1.

    scripts/study_mining.py --run runs/mr-minilm-marketplace --out build/study_mining    run it again to resume
    scripts/study_mining.py --run ... --out build/study_mining --docs      and put the tables into docs/mining.md
    scripts/study_mining.py --out DIR --smoke                              a tiny shop, two steps: does it run?

Takes the dataset and the stage-1 model of a finished run of the bundled recipe, mines once, and trains stage 2 on the
original judgments and, in each arm, the same number of further pairs a query:

- re-annotated: what `mine` takes (policy as annotator): hard negatives and hard positives;
- naive, highest-ranked: the highest-ranked of the top k that nobody judged, all called 0;
- naive, drawn: as ANCE (arXiv 2007.00808), drawn from all of the top k that nobody judged, all called 0;
- none: no pair more;
- with --more: the pairs of the first naive arm with the annotator's grades; random unjudged items called 0.

Same recipe of stage 2, same steps and seeds in all. Queries judged with one grade only are left out where the arm's
pairs bring no second grade: a naive miner has no annotator to ask. Scored on the test split over the full catalogue,
each query's mean over the seeds; intervals and paired tests over queries. Some seven minutes a seed and arm on one
idle core; seeds come one after another, and what is there of whole seeds can be written at any time.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from doc_pages import DOCS
from study_mining_pairs import ANNOTATED, DRAWN, NAIVE, ORIGINAL, RANDOM, REGRADED, arms_of, false_negatives

from mr_st.cli.io import quiet_libraries
from mr_st.files import write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset
    from mr_st.evaluation.collection import Collection
    from mr_st.measures import Judged
    from mr_st.mining import RefinementSet
    from mr_st.recipes.steps import Step, Steps

STAGE1 = "stage 1"
TRAINED = ("instances", "one_grade_queries_left_out")
ARMS = (ANNOTATED, NAIVE, DRAWN, ORIGINAL)
MORE = (REGRADED, RANDOM)
JUDGED = ("ndcg@10", "recall@10", "precision@10", "judged@10", "margin_average_2_0", "margin_worst_2_0")
ORACLE = ("ndcg@10", "judged@10", "margin_average_2_0", "margin_worst_2_0")
"""Also taken with the policy as judge of every pair of query and item; their names end in ``_oracle``."""


class Study:
    """Dataset, stage 1, annotator and what is scored, and the steps that are done once each."""

    def __init__(self, options: argparse.Namespace):
        from mr_st.annotation import JudgmentAnnotator
        from mr_st.data import GradedDataset
        from mr_st.data.marketplace import MarketplacePolicy
        from mr_st.evaluation.collection import Collection
        from mr_st.identity import model_hash
        from mr_st.models import load_sentence_transformer
        from mr_st.recipes import Recipe
        from mr_st.recipes.bundled import bundled_recipe
        from mr_st.recipes.steps import Steps

        self.options = options
        self.trained: dict[str, dict[str, int]] = {}
        self.recipe: Recipe = bundled_recipe("marketplace")
        self.stage1: str | Path = "minilm" if options.smoke else options.run / "stage1" / "model"
        if options.smoke:
            self.dataset = GradedDataset.load("marketplace", size="tiny", seed=0)
        elif not Path(self.stage1).is_dir():
            raise SystemExit(f"study_mining: {self.stage1} is not there; make it with mr-st demo, or pass --run")
        else:
            self.dataset = GradedDataset.load(options.run / "data" / "dataset")
        self.stage1_hash = model_hash(load_sentence_transformer(self.stage1))
        self.policy = MarketplacePolicy.for_dataset(self.dataset)
        self.annotator: Annotator = JudgmentAnnotator(self.policy)
        self.collection: Collection = Collection.from_dataset(self.dataset, "test")
        self.steps: Steps = Steps(options.out, lambda line: print(line, flush=True))

    def mine(self) -> tuple[RefinementSet, RefinementSet]:
        """The miner's own round, and all unjudged pairs of the same top k."""
        from mr_st.annotation import JudgmentAnnotator
        from mr_st.mining import RefinementSet, mine
        from mr_st.models import load_sentence_transformer

        k = 20 if self.options.smoke else self.recipe.mining.k
        rounds = {
            "mined": (self.annotator, self.recipe.mining.boundary),
            "everything": (JudgmentAnnotator(lambda query, item: 0, name="all-are-negative"), 1.0),
        }

        def work(folder: Path) -> dict[str, Any]:
            model = load_sentence_transformer(self.stage1)
            for name, (annotator, boundary) in rounds.items():
                found = mine(
                    model, self.dataset, annotator, k, boundary=boundary,
                    item_text_levels=self.recipe.data.item_text_levels, max_chars=self.recipe.data.max_chars,
                    dtype="float32", search="exact", work_dir=folder / "work", show_progress=False,
                )  # fmt: skip
                found.save(folder / name)
            shutil.rmtree(folder / "work", ignore_errors=True)
            return {}

        settings = {"k": k, "rounds": {name: boundary for name, (_, boundary) in rounds.items()}, **self._what()}
        step = self.steps.once("mining", "Mining", settings, work)
        mined, everything = (RefinementSet.load(step.folder / name, self.dataset) for name in rounds)
        return mined, everything

    def oracle(self) -> Judged:
        """The policy's grades of every test query with every item."""
        from mr_st.measures import Judged

        n_queries, n_items = self.collection.n_queries, len(self.collection.item_ids)

        def work(folder: Path) -> dict[str, Any]:
            grades = np.empty((n_queries, n_items), dtype=np.int8)
            for row, query_id in enumerate(self.collection.query_ids):
                grades[row] = self.policy.grades([query_id] * n_items, self.collection.item_ids)
            np.save(folder / "grades.npy", grades)
            return {"by_grade": np.bincount(grades.ravel(), minlength=self.dataset.scale.n_grades).tolist()}

        settings = {**self._what(), "policy": self.policy.identity}
        step = self.steps.once("oracle", "The policy's grades of every test pair", settings, work)
        grades = np.load(step.folder / "grades.npy", allow_pickle=False)
        rows, columns = np.divmod(np.arange(grades.size), n_items)
        return Judged.from_pairs(rows, columns, grades.ravel(), n_queries)

    def scores(self, name: str, data: GradedDataset | None, seed: int, oracle: Judged) -> dict[str, np.ndarray]:
        """The per-query values of one arm with one seed, trained if need be; ``data`` None is stage 1 itself.

        Names end in ``/share``, the share of stage 1's weights that is averaged in.
        """
        from mr_st.models import load_sentence_transformer
        from mr_st.training.averaging import average_with_start, weights_of

        shares = (0.0,) if data is None else (0.0, self.recipe.stage2.average_with_start)
        steps = 2 if self.options.smoke else self.options.steps
        settings: dict[str, Any] = {"arm": name, "shares": shares, **self._what()}
        if data is not None:
            settings |= {"seed": seed, "steps": steps, "judgments": data.fingerprint}

        def work(folder: Path) -> dict[str, Any]:
            model = load_sentence_transformer(self.stage1)
            facts: dict[str, Any] = {}
            found: dict[str, np.ndarray] = {}
            start = weights_of(model)
            if data is not None:
                model, facts = self._train(data, seed, steps, folder / "stage")
            for share in shares:
                if share:
                    average_with_start(model, start, share)
                values = per_query(model, self.collection, oracle)
                found |= {f"{metric}/{share:g}": value for metric, value in values.items()}
            np.savez(folder / "values.npz", **{key.replace("/", "|"): value for key, value in found.items()})
            shutil.rmtree(folder / "stage", ignore_errors=True)
            return {**facts, **{f"ndcg@10/{share:g}": float(found[f"ndcg@10/{share:g}"].mean()) for share in shares}}

        place = f"{name.replace(', ', '-').replace(' ', '-')}/seed{seed}"
        step: Step = self.steps.once(place, f"{name}, seed {seed}", settings, work)
        print(f"    {step.facts}, {step.seconds:.0f} s", flush=True)
        self.trained[name] = {key: step.facts[key] for key in TRAINED if key in step.facts}
        with np.load(step.folder / "values.npz", allow_pickle=False) as file:
            return {key.replace("|", "/"): file[key] for key in file.files}

    def _train(
        self, data: GradedDataset, seed: int, steps: int, folder: Path
    ) -> tuple[SentenceTransformer, dict[str, Any]]:
        from mr_st.data import build_instances
        from mr_st.training import train_stage

        config = self.recipe.stage2.model_copy(
            update={"seed": seed, "max_steps": steps, "epochs": None, "average_with_start": 0.0}
        )
        caps = self.recipe.instances.caps
        instances = build_instances(data, "train", 1, seed, caps=caps)
        facts = {"instances": len(instances), "one_grade_queries_left_out": instances.left_out_queries}
        epochs = math.ceil(steps * config.queries_per_batch / len(instances))
        if epochs > 1:
            instances = build_instances(data, "train", epochs, seed, caps=caps)
        result = train_stage(
            self.stage1, instances, config, folder, show_progress=False, n_grades=data.scale.n_grades
        )  # fmt: skip
        return result.load_model(), {**facts, "seconds": round(result.seconds, 1)}

    def _what(self) -> dict[str, Any]:
        return {"dataset": self.dataset.fingerprint, "stage1": self.stage1_hash}


def per_query(model: SentenceTransformer, collection: Collection, oracle: Judged) -> dict[str, np.ndarray]:
    """Each metric of each test query, float (n,): by the judgments, and with every pair judged by the policy."""
    from mr_st.encoding import encode
    from mr_st.evaluation.scoring import margin_metrics, pair_similarities, ranking_metrics
    from mr_st.search import ExactSearcher, QueryBatch

    queries, items = encode(model, collection.query_texts, "query"), encode(model, collection.item_texts, "item")
    top = ExactSearcher(items).search(QueryBatch(vectors=queries), 10)
    found: dict[str, np.ndarray] = {}
    for judged, names, suffix in ((collection.judged, JUDGED, ""), (oracle, ORACLE, "_oracle")):
        values = ranking_metrics(judged, top.ids, (10,), collection.scale)
        values |= margin_metrics(judged, pair_similarities(queries, items, judged), collection.scale.n_grades)
        found |= {name + suffix: values[name] for name in names}
    return found


def figures_of(values: Mapping[str, Mapping[int, Mapping[str, np.ndarray]]], share: float) -> dict[str, Any]:
    """One row an arm: every metric with its interval, and NDCG@10 and margins against the re-annotated arm.

    Args:
        values: Arm to seed to ``metric/share`` to float (n,) over queries.
        share: Of stage 1's weights.
    """
    from mr_st.measures import bootstrap_interval, holm, paired_bootstrap, paired_permutation_test

    def of(name: str, metric: str) -> np.ndarray:
        key = f"{metric}/{0.0 if name == STAGE1 else share:g}"
        return np.mean([found[key] for found in values[name].values()], axis=0)

    metrics = [*JUDGED, *(f"{metric}_oracle" for metric in ORACLE)]
    rows: dict[str, Any] = {}
    p_values: dict[str, float] = {}
    for name, seeds in values.items():
        row: dict[str, Any] = {metric: bootstrap_interval(of(name, metric)).to_dict() for metric in metrics}
        row["ndcg@10_by_seed"] = {
            str(seed): float(found[f"ndcg@10/{0.0 if name == STAGE1 else share:g}"].mean())
            for seed, found in seeds.items()
        }
        if name != ANNOTATED:
            row["against"] = {
                metric: {
                    **paired_bootstrap(of(ANNOTATED, metric), of(name, metric)).to_dict(),
                    "p": paired_permutation_test(of(ANNOTATED, metric), of(name, metric)),
                }
                for metric in metrics
                if not metric.startswith("judged")
            }
            p_values[name] = row["against"]["ndcg@10"]["p"]
        rows[name] = row
    for name, p in zip(p_values, holm(list(p_values.values())).tolist(), strict=True):
        rows[name]["against"]["ndcg@10"]["p_holm"] = p
    return rows


def result_of(study: Study, values: Mapping[str, Any], mined: RefinementSet, facts: dict[str, Any]) -> dict[str, Any]:
    """All that the tables need, JSON-ready."""
    settings = mined.report["settings"]
    stage2 = study.recipe.stage2
    seeds = sorted(values[ANNOTATED])
    protocol = study.collection.protocol
    return {
        "command": f"scripts/study_mining.py --run runs/mr-minilm-marketplace --out build/study_mining --steps "
        f"{study.options.steps} --seeds {' '.join(map(str, seeds))}{' --more' * (REGRADED in values)} --docs",
        "protocol": {
            "dataset": protocol["dataset"], "split": "test", "queries": study.collection.n_queries,
            "items": protocol["n_items"], "gains": protocol["gains"], "stage1": study.stage1_hash,
            "k": settings["k"], "boundary": settings["boundary"], "steps": study.options.steps,
            "queries_per_batch": stage2.queries_per_batch, "learning_rate": stage2.learning_rate,
            "loss": stage2.loss, "average_with_start": stage2.average_with_start, "seeds": seeds,
        },
        "pairs": {name: {**of, **study.trained.get(name, {})} for name, of in facts.items()},
        "false_negatives": false_negatives(mined.report["pairs"]),
        "mined_queries": mined.report["queries"],
        "arms": {f"{share:g}": figures_of(values, share) for share in (stage2.average_with_start, 0.0)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/mr-minilm-marketplace"), help="of the bundled recipe")
    parser.add_argument("--out", type=Path, default=Path("build/study_mining"))
    parser.add_argument("--steps", type=int, default=200, help="of stage 2; the recipe's 200")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--more", action="store_true", help="two further arms")
    parser.add_argument("--docs", action="store_true", help="write docs/mining.json and docs/mining.md's tables")
    parser.add_argument("--smoke", action="store_true", help="a tiny shop, two steps, one seed")
    options = parser.parse_args()
    if options.docs and options.smoke:
        parser.error("--docs is for the whole study: leave out --smoke")
    if options.smoke:
        options.seeds = options.seeds[:1]
    quiet_libraries()
    study = Study(options)
    with study.steps.alone():
        mined, everything = study.mine()
        oracle = study.oracle()
        data, facts = arms_of(mined, everything, study.annotator)
        values: dict[str, dict[int, dict[str, np.ndarray]]] = {STAGE1: {0: study.scores(STAGE1, None, 0, oracle)}}
        for seed in options.seeds:  # a seed at a time, so that what is finished can be compared
            for name in (*ARMS, *(MORE if options.more else ())):
                values.setdefault(name, {})[seed] = study.scores(name, data[name], seed, oracle)
            result = result_of(study, values, mined, facts)
            write_json(options.out / "study.json", result)
    from mining_tables import merge_into_docs, reannotation_section

    print(reannotation_section(result))
    if options.docs:
        merge_into_docs("reannotation", result)
        print(f"study_mining: written to {DOCS / 'mining.json'} and {DOCS / 'mining.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
