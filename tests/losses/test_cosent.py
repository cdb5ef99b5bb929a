from __future__ import annotations

import json
import math

import loss_reference as reference
import pytest
import torch
from ragged import ragged_batch
from sentence_transformers.sentence_transformer.losses import CoSENTLoss

from mr_st.errors import UsageError
from mr_st.losses.cosent import GradedCoSENTLoss


def log_one_plus_sum(exponents: list[float]) -> float:
    highest = max([0.0, *exponents])
    return highest + math.log(math.exp(-highest) + math.fsum(math.exp(x - highest) for x in exponents))


def cosent(
    s: list[float], labels: torch.Tensor, n_queries: int, scale: float, apart: bool
) -> tuple[dict[str, float], int]:
    """The terms summed over the instances, and how many instances are skipped."""
    totals: dict[str, float] = {}
    skipped = 0
    for instance in reference.instances_of(labels, n_queries):
        exponents: dict[str, list[float]] = {}
        for i, high in instance:
            for j, low in instance:
                if high > low:
                    name = f"cosent_{high}_over_{low}" if apart else "cosent"
                    exponents.setdefault(name, []).append(scale * (s[j] - s[i]))
        skipped += not exponents
        for name, values in exponents.items():
            totals[name] = totals.get(name, 0.0) + log_one_plus_sum(values)
    return totals, skipped


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("scale", [1.0, 20.0, 300.0])
@pytest.mark.parametrize("n_grades", [2, 3, 4])
def test_equals_the_written_formula(n_grades: int, scale: float, apart: bool) -> None:
    for seed in range(4):
        queries, items, labels = ragged_batch(seed, n_grades)
        cosines = reference.cosines(queries, items, labels)
        expected, skipped = cosent(cosines, labels, len(queries), scale, apart)
        loss = GradedCoSENTLoss(None, scale, pairs_apart=apart)
        got = loss.compute_loss_from_embeddings([queries, items], labels)
        assert got.dtype == torch.float64
        assert got.item() == pytest.approx(sum(expected.values()), abs=1e-9)
        counts = loss.take_counts()
        assert (counts.pop("instances"), counts.pop("skipped_instances")) == (len(queries), skipped)
        live = len(queries) - skipped
        shown = {name: value / live for name, value in expected.items()} if apart and n_grades > 2 else {}
        assert counts == pytest.approx(shown, abs=1e-9)
        mean = GradedCoSENTLoss(None, scale, pairs_apart=apart, reduction="mean")
        assert mean.compute_loss_from_embeddings([queries, items], labels).item() == pytest.approx(
            sum(expected.values()) / live, abs=1e-9
        )


def one_query(cosines: list[float], grades: list[int], dtype: torch.dtype = torch.float64):
    """A query, and items of those cosines with it."""
    items = torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=dtype)
    labels = torch.tensor([[0, row, grade] for row, grade in enumerate(grades)])
    return [torch.tensor([[1.0, 0.0]], dtype=dtype), items], labels


def test_by_hand_three_grades() -> None:
    # differences s_j - s_i: (2,1) 0 - .5, (2,0) 1 - .5, (1,0) 1 - 0; scale 2
    given = one_query([0.5, 0.0, 1.0], [2, 1, 0])
    one = GradedCoSENTLoss(None, scale=2.0).compute_loss_from_embeddings(*given)
    assert one.item() == pytest.approx(math.log(1 + math.exp(-1) + math.e + math.exp(2)), abs=1e-12)
    apart = GradedCoSENTLoss(None, scale=2.0, pairs_apart=True).compute_loss_from_embeddings(*given)
    by_hand = math.log1p(math.exp(-1)) + math.log1p(math.e) + math.log1p(math.exp(2))
    assert apart.item() == pytest.approx(by_hand, abs=1e-12)


def theirs(queries: torch.Tensor, items: torch.Tensor, labels: torch.Tensor, scale: float) -> torch.Tensor:
    """sentence-transformers' loss on the same pairs of vectors, the grades as its float labels."""
    rows, item_rows, grades = labels.unbind(1)
    loss = CoSENTLoss(None, scale=scale)
    return loss.compute_loss_from_embeddings([queries[rows], items[item_rows]], grades.double() / 4)


