"""Gradient caching: the loss and gradients of one pass, with the activations of one mini-batch."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from encoded import ITEMS, LABELS, QUERIES, assert_same, double_model, features, value_and_gradients

from mr_st.errors import UsageError
from mr_st.losses import LOSSES, GradedLoss, GradedSupConLoss, MultiClassCircleLoss

every_loss = pytest.mark.parametrize("kind", LOSSES.values(), ids=LOSSES.keys())


@every_loss
@pytest.mark.parametrize("bound", [{"mini_batch_size": 3}, {"mini_batch_tokens": 24}], ids=["texts", "tokens"])
def test_cached_equals_uncached(kind: type[GradedLoss], tiny_base: Path, bound: dict[str, int]) -> None:
    model = double_model(tiny_base).eval()
    expected = value_and_gradients(kind(model), scale=4.0)
    assert_same(value_and_gradients(kind(model, **bound), scale=4.0), expected)


@every_loss
def test_dropout_draws_the_same_units_in_both_passes(kind: type[GradedLoss], tiny_base: Path) -> None:
    model = double_model(tiny_base).train()
    in_chunks = kind(model)
    in_chunks.rows_per_forward = 5  # the same forwards, one after the other, so the same draws
    expected = value_and_gradients(in_chunks)
    assert_same(value_and_gradients(kind(model, mini_batch_size=5)), expected)
    model.eval()
    assert value_and_gradients(in_chunks)[0] != pytest.approx(expected[0], rel=1e-3)


@every_loss
def test_one_forward_over_all_texts_gives_the_same(kind: type[GradedLoss], tiny_base: Path) -> None:
    model = double_model(tiny_base).eval()
    model[2].forward = lambda features, **_: features  # no heads: they would want each side in a forward of its own
    expected = value_and_gradients(kind(model))
    loss = kind(model)
    model.zero_grad()
    together = model({**model.preprocess(QUERIES + ITEMS), "task": "query"})["sentence_embedding"]
    value = loss.compute_loss_from_embeddings(list(together.split([len(QUERIES), len(ITEMS)])), LABELS)
    value.backward()
    merged = value.item(), {name: p.grad.clone() for name, p in loss.named_parameters() if p.grad is not None}
    assert_same(merged, expected)


@every_loss
def test_without_gradients_there_is_one_pass_and_the_same_value(kind: type[GradedLoss], tiny_base: Path) -> None:
    model = double_model(tiny_base).eval()
    with torch.no_grad():
        values = [loss(features(model), LABELS) for loss in (kind(model), kind(model, mini_batch_size=2))]
    assert values[1].item() == pytest.approx(values[0].item(), rel=1e-9)
    assert not values[1].requires_grad


def count_forwards(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    forward = model.forward

    def counting(batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        shapes.append(tuple(batch["input_ids"].shape))
        return forward(batch, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    return shapes


def test_each_text_is_encoded_once_a_pass_at_the_width_of_its_mini_batch(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = double_model(tiny_base)
    shapes = count_forwards(model, monkeypatch)
    value = GradedSupConLoss(model, mini_batch_size=5)(features(model), LABELS)
    widths = [features(model, items=[text])[1]["input_ids"].shape[1] for text in ITEMS]
    widths = sorted(widths)
    assert [rows for rows, _ in shapes] == [4, 5, 5, 2]
    assert [width for _, width in shapes[1:]] == [widths[4], widths[9], widths[11]]
    value.backward()
    assert shapes[4:] == shapes[:4]


@pytest.mark.parametrize("bound", [1, 16, 30, 10_000])
def test_the_token_budget_bounds_every_forward(tiny_base: Path, monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    model = double_model(tiny_base)
    shapes = count_forwards(model, monkeypatch)
    GradedSupConLoss(model, mini_batch_tokens=bound)(features(model), LABELS).backward()
    assert all(rows * width <= bound or rows == 1 for rows, width in shapes)
    assert sum(rows for rows, _ in shapes) == 2 * (len(QUERIES) + len(ITEMS))
    assert len(shapes) == {1: 32, 10_000: 4}.get(bound, len(shapes))


def test_one_mini_batch_of_activations_is_alive_at_a_time(tiny_base: Path) -> None:
    def peak(loss: GradedLoss) -> int:
        alive, highest = 0, 0

        def pack(tensor: torch.Tensor) -> list[torch.Tensor]:
            nonlocal alive, highest
            size = tensor.numel()
            alive += size
            highest = max(highest, alive)
            held = _Held([tensor])
            weakref.finalize(held, release, size)
            return held

        def release(size: int) -> None:
            nonlocal alive
            alive -= size

        weights = sum(p.numel() for p in loss.model.parameters())
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held[0]):
            loss(features(loss.model, items=[f"{item} {n}" for n in range(4) for item in ITEMS]), LABELS).backward()
        return highest - weights

    model = double_model(tiny_base).train()
    whole, cached = peak(GradedSupConLoss(model)), peak(GradedSupConLoss(model, mini_batch_size=4))
    assert cached < whole / 4


class _Held(list):
    """A list that can be referred to weakly."""


@pytest.mark.parametrize("is_learned", [True, False])
def test_two_batches_before_one_backward(tiny_base: Path, is_learned: bool) -> None:
    """As with gradient accumulation: each loss is scaled, neither backward pass takes the other's batch."""
    model = double_model(tiny_base).eval()
    found = []
    for bound in ({}, {"mini_batch_size": 4}):
        loss = GradedSupConLoss(model, learn_temperature=is_learned, **bound)
        loss.zero_grad()
        swapped = LABELS[[0, 1, 2, 3, 4, 5]].clone()
        swapped[:, 2] = 2 - swapped[:, 2]
        first, second = loss(features(model), LABELS), loss(features(model), swapped)
        (second / 2).backward()
        (first * 8).backward()
        found.append((first.item(), {n: p.grad.clone() for n, p in loss.named_parameters() if p.grad is not None}))
        assert ("log_tau" in found[-1][1]) == is_learned
    assert_same(found[1], found[0])


