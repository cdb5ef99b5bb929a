"""What every graded loss must do, run over all that the folder has. What is special to one stands in its own file."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import pytest
import torch
from ragged import ragged_batch

from mr_st.losses import LOSSES, GradedLoss
from mr_st.losses.temperature import TemperatureMixin

pytestmark = pytest.mark.parametrize("kind", LOSSES.values(), ids=LOSSES.keys())
Kind = type[GradedLoss]


def make(kind: Kind, n_grades: int = 3, **options: Any) -> GradedLoss:
    return kind(None, **{**kind.options_for(n_grades), **options})


def gradients(loss: GradedLoss, queries: torch.Tensor, items: torch.Tensor, labels: torch.Tensor):
    queries, items = queries.clone().requires_grad_(), items.clone().requires_grad_()
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    value.backward()
    return value.detach(), queries.grad, items.grad


def temperatures(loss: GradedLoss) -> list[TemperatureMixin]:
    return [module for module in loss.modules() if isinstance(module, TemperatureMixin)]


def test_how_it_is_built_and_called(kind: Kind) -> None:
    parameters = inspect.signature(kind).parameters
    assert next(iter(parameters)) == "model"
    assert parameters["reduction"].default == "sum"
    for name in ("mini_batch_size", "mini_batch_tokens"):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is None
    assert LOSSES[kind.name] is kind
    assert "Source" in str(kind.__doc__)
    assert "@" in make(kind).citation


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_no_signal_is_a_connected_zero(kind: Kind, reduction: str) -> None:
    queries, items, labels = ragged_batch(0)
    loss = make(kind, reduction=reduction).double()
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
    assert [p.grad for p in loss.parameters() if p.grad is not None and p.grad != 0] == []


def test_a_skipped_instance_gets_a_zero_gradient_beside_live_ones(kind: Kind) -> None:
    queries, items, labels = ragged_batch(1)
    loss = make(kind)
    _, of_queries, of_items = gradients(loss, queries, items, labels)
    assert (of_queries[:2] == 0).all()
    assert (of_queries[4:].abs().sum(1) > 0).any()
    assert of_items.isfinite().all()
    assert loss.take_counts()["skipped_instances"] == 2


@pytest.mark.parametrize("n_grades", [2, 3, 4])
def test_any_number_of_grades(kind: Kind, n_grades: int) -> None:
    queries, items, labels = ragged_batch(7, n_grades)
    one_grade = sum(len(set(labels[labels[:, 0] == query, 2].tolist())) < 2 for query in range(len(queries)))
    loss = make(kind, n_grades)
    value, of_queries, of_items = gradients(loss, queries, items, labels)
    assert value.isfinite()
    assert value > 0
    assert of_queries.isfinite().all()
    assert of_items.isfinite().all()
    counts = loss.take_counts()
    assert (counts["instances"], counts["skipped_instances"]) == (len(queries), one_grade)
    mean, *_ = gradients(make(kind, n_grades, reduction="mean"), queries, items, labels)
    assert mean.item() == pytest.approx(value.item() / (len(queries) - one_grade), rel=1e-9)


def test_the_order_of_pairs_items_and_instances_does_not_matter(kind: Kind) -> None:
    queries, items, labels = ragged_batch(2)
    value, of_queries, of_items = gradients(make(kind), queries, items, labels)
    generator = torch.Generator().manual_seed(0)
    by_query, by_item, by_pair = (torch.randperm(len(x), generator=generator) for x in (queries, items, labels))
    moved = labels[by_pair].clone()
    moved[:, 0] = torch.argsort(by_query)[moved[:, 0]]
    moved[:, 1] = torch.argsort(by_item)[moved[:, 1]]
    again, of_queries_again, of_items_again = gradients(make(kind), queries[by_query], items[by_item], moved)
    assert again.item() == pytest.approx(value.item(), abs=1e-9)
    torch.testing.assert_close(of_queries_again, of_queries[by_query])
    torch.testing.assert_close(of_items_again, of_items[by_item])


def test_instances_influence_each_other_only_where_the_loss_says_so(kind: Kind) -> None:
    queries, items, labels = ragged_batch(3)
    first, second = labels[labels[:, 0] == 5].clone(), labels[labels[:, 0] == 6].clone()
    first[:, 0], second[:, 0] = 0, 1
    loss = make(kind)
    both, *_ = gradients(loss, queries[[5, 6]], items, torch.cat([first, second]))
    second[:, 0] = 0
    one, *_ = gradients(loss, queries[[5]], items, first)
    other, *_ = gradients(loss, queries[[6]], items, second)
    assert loss.is_local == (both.item() == pytest.approx((one + other).item(), abs=1e-9))


def test_two_instances_of_one_query_stay_apart(kind: Kind) -> None:
    queries, items, labels = ragged_batch(3)
    loss = make(kind)
    if not loss.is_local:
        pytest.skip("this loss looks across the instances of a batch")
    first, second = labels[labels[:, 0] == 5].clone(), labels[labels[:, 0] == 6].clone()
    first[:, 0], second[:, 0] = 0, 1
    twice = queries[[5, 5]]
    together, *_ = gradients(loss, twice, items, torch.cat([first, second]))
    second[:, 0] = 0
    apart = gradients(loss, twice[:1], items, first)[0] + gradients(loss, twice[:1], items, second)[0]
    assert together.item() == pytest.approx(apart.item(), abs=1e-9)


def test_the_length_of_the_vectors_does_not_matter(kind: Kind) -> None:
    queries, items, labels = ragged_batch(4)
    value, *_ = gradients(make(kind), queries, items, labels)
    scaled, *_ = gradients(make(kind), queries * 7, items / 100, labels)
    assert scaled.item() == pytest.approx(value.item(), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted(kind: Kind, dtype: torch.dtype) -> None:
    queries, items, labels = ragged_batch(5, dtype=torch.float32)
    value, of_queries, _ = gradients(make(kind), queries.to(dtype), items.to(dtype), labels)
    full, *_ = gradients(make(kind), queries.to(dtype).float(), items.to(dtype).float(), labels)
    assert value.dtype == torch.float32
    assert of_queries.dtype == dtype
    assert value.item() == pytest.approx(full.item(), rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, *_ = gradients(make(kind), queries.to(dtype), items.to(dtype), labels)
    assert under_autocast.item() == value.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cosines", ["all 1", "all -1", "right", "wrong", "random"])
def test_finite_at_the_extremes(kind: Kind, dtype: torch.dtype, cosines: str) -> None:
    """4,096 pairs, at both ends of the temperature's range."""
    generator = torch.Generator().manual_seed(0)
    grades = torch.randint(0, 3, (4096,), generator=generator)
    queries, items = torch.randn(32, 8, generator=generator), torch.randn(4096, 8, generator=generator)
    rows = torch.arange(4096) % len(queries)
    if cosines != "random":
        sign = {"all 1": 1.0, "all -1": -1.0}.get(cosines) or (grades - 1.0) * (1 if cosines == "right" else -1)
        items = queries[rows] * torch.as_tensor(sign).reshape(-1, 1) * 3
    labels = torch.stack([rows, torch.arange(4096), grades], 1)
    for end in (0, 1):
        loss = make(kind)
        for module in temperatures(loss):
            module.log_tau.data.fill_(module.temperature_range[end]).log_()
        value, of_queries, of_items = gradients(loss, queries.to(dtype), items.to(dtype), labels)
        assert value.isfinite()
        assert value >= 0
        assert of_queries.isfinite().all()
        assert of_items.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite() for p in loss.parameters())


