"""The parts of a causal model's fit: its adapters, its training in the stock Trainer, and the merged result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mr_st.annotation.llm.folder import load_causal
from mr_st.errors import UsageError, require_extra
from mr_st.training.answer_batches import AnswerLoss, PackedAnswers, PaddedAnswers, can_pack
from mr_st.training.fit_trainer import fit_arguments, run_to_best

__all__ = ["adapt", "best_model", "train_answers"]


def adapt(model: Any, rank: int, alpha: float, dropout: float, target_modules: str | Sequence[str]) -> Any:
    """Freeze a causal model and put LoRA adapters beside its matrices. Source: arXiv 2106.09685.

    Raises:
        MissingExtraError: peft is not installed (extra ``llm``).
        UsageError: options that peft does not take, or that match nothing.
    """
    peft = require_extra("peft", "llm")
    targets = target_modules if isinstance(target_modules, str) else list(target_modules)
    try:
        config = peft.LoraConfig(
            task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets
        )
        return peft.get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"lora_rank {rank}, target_modules {targets}: {reason}") from error


def train_answers(
    model: nn.Module,
    shared: Sequence[int],
    end: int | None,
    learn: list[list[int]],
    held: list[list[int]],
    loss: AnswerLoss,
    folder: Path,
    options: Mapping[str, Any],
    show_progress: bool,
) -> tuple[Path, dict[str, Any]]:
    """Train in the stock Trainer, or go on from the last complete checkpoint.

    Args:
        model: What to train; only its parameters that require gradients change.
        shared: What all prompts begin with.
        end: The token that ends an answer.
        learn: Tokens of each prompt with its label's token last.
        held: The same of the held-out pairs, whose loss picks the best checkpoint and stops early.
        loss: Of a batch.
        folder: For the checkpoints.
        options: The fit's hyperparameters.
        show_progress: Show the trainer's bar.

    Returns:
        The best checkpoint, and what happened; JSON-ready.
    """
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    def rows(several: list[list[int]]) -> Dataset:
        return Dataset.from_dict({"input_ids": several, "length": [len(ids) for ids in several]})

    # unlike lengths make the best trial, and the same rows are tried again on a resume
    probes = [{"input_ids": ids} for ids in (*learn[:3], max(learn, key=len))]
    dtype = next(model.parameters()).dtype
    config: Any = model.config
    width = config.get_text_config().hidden_size
    packs = _is_cheaper_packed(shared, learn, options["batch_size"], width) and can_pack(model, shared, probes, dtype)
    device = next(model.parameters()).device
    arguments = TrainingArguments(
        **fit_arguments(folder, len(learn), options, device.type == "cpu", show_progress),
        per_device_eval_batch_size=options["batch_size"],
        train_sampling_strategy="random" if packs else "group_by_length",
        prediction_loss_only=True,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=PackedAnswers(shared, end, dtype) if packs else PaddedAnswers(end),
        train_dataset=rows(learn),
        eval_dataset=rows(sorted(held, key=len)),
        compute_loss_func=loss,
    )
    best, history = run_to_best(trainer, folder, options["patience"])
    return best, {**history, "packed": packs}


def best_model(source: str, best: Path, tokenizer: Any, end: int | None, device: str | None, dtype: str) -> Any:
    """The best checkpoint as a plain model, adapters merged into its matrices.

    Its generation settings are greedy and stop at the answer's end, so that a server that hosts it answers with the
    label alone.

    Args:
        source: The base model.
        best: A checkpoint: adapters on the base, or a whole model.
        tokenizer: The base model's.
        end: The token that ends an answer.
        device: "cpu", "cuda"; chosen by torch when None.
        dtype: Of the weights.
    """
    from transformers import GenerationConfig

    if (best / "adapter_config.json").is_file():
        adapted = require_extra("peft", "llm").PeftModel.from_pretrained(load_causal(source, device, dtype), str(best))
        model = adapted.merge_and_unload(safe_merge=True)
    else:
        model = load_causal(str(best), device, dtype)
    known = model.generation_config
    ends = known.eos_token_id if isinstance(known.eos_token_id, list) else [known.eos_token_id]
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=sorted({int(token) for token in (*ends, end) if token is not None}) or None,
        bos_token_id=known.bos_token_id,
        pad_token_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
    )
    return model


def _is_cheaper_packed(shared: Sequence[int], rows: list[list[int]], batch_size: int, width: int) -> bool:
    """Whether a batch in one row costs less: fewer tokens go through the matrices, but more meet in the attention."""

    def cost(n_rows: int, n_tokens: float) -> float:
        return n_rows * (n_tokens + n_tokens**2 / (2 * width))  # in tokens; attention is slower than its FLOPs say

    mean = sum(map(len, rows)) / len(rows)
    n = min(batch_size, len(rows))
    return cost(1, len(shared) + n * (mean - len(shared))) < cost(n, mean)
