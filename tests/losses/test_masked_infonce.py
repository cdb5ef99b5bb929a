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

OPTIONS: list[dict[str, Any]] = [
    {},
    {"margin": None, "weights": "grade"},
    {"margin": 0.5, "positives": "absolute"},
    {"margin": -0.05, "positives": "absolute", "weights": "grade"},
]


def loss_of(loss: MaskedInfoNCELoss, queries: Any, items: Any, labels: list[list[int]]) -> float:
    given = [torch.tensor(x, dtype=torch.float64) for x in (queries, items)]
    return loss.compute_loss_from_embeddings(given, torch.tensor(labels)).item()


def at_cosines(*cosines: float) -> list[list[float]]:
    """Vectors that have these cosines with (1, 0)."""
    return [[c, math.sqrt(1 - c * c)] for c in cosines]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n_grades", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_written_formula(seed: int, n_grades: int, options: dict[str, Any]) -> None:
    queries, items, labels = ragged_batch(seed, n_grades)
    loss = MaskedInfoNCELoss(None, temperature=0.02 + 0.05 * seed, **options)
    losses = reference.masked_infonce(reference.all_cosines(queries, items), labels, loss.temperature, **options)
    expected = math.fsum(x for x in losses if x is not None)
    got = loss.compute_loss_from_embeddings([queries, items], labels)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(expected, abs=1e-9)
    counts = loss.take_counts()
    assert (counts["instances"], counts["skipped_instances"]) == (len(queries), losses.count(None))
    mean = MaskedInfoNCELoss(None, temperature=0.02 + 0.05 * seed, reduction="mean", **options)
    n_live = len(queries) - losses.count(None)
    assert mean.compute_loss_from_embeddings([queries, items], labels).item() == pytest.approx(
        expected / n_live, abs=1e-9
    )


def test_the_margin_drops_what_lies_further_above_the_positive() -> None:
    # Query 0 has the positive .5 and the judged negative .25; the items of query 1, of grades 1 and 0, are unjudged
    # for it. Query 1 is orthogonal to all but its own positive (cosine 1), so that it adds a constant.
    query, own = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [[0.5, 0.75**0.5, 0.0], [0.25, 0.9375**0.5, 0.0]]
    labels = [[0, 0, 1], [0, 1, 0], [1, 2, 1], [1, 3, 0]]
    of_query_1 = math.log1p(3 * math.exp(-1.0))
    for cosine, is_kept in ((0.75, True), (0.7500001, False), (-0.3, True)):
        items = [*own, [0.0, 0.0, 1.0], [cosine, math.sqrt(1 - cosine**2), 0.0]]
        negatives = math.exp(0.25 - 0.5) + math.exp(-0.5)  # the judged one, and query 1's positive at cosine 0
        if is_kept:
            negatives += math.exp(cosine - 0.5)
        got = loss_of(MaskedInfoNCELoss(None, 1.0, margin=0.25), query, items, labels)
        assert got == pytest.approx(math.log1p(negatives) + of_query_1, abs=1e-12)


def test_a_judged_negative_stays_however_close_it_comes() -> None:
    items = at_cosines(0.0, 1.0)
    got = loss_of(MaskedInfoNCELoss(None, 1.0), [[1.0, 0.0]], items, [[0, 0, 1], [0, 1, 0]])
    assert got == pytest.approx(math.log1p(math.exp(1.0)), abs=1e-12)


def test_an_item_judged_for_the_query_is_never_an_unjudged_negative() -> None:
    # Both instances hold item 0. To query 0 it is a positive; as the other's negative it must not count against it.
    queries, items = [[1.0, 0.0], [1.0, 0.0]], at_cosines(0.5, 0.25, 0.75)
    labels = [[0, 0, 1], [0, 1, 0], [1, 2, 1], [1, 0, 0]]
    got = loss_of(MaskedInfoNCELoss(None, 1.0), queries, items, labels)
    # query 0: negative .25 (own); .75 is masked. query 1: negatives .5 (own) and .25 (unjudged)
    expected = math.log1p(math.exp(-0.25)) + math.log1p(math.exp(-0.25) + math.exp(-0.5))
    assert got == pytest.approx(expected, abs=1e-12)


def test_each_positive_has_the_mask_and_the_lower_grades_of_its_own() -> None:
    # grades 2, 1, 0 at .8, .4, .1, and an unjudged item at .6, which the margin .1 keeps for the .8 only
    queries, items = [[1.0, 0.0], [1.0, 0.0]], at_cosines(0.8, 0.4, 0.1, 0.6)
    labels = [[0, 0, 2], [0, 1, 1], [0, 2, 0], [1, 3, 1]]
    top = math.log1p(math.exp(-0.4) + math.exp(-0.7) + math.exp(-0.2))
    middle = math.log1p(math.exp(-0.3))
    uniform = loss_of(MaskedInfoNCELoss(None, 1.0), queries, items, labels)
    assert uniform == pytest.approx((top + middle) / 2, abs=1e-12)
    by_grade = loss_of(MaskedInfoNCELoss(None, 1.0, weights="grade"), queries, items, labels)
    assert by_grade == pytest.approx((2 * top + middle) / 3, abs=1e-12)


