"""Fine-tune a causal language model on the judgments there are, so that it grades pairs under the guideline."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.annotation.guideline import Guideline
from mr_st.annotation.injections import TRAIN_FAMILIES, inject
from mr_st.annotation.llm import ChatPrompts, LLMAnnotator
from mr_st.annotation.llm.folder import load_causal, load_tokenizer, write_about
from mr_st.annotation.prompt import GradePrompt
from mr_st.data.dataset import GradedDataset
from mr_st.errors import UsageError
from mr_st.training.annotator_fit import (
    FitFolder,
    check_counts,
    fit_settings,
    held_out_report,
    learned_from,
    open_fit_folder,
)
from mr_st.training.holdout import ClassWeights, LabelledPairs, hold_out, weigh_classes

__all__ = ["fit_llm_annotator"]

_ROOM = 2  # tokens that a served model writes: the label and the end of its turn
_PARSED_ON = 500  # held-out pairs on which the share of parsable answers is taken


def fit_llm_annotator(
    dataset: GradedDataset,
    base: str | Path,
    out_dir: str | Path,
    *,
    guideline: str | Path | Guideline = "three_grades",
    split: str = "train",
    epochs: int = 2,
    learning_rate: float = 2e-4,
    batch_size: int = 16,
    max_length: int | None = None,
    warmup: float = 0.1,
    weight_decay: float = 0.0,
    lora_rank: int | None = 16,
    lora_alpha: float = 32,
    lora_dropout: float = 0.05,
    target_modules: str | Sequence[str] = "all-linear",
    seed: int = 0,
    holdout_share: float = 0.15,
    class_weights: ClassWeights | Sequence[float] = "sqrt",
    evaluations_per_epoch: int = 2,
    patience: int = 2,
    injection_share: float = 0.0,
    defended: bool = True,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    dtype: str = "float32",
    device: str | None = None,
    show_progress: bool = False,
) -> LLMAnnotator:
    """Fit a causal language model to answer the guideline's prompt with the human grade, and calibrate it.

    LoRA adapters (peft) are trained in the stock Trainer and merged into the weights at the end. The loss is taken at
    the answer alone: cross-entropy over the whole vocabulary at the label, so that the model answers with a label too
    where it generates, and at the token that ends its turn, so that it stops there. Prompts of a batch are packed
    behind their shared guideline where the model allows it, which it is tried for: then the guideline is computed once
    a step, not once a pair. Queries, never pairs, are held out; the loss on them picks the checkpoint, stops early and
    sets the temperature. ``out_dir`` ends up with ``model/`` and ``report.json``; a killed fit goes on from its last
    complete checkpoint, and a finished one with the same settings and data is loaded at once.

    Small models (below about half a billion parameters) do better, and several times faster, with the guideline
    ``"brief"``: a fine-tuned model learns the grades from the judgments, and a long guideline mostly costs time.

    Args:
        dataset: Human judgments.
        base: A folder or a Hub id of a causal language model with safetensors.
        out_dir: New, empty, or of an earlier fit (which is replaced when settings or data differ).
        guideline: ``"three_grades"``, ``"brief"``, a Markdown file, or a Guideline; of the data's number of grades.
        split: Whose judgments to learn from.
        epochs: Passes over the pairs that are not held out.
        learning_rate: Peak, reached after ``warmup`` and falling linearly to 0.
        batch_size: Pairs in a step.
        max_length: Most tokens of a prompt, for the fit and for the annotator later; the model's positions when None.
            An item's text is cut to fit.
        warmup: Share of the steps.
        weight_decay: Of AdamW.
        lora_rank: Rank of the adapters; None trains all weights instead (take a learning rate of 1e-5 to 3e-4 then).
        lora_alpha: The adapters count ``lora_alpha / lora_rank`` times.
        lora_dropout: In 0..1, before the adapters.
        target_modules: What gets adapters: ``"all-linear"``, or names as peft takes them.
        seed: Of the held-out choice, adapters, dropout, order and injections.
        holdout_share: Share of the queries that is held out, in 0..1, ends excluded.
        class_weights: Weights of the grades in the loss, as for :func:`~mr_st.training.fit_cross_encoder`.
        evaluations_per_epoch: Times that held-out loss is taken, and a checkpoint written, in an epoch.
        patience: Evaluations without a better loss before training stops.
        injection_share: Share of the pairs learned from whose item gets a sentence that demands another grade, with
            the label unchanged: the model learns to ignore such sentences. In 0..1.
        defended: As :class:`~mr_st.annotation.prompt.GradePrompt` takes it.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        dtype: ``"float32"``, or ``"bfloat16"`` to hold a large base in half the memory (adapters stay float32).
        device: "cpu", "cuda"; chosen by torch when None.
        show_progress: Show the trainer's progress bar.

    Returns:
        The annotator, loaded from ``out_dir/model``.

    Raises:
        UsageError: an argument out of range, too few queries to hold any out, one grade only, a guideline of another
            number of grades, or a folder that holds other files.
        MissingExtraError: peft is not installed (extra ``llm``).
        MrStError: no such base model, a prompt longer than it can take, or a folder that cannot be written.
    """
    from mr_st.models.loading import resolve_base

    check_counts(
        8 if max_length is None else max_length, epochs=epochs, batch_size=batch_size, patience=patience,
        evaluations_per_epoch=evaluations_per_epoch, lora_rank=1 if lora_rank is None else lora_rank,
    )  # fmt: skip
    if not 0 <= injection_share <= 1:
        raise UsageError(f"injection_share is {injection_share}; it must lie in 0..1")
    if dtype == "auto":
        raise UsageError("dtype is 'auto'; give float32 or bfloat16")
    rules = guideline if isinstance(guideline, Guideline) else Guideline.load(guideline)
    if rules.n_grades != dataset.scale.n_grades:
        raise UsageError(
            f"guideline {rules.name!r} defines {rules.n_grades} grades and {dataset.name} has "
            f"{dataset.scale.n_grades}; give a guideline of as many"
        )
    source, hub_id = resolve_base(base)
    prompt = GradePrompt(rules, defended)
    hyperparameters: dict[str, Any] = {
        "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "max_length": max_length,
        "warmup": warmup, "weight_decay": weight_decay, "lora_rank": lora_rank, "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "target_modules": target_modules if isinstance(target_modules, str) else list(target_modules),
        "seed": seed, "holdout_share": holdout_share,
        "class_weights": class_weights if isinstance(class_weights, str) else [float(w) for w in class_weights],
        "evaluations_per_epoch": evaluations_per_epoch, "patience": patience, "injection_share": injection_share,
        "prompt": prompt.settings, "item_text_levels": item_text_levels, "max_chars": max_chars, "dtype": dtype,
    }  # fmt: skip
    folder = open_fit_folder(out_dir, fit_settings(source, dataset, split, hyperparameters))
    if not folder.is_finished:
        learn, held = hold_out(dataset, split, holdout_share, seed, item_text_levels, max_chars)
        weights = weigh_classes(class_weights, learn.grades, dataset.scale.n_grades)
        about = {
            "base": hub_id or Path(source).name,
            "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "split": split},
            "settings": {**hyperparameters, "guideline": rules.name},
            "learned_from": learned_from(learn, weights, dataset.scale.n_grades),
        }
        _fit(source, prompt, learn, held, weights, folder, hyperparameters, about, device, show_progress)
    return LLMAnnotator(folder.model, batch_size=2 * batch_size, device=device)


def _fit(
    source: str,
    prompt: GradePrompt,
    learn: LabelledPairs,
    held: LabelledPairs,
    weights: list[float],
    folder: FitFolder,
    options: dict[str, Any],
    about: dict[str, Any],
    device: str | None,
    show_progress: bool,
) -> None:
    """Train, judge on the held-out queries, and finish the folder."""
    from transformers import set_seed

    from mr_st.training.answer_batches import AnswerLoss, end_of_answer
    from mr_st.training.causal_fit import adapt, best_model, train_answers

    tokenizer = load_tokenizer(None, source)
    model = load_causal(source, device, options["dtype"])
    prompts = ChatPrompts(tokenizer, prompt, _most_tokens(model, options["max_length"]))
    end = end_of_answer(prompts)
    if options["lora_rank"] is not None:
        set_seed(options["seed"])  # the adapters are new
        model = adapt(
            model, options["lora_rank"], options["lora_alpha"], options["lora_dropout"], options["target_modules"]
        )
    started = time.monotonic()
    rows = _rows(prompts, learn, options["injection_share"], options["seed"])
    best, history = train_answers(
        model,
        _shared(prompts, rows),
        end,
        rows,
        _rows(prompts, held),
        AnswerLoss([ids[0] for ids in prompts.label_ids], weights),
        folder.checkpoints,
        options,
        show_progress,
    )
    seconds = time.monotonic() - started
    del model
    merged = best_model(source, best, tokenizer, end, device, options["dtype"])
    annotator = LLMAnnotator(
        merged, tokenizer, prompt.guideline, defended=prompt.defended, max_length=prompts.max_length,
        batch_size=2 * options["batch_size"],
    )  # fmt: skip
    first = held.pairs.take(range(min(len(held.grades), _PARSED_ON)))
    report = {
        **about,
        "training": {**history, "seconds": round(seconds, 1)},
        **held_out_report(annotator.logits(held.pairs), held, options["seed"]),
        "answers_parse": float(annotator.answers_parse(first).mean()),
    }

    def save(temporary: Path) -> None:
        merged.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_about(temporary, prompt, report["temperature"], max_length=prompts.max_length, **report["calibrated_on"])

    folder.finish(save, report, prompt.guideline.grade_names)


def _rows(prompts: ChatPrompts, part: LabelledPairs, injection_share: float = 0.0, seed: int = 0) -> list[list[int]]:
    """The tokens of each prompt, its label's token last; that share of the items asks for the top grade by itself."""
    items = list(part.pairs.item_texts)
    hit = sorted(random.Random(f"{seed} injections").sample(range(len(items)), round(injection_share * len(items))))
    attacks = inject([items[row] for row in hit], seed, TRAIN_FAMILIES, target=len(prompts.label_ids) - 1)
    for row, attack in zip(hit, attacks, strict=True):
        items[row] = attack.text
    return [
        [*prompts.ids(query, item), prompts.label_ids[grade][0]]
        for query, item, grade in zip(part.pairs.query_texts, items, part.grades.tolist(), strict=True)
    ]


def _shared(prompts: ChatPrompts, rows: list[list[int]]) -> list[int]:
    """What all rows begin with: the prompts' shared beginning, or less where a row's tokens part from it early."""
    shared = np.array(prompts.shared_ids)
    n = len(shared)
    for ids in rows:
        begins = np.array(ids[:n]) == shared[: len(ids[:n])]
        n = min(n, len(begins) if begins.all() else int(begins.argmin()))
    return prompts.shared_ids[:n]


def _most_tokens(model: Any, max_length: int | None) -> int | None:
    """Most tokens of a prompt, so that the label and the end of the turn have their positions too."""
    positions = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    limits = [limit for limit in (positions and positions - _ROOM, max_length) if limit]
    return min(limits, default=None)
