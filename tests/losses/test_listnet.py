from __future__ import annotations

import json
import math

import loss_reference as reference
import pytest
import torch
from ragged import ragged_batch
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch import nn

from mr_st.errors import UsageError
from mr_st.losses.listnet import GradedListNetLoss


def listnet(
    s: list[float], labels: torch.Tensor, n_queries: int, tau: float, t: float, gains: list[float]
) -> tuple[float, int]:
    """Sum over instances, and how many are skipped."""

    def softmax(values: list[float]) -> list[float]:
        powers = [math.exp(v - max(values)) for v in values]
        return [p / math.fsum(powers) for p in powers]

    total, skipped = 0.0, 0
    for instance in reference.instances_of(labels, n_queries):
        if len({gains[grade] for _, grade in instance}) < 2:
            skipped += 1
            continue
        wanted = softmax([gains[grade] / t for _, grade in instance])
        logits = [s[pair] / tau for pair, _ in instance]
        log_denominator = max(logits) + math.log(math.fsum(math.exp(x - max(logits)) for x in logits))
        total -= math.fsum(p * (x - log_denominator) for p, x in zip(wanted, logits, strict=True))
    return total, skipped


@pytest.mark.parametrize("gains", [None, [0.0, 0.5, 1.0, 4.0], [0.0, 1.0, 1.0, 1.0]], ids=str)
@pytest.mark.parametrize("n_grades", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_written_formula(seed: int, n_grades: int, gains: list[float] | None) -> None:
    queries, items, labels = ragged_batch(seed, n_grades)
    gains = gains and gains[:n_grades]
    temperature, t = 0.03 + 0.05 * seed, 0.25 + 0.5 * seed
    loss = GradedListNetLoss(None, temperature, label_temperature=t, gains=gains)
    cosines = reference.cosines(queries, items, labels)
    expected, skipped = listnet(
        cosines, labels, len(queries), loss.temperature, t, gains or list(map(float, range(n_grades)))
    )
    assert skipped >= 2
    got = loss.compute_loss_from_embeddings([queries, items], labels)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(expected, abs=1e-9)
    assert loss.take_counts() == {"instances": len(queries), "skipped_instances": skipped}
    mean = GradedListNetLoss(None, temperature, label_temperature=t, gains=gains, reduction="mean")
    assert mean.compute_loss_from_embeddings([queries, items], labels).item() == pytest.approx(
        expected / (len(queries) - skipped), abs=1e-9
    )


def one_query(cosines: list[float], grades: list[int], dtype: torch.dtype = torch.float64):
    """A query, and items of those cosines with it."""
    items = torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=dtype)
    labels = torch.tensor([[0, row, grade] for row, grade in enumerate(grades)])
    return [torch.tensor([[1.0, 0.0]], dtype=dtype), items], labels


def test_by_hand_one_pair() -> None:
    # grades ln 3 apart in units of t: P = 3/4, 1/4; cosines 1 and 0 at tau 1: shares e/(1+e) and 1/(1+e)
    loss = GradedListNetLoss(None, temperature=1.0, label_temperature=1 / math.log(3)).double()
    got = loss.compute_loss_from_embeddings(*one_query([1.0, 0.0], [1, 0]))
    assert got.item() == pytest.approx(math.log(1 + math.e) - 3 / 4, abs=1e-7)  # log_tau began as a float32


def test_at_its_minimum_it_is_the_entropy_of_the_grades() -> None:
    tau, t = 0.25, 2.0
    embeddings, labels = one_query([0.2 + tau * grade / t for grade in (2, 1, 1, 0)], [2, 1, 1, 0])
    embeddings[1].requires_grad_()
    loss = GradedListNetLoss(None, tau, label_temperature=t)
    value = loss.compute_loss_from_embeddings(embeddings, labels)
    value.backward()
    wanted = torch.tensor([1.0, 0.5, 0.5, 0.0], dtype=torch.float64).softmax(0)
    assert value.item() == pytest.approx(-(wanted * wanted.log()).sum().item(), abs=1e-6)
    assert embeddings[1].grad.abs().max() < 1e-6


