"""For two grades, SupCon and circle are pytorch-metric-learning's losses, value and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning.reducers import SumReducer
from ragged import ragged_batch

from mr_st.losses import Bands, GradedLoss, GradedSupConLoss, MultiClassCircleLoss

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def two_grades(seed: int) -> Batch:
    """Instances with both grades. Theirs is a mask over (query, item), so no item is judged twice for a query."""
    queries, items, labels = ragged_batch(seed, n_grades=2)
    counts = torch.zeros(len(queries), 2, dtype=torch.long)
    counts.index_put_((labels[:, 0], labels[:, 2]), torch.ones(len(labels), dtype=torch.long), accumulate=True)
    has_both = (counts > 0).all(1)
    has_both[[2, 3]] = False
    labels = labels[has_both[labels[:, 0]]]
    assert len(labels[:, 0].unique()) >= 4
    return queries, items, labels


def their_loss(loss: torch.nn.Module, queries: torch.Tensor, items: torch.Tensor, labels: torch.Tensor):
    anchors, rows, grades = labels.unbind(1)
    positive, negative = grades == 1, grades == 0
    pairs = (anchors[positive], rows[positive], anchors[negative], rows[negative])
    return loss(queries, torch.arange(len(queries)), pairs, items, torch.arange(len(items)))


def assert_same(ours: GradedLoss, other: torch.nn.Module, batch: Batch) -> None:
    queries, items, labels = batch
    found = []
    computations: list[Callable] = [
        lambda q, u: ours.compute_loss_from_embeddings([q, u], labels),
        lambda q, u: their_loss(other, q, u, labels),
    ]
    for compute in computations:
        q, u = queries.clone().requires_grad_(), items.clone().requires_grad_()
        value = compute(q, u)
        value.backward()
        found.append((value.detach(), q.grad, u.grad))
    assert found[1][1].abs().max() > 1e-3
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(5, 9))
def test_supcon(seed: int, temperature: float) -> None:
    ours = GradedSupConLoss(None, temperature=temperature)
    # both temperatures to the same digit: ours is stored as a float32 logarithm
    their = theirs.SupConLoss(temperature=ours.tau(torch.float64).item(), reducer=SumReducer())
    assert_same(ours, their, two_grades(seed))


@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 40), (0.4, 80), (0.1, 8)])
@pytest.mark.parametrize("seed", range(5, 9))
def test_circle(seed: int, margin: float, gamma: float) -> None:
    """Their margin m is the band below ``m`` for the lower grade and above ``1 - m`` for the higher one."""
    bands = Bands.evenly_spaced(2, low=margin, high=1 - margin)
    ours = MultiClassCircleLoss(None, gamma, bands, average_lower=False)
    assert_same(ours, theirs.CircleLoss(m=margin, gamma=gamma, reducer=SumReducer()), two_grades(seed))


def test_averaging_the_lower_grade_is_what_theirs_lacks() -> None:
    queries, items, labels = two_grades(5)
    bands = Bands.evenly_spaced(2)
    averaged = MultiClassCircleLoss(None, 40, bands).compute_loss_from_embeddings([queries, items], labels)
    value = their_loss(theirs.CircleLoss(m=0.25, gamma=40, reducer=SumReducer()), queries, items, labels)
    assert averaged.item() < value.item() - 0.1
