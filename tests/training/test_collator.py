from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

from mr_st.errors import UsageError
from mr_st.models import build_two_tower
from mr_st.training import GradedCollator

ROWS = [
    {"query": "red shoes", "items": ["red running shoes for men", "mug", "blue cotton shirt"], "labels": [2, 0, 1]},
    {"query": "coffee mug", "items": ["mug", "black coffee mug small"], "labels": [1, 2]},
    {"query": "red shoes", "items": ["mug", "red running shoes for men"], "labels": [0, 2]},
]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> SentenceTransformer:
    return build_two_tower(tiny_base, 8, device="cpu")


def decoded(model: SentenceTransformer, ids: torch.Tensor) -> list[str]:
    return [model.tokenizer.decode(row, skip_special_tokens=True) for row in ids]


def test_distinct_items_once_and_every_pair_labelled(model: SentenceTransformer) -> None:
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    queries = decoded(model, batch["query_input_ids"])
    items = decoded(model, batch["items_input_ids"])
    assert queries == ["red shoes", "coffee mug", "red shoes"]  # two instances of a query keep a row each
    assert items == ["mug", "blue cotton shirt", "black coffee mug small", "red running shoes for men"]
    assert batch["label"].dtype == torch.long
    pairs = {(q, items[i], g) for q, i, g in batch["label"].tolist()}
    assert pairs == {(n, i, g) for n, row in enumerate(ROWS) for i, g in zip(row["items"], row["labels"], strict=True)}
    assert len(batch["label"]) == 7


def test_neither_column_is_padded_to_the_other(model: SentenceTransformer) -> None:
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    assert batch["query_input_ids"].shape == (3, 4)  # [CLS] red shoes [SEP]
    assert batch["items_input_ids"].shape == (4, 7)


def test_routes_and_prompts_come_from_model_and_arguments(tiny_base: Path, tmp_path: Path) -> None:
    prompts = {"query": "small ", "document": "large "}
    routed = build_two_tower(tiny_base, prompts=prompts, device="cpu")
    batch = GradedCollator.from_trainer_args(routed)(ROWS)
    assert (batch["query_task"], batch["items_task"]) == ("query", "document")
    assert decoded(routed, batch["query_input_ids"])[0] == "small red shoes"
    assert decoded(routed, batch["items_input_ids"])[0] == "large mug"
    args = SentenceTransformerTrainingArguments(str(tmp_path), prompts={"query": "blue "}, report_to="none",
                                                router_mapping={"query": "document", "items": "query"})  # fmt: skip
    other = GradedCollator.from_trainer_args(routed, args)(ROWS)
    assert (other["query_task"], other["items_task"]) == ("document", "query")
    assert decoded(routed, other["query_input_ids"])[0] == "blue red shoes"
    assert decoded(routed, other["items_input_ids"])[0] == "mug"
    without_router = build_two_tower(tiny_base, heads=None, device="cpu")
    assert "query_task" not in GradedCollator.from_trainer_args(without_router)(ROWS)


def test_training_embeds_what_encode_embeds(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, prompts={"query": "small ", "passage": "large "}, device="cpu").eval()
    with torch.no_grad():
        model[2].sub_modules["query"][0].linear.weight.neg_()
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    for column, expected in (
        ("query_", model.encode_query([row["query"] for row in ROWS], convert_to_tensor=True)),
        ("items_", model.encode_document(["mug", "blue cotton shirt"], convert_to_tensor=True)),
    ):
        features = {k.removeprefix(column): v for k, v in batch.items() if k.startswith(column)}
        got = model(features)["sentence_embedding"][: len(expected)]
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "x", "items": ["a"]}, "lacks column 'labels'"),
        ({"query": "x", "items": ["a", "b"], "labels": [1]}, "got 2 and 1"),
        ({"query": "x", "items": "ab", "labels": [1, 2]}, "must be a list"),
        ({"query": "x", "items": ["a"], "labels": [-1]}, "grade -1 is below 0"),
        ({"query": "x", "items": [], "labels": []}, "no item"),
    ],
)
def test_bad_rows_are_named(model: SentenceTransformer, row: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradedCollator.from_trainer_args(model)([row])
