"""MatryoshkaLoss around every loss, cached and not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from encoded import LABELS, assert_same, double_model, features, value_and_gradients
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

from mr_st.losses import LOSSES, GradedLoss

DIMS, WEIGHTS = [8, 5, 2], [1.0, 0.5, 0.25]
every_loss = pytest.mark.parametrize("kind", LOSSES.values(), ids=LOSSES.keys())


def wrapped(loss: GradedLoss) -> MatryoshkaLoss:
    return MatryoshkaLoss(loss.model, loss, DIMS, WEIGHTS)


@every_loss
@pytest.mark.parametrize("bound", [{}, {"mini_batch_size": 3}], ids=["uncached", "cached"])
def test_it_is_the_weighted_sum_over_the_prefixes(kind: type[GradedLoss], tiny_base: Path, bound: dict) -> None:
    model = double_model(tiny_base).eval()
    by_hand = kind(model)
    by_hand.zero_grad()
    embeddings = [model(column)["sentence_embedding"] for column in features(model)]
    total = sum(
        weight * by_hand.compute_loss_from_embeddings([x[:, :dim] for x in embeddings], LABELS)
        for dim, weight in zip(DIMS, WEIGHTS, strict=True)
    )
    total.backward()
    expected = total.item(), {n: p.grad.clone() for n, p in by_hand.named_parameters() if p.grad is not None}
    assert_same(value_and_gradients(kind(model, **bound), wrapped), expected)


@every_loss
@pytest.mark.parametrize("bound", [{"mini_batch_size": 5}, {"mini_batch_tokens": 30}], ids=["texts", "tokens"])
def test_cached_equals_uncached_with_dropout_and_a_gradient_scaler(
    kind: type[GradedLoss], tiny_base: Path, bound: dict
) -> None:
    model = double_model(tiny_base)
    model.train("mini_batch_size" in bound)  # mini-batches of a size are the chunks of rows_per_forward
    in_chunks = kind(model)
    in_chunks.rows_per_forward = 5
    expected = value_and_gradients(in_chunks, wrapped, scale=16.0)
    cached = kind(model, **bound)
    assert_same(value_and_gradients(cached, wrapped, scale=16.0), expected)
    counts, again = in_chunks.take_counts(), cached.take_counts()
    assert again == pytest.approx(counts)
    assert counts["instances"] == 3 * 4


def test_a_few_dimensions_a_step(tiny_base: Path) -> None:
    model = double_model(tiny_base)
    loss = LOSSES["supcon"](model, mini_batch_size=4)
    value, found = value_and_gradients(loss, partial(MatryoshkaLoss, model, matryoshka_dims=[8, 4], n_dims_per_step=1))
    assert value > 0
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert torch.is_nonzero(found["log_tau"])
