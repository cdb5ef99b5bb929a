#!/usr/bin/env python3
"""How the marketplace recipe's stage 1 was chosen: settings compared by stage 1's own dev NDCG@10, one seed.

    python scripts/study_stages.py --out runs/study

Prints and writes (study.json) one line a setting: steps, seconds, dev NDCG@10 (100 queries, the judged items of the
dev split and random ones up to 1,000), average margin. Nothing of stage 2 is looked at. About 10 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mr_st.cli.io import quiet_libraries
from mr_st.files import write_json

SETTINGS: list[dict[str, float | int]] = [
    {"learning_rate": 2e-5, "queries_per_batch": 16},
    {"learning_rate": 5e-5, "queries_per_batch": 16},
    {"learning_rate": 5e-5, "queries_per_batch": 8},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    arguments = parser.parse_args()
    quiet_libraries()
    from mr_st.data import GradedDataset, build_instances
    from mr_st.evaluation import GradedRetrievalEvaluator
    from mr_st.models import build_two_tower
    from mr_st.training import StageConfig, train_stage

    shop = GradedDataset.load("marketplace", size="small", seed=0)
    instances = build_instances(shop, "train", 1, seed=0)
    evaluator = GradedRetrievalEvaluator(shop, split="dev", name="dev", max_items=1000)
    found = []
    for setting in SETTINGS:
        config = StageConfig(loss="supcon", epochs=1, evaluations=2, **setting)  # type: ignore[arg-type]
        folder = arguments.out / "-".join(f"{value:g}" for value in setting.values())
        model = build_two_tower("minilm", max_seq_length=64)
        result = train_stage(model, instances, config, folder, evaluator=evaluator)
        last = result.dev_history[-1]
        found.append(
            {
                **setting,
                "steps": result.steps,
                "seconds": round(result.seconds),
                "dev_ndcg@10": round(last["dev_ndcg@10"], 4),
                "dev_margin_average_2_0": round(last["dev_margin_average_2_0"], 4),
            }
        )
        print(found[-1], flush=True)
    write_json(arguments.out / "study.json", found)


if __name__ == "__main__":
    main()