def test_a_zero_vector_does_no_harm(kind: Kind) -> None:
    queries, items, labels = ragged_batch(6, dtype=torch.float32)
    queries[5], items[3] = 0.0, 0.0
    value, of_queries, of_items = gradients(make(kind), queries, items, labels)
    assert value.isfinite()
    assert of_queries.isfinite().all()
    assert of_items.isfinite().all()


def test_gradcheck(kind: Kind) -> None:
    """Where a loss holds weights constant in the backward pass, it has a switch ``detach_weights``."""
    options = {"detach_weights": False} if "detach_weights" in inspect.signature(kind).parameters else {}
    loss = make(kind, **options).double()
    for module in temperatures(loss):
        module.log_tau.data.fill_(0.3).log_()
    queries, items, labels = ragged_batch(8, n_queries=7, dim=3)
    labels = labels[(labels[:, 1] < 16) & (labels[:, 0] != 2)]  # at a cosine of 1 a hinge or a mask may have its kink
    assert len(set(labels[:, 0].tolist())) > 3
    inputs = (queries.requires_grad_(), items[:16].clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)
    value = loss.compute_loss_from_embeddings(list(inputs), labels)
    for module in temperatures(loss):
        if not module.log_tau.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(value, module.log_tau, retain_graph=True)
        values = []
        for step in (1e-6, -1e-6):
            module.log_tau.data += step
            values.append(loss.compute_loss_from_embeddings(list(inputs), labels).item())
            module.log_tau.data -= step
        assert gradient.item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_wrong_input_is_named(kind: Kind) -> None:
    queries, items, labels = ragged_batch(0)
    loss = make(kind)
    with pytest.raises(ValueError, match="two columns"):
        loss.compute_loss_from_embeddings([queries], labels)
    with pytest.raises(ValueError, match=r"\(Q, d\) and \(U, d\)"):
        loss.compute_loss_from_embeddings([queries, items[:, :2]], labels)
    with pytest.raises(ValueError, match=r"\(P, 3\)"):
        loss.compute_loss_from_embeddings([queries, items], labels[:, :2])
    with pytest.raises(ValueError, match=r"\(P, 3\)"):
        loss.compute_loss_from_embeddings([queries, items], labels.double())
    with pytest.raises(ValueError, match=r"item_row 60 in the labels is outside 0\.\.59"):
        loss.compute_loss_from_embeddings([queries, items], torch.tensor([[0, 60, 1]]))
    with pytest.raises(ValueError, match=r"query_row 9 in the labels is outside 0\.\.8"):
        loss.compute_loss_from_embeddings([queries, items], torch.tensor([[9, 0, 1]]))
    with pytest.raises(ValueError, match="grade -1"):
        loss.compute_loss_from_embeddings([queries, items], torch.tensor([[0, 0, -1]]))


