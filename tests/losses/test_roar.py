from __future__ import annotations

import math
from typing import Any

import pytest
import roar_reference as reference
import torch
from ragged import ragged_batch

from mr_st.errors import UsageError
from mr_st.losses import LOSSES
from mr_st.losses.masked_infonce import MaskedInfoNCELoss
from mr_st.losses.roar import ROARLoss

ODDS = ["pairs", "sum", "mean"]


def at_cosines(*cosines: float) -> torch.Tensor:
    """Vectors that have these cosines with (1, 0)."""
    return torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=torch.float64)


def one_instance(loss: ROARLoss, cosines: list[float], grades: list[int]) -> float:
    labels = torch.tensor([[0, i, grade] for i, grade in enumerate(grades)])
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    return loss.compute_loss_from_embeddings([query, at_cosines(*cosines)], labels).item()


@pytest.mark.parametrize("odds", ODDS)
@pytest.mark.parametrize("n_grades", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_written_formula(seed: int, n_grades: int, odds: str) -> None:
    queries, items, labels = ragged_batch(seed, n_grades)
    temperature = 0.01 + 0.1 * (seed % 2)
    loss = ROARLoss(None, 0.1 + seed, temperature, 0.02 + 0.1 * seed, odds=odds)
    cosines = reference.all_cosines(queries, items)
    contrast = reference.masked_infonce(cosines, labels, loss.temperature)
    aligned = reference.alignment(cosines, labels, temperature, odds)
    expected = math.fsum((0.1 + seed) * x for x in contrast if x is not None)
    expected += math.fsum(x for terms in aligned for x in terms.values())
    got = loss.compute_loss_from_embeddings([queries, items], labels)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(expected, abs=1e-9)
    counts = loss.take_counts()
    n_live = len(queries) - contrast.count(None)
    assert (counts["instances"], counts["skipped_instances"]) == (len(queries), contrast.count(None))
    # every pair of grades is in the log by its name
    for high in range(n_grades):
        for low in range(high):
            total = math.fsum(terms.get((high, low), 0.0) for terms in aligned)
            assert counts[f"roar_{high}_over_{low}"] == pytest.approx(total / n_live, abs=1e-9)
    assert counts["roar_contrastive"] == pytest.approx(
        math.fsum((0.1 + seed) * x for x in contrast if x is not None) / n_live, abs=1e-9
    )


def test_by_hand_one_item_of_each_grade() -> None:
    # logits ln 3, ln 2, ln 1 at tau_a 1: P = 1/2, 1/3, 1/6, odds 1, 1/2, 1/5. C is 2; sigmoid(log x) is x / (1 + x).
    scale = math.log(3.0) / 0.9
    cosines, grades = [0.9, 0.9 * math.log(2.0) / math.log(3.0), 0.0], [2, 1, 0]
    expected = -(math.log(2 / 3) + math.log(2.5 / 3.5)) / 2
    for odds in ODDS:  # with one item a grade there is nothing to choose
        loss = ROARLoss(None, 0.0, 1 / scale, odds=odds)
        assert one_instance(loss, cosines, grades) == pytest.approx(expected, abs=1e-12)


def test_by_hand_several_items_of_a_grade() -> None:
    # logits ln 4, ln 1 of grade 1, ln 2, ln 1 of grade 0: odds 4/4, 1/7, 2/6, 1/7; as grades 5/3 and 3/5
    scale = math.log(4.0) / 0.8
    cosines, grades = [0.8, 0.0, 0.4, 0.0], [1, 1, 0, 0]
    ratios = [1 / (1 / 3), 1 / (1 / 7), (1 / 7) / (1 / 3), 1.0]
    expected = {
        "pairs": -math.fsum(math.log(x / (1 + x)) for x in ratios) / 4,
        "sum": -math.log((5 / 3) ** 2 / (1 + (5 / 3) ** 2)),
        "mean": -math.log(3**0.5 / (1 + 3**0.5)),  # sqrt(1 * 1/7) over sqrt(1/3 * 1/7)
    }
    for odds, value in expected.items():
        loss = ROARLoss(None, 0.0, 1 / scale, odds=odds)
        assert one_instance(loss, cosines, grades) == pytest.approx(value, abs=1e-12)


def test_consecutive_grades_are_those_present() -> None:
    cosines = [0.6, 0.3, 0.1]
    near = one_instance(ROARLoss(None, 0.0, 0.1), cosines, [2, 1, 0])
    loss = ROARLoss(None, 0.0, 0.1)
    assert one_instance(loss, cosines, [7, 4, 0]) == pytest.approx(near, abs=1e-12)
    assert {k for k in loss.take_counts() if k.startswith("roar")} == {
        "roar_4_over_0", "roar_7_over_0", "roar_7_over_4"
    }  # fmt: skip


def test_what_each_way_of_taking_odds_feels() -> None:
    # an irrelevant item on top of a relevant one, beside easy ones; a relevant item at the bottom, beside a good one
    hard_negative = ([0.5, 0.6, *[0.1] * 8], [1, *[0] * 9])
    hard_positive = ([0.9, 0.1, 0.5], [1, 1, 0])
    felt = {
        odds: [one_instance(ROARLoss(None, 0.0, odds=odds), *case) > 0.1 for case in (hard_negative, hard_positive)]
        for odds in ODDS
    }
    assert felt == {"pairs": [True, True], "sum": [True, False], "mean": [False, False]}


def test_beta_is_the_share_of_the_contrastive_loss() -> None:
    queries, items, labels = ragged_batch(3, n_grades=4)
    contrast = MaskedInfoNCELoss(None, 0.1, margin=0.3, weights="grade")
    parts = [
        ROARLoss(None, beta, 0.05, 0.1, margin=0.3, weights="grade").compute_loss_from_embeddings(
            [queries, items], labels
        )
        for beta in (0.0, 0.7)
    ]
    share = 0.7 * contrast.compute_loss_from_embeddings([queries, items], labels)
    assert (parts[1] - parts[0]).item() == pytest.approx(share.item(), abs=1e-9)


def test_without_the_contrastive_part_instances_do_not_meet() -> None:
    queries, items, labels = ragged_batch(4)
    loss = ROARLoss(None, 0.0)
    together = loss.compute_loss_from_embeddings([queries, items], labels).item()
    apart = [
        loss.compute_loss_from_embeddings([queries, items], labels[labels[:, 0] == row]).item()
        for row in range(len(queries))
    ]
    assert together == pytest.approx(math.fsum(apart), abs=1e-9)
    assert apart[0] == apart[1] == 0.0  # one grade; no item


@pytest.mark.parametrize("odds", ODDS)
@pytest.mark.parametrize(("n_grades", "learned"), [(2, False), (3, True), (4, True)])
def test_gradcheck(n_grades: int, learned: bool, odds: str) -> None:
    queries, items, labels = ragged_batch(1, n_grades, n_queries=6, dim=4)
    loss = ROARLoss(None, 0.5, 0.2, 0.2, learned, odds=odds).double()
    inputs = (queries.requires_grad_(), items.requires_grad_(), *[p for p in loss.parameters() if p.requires_grad])
    assert len(inputs) == 2 + learned

    def value(q: torch.Tensor, u: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return loss.compute_loss_from_embeddings([q, u], labels)

    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.parametrize("odds", ODDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_item_with_all_the_mass(dtype: torch.dtype, odds: str) -> None:
    # tau_a .01: P of the item at cosine 1 is 1 - e^-200, its odds e^200, which is infinite in float32
    for grades, expected in (([1, 0], 0.0), ([0, 1], 400.0)):
        query = torch.tensor([[1.0, 0.0]], dtype=dtype, requires_grad=True)
        items = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=dtype, requires_grad=True)
        labels = torch.tensor([[0, 0, grades[0]], [0, 1, grades[1]]])
        value = ROARLoss(None, 0.0, odds=odds).compute_loss_from_embeddings([query, items], labels)
        value.backward()
        assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-30)
        assert query.grad.isfinite().all()
        assert items.grad.isfinite().all()


@pytest.mark.parametrize("odds", ODDS)
def test_float32_agrees_with_float64_at_the_papers_temperatures(odds: str) -> None:
    queries, items, labels = ragged_batch(6, n_grades=4)
    values, gradients = [], []
    for dtype in (torch.float64, torch.float32):
        q, u = queries.to(dtype, copy=True).requires_grad_(), items.to(dtype, copy=True).requires_grad_()
        value = ROARLoss.roar(None, odds=odds).compute_loss_from_embeddings([q, u], labels)
        value.backward()
        values.append(value.item())
        gradients.append(torch.cat([q.grad, u.grad]).double())
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], atol=2e-4 * gradients[0].abs().max().item(), rtol=0)


def test_settings_are_shown() -> None:
    loss = ROARLoss.roar(None, odds="sum")
    config = loss.get_config_dict()
    assert (config["beta"], config["alignment_temperature"], config["odds"]) == (0.1, 0.01, "sum")
    assert (config["temperature"], config["margin"], config["reduction"]) == (0.02, 0.1, "mean")
    assert "2606.01504" in loss.citation
    assert LOSSES["roar"] is ROARLoss
    assert not ROARLoss.is_local


@pytest.mark.parametrize("bad", [{"beta": -0.1}, {"beta": math.nan}, {"alignment_temperature": 0.0}, {"odds": "all"},
                                 {"alignment_temperature": math.inf}, {"margin": math.nan}])  # fmt: skip
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(bad))):
        ROARLoss(None, **bad)
