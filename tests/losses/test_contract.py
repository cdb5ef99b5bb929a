"""What every graded loss must do, run over all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ragged import ragged_batch

from mr_st.losses import LOSSES, GradedLoss, MultiClassCircleLoss

pytestmark = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
Make = Callable[..., GradedLoss]


def gradients(loss: GradedLoss, queries: torch.Tensor, items: torch.Tensor, labels: torch.Tensor):
    queries, items = queries.clone().requires_grad_(), items.clone().requires_grad_()
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    value.backward()
    return value.detach(), queries.grad, items.grad


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_no_signal_is_a_connected_zero(make: Make, reduction: str) -> None:
    queries, items, labels = ragged_batch(0)
    loss = make(None, reduction=reduction).double()
    one_grade = labels[labels[:, 0] == 0]
    for given, n_items in ((one_grade, 60), (labels[:0], 60), (labels[:0], 0)):
        value, of_queries, of_items = gradients(loss, queries, items[:n_items], given)
        assert value.item() == 0.0
        assert (of_queries == 0).all()
        assert (of_items == 0).all()
    counts = loss.take_counts()
    assert (counts["instances"], counts["skipped_instances"]) == (27, 27)
    value, *_ = gradients(loss, queries[:0], items[:0], labels[:0])
    assert value.item() == 0.0


def test_a_skipped_instance_gets_a_zero_gradient_beside_live_ones(make: Make) -> None:
    queries, items, labels = ragged_batch(1)
    _, of_queries, of_items = gradients(make(None), queries, items, labels)
    assert (of_queries[:2] == 0).all()
    assert (of_queries[4:].abs().sum(1) > 0).all()
    assert of_items.isfinite().all()


def test_the_order_of_pairs_items_and_instances_does_not_matter(make: Make) -> None:
    queries, items, labels = ragged_batch(2)
    value, of_queries, _ = gradients(make(None), queries, items, labels)
    by_query, by_item = torch.randperm(len(queries)), torch.randperm(len(items))
    moved = labels[torch.randperm(len(labels))].clone()
    moved[:, 0] = torch.argsort(by_query)[moved[:, 0]]
    moved[:, 1] = torch.argsort(by_item)[moved[:, 1]]
    again, of_queries_again, _ = gradients(make(None), queries[by_query], items[by_item], moved)
    assert again.item() == pytest.approx(value.item(), abs=1e-9)
    torch.testing.assert_close(of_queries_again, of_queries[by_query])


def test_two_instances_of_one_query_stay_apart(make: Make) -> None:
    queries, items, labels = ragged_batch(3)
    first, second = labels[labels[:, 0] == 5].clone(), labels[labels[:, 0] == 6].clone()
    first[:, 0], second[:, 0] = 0, 1
    twice = queries[[5, 5]]
    together, *_ = gradients(make(None), twice, items, torch.cat([first, second]))
    second[:, 0] = 0
    apart = gradients(make(None), twice[:1], items, first)[0] + gradients(make(None), twice[:1], items, second)[0]
    assert together.item() == pytest.approx(apart.item(), abs=1e-9)


def test_the_length_of_the_vectors_does_not_matter(make: Make) -> None:
    queries, items, labels = ragged_batch(4)
    value, *_ = gradients(make(None), queries, items, labels)
    scaled, *_ = gradients(make(None), queries * 7, items / 100, labels)
    assert scaled.item() == pytest.approx(value.item(), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted(make: Make, dtype: torch.dtype) -> None:
    queries, items, labels = ragged_batch(5, dtype=torch.float32)
    value, of_queries, _ = gradients(make(None), queries.to(dtype), items.to(dtype), labels)
    full, *_ = gradients(make(None), queries.to(dtype).float(), items.to(dtype).float(), labels)
    assert value.dtype == torch.float32
    assert of_queries.dtype == dtype
    assert value.item() == pytest.approx(full.item(), rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, *_ = gradients(make(None), queries.to(dtype), items.to(dtype), labels)
    assert under_autocast.item() == value.item()


def test_wrong_input_is_named(make: Make) -> None:
    queries, items, labels = ragged_batch(0)
    loss = make(None)
    with pytest.raises(ValueError, match="two columns"):
        loss.compute_loss_from_embeddings([queries], labels)
    with pytest.raises(ValueError, match=r"\(Q, d\) and \(U, d\)"):
        loss.compute_loss_from_embeddings([queries, items[:, :2]], labels)
    with pytest.raises(ValueError, match=r"\(P, 3\)"):
        loss.compute_loss_from_embeddings([queries, items], labels[:, :2])
    with pytest.raises(ValueError, match=r"item_row 60 in the labels is outside 0\.\.59"):
        loss.compute_loss_from_embeddings([queries, items], torch.tensor([[0, 60, 1]]))
    with pytest.raises(ValueError, match="grade -1"):
        loss.compute_loss_from_embeddings([queries, items], torch.tensor([[0, 0, -1]]))


def test_four_grades(make: Make) -> None:
    queries, items, labels = ragged_batch(7, n_grades=4)
    loss = make(None, bands=4) if make is MultiClassCircleLoss else make(None)
    value, of_queries, _ = gradients(loss, queries, items, labels)
    assert value.isfinite()
    assert of_queries.isfinite().all()