class Scorer(nn.Module):
    """Stands where the cross-encoder does in sentence-transformers' loss: a text is the number of its score."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores

    def preprocess(self, pairs: list[tuple[str, str]], **kwargs: object) -> dict:
        return {"rows": torch.tensor([int(document) for _, document in pairs])}

    def forward(self, features: dict) -> dict:
        return {"scores": torch.tensor(self.scores)[features["rows"]]}


@pytest.mark.parametrize("seed", range(3))
def test_equals_sentence_transformers_list_net_for_cross_encoders_on_the_cosines(seed: int) -> None:
    queries, items, labels = ragged_batch(seed, n_grades=4)
    instances = reference.instances_of(labels, len(queries))
    live = [row for row, instance in enumerate(instances) if len({grade for _, grade in instance}) > 1]
    theirs = ListNetLoss(Scorer(reference.cosines(queries, items, labels)))(
        [[str(row) for row in live], [[str(pair) for pair, _ in instances[row]] for row in live]],
        [torch.tensor([grade for _, grade in instances[row]]) for row in live],
    )
    ours = GradedListNetLoss(None, temperature=1.0, reduction="mean")
    got = ours.compute_loss_from_embeddings([queries, items], labels)
    assert got.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_gradcheck_embeddings_and_temperature() -> None:
    queries, items, labels = ragged_batch(1, dim=4)
    loss = GradedListNetLoss(None, temperature=0.2, label_temperature=0.7).double()
    inputs = (queries.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)
    (gradient,) = torch.autograd.grad(loss.compute_loss_from_embeddings([queries, items], labels), loss.log_tau)
    step = 1e-6
    with torch.no_grad():
        loss.log_tau += step
        above = loss.compute_loss_from_embeddings([queries, items], labels)
        loss.log_tau -= 2 * step
        below = loss.compute_loss_from_embeddings([queries, items], labels)
    assert gradient.item() == pytest.approx(((above - below) / (2 * step)).item(), rel=1e-6)


def test_grades_of_one_gain_are_one_grade() -> None:
    loss = GradedListNetLoss(None, gains=[0.0, 1.0, 1.0])
    embeddings, labels = one_query([0.9, 0.1], [2, 1])
    embeddings[0].requires_grad_()
    value = loss.compute_loss_from_embeddings(embeddings, labels)
    value.backward()
    assert value.item() == 0.0
    assert (embeddings[0].grad == 0).all()
    assert loss.take_counts() == {"instances": 1, "skipped_instances": 1}
    assert loss.compute_loss_from_embeddings(*one_query([0.9, 0.1], [2, 0])).item() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_at_extremes(dtype: torch.dtype) -> None:
    queries, items, labels = ragged_batch(4, dtype=torch.float32)
    queries, items = queries.to(dtype).requires_grad_(), items.to(dtype)
    loss = GradedListNetLoss(None, 0.0005, label_temperature=1e-6, temperature_range=(0.0005, 1.0))
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    value.backward()
    assert value.isfinite()
    assert queries.grad.isfinite().all()
    assert queries.grad.abs().max() > 0
    assert loss.log_tau.grad.isfinite()


def test_the_preset_of_the_paper() -> None:
    loss = GradedListNetLoss.cao2007(None, temperature=1.0)
    assert [p for p in loss.parameters() if p.requires_grad] == []
    # exp of the grades over exp of the scores: with equal scores, the logarithm of the list's length
    assert loss.compute_loss_from_embeddings(*one_query([0.5] * 4, [3, 1, 0, 0])).item() == pytest.approx(math.log(4))
    assert "cao2007" in loss.citation


def test_config_can_be_written_and_read_back_with_the_learned_temperature() -> None:
    loss = GradedListNetLoss(None, label_temperature=0.5, gains=(0, 0.01, 0.1, 1))
    with torch.no_grad():
        loss.log_tau.fill_(math.log(0.0421))
    config = json.loads(json.dumps(loss.get_config_dict()))
    assert config["temperature"] == 0.0421
    again = GradedListNetLoss(None, **config)
    assert again.get_config_dict() == config
    assert again.n_grades == 4
    with pytest.raises(ValueError, match=r"grade 4 in the labels is outside 0\.\.3"):
        again.compute_loss_from_embeddings(*one_query([0.5, 0.1], [4, 0]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"label_temperature": 0.0}, "label_temperature is 0.0"),
        ({"label_temperature": math.nan}, "label_temperature is nan"),
        ({"label_temperature": math.inf}, "label_temperature is inf"),
        ({"gains": [0.0, 1.0, 0.5]}, "gains is"),
        ({"gains": [1.0, 1.0]}, "not all equal"),
        ({"gains": [0.0]}, "not all equal"),
        ({"gains": [0.0, math.nan]}, "gains is"),
        ({"gains": [0.0, math.inf]}, "gains is"),
        ({"gains": "esci"}, "gains is 'esci'"),
        ({"gains": 3}, "gains is 3"),
        ({"temperature": 2.0}, "temperature 2.0"),
        ({"reduction": "max"}, "reduction"),
    ],
)
def test_bad_settings_are_refused(bad: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradedListNetLoss(None, **bad)
