#!/usr/bin/env python3
"""A small language model from scratch, and an annotator fitted on it: for machines with no model at hand.

    scripts/make_small_lm.py OUT                     4.5 M parameters, trained for 12 minutes, to OUT/base
    scripts/make_small_lm.py OUT --minutes 3         less
    scripts/make_small_lm.py OUT --fit DATA          and fit_llm_annotator on the dataset folder DATA, to OUT/fit
    scripts/make_small_lm.py OUT --fit DATA --lora-rank 16 --set epochs=3   with adapters, and other settings

It reads texts of several synthetic shops: items, and queries each with items that somebody judged for it. It never
sees a grade, nor a query that the first shop keeps for dev or test. A killed run goes on where it stopped. It is no
substitute for a pretrained model: it shows what the fit does with 4.5 M parameters and an hour of two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
POSITIONS, BLOCK = 1024, 512
"""The model's positions, and how many tokens are learned from at once."""
VOCABULARY, HIDDEN, LAYERS, HEADS = 4096, 256, 4, 8
ITEMS_PER_QUERY = 6
FIT: dict[str, Any] = {
    "guideline": "brief", "epochs": 2, "learning_rate": 3e-4, "lora_rank": None, "class_weights": "none",
    "lora_dropout": 0.0, "batch_size": 16,
}  # fmt: skip
"""Of the fit; --set changes them. All weights are trained: a model this small has no knowledge to keep."""


def documents(n_shops: int, size: str, seed: int) -> list[str]:
    """Texts of several shops: each item, and each query with some of its judged items, in a seeded order."""
    from mr_st.annotation import GradePrompt, Guideline
    from mr_st.data import GradedDataset

    prompt = GradePrompt(Guideline.load("brief"))

    def two_lines(query: str, item: str) -> str:
        return "\n".join(prompt.user_message(query, item).split("\n")[:2])  # as they stand in the prompt

    kept_back: set[str] = set()
    found: list[str] = []
    dice = random.Random(seed)
    for shop in range(n_shops):
        dataset = GradedDataset.load("marketplace", size=size, seed=shop)
        if shop == 0:
            for split in ("dev", "test"):
                judged = dataset.judged_pairs(split)
                table = dataset.pair_table(judged.query_rows, judged.item_rows, 2, 400)
                kept_back |= {text.casefold() for text in table.query_texts}
        judged = dataset.judged_pairs("train")
        table = dataset.pair_table(judged.query_rows, judged.item_rows, 2, 400)
        items_of: dict[str, list[str]] = defaultdict(list)
        for query, item in zip(table.query_texts, table.item_texts, strict=True):
            if query.casefold() not in kept_back:
                items_of[query].append(item)
        for query, items in items_of.items():
            dice.shuffle(items)
            for at in range(0, len(items), ITEMS_PER_QUERY):
                several = items[at : at + ITEMS_PER_QUERY]
                found.append("\n".join(two_lines(query, item) for item in several))
        found += sorted(set(table.item_texts))
    dice.shuffle(found)
    return found


def pretrain(out: Path, options: argparse.Namespace) -> Path:
    """Train tokenizer and model from scratch, or go on; the finished model stands in ``out/base``."""
    import numpy as np
    from datasets import Dataset
    from tiny_causal import system_messages, train_tokenizer
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    from mr_st.files import atomic_folder
    from mr_st.training.checkpoints import MarkComplete, last_complete_checkpoint

    base = out / "base"
    if base.is_dir():
        return base
    texts = documents(options.shops, options.size, options.seed)
    tokenizer = train_tokenizer([*texts, *system_messages()], VOCABULARY, POSITIONS)
    several = tokenizer([*system_messages(), *texts], add_special_tokens=False, verbose=False)["input_ids"]
    stream = np.concatenate([np.array([*ids, tokenizer.bos_token_id]) for ids in several])
    blocks = stream[: len(stream) // BLOCK * BLOCK].reshape(-1, BLOCK).tolist()
    set_seed(options.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=HIDDEN, intermediate_size=3 * HIDDEN, num_hidden_layers=LAYERS,
            num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=POSITIONS,
            tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(texts):,} texts, {len(stream):,} tokens; {parameters:,} parameters", file=sys.stderr, flush=True)

    class StopInTime(TrainerCallback):
        """Ends the training, with a checkpoint, when the minutes are spent over all its processes."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if clock.seconds >= 60 * options.minutes:
                control.should_save = control.should_training_stop = True

    checkpoints = out / "checkpoints"
    last = last_complete_checkpoint(checkpoints)
    before = json.loads((last / "complete.json").read_text(encoding="utf-8"))["seconds"] if last else 0.0
    clock = MarkComplete(before)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(checkpoints), num_train_epochs=1000, per_device_train_batch_size=8, learning_rate=2e-3,
            lr_scheduler_type="inverse_sqrt", warmup_steps=100, weight_decay=0.01, seed=options.seed,
            save_steps=50, save_total_limit=None, logging_steps=50, report_to="none", use_cpu=options.device == "cpu",
        ),
        train_dataset=Dataset.from_dict({"input_ids": blocks, "labels": blocks}),
        callbacks=[StopInTime(), clock],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    losses = [round(log["loss"], 3) for log in trainer.state.log_history if "loss" in log]
    print(f"{trainer.state.global_step} steps, {clock.seconds:.0f} s, losses {losses}", file=sys.stderr, flush=True)
    with atomic_folder(base) as temporary:
        trainer.model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return base


def fit(base: Path, options: argparse.Namespace) -> None:
    """Fit the annotator on the dataset that is named."""
    from small_llm import fit_and_print

    from mr_st.data import GradedDataset

    settings = {**FIT, "seed": options.seed, "device": options.device, "lora_rank": options.lora_rank}
    settings |= {name: json.loads(value) for name, _, value in (entry.partition("=") for entry in options.set)}
    fit_and_print(GradedDataset.load(options.fit), base, options.out / "fit", settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--shops", type=int, default=4, help="how many shops it reads")
    parser.add_argument("--size", default="small", help="of each shop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--fit", metavar="DATA", help="a dataset folder, or a name: marketplace")
    parser.add_argument("--lora-rank", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a setting of the fit")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    sys.path.append(str(ROOT / "tests" / "shared"))
    options.out.mkdir(parents=True, exist_ok=True)
    base = pretrain(options.out, options)
    print(base)
    if options.fit:
        fit(base, options)


if __name__ == "__main__":
    main()
