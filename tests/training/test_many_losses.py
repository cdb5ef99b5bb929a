"""A dataset of four grades (ESCI's own labels) trains with every loss, in the stock trainer."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from stage_tools import WORDS

from mr_st.grades import ESCI_FOUR_GRADES, ESCI_FOUR_LABELS
from mr_st.losses import LOSSES, GradedLoss
from mr_st.models import build_two_tower
from mr_st.training import GradedCollator

N_GRADES = ESCI_FOUR_GRADES.n_grades


def esci_rows(n_queries: int = 24) -> list[dict[str, Any]]:
    """Queries of three words; an item has as many of them as its grade says: exact three, substitute two, ..."""
    generator = random.Random(0)
    rows = []
    for _ in range(n_queries):
        wanted = generator.sample(WORDS, 3)
        others = [word for word in WORDS if word not in wanted]
        labels = ["E", "I", *generator.choices("ESCI", k=generator.randint(1, 7))]
        items = []
        for label in labels:
            n_right = ESCI_FOUR_LABELS[label]
            words = wanted[:n_right] + generator.sample(others, 4 - n_right)
            generator.shuffle(words)
            items.append(" ".join(words))
        grades = [ESCI_FOUR_LABELS[label] for label in labels]
        rows.append({"query": " ".join(wanted), "items": items, "labels": grades})
    assert {grade for row in rows for grade in row["labels"]} == {0, 1, 2, 3}
    return rows


def loss_of_all_rows(loss: GradedLoss, collator: GradedCollator, rows: list[dict[str, Any]]) -> float:
    """The loss of one batch of all rows, without dropout."""
    batch = collator(rows)
    assert loss.model is not None
    loss.model.eval()
    columns = [
        {key.removeprefix(column): value for key, value in batch.items() if key.startswith(column)}
        for column in ("query_", "items_")
    ]
    with torch.no_grad():
        return loss(columns, batch["label"]).item()


@pytest.mark.parametrize("name", LOSSES)
def test_four_grades_train_with_every_loss(tiny_base: Path, tmp_path: Path, name: str) -> None:
    rows = esci_rows()
    model = build_two_tower(tiny_base, 8, device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path), max_steps=12, per_device_train_batch_size=8, learning_rate=2e-3, warmup_steps=0,
        logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, seed=1, disable_tqdm=True,
    )  # fmt: skip
    collator = GradedCollator.from_trainer_args(model, arguments)
    loss = LOSSES[name](model, reduction="mean", **LOSSES[name].options_for(N_GRADES))
    trainer = SentenceTransformerTrainer(model, arguments, Dataset.from_list(rows), loss=loss, data_collator=collator)
    before = loss_of_all_rows(loss, collator, rows)
    untrained = {key: value.clone() for key, value in model.state_dict().items()}
    learned = {key: p for key, p in loss.named_parameters() if p.requires_grad and not key.startswith("model.")}
    start = {key: parameter.item() for key, parameter in learned.items()}
    loss.take_counts()
    trainer.train()
    counts = loss.take_counts()

    assert (counts["instances"], counts["skipped_instances"]) == (12 * 8, 0)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 12
    assert all(map(math.isfinite, [*logged, *counts.values()]))
    after = loss_of_all_rows(loss, collator, rows)
    assert 0 <= after < before
    trained = model.state_dict()
    assert all(value.isfinite().all() for value in trained.values())
    heads = [key for key in trained if "linear.weight" in key]  # of both towers
    assert len(heads) == 2
    assert not any(torch.equal(trained[key], untrained[key]) for key in heads)
    for key, parameter in learned.items():  # a temperature
        assert math.isfinite(parameter.item())
        assert parameter.item() != start[key]