def test_its_settings_can_be_written_and_read_back(kind: Kind) -> None:
    queries, items, labels = ragged_batch(9, 4)
    loss = make(kind, 4, reduction="mean", mini_batch_tokens=77)
    for module in temperatures(loss):
        module.log_tau.data.fill_(0.125).log_()
    config = json.loads(json.dumps(loss.get_config_dict()))
    assert config["reduction"] == "mean"
    assert config["mini_batch_tokens"] == 77
    again = kind(None, **config)
    assert again.get_config_dict() == loss.get_config_dict()
    value, *_ = gradients(loss, queries, items, labels)
    assert gradients(again, queries, items, labels)[0].item() == pytest.approx(value.item(), rel=1e-6)


def test_copies_and_states(kind: Kind) -> None:
    queries, items, labels = ragged_batch(10)
    loss = make(kind)
    for module in temperatures(loss):
        module.log_tau.data.fill_(0.2).log_()
    value, *_ = gradients(loss, queries, items, labels)
    copied, loaded = copy.deepcopy(loss), make(kind)
    assert copied.take_counts() == loss.take_counts()
    loaded.load_state_dict(loss.state_dict())
    for other in (copied, loaded):
        assert gradients(other, queries, items, labels)[0] == value
    for module in temperatures(copied):
        module.log_tau.data.fill_(0.5).log_()
    assert gradients(loss, queries, items, labels)[0] == value


def test_what_the_log_shows_adds_up_to_the_loss(kind: Kind) -> None:
    queries, items, labels = ragged_batch(11)
    loss = make(kind)
    value, *_ = gradients(loss, queries, items, labels)
    counts = loss.take_counts()
    live = counts.pop("instances") - counts.pop("skipped_instances")
    if counts:
        assert sum(counts.values()) * live == pytest.approx(value.item(), rel=1e-6)
    assert loss.take_counts()["instances"] == 0


@pytest.mark.slow
def test_compiled_it_is_the_same(kind: Kind) -> None:
    queries, items, labels = ragged_batch(12, dtype=torch.float32)
    loss = make(kind)
    value, of_queries, of_items = gradients(loss, queries, items, labels)
    torch._dynamo.reset()
    compiled = torch.compile(loss.compute_loss_from_embeddings, backend="aot_eager")
    q, u = queries.clone().requires_grad_(), items.clone().requires_grad_()
    again = compiled([q, u], labels)
    again.backward()
    assert again.item() == pytest.approx(value.item(), rel=1e-6)
    torch.testing.assert_close(q.grad, of_queries, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(u.grad, of_items, rtol=1e-5, atol=1e-5)
