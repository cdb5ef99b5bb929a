"""Fine-tune a cross-encoder on the judgments there are, so that pairs that nobody judged can be graded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.annotation.cross_encoder import write_calibration
from mr_st.data.dataset import GradedDataset
from mr_st.data.label_noise import LabelNoise
from mr_st.errors import MrStError, UsageError
from mr_st.training.annotator_fit import check_counts, fit_settings, held_out_report, learned_from, open_fit_folder
from mr_st.training.fit_trainer import fit_arguments, run_to_best
from mr_st.training.holdout import ClassWeights, LabelledPairs, hold_out, weigh_classes
from mr_st.training.precision import warn_where_bfloat16_crawls
from mr_st.training.random_items import join_pairs, random_items_report, random_pairs

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["fit_cross_encoder"]

_SHORT = 128  # tokens of a pair up to which attention's full table is small


def fit_cross_encoder(
    dataset: GradedDataset,
    base: str | Path,
    out_dir: str | Path,
    *,
    split: str = "train",
    epochs: int = 2,
    learning_rate: float = 5e-5,
    batch_size: int = 32,
    max_length: int = 80,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    seed: int = 0,
    holdout_share: float = 0.15,
    class_weights: ClassWeights | Sequence[float] = "sqrt",
    label_smoothing: float = 0.0,
    label_noise: float = 0.0,
    random_negatives: float = 0.0,
    evaluations_per_epoch: int = 2,
    patience: int = 2,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    bf16: bool = False,
    device: str | None = None,
    show_progress: bool = False,
) -> CrossEncoderAnnotator:
    """Fit a cross-encoder with one output for each grade, and calibrate it on queries that it never saw.

    Runs in the stock CrossEncoderTrainer with CrossEntropyLoss. Queries, never pairs, are held out (a misspelt variant
    goes with its original); the loss on them at their best temperature picks the checkpoint and stops early, and that
    temperature is saved. ``out_dir`` ends up with ``model/`` (``calibration.json`` in it), ``report.json`` and
    ``report.png``. A killed fit goes on from its last complete checkpoint; a finished one with the same settings and
    data is loaded at once.

    Args:
        dataset: Human judgments.
        base: ``"minilm"``, a folder or a Hub id of an encoder; or the model of an earlier fit, to go on from it.
        out_dir: New, empty, or of an earlier fit (which is replaced when settings or data differ).
        split: Whose judgments to learn from.
        epochs: Passes over the pairs that are not held out.
        learning_rate: Peak, reached after ``warmup`` and falling linearly to 0.
        batch_size: Pairs in a step.
        max_length: Tokens of a pair.
        warmup: Share of the steps.
        weight_decay: Of AdamW.
        seed: Of the held-out choice, the new output layer, dropout and order.
        holdout_share: Share of the queries that is held out, in 0..1, ends excluded.
        class_weights: Weights of the grades in the loss: ``"none"``; ``"balanced"``, inverse to their frequency;
            ``"sqrt"``, the square root of that (ours); or one number for each grade. They shape what is learned; the
            annotator's ``shift`` takes them back out of the probabilities (unless a weight is 0).
        label_smoothing: Share of each label that is spread evenly over the grades, in 0..1, 1 excluded: a model then
            trusts no single label fully, which helps where labels are wrong.
        label_noise: Share of the labels that is believed to be wrong, by one grade
            (:meth:`mr_st.data.label_noise.LabelNoise.near`), in 0..1, 1 excluded. The model then learns the truth
            behind such labels (:class:`~mr_st.training.label_channel.LabelChannel`), and is calibrated to it; the
            report's figures stay those against the labels as they are.
        random_negatives: Random items of the catalogue to learn from, for each judged pair of a query, as the lowest
            grade: judged items all look somewhat relevant, and a model that saw no others takes anything for relevant.
            Few of them are in truth relevant. 0 or more. They are never in the held-out pairs, nor in the counts
            behind ``class_weights`` (unless nothing else has the lowest grade).
        evaluations_per_epoch: Times that held-out loss is taken, and a checkpoint written, in an epoch.
        patience: Evaluations without a better loss before training stops.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        bf16: Train under bfloat16 autocast: faster on hardware that computes in it, and many times slower on other
            (:func:`~mr_st.training.precision.computes_in_bfloat16`; a warning says so).
        device: "cpu", "cuda"; chosen by torch when None.
        show_progress: Show the trainer's progress bar.

    Returns:
        The annotator, loaded from ``out_dir/model``.

    Raises:
        UsageError: an argument out of range, too few queries to hold any out, one grade only, or a folder that holds
            other files.
        MrStError: no such base model, or a folder that cannot be written.
    """
    from mr_st.models.loading import resolve_base

    check_counts(
        max_length, epochs=epochs, batch_size=batch_size, evaluations_per_epoch=evaluations_per_epoch,
        patience=patience,
    )  # fmt: skip
    if not 0 <= label_smoothing < 1:
        raise UsageError(f"label_smoothing is {label_smoothing}; it must lie in 0..1, 1 excluded")
    if not 0 <= label_noise < 1:
        raise UsageError(f"label_noise is {label_noise}; it must lie in 0..1, 1 excluded")
    source, hub_id = resolve_base(base)
    hyperparameters = {
        "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "max_length": max_length,
        "warmup": warmup, "weight_decay": weight_decay, "seed": seed, "holdout_share": holdout_share,
        "class_weights": class_weights if isinstance(class_weights, str) else [float(w) for w in class_weights],
        "label_smoothing": label_smoothing, "random_negatives": random_negatives,
        "evaluations_per_epoch": evaluations_per_epoch, "patience": patience,
        "item_text_levels": item_text_levels, "max_chars": max_chars, "bf16": bf16,
    }  # fmt: skip
    noise = LabelNoise.near(label_noise, dataset.scale.n_grades) if label_noise else None
    if noise:  # named only where there is some: fits without keep the identity that they had before this was known
        hyperparameters["label_noise"] = label_noise
    folder = open_fit_folder(out_dir, fit_settings(source, dataset, split, hyperparameters))
    if not folder.is_finished:
        learn, held = hold_out(dataset, split, holdout_share, seed, item_text_levels, max_chars)
        drawn = random_pairs(dataset, learn, random_negatives, seed, item_text_levels, max_chars)
        weighed = learn.grades if (learn.grades == 0).any() else join_pairs(learn, drawn).grades
        weights = weigh_classes(class_weights, weighed, dataset.scale.n_grades)
        started = time.monotonic()
        model, history = _train(
            source, join_pairs(learn, drawn), held, weights, noise, folder.checkpoints, hyperparameters, device,
            show_progress,
        )  # fmt: skip
        seconds = time.monotonic() - started
        shift = _shift(weights)
        annotator = CrossEncoderAnnotator(model, batch_size=2 * batch_size, shift=shift)
        report = {
            "base": hub_id or Path(source).name,
            "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "split": split},
            "settings": hyperparameters,
            "learned_from": {
                **learned_from(learn, weights, dataset.scale.n_grades), "n_random_pairs": len(drawn.grades),
            },
            "training": {**history, "seconds": round(seconds, 1)},
            **held_out_report(annotator.logits(held.pairs), held, seed, noise),
            "random_items": random_items_report(annotator, dataset, held, seed, item_text_levels, max_chars),
        }  # fmt: skip

        def save(target: Path) -> None:
            model.save(str(target), create_model_card=False)
            write_calibration(target, report["temperature"], shift or (), **report["calibrated_on"])

        folder.finish(save, report, dataset.scale.names)
    return CrossEncoderAnnotator(folder.model, batch_size=2 * batch_size, device=device)


def _shift(weights: list[float]) -> list[float] | None:
    """What takes the weights of the loss back out of the logits; None where a weight is 0."""
    return (-np.log(weights)).tolist() if all(weights) else None


def _train(
    source: str,
    learn: LabelledPairs,
    held: LabelledPairs,
    weights: list[float],
    noise: LabelNoise | None,
    checkpoints: Path,
    options: dict[str, Any],
    device: str | None,
    show_progress: bool,
) -> tuple[CrossEncoder, dict[str, Any]]:
    """Train, or go on training, and return the best checkpoint's model with what happened."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import CrossEntropyLoss
    from transformers import set_seed

    from mr_st.training.held_out_loss import HeldOutLoss
    from mr_st.training.label_channel import LabelChannel
    from mr_st.training.length_batches import LengthBatchSampler, token_lengths

    set_seed(options["seed"])  # the output layer is new
    try:
        model = CrossEncoder(
            source, num_labels=len(weights), max_length=options["max_length"], device=device,
            model_kwargs=_attention(device, options["max_length"]),
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise MrStError(
            f"{source}: no encoder could be loaded ({str(error).strip().splitlines()[0][:200]})"
        ) from error
    on_cpu = str(model.device) == "cpu"
    if options["bf16"]:
        warn_where_bfloat16_crawls(on_cpu)
    arguments = CrossEncoderTrainingArguments(
        **fit_arguments(checkpoints, len(learn.grades), options, on_cpu, show_progress),
        batch_sampler=partial(
            LengthBatchSampler, lengths=partial(token_lengths, model.tokenizer, options["max_length"])
        ),
        bf16=options["bf16"],
    )
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=_columns(learn),
        evaluator=HeldOutLoss(held, 2 * options["batch_size"], _shift(weights), noise, options["bf16"]),
        loss=CrossEntropyLoss(
            model,
            torch.nn.Identity() if noise is None else LabelChannel(noise.confusion).to(model.device),
            weight=torch.tensor(weights, device=model.device),
            label_smoothing=options["label_smoothing"],
        ),
    )
    best, history = run_to_best(trainer, checkpoints, options["patience"])
    return CrossEncoder(str(best), device=device), history


def _attention(device: str | None, max_length: int) -> dict[str, str]:
    """How attention is computed: written out for short texts on a CPU, where torch's fused one trains more slowly."""
    import torch

    on_cpu = device == "cpu" or (device is None and not torch.accelerator.is_available())
    return {"attn_implementation": "eager"} if on_cpu and max_length <= _SHORT else {}


def _columns(part: LabelledPairs) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {"query": part.pairs.query_texts, "item": part.pairs.item_texts, "label": part.grades.tolist()}
    )
