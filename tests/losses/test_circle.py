from __future__ import annotations

import math

import loss_reference as reference
import pytest
import torch
from ragged import ragged_batch

from mr_st.errors import UsageError
from mr_st.losses import Bands, MultiClassCircleLoss


def as_reference(bands: Bands) -> dict[str, dict[int, float]]:
    return {name: {g: v for g, v in enumerate(t) if v is not None} for name, t in bands.to_dict().items()}


@pytest.mark.parametrize("average_lower", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 32.0, 512.0])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_written_formula_with_the_papers_values(seed: int, gamma: float, average_lower: bool) -> None:
    queries, items, labels = ragged_batch(seed)
    loss = MultiClassCircleLoss(None, gamma=gamma, average_lower=average_lower)
    cosines = reference.cosines(queries, items, labels)
    expected, skipped = reference.circle(cosines, labels, len(queries), gamma, average_lower=average_lower)
    got = loss.compute_loss_from_embeddings([queries, items], labels)
    assert got.item() == pytest.approx(expected, abs=1e-9)
    counts = loss.take_counts()
    assert (counts["instances"], counts["skipped_instances"]) == (len(queries), skipped)
    mean = MultiClassCircleLoss(None, gamma=gamma, average_lower=average_lower, reduction="mean")
    assert mean.compute_loss_from_embeddings([queries, items], labels).item() == pytest.approx(
        expected / (len(queries) - skipped), abs=1e-9
    )


@pytest.mark.parametrize("n_grades", [2, 4, 5])
def test_equals_the_written_formula_for_other_numbers_of_grades(n_grades: int) -> None:
    bands = Bands.evenly_spaced(n_grades)
    for seed in range(3):
        queries, items, labels = ragged_batch(seed, n_grades)
        expected, _ = reference.circle(
            reference.cosines(queries, items, labels), labels, len(queries), 20.0, as_reference(bands)
        )
        got = MultiClassCircleLoss(None, 20.0, bands).compute_loss_from_embeddings([queries, items], labels)
        assert got.item() == pytest.approx(expected, abs=1e-9)


def test_by_hand_one_pair() -> None:
    # cosines 1 (grade 2) and 0 (grade 0), gamma 1: exponents -.25 * .25 and .25 * -.25
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    loss = MultiClassCircleLoss.paper(None, gamma=1.0)
    got = loss.compute_loss_from_embeddings([query, items], torch.tensor([[0, 0, 2], [0, 1, 0]]))
    assert got.item() == pytest.approx(math.log(1 + math.exp(-0.125)), abs=1e-12)
    assert loss.take_counts()["circle_2_over_0"] == pytest.approx(got.item())


def test_the_paper() -> None:
    loss = MultiClassCircleLoss.paper(None)
    assert (loss.bands, loss.average_lower, loss.reduction) == (Bands.paper(), True, "sum")
    assert MultiClassCircleLoss.paper(None, mini_batch_tokens=512).mini_batch_tokens == 512


def test_gradcheck_with_weights_in_the_graph() -> None:
    queries, items, labels = ragged_batch(2, dim=4)
    loss = MultiClassCircleLoss(None, gamma=4.0, detach_weights=False)
    inputs = (queries.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)


def test_detached_weights_give_the_gradient_of_the_loop_with_the_weights_held_constant() -> None:
    queries, items, labels = ragged_batch(3)
    q1, u1 = queries.clone().requires_grad_(), items.clone().requires_grad_()
    MultiClassCircleLoss(None, gamma=8.0).compute_loss_from_embeddings([q1, u1], labels).backward()
    q2, u2 = queries.clone().requires_grad_(), items.clone().requires_grad_()
    scores = torch.cosine_similarity(q2[labels[:, 0]], u2[labels[:, 1]], dim=-1)
    reference.circle_with_fixed_weights(scores, labels, len(queries), 8.0).backward()
    torch.testing.assert_close(q1.grad, q2.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(u1.grad, u2.grad, rtol=1e-9, atol=1e-9)
    # and it is another gradient than with the weights in the graph
    q3 = queries.clone().requires_grad_()
    loss = MultiClassCircleLoss(None, gamma=8.0, detach_weights=False)
    loss.compute_loss_from_embeddings([q3, items], labels).backward()
    assert (q3.grad - q1.grad).abs().max() > 1e-3


@pytest.mark.parametrize("detach_weights", [True, False])
def test_finite_in_float32_at_gamma_512(detach_weights: bool) -> None:
    queries, items, labels = ragged_batch(4, dtype=torch.float32)
    queries.requires_grad_()
    loss = MultiClassCircleLoss(None, gamma=512.0, detach_weights=detach_weights)
    out = loss.compute_loss_from_embeddings([queries, items], labels)
    out.backward()
    assert out.isfinite()
    assert queries.grad.isfinite().all()
    assert queries.grad.abs().max() > 0


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="gamma"):
        MultiClassCircleLoss(None, gamma=0)
    with pytest.raises(UsageError, match="bands"):
        MultiClassCircleLoss(None, bands="papers")
    with pytest.raises(ValueError, match=r"grade 3 in the labels is outside 0\.\.2"):
        MultiClassCircleLoss(None).compute_loss_from_embeddings(
            [torch.ones(1, 2), torch.ones(1, 2)], torch.tensor([[0, 0, 3]])
        )


def test_config_can_be_written_and_read_back() -> None:
    import json

    loss = MultiClassCircleLoss(None, gamma=10, bands=4)
    config = json.loads(json.dumps(loss.get_config_dict()))
    assert MultiClassCircleLoss(None, **config).bands == Bands.evenly_spaced(4)
    assert config["gamma"] == 10.0
