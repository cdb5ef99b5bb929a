"""Shared by the tests of a stage and by the child process that they kill. Run: stage_tools.py BASE OUT."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from datasets import Dataset
from sentence_transformers.base.evaluation import BaseEvaluator

WORDS = "red blue black white steel wooden running shoes shirt mouse mug chair desk lamp kettle hose".split()


def graded_rows(generator: random.Random) -> list[dict]:
    """Two epochs of 20 and 18 instances: an item is relevant if it holds both of the query's words, partly if one."""
    rows = []
    for epoch, n_queries in ((0, 20), (1, 18)):
        for _ in range(n_queries):
            wanted = generator.sample(WORDS, 2)
            others = [w for w in WORDS if w not in wanted]
            labels = [2, 0] + [generator.randint(0, 2) for _ in range(generator.randint(1, 7))]
            items = []
            for label in labels:
                words = wanted[:label] + generator.sample(others, 4 - label)
                generator.shuffle(words)
                items.append(" ".join(words))
            rows.append({"epoch": epoch, "query": " ".join(wanted), "items": items, "labels": labels})
    return rows


class AverageMargin(BaseEvaluator):
    """Mean similarity of relevant minus irrelevant items.

    On request it takes its time, breaks at a given call, or says what a script (step -> value) tells it to.
    """

    def __init__(
        self,
        rows: list[dict],
        seconds: float = 0.0,
        break_at: int | None = None,
        script: dict[int, float] | None = None,
    ) -> None:
        super().__init__()
        self.rows, self.seconds, self.break_at, self.script = rows, seconds, break_at, script
        self.name = "dev"
        self.primary_metric = "margin"
        self.calls = 0

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        self.calls += 1
        if self.calls == self.break_at:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        margins = []
        for row in self.rows:
            scores = (model.encode_query([row["query"]]) @ model.encode_document(row["items"]).T)[0]
            high = [s for s, label in zip(scores, row["labels"], strict=True) if label == 2]
            low = [s for s, label in zip(scores, row["labels"], strict=True) if label == 0]
            margins.append(sum(high) / len(high) - sum(low) / len(low))
        value = float(sum(margins) / len(margins)) if self.script is None else self.script[steps]
        metrics = {"margin": value}
        return self.prefix_name_to_metrics(metrics, self.name)


def run_stage(base: str, out: str, seconds: float = 0.0):
    """The stage that the tests kill and resume."""
    from mr_st.models import build_two_tower
    from mr_st.training import StageConfig, train_stage

    rows = graded_rows(random.Random(0))
    config = StageConfig(epochs=4, queries_per_batch=4, learning_rate=2e-3, evaluations=6)
    model = build_two_tower(base, 8, device="cpu")
    return train_stage(
        model, Dataset.from_list(rows), config, out, AverageMargin(rows[:6], seconds), show_progress=False
    )


if __name__ == "__main__":
    run_stage(*sys.argv[1:3], *map(float, sys.argv[3:]))
    Path(sys.argv[2], "child_done").touch()
