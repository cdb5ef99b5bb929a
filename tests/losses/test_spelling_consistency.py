from __future__ import annotations

import copy
import math
from pathlib import Path

import loss_reference as reference
import pytest
import torch
from ragged import ragged_batch
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

from mr_st.errors import UsageError
from mr_st.losses import LOSSES, GradedSupConLoss
from mr_st.losses.spelling_consistency import VARIANT, SpellingConsistencyLoss
from mr_st.models import build_two_tower
from mr_st.training import GradedCollator
from mr_st.training.loss_files import loss_parameters

OTHERS = [name for name in LOSSES if name != "spelling_consistency"]


def with_variants(seed: int, n_grades: int = 3):
    """A ragged batch, variants (W, d), and label rows in random order that give rows 0, 3, 5 and 6 one, row 7 two."""
    queries, items, labels = ragged_batch(seed, n_grades)
    generator = torch.Generator().manual_seed(seed + 100)
    variants = torch.randn(5, queries.shape[1], generator=generator, dtype=queries.dtype) * 2
    variants[2] = -queries[3]
    pairs = [(0, 0), (3, 2), (5, 1), (6, 1), (7, 3), (7, 4)]
    rows = torch.tensor([(query, variant, VARIANT) for query, variant in pairs])
    labels = torch.cat([labels, rows])
    return queries, items, variants, labels[torch.randperm(len(labels), generator=generator)]


def distances(queries: torch.Tensor, variants: torch.Tensor, labels: torch.Tensor) -> dict[int, list[float]]:
    """1 - cos of each variant, by the query's row."""
    found: dict[int, list[float]] = {}
    for query, variant, grade in labels.tolist():
        if grade == VARIANT:
            q, v = queries[query].tolist(), variants[variant].tolist()
            dot = math.fsum(a * b for a, b in zip(q, v, strict=True))
            lengths = math.sqrt(math.fsum(a * a for a in q)) * math.sqrt(math.fsum(a * a for a in v))
            found.setdefault(query, []).append(1 - dot / lengths)
    return found


