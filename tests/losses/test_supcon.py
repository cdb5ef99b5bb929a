from __future__ import annotations

import copy
import math

import loss_reference as reference
import pytest
import torch
from ragged import ragged_batch

from mr_st.errors import UsageError
from mr_st.losses import GradedSupConLoss


@pytest.mark.parametrize("positives", ["relative", "absolute"])
@pytest.mark.parametrize("n_grades", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_written_formula(seed: int, n_grades: int, positives: str) -> None:
    queries, items, labels = ragged_batch(seed, n_grades)
    loss = GradedSupConLoss(None, temperature=0.03 + 0.05 * seed, positives=positives)
    expected, skipped = reference.supcon(
        reference.cosines(queries, items, labels), labels, len(queries), loss.temperature, positives
    )
    assert skipped >= 2
    got = loss.compute_loss_from_embeddings([queries, items], labels)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(expected, abs=1e-9)
    counts = loss.take_counts()
    assert (counts["instances"], counts["skipped_instances"]) == (len(queries), skipped)
    counts = loss.take_counts()
    assert (counts["instances"], counts["skipped_instances"]) == (0, 0)
    mean = GradedSupConLoss(None, temperature=0.03 + 0.05 * seed, positives=positives, reduction="mean")
    live = len(queries) - skipped
    assert mean.compute_loss_from_embeddings([queries, items], labels).item() == pytest.approx(
        expected / live, abs=1e-9
    )


def test_by_hand_relative_positives() -> None:
    # cosines 1, 0, 0 with grades 2, 1, 0 and tau 1: (2 * ln(1 + 2/e) + 1 * (1 + ln(1 + 2/e))) / 3
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    items = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, -2.0]], dtype=torch.float64)
    labels = torch.tensor([[0, 0, 2], [0, 1, 1], [0, 2, 0]])
    log_share = math.log(1 + 2 / math.e)
    loss = GradedSupConLoss(None, temperature=1.0)
    assert loss.compute_loss_from_embeddings([query, items], labels).item() == pytest.approx(
        (3 * log_share + 1) / 3, abs=1e-12
    )
    # without the grade-0 item only the grade-2 item is positive, unless every r > 0 is
    two = labels[:2]
    alone = math.log(1 + 1 / math.e)
    assert loss.compute_loss_from_embeddings([query, items], two).item() == pytest.approx(alone, abs=1e-12)
    absolute = GradedSupConLoss(None, temperature=1.0, positives="absolute")
    assert absolute.compute_loss_from_embeddings([query, items], two).item() == pytest.approx(
        (3 * alone + 1) / 3, abs=1e-12
    )


def test_gradcheck_embeddings_and_temperature() -> None:
    queries, items, labels = ragged_batch(1, dim=4)
    loss = GradedSupConLoss(None, temperature=0.2).double()
    inputs = (queries.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)
    # tau against a central difference
    out = loss.compute_loss_from_embeddings([queries, items], labels)
    (gradient,) = torch.autograd.grad(out, loss.log_tau)
    step = 1e-6
    with torch.no_grad():
        loss.log_tau += step
        above = loss.compute_loss_from_embeddings([queries, items], labels)
        loss.log_tau -= 2 * step
        below = loss.compute_loss_from_embeddings([queries, items], labels)
    assert gradient.item() == pytest.approx(((above - below) / (2 * step)).item(), rel=1e-6)


def test_the_clamp_lets_the_gradient_lead_back_only() -> None:
    loss = GradedSupConLoss(None, temperature=1.0, temperature_range=(0.01, 1.0))
    query = torch.tensor([[1.0, 0.0]])
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right, wrong = torch.tensor([[0, 0, 1], [0, 1, 0]]), torch.tensor([[0, 0, 0], [0, 1, 1]])
    with torch.no_grad():
        loss.log_tau.fill_(math.log(2.0))  # an optimiser step beyond the upper end
    assert loss.temperature == 1.0
    assert loss.get_config_dict()["temperature"] == 1.0
    # a wrong ranking asks for a still higher temperature: dropped; a right one for a lower: passes
    loss.compute_loss_from_embeddings([query, items], wrong).backward()
    assert loss.log_tau.grad.item() == 0.0
    loss.log_tau.grad = None
    loss.compute_loss_from_embeddings([query, items], right).backward()
    assert loss.log_tau.grad.item() > 0.0
    with torch.no_grad():
        loss.log_tau.fill_(math.log(0.001))
    loss.log_tau.grad = None
    loss.compute_loss_from_embeddings([query, items], right).backward()
    assert loss.temperature == 0.01
    assert loss.log_tau.grad.item() == 0.0
    loss.compute_loss_from_embeddings([query, items], wrong).backward()
    assert loss.log_tau.grad.item() < 0.0


def test_config_shows_the_learned_temperature() -> None:
    loss = GradedSupConLoss(None)
    assert loss.get_config_dict()["temperature"] == 0.05
    with torch.no_grad():
        loss.log_tau.fill_(math.log(0.0421))
    assert loss.get_config_dict()["temperature"] == 0.0421
    assert "2602.17654" in loss.citation


def test_a_temperature_that_is_not_learned_has_no_gradient() -> None:
    loss = GradedSupConLoss(None, learn_temperature=False)
    assert [p for p in loss.parameters() if p.requires_grad] == []


@pytest.mark.parametrize("bad", [{"temperature": 2.0}, {"positives": "all"}, {"reduction": "max"},
                                 {"temperature_range": (0.0, 1.0)}])  # fmt: skip
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(UsageError):
        GradedSupConLoss(None, **bad)


def test_the_gradient_of_tau_is_averaged_over_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a copy, and once where the gradients are cached."""
    query, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([[0, 0, 1], [0, 1, 0]])

    def gradients() -> list[float]:
        loss, cached = GradedSupConLoss(None), GradedSupConLoss(None, mini_batch_size=1)
        copied = copy.deepcopy(loss)
        for one in (loss, copied):
            one.compute_loss_from_embeddings([query, items], labels).backward()
        leaves = [[x.clone().requires_grad_() for x in column.split(1)] for column in (query, items)]
        cached.calculate_loss(leaves, labels, with_backward=True).backward()
        return [one.log_tau.grad.item() for one in (loss, copied, cached)]

    alone = gradients()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(3))
    assert gradients() == pytest.approx([gradient * 3 / 4 for gradient in alone])


def test_the_paper() -> None:
    loss = GradedSupConLoss.paper(None)
    assert (loss.reduction, loss.positives, loss.log_tau.requires_grad) == ("sum", "relative", True)
    assert loss.temperature == pytest.approx(0.05)
    assert GradedSupConLoss.paper(None, mini_batch_size=4).mini_batch_size == 4
