"""How a stock trainer runs an annotator's fit: evaluations, checkpoints, early stopping, and going on after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mr_st.training.checkpoints import MarkComplete, last_complete_checkpoint

__all__ = ["fit_arguments", "run_to_best"]


def fit_arguments(
    checkpoints: Path, n_pairs: int, options: Mapping[str, Any], on_cpu: bool, show_progress: bool
) -> dict[str, Any]:
    """Keyword arguments of any of the stock TrainingArguments.

    Args:
        checkpoints: Where they are written.
        n_pairs: What an epoch passes over.
        options: The fit's hyperparameters: epochs, batch_size, evaluations_per_epoch, learning_rate, warmup,
            weight_decay, seed.
        on_cpu: The model is there, whatever else the machine has.
        show_progress: Show the trainer's bar.
    """
    n_steps = -(-n_pairs // options["batch_size"]) * options["epochs"]
    every = max(1, n_steps // (options["epochs"] * options["evaluations_per_epoch"]))
    return {
        "output_dir": str(checkpoints),
        "num_train_epochs": options["epochs"],
        "per_device_train_batch_size": options["batch_size"],
        "learning_rate": options["learning_rate"],
        "warmup_steps": options["warmup"],
        "weight_decay": options["weight_decay"],
        "seed": options["seed"],
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": None,  # MarkComplete prunes, once the new one is whole
        "logging_steps": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "restore_callback_states_from_checkpoint": True,
        "use_cpu": on_cpu,
        "report_to": "none",
        "disable_tqdm": not show_progress,
    }


def run_to_best(trainer: Any, checkpoints: Path, patience: int) -> tuple[Path, dict[str, Any]]:
    """Train, or go on from the last complete checkpoint, until the held-out loss gets no better.

    Args:
        trainer: A stock trainer with :func:`fit_arguments`.
        checkpoints: As given there.
        patience: Evaluations without a better loss before it stops.

    Returns:
        The best checkpoint's folder, and what happened; JSON-ready. Load the model from there: where the trainer
        cannot load its best checkpoint, it logs that and keeps the last weights.
    """
    from transformers import EarlyStoppingCallback, PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(EarlyStoppingCallback(patience))
    trainer.add_callback(MarkComplete())
    resume_from = last_complete_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    losses = {str(log["step"]): log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log}
    return checkpoints / f"checkpoint-{trainer.state.best_global_step}", {
        "steps": trainer.state.global_step,
        "steps_planned": trainer.state.max_steps,
        "best_step": trainer.state.best_global_step,
        "held_out_loss_by_step": losses,
    }
