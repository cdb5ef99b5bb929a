from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mr_st.losses import GradedSupConLoss
from mr_st.losses.embedding import embed_column, in_order, split_column
from mr_st.models import build_two_tower

TEXTS = ["mug", "red running shoes for men large", "desk", "blue cotton shirt women small", "led light bulb", "hose"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("rows", [1, 2, 4, 5])
def test_chunks_give_the_embeddings_and_gradients_of_one_pass(tiny_base: Path, rows: int, side: str) -> None:
    model = build_two_tower(tiny_base, 8, device="cpu").eval()
    model.tokenizer.padding_side = side
    features = {**model.preprocess(TEXTS), "task": "query"}
    assert (features["attention_mask"][:, 0] == 0).any() == (side == "left")
    weights = torch.randn(len(TEXTS), 8)

    def run(chunk: int | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        out = embed_column(model, dict(features), chunk)
        (out * weights).sum().backward()
        return out.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    whole, whole_gradients = run(None)
    chunked, chunked_gradients = run(rows)
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=1e-5)
    assert len(whole_gradients) == len(chunked_gradients) > 10
    for a, b in zip(chunked_gradients, whole_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_each_chunk_is_cut_to_its_own_width() -> None:
    seen = []

    def model(features: dict) -> dict:
        seen.append(tuple(features["input_ids"].shape))
        return {"sentence_embedding": features["input_ids"].sum(1, keepdim=True).float()}

    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    ids = mask * torch.tensor([[1], [2], [3], [4]])
    out = embed_column(model, {"input_ids": ids, "attention_mask": mask, "task": "document"}, 2)
    assert seen == [(2, 2), (2, 4)]
    assert out.flatten().tolist() == [4.0, 2.0, 6.0, 12.0]


def test_features_that_are_not_padded_text_take_one_pass() -> None:
    calls = []

    def model(features: dict) -> dict:
        calls.append(features)
        return {"sentence_embedding": torch.zeros(3, 2)}

    mask = torch.ones(3, 5, dtype=torch.long)
    embed_column(model, {"attention_mask": mask, "pixel_values": torch.zeros(3, 2, 2)}, 1)
    embed_column(model, {"input_values": torch.zeros(3)}, 1)
    embed_column(model, {"attention_mask": mask}, None)
    assert len(calls) == 3


@pytest.mark.parametrize("prompt_length", [2, torch.tensor([2]), torch.tensor([2, 2, 2])])
def test_every_chunk_is_told_the_length_of_the_prompt(prompt_length: object) -> None:
    features = {"attention_mask": torch.ones(3, 5, dtype=torch.long), "prompt_length": prompt_length}
    chunks, _ = split_column(features, rows=1)
    assert [chunk["prompt_length"] is prompt_length for chunk in chunks] == [True] * 3


def test_a_token_budget_counts_the_padding() -> None:
    lengths = torch.tensor([3, 1, 5, 2, 9, 1])
    mask = (torch.arange(9) < lengths[:, None]).long()
    chunks, places = split_column({"attention_mask": mask}, tokens=6)
    assert [tuple(chunk["attention_mask"].shape) for chunk in chunks] == [(3, 2), (1, 3), (1, 5), (1, 9)]
    assert places is not None
    assert lengths[places.argsort()].tolist() == [1, 1, 2, 3, 5, 9]
    rows = in_order([chunk["attention_mask"].sum(1, keepdim=True) for chunk in chunks], places)
    assert rows.flatten().tolist() == lengths.tolist()
    chunks, _ = split_column({"attention_mask": mask}, rows=2, tokens=1000)
    assert [tuple(chunk["attention_mask"].shape) for chunk in chunks] == [(2, 1), (2, 3), (2, 9)]
    whole, no_places = split_column({"attention_mask": mask}, tokens=54)
    assert (len(whole), no_places) == (1, None)


def test_the_loss_is_the_same_however_it_embeds(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, device="cpu").eval()
    labels = torch.tensor([[0, 0, 2], [0, 1, 0], [0, 2, 1], [1, 3, 1], [1, 4, 0], [1, 5, 2]])
    values = []
    for rows in (None, 1, 2):
        loss = GradedSupConLoss(model)
        loss.rows_per_forward = rows
        features = [{**model.preprocess(t), "task": s} for t, s in ((TEXTS[:2], "query"), (TEXTS, "document"))]
        values.append(loss(features, labels).item())
    assert values[1:] == pytest.approx([values[0]] * 2, rel=1e-5)


def test_a_text_in_several_rows_is_embedded_once(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, device="cpu").eval()
    texts = ["mug", "red running shoes", "mug", "desk lamp", "mug", "desk lamp"]
    features = {**model.preprocess(texts), "task": "query"}
    one_by_one = torch.cat([model({**model.preprocess([t]), "task": "query"})["sentence_embedding"] for t in texts])
    seen: list[int] = []

    def counted(features: dict) -> dict:
        seen.append(len(features["input_ids"]))
        return model(features)

    for rows, sizes in ((None, [3]), (2, [2, 1]), (1, [1, 1, 1])):
        seen.clear()
        out = embed_column(counted, dict(features), rows)
        assert seen == sizes
        torch.testing.assert_close(out, one_by_one, atol=1e-6, rtol=1e-5)


def test_texts_that_differ_in_one_id_or_in_another_tensor_are_two() -> None:
    ids = torch.tensor([[5, 6, 7], [5, 6, 7], [5, 6, 8], [5, 6, 7]])
    types = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    mask = torch.ones_like(ids)
    chunks, places = split_column({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    assert [len(chunk["input_ids"]) for chunk in chunks] == [3]
    assert places is not None
    assert torch.equal(chunks[0]["input_ids"][places], ids)
    assert torch.equal(chunks[0]["token_type_ids"][places], types)


def test_a_repeated_query_gets_the_gradient_of_both_its_instances(tiny_base: Path) -> None:
    """Both routes, against two batches with one of the instances each."""
    labels = torch.tensor([[0, 0, 2], [0, 1, 0], [1, 1, 2], [1, 2, 0]])
    texts = ["red mug", "blue desk", "steel kettle"]

    def gradients(**options: int) -> list[torch.Tensor]:
        model = build_two_tower(tiny_base, 8, device="cpu").eval()
        loss = GradedSupConLoss(model, **options)
        queries = {**model.preprocess(["mug", "mug"]), "task": "query"}
        loss([queries, {**model.preprocess(texts), "task": "document"}], labels).backward()
        return [p.grad for p in loss.parameters() if p.grad is not None]

    model = build_two_tower(tiny_base, 8, device="cpu").eval()
    loss = GradedSupConLoss(model)
    for row in (0, 1):
        part = labels[labels[:, 0] == row].clone()
        part[:, 0] = 0
        query = {**model.preprocess(["mug"]), "task": "query"}
        loss([query, {**model.preprocess(texts), "task": "document"}], part).backward()
    expected = [p.grad for p in loss.parameters() if p.grad is not None]
    for found in (gradients(), gradients(mini_batch_size=1)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