def test_an_item_of_no_instance_is_nobodys_negative() -> None:
    items = at_cosines(0.5, 0.1, 0.3)
    got = loss_of(MaskedInfoNCELoss(None, 1.0), [[1.0, 0.0]], items, [[0, 0, 1], [0, 1, 0]])
    assert got == pytest.approx(math.log1p(math.exp(-0.4)), abs=1e-12)


def test_pairs_without_judged_negatives() -> None:
    # (query, positive) pairs, as in the paper's stage 1: no signal under the default, InfoNCE under the preset
    queries, items = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8]]
    labels = [[0, 0, 1], [1, 1, 1]]
    relative = MaskedInfoNCELoss(None)
    assert loss_of(relative, queries, items, labels) == 0.0
    assert relative.take_counts()["skipped_instances"] == 2
    preset = MaskedInfoNCELoss.roar(None)
    tau = preset.temperature
    expected = (math.log1p(math.exp((0.6 - 1.0) / tau)) + math.log1p(math.exp((0.0 - 0.8) / tau))) / 2
    assert loss_of(preset, queries, items, labels) == pytest.approx(expected, abs=1e-15)
    # alone in its batch a positive has no negative at all
    assert loss_of(preset, queries[:1], items[:1], labels[:1]) == 0.0
    assert preset.take_counts() == {"instances": 3, "skipped_instances": 1}


def test_the_mask_is_a_constant_and_masked_items_get_no_gradient() -> None:
    queries = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    items = torch.tensor(at_cosines(0.5, 0.2, 0.9, 0.55), dtype=torch.float64).requires_grad_()
    labels = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 2, 0], [1, 3, 0]])  # query 1 has one grade: it is skipped
    loss = MaskedInfoNCELoss(None, 0.1)
    loss.compute_loss_from_embeddings([queries, items], labels).backward()
    assert (items.grad[2] == 0).all()  # .9 is over .5 + .1
    assert (items.grad[[0, 1, 3]].abs().sum(1) > 0).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n_grades", [2, 3, 4])
def test_gradcheck(n_grades: int, options: dict[str, Any]) -> None:
    queries, items, labels = ragged_batch(1, n_grades, n_queries=6, dim=4)
    loss = MaskedInfoNCELoss(None, 0.2, learn_temperature=True, **options).double()
    inputs = (queries.requires_grad_(), items.requires_grad_(), loss.log_tau)

    def value(q: torch.Tensor, u: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return loss.compute_loss_from_embeddings([q, u], labels)

    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


def test_gradcheck_with_a_fixed_temperature() -> None:
    queries, items, labels = ragged_batch(2, n_grades=4, n_queries=5, dim=3)
    loss = MaskedInfoNCELoss(None).double()  # tau .02
    inputs = (queries.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wrong", [True, False])
def test_finite_at_extremes(dtype: torch.dtype, wrong: bool) -> None:
    # every judged item at cosine 1 or -1, tau at its lowest: logits of 200 on either side
    sign = -1.0 if wrong else 1.0
    queries = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=dtype, requires_grad=True)
    items = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=dtype) * sign
    items.requires_grad_()
    labels = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 2, 0], [1, 3, 1]])
    loss = MaskedInfoNCELoss(None, 0.005, learn_temperature=True)
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    value.backward()
    # wrong: each positive at -200, its negative at 200; its twin of the other instance ties, is unjudged and masked
    # when it is the one at 200. right: 200 against its unjudged twin, which ties with it.
    expected = 2 * (400.0 if wrong else math.log(2.0))
    assert value.item() == pytest.approx(expected, rel=1e-4)
    for gradient in (queries.grad, items.grad, loss.log_tau.grad):
        assert gradient.isfinite().all()


def test_a_tiny_loss_keeps_its_digits_in_float32() -> None:
    queries = torch.tensor([[1.0, 0.0]])
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = MaskedInfoNCELoss(None)
    got = loss.compute_loss_from_embeddings([queries, items], torch.tensor([[0, 0, 1], [0, 1, 0]])).item()
    assert got == pytest.approx(math.exp(-1 / loss.temperature), rel=1e-4)  # 2e-22: 1 + it is 1 in float64


def test_settings_are_shown() -> None:
    loss = MaskedInfoNCELoss.roar(None, mini_batch_size=4)
    config = loss.get_config_dict()
    assert {k: config[k] for k in ("temperature", "margin", "positives", "weights", "reduction")} == {
        "temperature": 0.02, "margin": 0.1, "positives": "absolute", "weights": "uniform", "reduction": "mean",
    }  # fmt: skip
    assert config["learn_temperature"] is False
    assert not any(p.requires_grad for p in loss.parameters())
    assert loss.mini_batch_size == 4
    assert "2606.01504" in loss.citation
    assert LOSSES["masked_infonce"] is MaskedInfoNCELoss
    assert not MaskedInfoNCELoss.is_local


@pytest.mark.parametrize("bad", [{"temperature": 2.0}, {"positives": "all"}, {"weights": "linear"},
                                 {"margin": math.nan}, {"margin": math.inf}, {"reduction": "max"}])  # fmt: skip
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(bad))):
        MaskedInfoNCELoss(None, **bad)
