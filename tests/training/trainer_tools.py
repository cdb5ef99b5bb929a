"""A plain trainer with our callback, for the tests and for the child process that one of them kills.

Run: trainer_tools.py BASE OUT [SECONDS], which trains in OUT or goes on from the last whole checkpoint there.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, TrainerCallback, set_seed

sys.path.append(str(Path(__file__).parent))

from stage_tools import graded_rows

from mr_st.losses import LOSSES
from mr_st.models import build_two_tower
from mr_st.training import EpochBatchSampler, GradedCollator, MarkComplete, SaveLossParameters
from mr_st.training.checkpoints import last_complete_checkpoint
from mr_st.training.loss_files import Losses


def arguments(out: Path, **options: Any) -> SentenceTransformerTrainingArguments:
    """Eight steps of four instances, a checkpoint after every third, a log entry after each."""
    given: dict[str, Any] = {
        "per_device_train_batch_size": 4, "max_steps": 8, "save_steps": 3, "save_strategy": "steps",
        "learning_rate": 1e-3, "batch_sampler": EpochBatchSampler, "report_to": "none", "use_cpu": True,
        "disable_tqdm": True, "logging_steps": 1, "seed": 3,
    }  # fmt: skip
    return SentenceTransformerTrainingArguments(str(out), **{**given, **options})


def plain_trainer(
    model: SentenceTransformer,
    loss: Losses,
    dataset: Any,
    out: Path,
    *callbacks: TrainerCallback,
    collator: GradedCollator | None = None,
    eval_dataset: Any = None,
    **options: Any,
) -> SentenceTransformerTrainer:
    """The stock trainer with SaveLossParameters and no setting of its own for the temperature."""
    args = arguments(out, **options)
    model.model_card_data.widget, model.model_card_data.local_files_only = [{}], True  # examples take time
    trainer = SentenceTransformerTrainer(
        model=model,
        args=args,
        train_dataset=dataset,
        eval_dataset=eval_dataset,
        loss=loss,
        data_collator=collator or GradedCollator.from_trainer_args(model, args),
        callbacks=[SaveLossParameters(loss), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def entries(trainer: SentenceTransformerTrainer) -> list[dict[str, Any]]:
    """The training entries of the log."""
    return [entry for entry in trainer.state.log_history if "loss" in entry]


class Slowly(TrainerCallback):
    """Waits after each step, so that there is time for a kill."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        time.sleep(self.seconds)


def run_plain(base: str, out: str, seconds: float = 0.0) -> None:
    """Train; the final state ends up in ``OUT/checkpoint-12``."""
    set_seed(0)
    model = build_two_tower(base, 8, device="cpu")
    trainer = plain_trainer(
        model, LOSSES["supcon"](model), Dataset.from_list(graded_rows(random.Random(0))), Path(out), MarkComplete(),
        Slowly(seconds), max_steps=12, save_steps=2,
    )  # fmt: skip
    last = last_complete_checkpoint(out) if Path(out).is_dir() else None
    trainer.train(resume_from_checkpoint=None if last is None else str(last))


if __name__ == "__main__":
    run_plain(*sys.argv[1:3], *map(float, sys.argv[3:]))
    Path(sys.argv[2], "child_done").touch()
