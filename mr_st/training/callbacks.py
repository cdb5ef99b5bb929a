"""Callbacks for the stock trainer: learned loss parameters in the checkpoints, evenly spread evaluations, a bar."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Any

import torch
from safetensors.torch import load_file, save
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mr_st.errors import MrStError
from mr_st.files import atomic_path

__all__ = [
    "LOSS_PARAMETERS_FILE",
    "EvaluateEvenly",
    "SaveLossParameters",
    "TrainingProgress",
    "load_loss_parameters",
    "loss_parameters",
    "save_loss_parameters",
]

LOSS_PARAMETERS_FILE = "loss_parameters.safetensors"

Losses = nn.Module | dict[str, nn.Module]


def loss_parameters(loss: Losses) -> dict[str, nn.Parameter]:
    """The parameters that belong to the loss and not to its model, by name, e.g. ``{"log_tau": ...}``.

    Args:
        loss: A loss, a loss that wraps another one, or the trainer's dict of losses.
    """
    root = nn.ModuleDict(loss) if isinstance(loss, dict) else loss
    models = [m for m in root.modules() if isinstance(m, SentenceTransformer)]
    of_models = {id(p) for model in models for p in model.parameters()}
    return {name: p for name, p in root.named_parameters() if id(p) not in of_models}


def save_loss_parameters(loss: Losses, folder: str | Path) -> None:
    """Write the loss's own parameters to ``loss_parameters.safetensors``, atomically; an empty file if none."""
    tensors = {name: p.detach().cpu().clone() for name, p in loss_parameters(loss).items()}
    with atomic_path(Path(folder) / LOSS_PARAMETERS_FILE) as temporary:
        temporary.write_bytes(save(tensors))


def load_loss_parameters(loss: Losses, source: str | Path | dict[str, Any]) -> None:
    """Set the loss's own parameters from a checkpoint folder, or from values by name.

    Raises:
        MrStError: the folder has none, or their names do not fit this loss. Going on from the initial values instead
            would be silently wrong.
    """
    own = loss_parameters(loss)
    if isinstance(source, dict):
        values = {name: torch.as_tensor(value) for name, value in source.items()}
        where = "the given loss state"
    else:
        path = Path(source) / LOSS_PARAMETERS_FILE
        where = str(path)
        if not path.is_file():
            if not own:
                return
            raise MrStError(f"{path} is missing, so {', '.join(own)} cannot be restored; delete this checkpoint")
        values = load_file(path)
    if values.keys() != own.keys():
        raise MrStError(f"{where} holds {sorted(values)}, the loss has {sorted(own)}; use the same loss as before")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(values[name].reshape(parameter.shape))


class SaveLossParameters(TrainerCallback):
    """Keeps a loss's learned parameters with the checkpoints, which the stock trainer leaves out.

    Writes them into each checkpoint, restores them on resume and when the best checkpoint is loaded at the end, takes
    weight decay off them, puts the learned values and the count of skipped instances into the log, and the learned
    values into the model card's entry for the loss. Works with any loss of the stock trainer.

    Args:
        loss: The loss (or dict of losses) that the trainer is given.

    Example:
        trainer = SentenceTransformerTrainer(..., loss=loss, callbacks=[SaveLossParameters(loss)])
    """

    def __init__(self, loss: Losses) -> None:
        self.loss = loss

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        own = loss_parameters(self.loss)
        if state.global_step > 0:
            load_loss_parameters(self.loss, _checkpoint(args, state.global_step))
        _take_off_weight_decay(kwargs.get("optimizer"), own.values())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            save_loss_parameters(self.loss, _checkpoint(args, state.global_step))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint:
            load_loss_parameters(self.loss, state.best_model_checkpoint)
        _update_card(kwargs.get("model"), self.loss)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs = kwargs.get("logs")
        if not logs or "loss" not in logs or not state.log_history:
            return
        extra: dict[str, float] = {}
        losses: list[Any] = list(self.loss.values()) if isinstance(self.loss, dict) else [self.loss]
        for loss in losses:
            if hasattr(loss, "temperature"):
                extra["temperature"] = round(float(loss.temperature), 6)
            if hasattr(loss, "take_counts"):
                extra |= loss.take_counts()
        state.log_history[-1].update(extra)
        logs.update(extra)


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{step}"


def _take_off_weight_decay(optimizer: Any, parameters: Iterable[Tensor]) -> None:
    """Set weight_decay to 0 for ``parameters``, in a group of their own where they share one with others."""
    own = {id(p) for p in parameters}
    if optimizer is None or not own:
        return
    for group in list(optimizer.param_groups):
        mine = [p for p in group["params"] if id(p) in own]
        if not mine or group["weight_decay"] == 0:
            continue
        if len(mine) != len(group["params"]):
            raise MrStError(
                "the loss's own parameters share an optimizer group, and so its learning rate and weight decay, with "
                'the model; give them a rate of their own: learning_rate_mapping={"log_tau": 5e-3}'
            )
        group["weight_decay"] = 0.0


def _update_card(model: Any, loss: Any) -> None:
    entries = getattr(getattr(model, "model_card_data", None), "train_datasets", None) or []
    if isinstance(loss, dict) or not hasattr(loss, "get_config_dict"):
        return
    for entry in entries:
        if isinstance(entry.get("loss"), dict) and "config_code" in entry["loss"]:
            code = f"```json\n{json.dumps(loss.get_config_dict(), indent=4)}\n```"
            entry["loss"]["config_code"] = indent(code, "  ")


class EvaluateEvenly(TrainerCallback):
    """Evaluates and saves ``times`` times, evenly spread over the run, the last time after the last step.

    Set ``eval_steps`` and ``save_steps`` to the whole run, so that the trainer adds none of its own in between.

    Args:
        times: How often; more than there are steps means after every step.
        is_evaluating: False saves only.
    """

    def __init__(self, times: int, is_evaluating: bool = True) -> None:
        self.times = times
        self.is_evaluating = is_evaluating

    def steps(self, max_steps: int) -> list[int]:
        """After which steps.

        Example:
            >>> EvaluateEvenly(4).steps(10)
            [3, 5, 8, 10]
        """
        times = max(1, min(self.times, max_steps))
        return [math.ceil(max_steps * turn / times) for turn in range(1, times + 1)]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step in self.steps(state.max_steps):
            control.should_evaluate = self.is_evaluating
            control.should_save = True


class TrainingProgress(TrainerCallback):
    """One progress bar: steps, loss, temperature, the last and the best dev metric. It also stops a diverged run.

    Args:
        is_shown: False draws nothing.
        label: What stands before the bar.

    Raises:
        MrStError: the logged loss is not finite.
    """

    def __init__(self, is_shown: bool = True, label: str = "training") -> None:
        self.is_shown = is_shown
        self.label = label
        self.bar: tqdm | None = None
        self.shown: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.is_shown and state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc=self.label, unit="step", dynamic_ncols=True
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs = kwargs.get("logs") or {}
        if "loss" in logs and not math.isfinite(logs["loss"]):
            raise MrStError(
                f"the loss is {logs['loss']} at step {state.global_step}: training diverged; lower learning_rate, "
                "or use fp32"
            )
        names = {"loss": "loss", "temperature": "tau", f"eval_{args.metric_for_best_model}": "dev"}
        self.shown |= {short: f"{logs[name]:.4g}" for name, short in names.items() if name in logs}
        if state.best_metric is not None:
            self.shown["best"] = f"{state.best_metric:.4g}"
        if self.bar is not None:
            self.bar.set_postfix(self.shown)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
