"""Callbacks for the stock trainer: care of what a loss learns, evenly spread evaluations, a bar."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path
from textwrap import indent
from typing import Any

from sentence_transformers.util import fullname
from torch import nn
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mr_st.errors import MrStError
from mr_st.files import read_json
from mr_st.losses.temperature import TemperatureMixin
from mr_st.training.config import TEMPERATURE_LEARNING_RATE
from mr_st.training.loss_files import (
    Losses,
    describe_loss,
    graded_losses,
    learned_parameters,
    load_loss_parameters,
    save_loss,
    save_loss_parameters,
)
from mr_st.training.loss_log import LossLog
from mr_st.training.ranks import average_gradients
from mr_st.training.sampler import tell_epoch

__all__ = ["EvaluateEvenly", "SaveLossParameters", "TrainingProgress"]

logger = logging.getLogger(__name__)


class SaveLossParameters(TrainerCallback):
    """What a graded loss needs from the stock trainer and does not get: mainly, care of its learned temperature.

    - A learning rate of its own for what graded losses learn, unless ``args.learning_rate_mapping`` gives one, and no
      weight decay: at the model's rate a temperature would hardly move.
    - The loss's parameters in each checkpoint, restored on resume and when the best checkpoint is loaded at the end.
      They stand in ``loss_parameters.safetensors``; ``loss.json`` beside it is for :func:`load_loss`.
    - Under several processes: with a dict of losses, the mean gradient of what is learned (a single loss takes it by
      itself); on resume, the epoch for the batch sampler, which the trainer leaves at 0.
    - In the log, over all ranks: temperature, instances, skipped instances and the terms of the loss by name (each
      pair of grades apart). In the model card: the learned temperature in place of the first one.

    Losses in wrappers (MatryoshkaLoss) are found, and so are those in a dict of losses: their log entries begin with
    the name of the dataset. Of other losses, parameters are saved and restored, and nothing else is touched.

    Give it to the trainer's constructor. Reporters (Weights & Biases, TensorBoard) are called before a user's
    callbacks; for them to see the entries, move this one to the front, as below.

    Args:
        loss: The loss (or dict of losses) that the trainer is given.
        learning_rate: Peak rate of what graded losses learn, for names that no mapping has.

    Raises:
        MrStError: on resume, a checkpoint without the loss's parameters, of another loss, or from another folder than
            ``args.output_dir``; or learned parameters that share an optimizer group with others and so its decay.

    Example:
        trainer = SentenceTransformerTrainer(..., loss=loss, callbacks=[SaveLossParameters(loss)])
        trainer.callback_handler.callbacks.insert(0, trainer.pop_callback(SaveLossParameters))  # for reporters only
    """

    def __init__(self, loss: Losses, learning_rate: float = TEMPERATURE_LEARNING_RATE) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.log = LossLog(loss)
        self._given_mapping: dict[str, float] | None = None

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The trainer makes its optimizer from args when training begins, and a resume fills it before any callback:
        # the group must be there from the start, so it is asked for here.
        given: Any = getattr(args, "learning_rate_mapping", None)
        if given is None:
            return  # not sentence-transformers' arguments
        names = [n for n in learned_parameters(self.loss) if not any(re.search(pattern, n) for pattern in given)]
        if names:
            self._given_mapping = given
            own = {f"^{re.escape(name)}$": self.learning_rate for name in names}
            args.learning_rate_mapping = {**given, **own}  # type: ignore[attr-defined]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step > 0:
            load_loss_parameters(self.loss, _resumed_from(args, state))
        if isinstance(self.loss, dict):
            # The ranks may be at batches of different datasets: none may wait in its loss for the others.
            for graded in graded_losses(self.loss).values():
                if isinstance(graded, TemperatureMixin):
                    graded.averages_over_ranks = False
        _take_off_weight_decay(kwargs.get("optimizer"), learned_parameters(self.loss))

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        tell_epoch(kwargs.get("train_dataloader"), int(state.epoch or 0))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if isinstance(self.loss, dict):
            average_gradients(learned_parameters(self.loss).values())

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if control.should_evaluate and not control.should_log:
            self.log.hold()
        if control.should_save:
            _update_card(kwargs.get("model"), self.loss)  # the checkpoint's card

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = _checkpoint(args, state.global_step)
            save_loss_parameters(self.loss, folder)
            save_loss(self.loss, folder)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint:
            load_loss_parameters(self.loss, state.best_model_checkpoint)
        _update_card(kwargs.get("model"), self.loss)
        if self._given_mapping is not None:  # another trainer may be given the same arguments with another loss
            args.learning_rate_mapping = self._given_mapping  # type: ignore[attr-defined]

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs = kwargs.get("logs") or {}
        evaluated = [key for key in logs if key.startswith("eval_") and key.endswith("_loss")]
        if "loss" in logs:
            extra = self.log.of_training()
        elif evaluated:
            extra = self.log.of_evaluation(evaluated[0].removesuffix("_loss"))
        else:
            return
        logs.update(extra)
        if state.log_history:
            state.log_history[-1].update(extra)


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{step}"


def _resumed_from(args: TrainingArguments, state: TrainerState) -> Path:
    """The checkpoint that the trainer resumed from. It does not tell callbacks which; its log must be the same."""
    checkpoint = _checkpoint(args, state.global_step)
    path = checkpoint / "trainer_state.json"
    there = read_json(path).get("log_history") if path.is_file() else None
    if json.dumps(there) != json.dumps(state.log_history):  # as text: a NaN is not equal to itself
        raise MrStError(
            f"{checkpoint}: not the checkpoint that training resumes from, so the loss's parameters cannot be "
            "restored; set output_dir to the folder that holds it"
        )
    return checkpoint


def _take_off_weight_decay(optimizer: Any, learned: dict[str, nn.Parameter]) -> None:
    """Set weight_decay to 0 in the groups of ``learned``; refuse a group that they share with others."""
    if optimizer is None:
        return
    names = {id(p): name for name, p in learned.items()}
    optimized: set[str] = set()
    for group in optimizer.param_groups:
        mine = [names[id(p)] for p in group["params"] if id(p) in names]
        optimized.update(mine)
        if not mine or not group.get("weight_decay"):
            continue
        if len(mine) != len(group["params"]):
            raise MrStError(
                f"{', '.join(mine)} shares an optimizer group, and so its learning rate and weight decay, with other "
                "parameters; give SaveLossParameters to the trainer's constructor, or give it a rate of its own: "
                f'learning_rate_mapping={{"{mine[0]}": {TEMPERATURE_LEARNING_RATE}}}'
            )
        group["weight_decay"] = 0.0
    if forgotten := learned.keys() - optimized:
        logger.warning("%s: not in the optimizer that the trainer was given, so not learned", ", ".join(forgotten))


def _update_card(model: Any, losses: Losses) -> None:
    """Show the settings as they are now; the trainer wrote them into the card's data before the first step."""
    data = getattr(model, "model_card_data", None)
    for entry in [*(getattr(data, "train_datasets", None) or []), *(getattr(data, "eval_datasets", None) or [])]:
        shown = entry.get("loss")
        if not isinstance(shown, dict) or "config_code" not in shown:
            continue
        if isinstance(losses, dict):
            alike = [loss for loss in losses.values() if fullname(loss) == shown.get("fullname")]
            loss = losses.get(entry.get("name", ""), alike[0] if len(alike) == 1 else None)
        else:
            loss = losses
        if loss is not None and graded_losses(loss):
            settings = {key: value for key, value in describe_loss(loss).items() if key != "class"}
            shown["config_code"] = indent(f"```json\n{json.dumps(settings, indent=4)}\n```", "  ")


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