@pytest.mark.parametrize("n_grades", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_written_formula(seed: int, n_grades: int) -> None:
    queries, items, variants, labels = with_variants(seed, n_grades)
    graded = labels[labels[:, 2] != VARIANT]
    loss = SpellingConsistencyLoss(None, weight=0.7, loss_options={"temperature": 0.2})
    scores = reference.cosines(queries, items, graded)
    inner, _ = reference.supcon(scores, graded, len(queries), loss.temperature, "relative")
    apart = distances(queries, variants, labels)
    assert set(apart) == {0, 3, 5, 6, 7}
    spelling = 0.7 * sum(sum(of_row) / len(of_row) for of_row in apart.values())
    got = loss.compute_loss_from_embeddings([queries, items, variants], labels)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(inner + spelling, abs=1e-9)
    # a row of one grade is skipped, unless it has a variant (as row 0 has)
    one_grade = {
        row for row, pairs in enumerate(reference.instances_of(graded, len(queries))) if len({g for _, g in pairs}) < 2
    }
    skipped = one_grade - set(apart)
    assert 0 in one_grade - skipped
    assert 1 in skipped
    live = len(queries) - len(skipped)
    counts = loss.take_counts()
    assert counts["skipped_instances"] == len(skipped)
    assert counts["supcon"] == pytest.approx(inner / live, abs=1e-9)
    assert counts["spelling"] == pytest.approx(spelling / live, abs=1e-9)
    mean = SpellingConsistencyLoss(None, weight=0.7, loss_options={"temperature": 0.2}, reduction="mean")
    assert mean.compute_loss_from_embeddings([queries, items, variants], labels).item() == pytest.approx(
        (inner + spelling) / live, abs=1e-9
    )


def test_by_hand() -> None:
    # supcon at tau 1: ln(1 + 1/e); cosines of query and variant .6 and, for the second query, -1
    queries = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    variants = torch.tensor([[0.0, -2.0], [3.0, 4.0]], dtype=torch.float64)
    labels = torch.tensor([[0, 0, 2], [0, 1, 0], [1, 0, 1], [0, 1, VARIANT], [1, 0, VARIANT]])
    loss = SpellingConsistencyLoss(None, weight=0.5, loss_options={"temperature": 1.0})
    value = loss.compute_loss_from_embeddings([queries, items, variants], labels)
    assert value.item() == pytest.approx(math.log(1 + 1 / math.e) + 0.5 * 0.4 + 0.5 * 2.0, abs=1e-12)
    none = SpellingConsistencyLoss(None, weight=0.0, loss_options={"temperature": 1.0})
    value = none.compute_loss_from_embeddings([queries, items, variants], labels)
    assert value.item() == pytest.approx(math.log(1 + 1 / math.e), abs=1e-12)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_without_variants_it_is_the_inner_loss_exactly(name: str, reduction: str) -> None:
    options = LOSSES[name].options_for(3)
    inner = LOSSES[name](None, **options, reduction=reduction)
    loss = SpellingConsistencyLoss(None, name, loss_options=options, reduction=reduction)
    assert (loss.is_local, loss.n_grades) == (inner.is_local, inner.n_grades)
    values = []
    for one, columns in ((inner, 2), (loss, 2), (loss, 3)):
        queries, items, labels = ragged_batch(3)
        embeddings = [x.requires_grad_() for x in (queries, items, torch.zeros(0, queries.shape[1]).double())]
        value = one.compute_loss_from_embeddings(embeddings[:columns], labels)
        value.backward()
        values.append((value.detach(), queries.grad, items.grad))
    for value, of_queries, of_items in values[1:]:
        assert torch.equal(value, values[0][0])
        assert torch.equal(of_queries, values[0][1])
        assert torch.equal(of_items, values[0][2])
    first, *others = (one.take_counts() for one in (inner, loss))
    assert {key: others[0][key] / 2 for key in ("instances", "skipped_instances")} == {
        key: first[key] for key in ("instances", "skipped_instances")
    }


@pytest.mark.parametrize("name", OTHERS)
def test_variants_add_the_distances_to_any_inner_loss(name: str) -> None:
    options = LOSSES[name].options_for(3)
    queries, items, variants, labels = with_variants(2)
    inner = LOSSES[name](None, **options).compute_loss_from_embeddings(
        [queries, items], labels[labels[:, 2] != VARIANT]
    )
    loss = SpellingConsistencyLoss(None, name, weight=3.0, loss_options=options)
    spelling = 3 * sum(sum(of_row) / len(of_row) for of_row in distances(queries, variants, labels).values())
    got = loss.compute_loss_from_embeddings([queries, items, variants], labels)
    assert got.item() == pytest.approx(inner.item() + spelling, abs=1e-9)


def test_gradcheck_and_the_gradient_of_the_inner_temperature() -> None:
    queries, items, variants, labels = with_variants(1)
    loss = SpellingConsistencyLoss(None, loss_options={"temperature": 0.2}).double()
    inputs = tuple(x.requires_grad_() for x in (queries, items, variants))
    assert torch.autograd.gradcheck(lambda *x: loss.compute_loss_from_embeddings(list(x), labels), inputs)
    alone = GradedSupConLoss(None, temperature=0.2).double()
    for one, columns, rows in ((loss, [*inputs], labels), (alone, [*inputs[:2]], labels[labels[:, 2] != VARIANT])):
        one.compute_loss_from_embeddings(columns, rows).backward()
    assert loss.log_tau.grad.item() == alone.log_tau.grad.item() != 0.0


def test_a_variant_that_is_its_query_has_no_gradient_and_an_opposite_one_a_finite_one() -> None:
    query = torch.tensor([[2.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[0, 0, VARIANT]])
    loss = SpellingConsistencyLoss(None)
    for variant, value in (([[5.0, 0.0]], 0.0), ([[-5.0, 0.0]], 2.0)):
        got = loss.compute_loss_from_embeddings([query, torch.zeros(0, 2), torch.tensor(variant)], labels)
        assert got.item() == value
        (gradient,) = torch.autograd.grad(got, query)
        assert gradient.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted(dtype: torch.dtype) -> None:
    queries, items, variants, labels = with_variants(5)
    columns = [x.to(dtype) for x in (queries, items, variants)]
    loss = SpellingConsistencyLoss(None)
    value = loss.compute_loss_from_embeddings(columns, labels)
    assert value.dtype == torch.float32
    full = loss.compute_loss_from_embeddings([x.float() for x in columns], labels)
    assert value.item() == pytest.approx(full.item(), rel=1e-6)


def test_the_inner_parameters_are_its_own() -> None:
    loss = SpellingConsistencyLoss(None, loss_options={"temperature": 0.1})
    assert list(loss_parameters(loss)) == ["log_tau"]
    assert loss.temperature == pytest.approx(0.1)
    with torch.no_grad():
        loss.log_tau.fill_(math.log(0.25))
    assert loss.temperature == pytest.approx(0.25)
    moved = copy.deepcopy(loss).double()
    assert moved.log_tau is moved.inner.log_tau
    assert moved.log_tau is not loss.log_tau
    assert moved.log_tau.dtype == torch.float64
    circle = SpellingConsistencyLoss(None, "circle")
    assert not hasattr(circle, "temperature")
    assert loss_parameters(circle) == {}


def test_the_config_builds_the_same_loss() -> None:
    loss = SpellingConsistencyLoss(
        None, weight=0.3, loss_options={"positives": "absolute", "temperature": 0.1}, reduction="mean"
    )
    with torch.no_grad():
        loss.log_tau.fill_(math.log(0.125))
    config = loss.get_config_dict()
    assert (config["loss"], config["weight"], config["reduction"]) == ("supcon", 0.3, "mean")
    assert config["loss_options"]["temperature"] == 0.125
    again = SpellingConsistencyLoss(None, **config)
    assert again.get_config_dict() == config
    queries, items, variants, labels = with_variants(0)
    values = [x.compute_loss_from_embeddings([queries, items, variants], labels).item() for x in (loss, again)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert "2602.17654" in loss.citation


def test_other_losses_refuse_variants_and_name_this_one() -> None:
    queries, items, variants, labels = with_variants(0)
    for name in OTHERS:
        loss = LOSSES[name](None, **LOSSES[name].options_for(3))
        with pytest.raises(ValueError, match=r"two columns .* got 3; .* SpellingConsistencyLoss"):
            loss.compute_loss_from_embeddings([queries, items, variants], labels)
        with pytest.raises(ValueError, match="grade -1"):
            loss.compute_loss_from_embeddings([queries, items], labels)


def test_wrong_rows_are_named() -> None:
    queries, items, variants, labels = with_variants(0)
    loss = SpellingConsistencyLoss(None)
    with pytest.raises(ValueError, match="grade -1"):  # where no third column is given
        loss.compute_loss_from_embeddings([queries, items], labels)
    for row, message in (([0, 5, VARIANT], r"row 5 .* 0\.\.4"), ([9, 0, VARIANT], r"query_row 9 .* 0\.\.8"),
                         ([0, 0, -2], "grade -2")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            loss.compute_loss_from_embeddings([queries, items, variants], torch.tensor([row]))
    with pytest.raises(ValueError, match=r"\(P, 3\)"):
        loss.compute_loss_from_embeddings([queries, items, variants], labels[:, :2])
    with pytest.raises(ValueError, match=r"\(Q, d\)"):
        loss.compute_loss_from_embeddings([queries, items, variants[:, :2]], labels)
    with pytest.raises(ValueError, match="expects"):
        loss.compute_loss_from_embeddings([queries, items, variants, items], labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "suppcon"}, "loss is 'suppcon'; expected one of "),
        ({"loss": "spelling_consistency"}, "expected one of "),
        ({"weight": -1.0}, "weight is -1"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"loss_options": {"gamma": 3}}, "supcon has no option 'gamma'"),
        ({"loss_options": {"reduction": "mean"}}, "supcon has no option 'reduction' here"),
        ({"loss_options": {"temperature": 7.0}}, "temperature 7"),
        ({"reduction": "max"}, "reduction is 'max'"),
    ],
)
def test_bad_settings_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpellingConsistencyLoss(None, **options)


