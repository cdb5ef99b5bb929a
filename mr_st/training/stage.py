"""One training stage in the stock trainer: resumable, deterministic, ending in the best model on the dev set."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.losses.gradcache import uses_gradient_cache
from sentence_transformers.base.modules import Router
from torch import Tensor, nn
from transformers import PrinterCallback, set_seed

from mr_st.errors import MrStError, UsageError
from mr_st.files import ensure_writable, read_json
from mr_st.identity import settings_hash
from mr_st.losses import GradedLoss
from mr_st.models import has_lora, load_sentence_transformer, matryoshka_dims, merge_lora, save_lora_base
from mr_st.models.loading import no_loading_bars
from mr_st.training.averaging import average_with_start, weights_of
from mr_st.training.callbacks import (
    EvaluateEvenly,
    SaveLossParameters,
    TrainingProgress,
)
from mr_st.training.checkpoints import COMPLETE_FILE, MarkComplete, last_complete_checkpoint
from mr_st.training.collator import GradedCollator
from mr_st.training.config import StageConfig
from mr_st.training.known import KnownGrades
from mr_st.training.loss_files import load_loss_parameters, loss_parameters
from mr_st.training.objective import at_all_widths, build_loss
from mr_st.training.precision import warn_where_bfloat16_crawls
from mr_st.training.ranks import everywhere, join_ranks, n_ranks, on_first_rank, wait_for_ranks
from mr_st.training.sampler import EpochBatchSampler
from mr_st.training.stage_folder import CHECKPOINTS, StageResult, open_folder, write_result
from mr_st.training.stage_settings import difference, has_adapter_file, metric_key, stage_settings

__all__ = ["StageResult", "train_stage"]


def train_stage(
    model: SentenceTransformer | str | Path,
    instances: Dataset,
    config: StageConfig,
    out_dir: str | Path,
    evaluator: BaseEvaluator | None = None,
    loss_state: Mapping[str, Any] | None = None,
    show_progress: bool = True,
    overwrite: bool = False,
    n_grades: int | None = None,
    known: KnownGrades | None = None,
) -> StageResult:
    """Train a model on graded instances, or go on where a killed run stopped, or return what a finished one left.

    Everything that decides the result (settings, model, instances, evaluator, loss state) is hashed into
    ``settings.json`` before the first step. The same call on the same folder resumes from the last whole checkpoint,
    with the same batches and the learned loss parameters, or returns at once when the stage is finished.

    A model with Matryoshka widths (``build_two_tower(matryoshka_dims=...)``) is trained at all of them; one with LoRA
    adapters ends up with them folded in, as a plain model (give ``add_lora(model, ...)`` to the next stage).

    Under ``torchrun`` or ``accelerate launch`` every process makes the same call. A step then takes
    ``queries_per_batch`` instances on each process and the mean of their gradients; process 0 alone writes and shows
    progress, all wait for it and return the same result. A stage goes on under fewer processes when their number
    divides the one it began with: they take turns at the same batches (gradient accumulation), so that only the draws
    of dropout differ.

    Args:
        model: Trained in place when it is a SentenceTransformer; or a folder, a Hub id, or "minilm".
        instances: Rows of ``query: str, items: list[str], labels: list[int]`` and, unless there is one epoch only, a
            column ``epoch``; see ``build_instances``.
        config: The settings.
        out_dir: Where to work. It ends up with ``model/``, ``stage.json`` and ``settings.json``; checkpoints are
            deleted at the end.
        evaluator: A sentence-transformers evaluator; its ``primary_metric`` picks the model that is kept.
        loss_state: Learned values to begin with, by name, e.g. ``StageResult.loss_state`` of another stage.
        show_progress: Draw a progress bar.
        overwrite: Delete what a stage with other settings left in ``out_dir``, instead of refusing.
        n_grades: How many grades the dataset's scale has (``scale.n_grades``), for losses that must know; None: one
            more than the highest label.
        known: For ``config.known_in_batch``: ``KnownGrades.from_dataset`` of the instances' dataset and split.

    Raises:
        UsageError: ``out_dir`` holds a stage with other settings (they are named) or one that so many processes
            cannot go on with, the processes were given different stages, or settings without a meaning.
        MrStError: training diverged, or files are missing or unreadable.
    """
    join_ranks()
    out = on_first_rank(lambda: ensure_writable(Path(out_dir).expanduser()).resolve())
    if isinstance(model, (str, Path)) and (not Path(model).is_dir() or has_adapter_file(model)):
        model = load_sentence_transformer(model)
    settings = stage_settings(model, instances, config, evaluator, loss_state, n_grades, known)
    identity = settings_hash(settings)
    _check_ranks_agree(settings)
    finished = on_first_rank(lambda: open_folder(out, settings, identity, overwrite))
    if finished is not None:
        return finished
    if isinstance(model, (str, Path)):
        model = load_sentence_transformer(model)
    with _quiet(model):
        loss = build_loss(model, config, settings["n_grades"], loss_state)
        return _run(model, loss, instances, config, out, evaluator, show_progress, identity, known)


def _run(
    model: SentenceTransformer,
    loss: GradedLoss,
    instances: Dataset,
    config: StageConfig,
    out: Path,
    evaluator: BaseEvaluator | None,
    show_progress: bool,
    identity: str,
    known: KnownGrades | None,
) -> StageResult:
    set_seed(config.seed)
    start = None
    if config.average_with_start:  # of whole matrices: the average of two adapters is not the average of models
        start = weights_of(merge_lora(copy.deepcopy(model)) if has_lora(model) else model)
    evaluates_along = None if start else evaluator  # else only the average is worth a score, at the end
    if config.max_seq_length is not None:
        model.max_seq_length = config.max_seq_length
    for name, parameter in model.named_parameters():
        if ".pooler." in name:  # BERT's pooler is not used: it gets no gradient, which DDP would stumble over
            parameter.requires_grad_(False)
    objective = at_all_widths(model, loss)
    checkpoints = out / CHECKPOINTS
    if has_lora(model):  # the checkpoints hold the adapters only
        on_first_rank(lambda: save_lora_base(model, checkpoints / "base"))
    resume_from = on_first_rank(lambda: last_complete_checkpoint(checkpoints))
    before = read_json(resume_from / COMPLETE_FILE) if resume_from else {}
    n_shares = before.get("n_ranks", n_ranks())
    if n_shares % n_ranks():
        raise UsageError(
            f"{out}: begun by {n_shares} process{'es' * (n_shares > 1)}, and {n_ranks()} cannot share its steps; "
            f"start {n_shares}, or a number that divides it, or delete {checkpoints} to begin anew"
        )
    marker = MarkComplete(before.get("seconds", 0.0), n_shares)
    args = _arguments(model, loss, instances, config, checkpoints, evaluates_along, n_shares)
    if resume_from is None or _step_of(resume_from) < args.max_steps:
        progress = TrainingProgress(show_progress, label=out.name)
        trainer = SentenceTransformerTrainer(
            model=model,
            args=args,
            train_dataset=instances,
            loss=objective,
            evaluator=evaluates_along,
            data_collator=GradedCollator.from_trainer_args(model, args, known),
            callbacks=[
                EvaluateEvenly(config.evaluations, is_evaluating=evaluates_along is not None),
                SaveLossParameters(objective, config.temperature_learning_rate),
                progress,
                marker,
            ],
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
        finally:
            progress.close()
    return _finish(model, loss, objective, config, out, evaluator, identity, start)


def _check_ranks_agree(settings: dict[str, Any]) -> None:
    for rank, others in enumerate(everywhere(settings)):
        if settings_hash(others) != settings_hash(settings):
            raise UsageError(
                f"the processes were given different stages: process {rank} has other "
                f"{difference(settings, others)}; build model, instances and evaluator alike in all"
            )


def _arguments(
    model: SentenceTransformer,
    loss: GradedLoss,
    instances: Dataset,
    config: StageConfig,
    checkpoints: Path,
    evaluator: BaseEvaluator | None,
    n_shares: int,
) -> SentenceTransformerTrainingArguments:
    has_router = any(isinstance(module, Router) for module in model.children())
    has_gpu = torch.cuda.is_available()
    if config.precision == "fp16" and not has_gpu:
        raise UsageError("precision is fp16, which needs a GPU, and there is none; use fp32")
    if config.precision == "bf16":
        warn_where_bfloat16_crawls(not has_gpu)
    args = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.queries_per_batch,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_ratio,
        max_grad_norm=config.clip(loss.reduction),
        weight_decay=config.weight_decay,
        seed=config.seed,
        bf16=config.precision == "bf16",
        fp16=config.precision == "fp16",
        activation_checkpointing=config.gradient_checkpointing,
        gradient_accumulation_steps=config.gradient_accumulation_steps * n_shares // n_ranks(),
        batch_sampler=partial(EpochBatchSampler, max_items=config.max_items_per_batch, n_ranks=n_shares),
        router_mapping={"query": "query", "items": "document"} if has_router else {},
        use_cpu=not has_gpu,
        dataloader_pin_memory=has_gpu,
        # With gradient caching each backward pass is one chunk's, which uses one route of a Router only.
        ddp_find_unused_parameters=uses_gradient_cache(loss),
        ddp_broadcast_buffers=False,  # at every forward; the ranks may embed in different numbers of forwards
        dataloader_drop_last=n_ranks() > 1,  # what the trainer wants then; the sampler leaves nothing incomplete
        disable_tqdm=True,
        report_to="none",
        logging_nan_inf_filter=False,  # a loss that is not finite must be seen, not averaged away
        save_strategy="steps",
        eval_strategy="no" if evaluator is None else "steps",
        load_best_model_at_end=evaluator is not None,
        metric_for_best_model=None if evaluator is None else metric_key(evaluator),
        greater_is_better=None if evaluator is None else bool(evaluator.greater_is_better),
    )
    sampler = EpochBatchSampler(
        instances, config.queries_per_batch, args.dataloader_drop_last, seed=config.seed,
        max_items=config.max_items_per_batch, n_ranks=n_shares,
    )  # fmt: skip
    per_epoch = -(-len(sampler) // (n_shares * config.gradient_accumulation_steps))
    total = config.max_steps or per_epoch * (config.epochs or 1)
    args.max_steps = args.eval_steps = args.save_steps = total
    args.logging_steps = max(1, total // 50)
    return args


def _finish(
    model: SentenceTransformer,
    loss: GradedLoss,
    objective: nn.Module,
    config: StageConfig,
    out: Path,
    evaluator: BaseEvaluator | None,
    identity: str,
    start: dict[str, Tensor] | None,
) -> StageResult:
    """Write the model and the result from the checkpoints on disk, so that it does not matter who trained them."""
    last = on_first_rank(lambda: last_complete_checkpoint(out / CHECKPOINTS))
    assert last is not None, "the trainer saves after its last step"
    complete = read_json(last / COMPLETE_FILE)
    state = read_json(last / "trainer_state.json")
    best = None
    kept = last
    if evaluator is not None and start is None:
        if not state["best_model_checkpoint"] or not Path(state["best_model_checkpoint"]).is_dir():
            raise MrStError(f"{last}: its best checkpoint is gone; delete {out} and train again")
        kept = Path(state["best_model_checkpoint"])
        best = {"step": _step_of(kept), "metric": metric_key(evaluator), "value": float(state["best_metric"])}
    # The trainer only logs an error when it cannot load the best model, and goes on with the last.
    with torch.no_grad():
        model.load_state_dict(load_sentence_transformer(kept, device="cpu").state_dict())
    load_loss_parameters(objective, kept)
    merge_lora(model)
    dev_history = [_dev_entry(e) for e in state["log_history"] if any(k.startswith("eval_") for k in e)]
    if start is not None:
        average_with_start(model, start, config.average_with_start)
        if evaluator is not None:
            metrics: Any = on_first_rank(lambda: evaluator(model, epoch=state["epoch"], steps=state["global_step"]))
            dev_history = [{"step": int(state["global_step"]), **metrics}]
            name = metric_key(evaluator)
            best = {"step": int(state["global_step"]), "metric": name, "value": float(metrics[name])}
    result = StageResult(
        model_dir=out / "model",
        steps=int(state["global_step"]),
        seconds=float(complete["seconds"]),
        loss_config={
            "loss": type(loss).__name__,
            **loss.get_config_dict(),
            **({} if objective is loss else {"matryoshka_dims": list(matryoshka_dims(model))}),
        },
        loss_state={name: p.detach().cpu().tolist() for name, p in loss_parameters(loss).items()},
        best=best,
        dev_history=dev_history,
        log_history=[e for e in state["log_history"] if "loss" in e],
        settings_hash=identity,
        n_ranks=complete.get("n_ranks", 1),
    )
    wait_for_ranks()  # all have read the checkpoints
    return on_first_rank(lambda: write_result(result, model, objective, out))


def _dev_entry(entry: dict[str, Any]) -> dict[str, Any]:
    timing = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
    values = {k.removeprefix("eval_"): v for k, v in entry.items() if k.startswith("eval_") and k not in timing}
    return {"step": entry["step"], **values}


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


@contextmanager
def _quiet(model: SentenceTransformer) -> Iterator[None]:
    """Without the library's own bars, which would tear ours, and without asking the Hub for its model card."""
    card = model.model_card_data
    before = card.widget, card.local_files_only
    card.widget, card.local_files_only = [{}], True  # with a widget there, none is computed
    try:
        with no_loading_bars():
            yield
    finally:
        card.widget, card.local_files_only = before