@pytest.mark.parametrize("n_grades", [2, 3, 4])
@pytest.mark.parametrize("scale", [20.0, 5.0])
def test_one_instance_equals_sentence_transformers_cosent(scale: float, n_grades: int) -> None:
    for seed in range(3):
        queries, items, labels = ragged_batch(seed, n_grades)
        for row in (2, 3, 6, 8):
            inputs = [queries[row : row + 1].clone().requires_grad_(), items.clone().requires_grad_()]
            own = labels[labels[:, 0] == row] * torch.tensor([0, 1, 1])
            value, their_value = GradedCoSENTLoss(None, scale).compute_loss_from_embeddings(inputs, own), None
            their_value = theirs(*inputs, own, scale)
            assert value.item() == pytest.approx(their_value.item(), abs=1e-9)
            for mine, other in zip(
                torch.autograd.grad(value, inputs), torch.autograd.grad(their_value, inputs), strict=True
            ):
                torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_instances_are_not_ordered_against_each_other() -> None:
    queries, items, labels = ragged_batch(5)
    value = GradedCoSENTLoss.su2022(None).compute_loss_from_embeddings([queries, items], labels)
    apart = sum(theirs(queries, items, labels[labels[:, 0] == row], 20.0).item() for row in range(len(queries)))
    assert value.item() == pytest.approx(apart, abs=1e-9)
    assert abs(theirs(queries, items, labels, 20.0).item() - apart) > 1


@pytest.mark.parametrize("apart", [True, False])
def test_gradcheck(apart: bool) -> None:
    queries, items, labels = ragged_batch(1, dim=4)
    loss = GradedCoSENTLoss(None, 3.0, pairs_apart=apart)
    inputs = (queries.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_at_extremes(dtype: torch.dtype, apart: bool) -> None:
    queries, items, labels = ragged_batch(4, dtype=torch.float32)
    queries, items = queries.to(dtype).requires_grad_(), items.to(dtype)
    loss = GradedCoSENTLoss(None, 1e6, pairs_apart=apart)
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    value.backward()
    assert value.isfinite()
    assert queries.grad.isfinite().all()
    assert queries.grad.abs().max() > 0


def test_a_well_ordered_instance_at_an_extreme_scale_is_zero() -> None:
    embeddings, labels = one_query([0.9, 0.5, -0.9], [2, 1, 0], dtype=torch.float32)
    embeddings[1].requires_grad_()
    for apart in (True, False):
        loss = GradedCoSENTLoss(None, 1e4, pairs_apart=apart)
        value = loss.compute_loss_from_embeddings(embeddings, labels)
        (gradient,) = torch.autograd.grad(value, embeddings[1])
        assert value.item() == 0.0
        assert (gradient == 0).all()


@pytest.mark.parametrize("apart", [True, False])
def test_work_is_linear_in_the_judged_pairs(apart: bool) -> None:
    # 200,000 items in one instance, and as many instances of two: a matrix of pairs would take 40 GB of booleans
    n = 100_000
    grades = torch.tensor([1, 0]).repeat_interleave(n)
    one = torch.stack([torch.zeros_like(grades), 1 - grades, grades], 1)
    many = torch.stack([torch.arange(n).repeat(2), 1 - grades, grades], 1)
    query, items = torch.tensor([[1.0, 1.0]]), torch.eye(2)
    loss = GradedCoSENTLoss(None, pairs_apart=apart, reduction="mean")
    assert loss.compute_loss_from_embeddings([query, items], one).item() == pytest.approx(
        math.log(1 + float(n) ** 2), rel=1e-4
    )
    assert loss.compute_loss_from_embeddings([query.expand(n, 2), items], many).item() == pytest.approx(
        math.log(2), rel=1e-4
    )


def test_config_can_be_written_and_read_back() -> None:
    config = json.loads(json.dumps(GradedCoSENTLoss(None, 8, pairs_apart=True).get_config_dict()))
    assert GradedCoSENTLoss(None, **config).get_config_dict() == config
    assert (config["scale"], config["pairs_apart"]) == (8.0, True)
    assert GradedCoSENTLoss.su2022(None).scale == 20.0
    assert "10.1109/TASLP.2024.3402087" in GradedCoSENTLoss(None).citation


@pytest.mark.parametrize("bad", [{"scale": 0}, {"scale": -1.0}, {"scale": math.nan}, {"scale": math.inf},
                                 {"reduction": "max"}])  # fmt: skip
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(bad))):
        GradedCoSENTLoss(None, **bad)