def test_a_loss_that_is_not_differentiated_leaves_no_gradient(tiny_base: Path) -> None:
    loss = GradedSupConLoss(double_model(tiny_base), mini_batch_size=4)
    loss(features(loss.model), LABELS)
    assert [name for name, p in loss.named_parameters() if p.grad is not None] == []


def test_both_passes_run_under_autocast(tiny_base: Path) -> None:
    model = double_model(tiny_base).float().eval()
    found = []
    for bound in (None, 4):
        loss = GradedSupConLoss(model, mini_batch_size=bound)
        loss.rows_per_forward = 4
        loss.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(features(model), LABELS)
            if bound is not None:
                value.backward()
        if bound is None:
            value.backward()
        found.append((value.item(), {n: p.grad.clone() for n, p in loss.named_parameters() if p.grad is not None}))
    for name, gradient in found[0][1].items():
        scale = gradient.abs().max()
        torch.testing.assert_close(found[1][1][name] / scale, gradient / scale, rtol=0, atol=2e-2)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-3)
    in_full = value_and_gradients(GradedSupConLoss(model))
    assert found[0][0] != in_full[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_prompt_that_is_left_out_of_the_pooling(tiny_base: Path, side: str) -> None:
    model = double_model(tiny_base).eval()
    model[1].include_prompt = False
    model.tokenizer.padding_side = side
    found = []
    for loss in (MultiClassCircleLoss(model), MultiClassCircleLoss(model, mini_batch_size=3)):
        loss.zero_grad()
        columns = [
            {**model.preprocess(texts, prompt="kitchen "), "task": task}
            for texts, task in ((QUERIES, "query"), (ITEMS, "document"))
        ]
        assert "prompt_length" in columns[0]
        value = loss(columns, LABELS)
        value.backward()
        found.append((value.item(), {n: p.grad.clone() for n, p in loss.named_parameters() if p.grad is not None}))
    assert_same(found[1], found[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"mini_batch_size": 0}, "mini_batch_size is 0; expected a positive number of texts, or None"),
        ({"mini_batch_size": -4}, "mini_batch_size is -4"),
        ({"mini_batch_size": 2.5}, r"mini_batch_size is 2\.5"),
        ({"mini_batch_tokens": 0}, "mini_batch_tokens is 0; expected a positive number of tokens, or None"),
        ({"mini_batch_tokens": True}, "mini_batch_tokens is True"),
        ({"mini_batch_size": 8, "mini_batch_tokens": 100}, "is 8 and mini_batch_tokens is 100; give one of them"),
    ],
)
@every_loss
def test_bad_bounds_are_refused(kind: type[GradedLoss], bad: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(None, **bad)


def test_static_embeddings_are_refused(tiny_base: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = double_model(tiny_base).tokenizer
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu")
    with pytest.raises(UsageError, match="StaticEmbedding"):
        GradedSupConLoss(model, mini_batch_size=2)
    GradedSupConLoss(model)(features(model), LABELS).backward()
    assert model[0].embedding.weight.grad.abs().max() > 0