ROWS = [
    {"query": "red shoes", "items": ["red shoes", "mug", "shirt"], "labels": [2, 0, 1], "variants": ["red shoez"]},
    {"query": "coffee mug", "items": ["mug", "black coffee mug small"], "labels": [1, 2], "variants": []},
    {"query": "desk lamp", "items": ["desk", "led lamp"], "labels": [0, 2], "variants": ["dsk lamp", "desk lmap"]},
]


def trained(base: Path, matryoshka: bool, weight: float = 1.0, **options: int):
    """The loss of one batch and the gradients of model and temperature."""
    model = build_two_tower(base, 8, device="cpu").eval().double()  # without dropout
    loss: torch.nn.Module = SpellingConsistencyLoss(model, weight=weight, **options).double()
    own = loss.log_tau
    if matryoshka:
        loss = MatryoshkaLoss(model, loss, [8, 4])
    batch = GradedCollator.from_trainer_args(model)(ROWS)
    columns = [
        {key.removeprefix(column): value for key, value in batch.items() if key.startswith(column)}
        for column in ("query_", "items_", "variants_")
    ]
    value = loss(columns, batch["label"])
    value.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return value.item(), {**gradients, "log_tau": own.grad}


@pytest.mark.parametrize("matryoshka", [False, True])
@pytest.mark.parametrize("bound", [{"mini_batch_size": 1}, {"mini_batch_size": 2}, {"mini_batch_tokens": 12}])
def test_gradient_caching_and_matryoshka(tiny_base: Path, matryoshka: bool, bound: dict) -> None:
    value, gradients = trained(tiny_base, matryoshka)
    cached, of_cached = trained(tiny_base, matryoshka, **bound)
    assert cached == pytest.approx(value, abs=1e-9)
    assert of_cached.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(of_cached[name], gradient, atol=1e-9, rtol=1e-7, msg=name)
    without, of_without = trained(tiny_base, matryoshka, weight=0.0)
    assert without < value  # the variants were there
    assert any(not torch.equal(of_without[name], gradient) for name, gradient in gradients.items())
