#!/usr/bin/env python3
"""How the marketplace recipe's stage 2 was chosen: steps, batch, rate and averaging compared on the dev split.

    python scripts/study_stage2.py --run runs/mr-minilm-marketplace --out runs/study2

Takes dataset, stage-1 model and mined pairs from a finished run of the bundled recipe, trains stage 2 (circle loss,
refinement set) and its control (stage 1's loss, original judgments) by each setting, and scores each by dev NDCG@10
over the whole catalogue (100 queries, of which about 70 have an intent that training knows, 4,000 items) with 0 to 3/4
of stage 1's weights averaged in. The test split is not read. Prints the table and writes study.json and study.md; a
trained setting is kept, so it can be run again. About 20 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.cli.io import quiet_libraries
from mr_st.files import read_json, write_json

SETTINGS: list[dict[str, Any]] = [
    {"max_steps": 200, "queries_per_batch": 4, "learning_rate": 2e-4},
    {"max_steps": 200, "queries_per_batch": 4, "learning_rate": 1e-4},
]
SHARES = (0.0, 0.25, 0.5, 0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/mr-minilm-marketplace"))
    parser.add_argument("--out", type=Path, default=Path("runs/study2"))
    arguments = parser.parse_args()
    quiet_libraries()
    from mr_st.data import GradedDataset, build_instances
    from mr_st.data.marketplace.world import make_world
    from mr_st.evaluation import GradedRetrievalEvaluator
    from mr_st.mining import RefinementSet
    from mr_st.models import load_sentence_transformer
    from mr_st.training import StageConfig, train_stage
    from mr_st.training.averaging import average_with_start, weights_of

    shop = GradedDataset.load(arguments.run / "data" / "dataset")
    refined = RefinementSet.load(arguments.run / "mining" / "refinement", shop).to_dataset()
    stage1 = arguments.run / "stage1" / "model"
    learned = read_json(arguments.run / "stage1" / "stage.json")["loss_state"]
    queries = make_world(shop.source["size"], shop.source["seed"]).queries
    trained_on = {query.intent for query in queries if query.split == "train"}
    is_known = {query.query_id: query.intent in trained_on for query in queries}
    evaluator = GradedRetrievalEvaluator(shop, split="dev", name="dev", ks=(10,), write_csv=False)
    known = np.array([is_known[query_id] for query_id in evaluator.collection.query_ids])

    def score(model: Any) -> dict[str, float]:
        values = evaluator.per_query(model)["ndcg@10"]
        parts = {"all": values, "known intents": values[known], "unknown intents": values[~known]}
        return {name: round(float(part.mean()), 4) for name, part in parts.items()}

    found: list[dict[str, Any]] = [{"arm": "stage 1", **score(load_sentence_transformer(stage1))}]
    print(found[-1], flush=True)
    for setting in SETTINGS:
        for arm, dataset, loss in (("stage 2", refined, "circle"), ("control", shop, "supcon")):
            config = StageConfig(loss=loss, seed=1, evaluations=1, **setting)
            instances = build_instances(dataset, "train", 2, seed=1)
            folder = arguments.out / f"{arm} {' '.join(f'{value:g}' for value in setting.values())}".replace(" ", "-")
            state = learned if loss == "supcon" else None
            result = train_stage(stage1, instances, config, folder, loss_state=state)
            start = weights_of(load_sentence_transformer(stage1))
            for share in SHARES:
                model = result.load_model()
                average_with_start(model, start, share)
                found.append({"arm": arm, **setting, "average_with_start": share, **score(model)})
                print(found[-1], flush=True)
    write_json(arguments.out / "study.json", found)
    (arguments.out / "study.md").write_text(table(found), encoding="utf-8")
    print(table(found))


def table(found: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    names = list(dict.fromkeys(name for row in found for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in found]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
