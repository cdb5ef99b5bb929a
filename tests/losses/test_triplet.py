from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable

import loss_reference as reference
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from ragged import ragged_batch

from mr_st.errors import UsageError
from mr_st.losses.triplet import GradedTripletLoss, graded_pairs

By = Callable[[int, int], float]


def triplet(
    s: list[float], labels: torch.Tensor, n_queries: int, margin: By, weight: By, average: bool
) -> tuple[dict[str, float], int]:
    """The terms summed over the instances, and how many instances are skipped."""
    totals: dict[str, float] = {}
    skipped = 0
    for instance in reference.instances_of(labels, n_queries):
        found = []
        for i, high in instance:
            for j, low in instance:
                if high > low and weight(high, low) > 0:
                    hinge = max(0.0, s[j] - s[i] + margin(high, low))
                    found.append((f"triplet_{high}_over_{low}", weight(high, low) * hinge))
        skipped += not found
        for name, value in found:
            totals[name] = totals.get(name, 0.0) + value / (len(found) if average else 1)
    return totals, skipped


# what is given for so many grades, and the value for a pair of grades that it means
TABLES: dict[str, tuple[Callable[[int], object], By]] = {
    "a step": (lambda n: 0.15, lambda high, low: 0.15 * (high - low)),
    "by gap": (lambda n: [0.3 / gap for gap in range(1, n)], lambda high, low: 0.3 / (high - low)),
    "by row": (
        lambda n: [[0.1 * high + 0.01 * low for low in range(high)] for high in range(1, n)],
        lambda high, low: 0.1 * high + 0.01 * low,
    ),
}


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(("margins", "weights"), itertools.product(TABLES, TABLES))
@pytest.mark.parametrize("n_grades", [2, 3, 4])
def test_equals_the_written_formula(n_grades: int, margins: str, weights: str, average: bool) -> None:
    for seed in range(3):
        queries, items, labels = ragged_batch(seed, n_grades)
        tables = TABLES[margins][0](n_grades), TABLES[weights][0](n_grades)
        cosines = reference.cosines(queries, items, labels)
        by_margin, by_weight = TABLES[margins][1], TABLES[weights][1]
        expected, skipped = triplet(cosines, labels, len(queries), by_margin, by_weight, average)
        loss = GradedTripletLoss(None, *tables, average_pairs=average)
        got = loss.compute_loss_from_embeddings([queries, items], labels)
        assert got.dtype == torch.float64
        assert got.item() == pytest.approx(sum(expected.values()), abs=1e-9)
        counts = loss.take_counts()
        assert (counts.pop("instances"), counts.pop("skipped_instances")) == (len(queries), skipped)
        live = len(queries) - skipped
        if n_grades > 2:
            assert counts == pytest.approx({name: value / live for name, value in expected.items()}, abs=1e-9)
        mean = GradedTripletLoss(None, *tables, average_pairs=average, reduction="mean")
        assert mean.compute_loss_from_embeddings([queries, items], labels).item() == pytest.approx(
            sum(expected.values()) / live, abs=1e-9
        )


def one_query(cosines: list[float], grades: list[int], dtype: torch.dtype = torch.float64):
    """A query, and items of those cosines with it."""
    items = torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=dtype)
    labels = torch.tensor([[0, row, grade] for row, grade in enumerate(grades)])
    return [torch.tensor([[1.0, 0.0]], dtype=dtype), items], labels


def test_by_hand_three_grades() -> None:
    # (2,0): 2 * (.5 - .8 + .2)+ = 0 and 2 * (.7 - .8 + .2)+ = .2; (2,1): (.6 - .8 + .1)+ = 0;
    # (1,0): (.5 - .6 + .1)+ = 0 and (.7 - .6 + .1)+ = .2. Five pairs.
    embeddings, labels = one_query([0.8, 0.6, 0.5, 0.7], [2, 1, 0, 0])
    loss = GradedTripletLoss(None, margins=0.1, weights=1.0)
    assert loss.compute_loss_from_embeddings(embeddings, labels).item() == pytest.approx(0.4 / 5, abs=1e-12)
    counts = loss.take_counts()
    assert counts["triplet_2_over_0"] == pytest.approx(0.2 / 5, abs=1e-12)
    assert counts["triplet_1_over_0"] == pytest.approx(0.2 / 5, abs=1e-12)
    assert counts["triplet_2_over_1"] == pytest.approx(0.0, abs=1e-12)
    summed = GradedTripletLoss(None, margins=0.1, weights=1.0, average_pairs=False)
    assert summed.compute_loss_from_embeddings(embeddings, labels).item() == pytest.approx(0.4, abs=1e-12)


def test_ebr_equals_torchs_triplet_loss_on_the_same_triplets() -> None:
    queries, items, labels = ragged_batch(6, n_grades=2)
    triplets = [
        (a[0], a[1], b[1])
        for a, b in itertools.product(labels.tolist(), repeat=2)
        if a[0] == b[0] and a[2] == 1 and b[2] == 0
    ]
    anchors, positives, negatives = torch.tensor(triplets).unbind(1)
    expected = F.triplet_margin_with_distance_loss(
        queries[anchors], items[positives], items[negatives], margin=0.2, reduction="sum",
        distance_function=lambda x, y: 1 - F.cosine_similarity(x, y),
    )  # fmt: skip
    got = GradedTripletLoss.ebr(None, 0.2, n_grades=2).compute_loss_from_embeddings([queries, items], labels)
    assert got.item() == pytest.approx(expected.item(), abs=1e-9)


def test_ebr_gives_every_pair_of_grades_one_margin() -> None:
    embeddings, labels = one_query([0.5, 0.5, 0.5], [2, 1, 0])
    loss = GradedTripletLoss.ebr(None, 0.2)
    assert loss.compute_loss_from_embeddings(embeddings, labels).item() == pytest.approx(0.6, abs=1e-12)
    assert loss.get_config_dict()["average_pairs"] is False


def test_a_kept_margin_gives_zero_but_is_not_skipped() -> None:
    embeddings, labels = one_query([0.9, 0.1], [1, 0])
    embeddings[0].requires_grad_()
    loss = GradedTripletLoss(None)
    value = loss.compute_loss_from_embeddings(embeddings, labels)
    value.backward()
    assert value.item() == 0.0
    assert (embeddings[0].grad == 0).all()
    assert loss.take_counts() == {"instances": 1, "skipped_instances": 0}


def test_a_weight_of_zero_leaves_those_pairs_out() -> None:
    cosines = [0.1, 0.2, 0.3]
    loss = GradedTripletLoss(None, margins=0.1, weights=[0.0, 1.0])  # only (2, 0) counts
    value = loss.compute_loss_from_embeddings(*one_query(cosines, [2, 1, 0]))
    assert value.item() == pytest.approx(0.3 - 0.1 + 0.2, abs=1e-12)
    loss.take_counts()
    assert loss.compute_loss_from_embeddings(*one_query(cosines, [2, 1, 1])).item() == 0.0
    assert loss.take_counts()["skipped_instances"] == 1


@pytest.mark.parametrize("n_grades", [2, 3, 4])
def test_gradcheck_away_from_the_hinge(n_grades: int) -> None:
    queries, items, labels = ragged_batch(1, n_grades, n_queries=6, dim=4)
    keep = labels[:, 0] != 3  # ties have a cosine gap of exactly 0; the margins below keep off the others
    labels = labels[keep]
    margin = 0.1234
    cosines = torch.tensor(reference.cosines(queries, items, labels), dtype=torch.float64)
    higher, lower = graded_pairs(labels[:, 0], labels[:, 2], len(queries))
    slack = cosines[lower] - cosines[higher] + margin * (labels[higher, 2] - labels[lower, 2])
    assert slack.abs().min() > 1e-5  # further than gradcheck's steps of 1e-6 reach
    assert (slack > 0).any()
    assert (slack < 0).any()
    loss = GradedTripletLoss(None, margins=margin)
    inputs = (queries.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, u: loss.compute_loss_from_embeddings([q, u], labels), inputs)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=30))
def test_graded_pairs_are_those_of_a_double_loop(entries: list[tuple[int, int]]) -> None:
    rows, grades = torch.tensor(entries, dtype=torch.long).reshape(-1, 2).unbind(1)
    higher, lower = graded_pairs(rows, grades, 5)
    expected = [
        (i, j)
        for i, (row, grade) in enumerate(entries)
        for j, (other_row, other_grade) in enumerate(entries)
        if row == other_row and grade > other_grade
    ]
    assert sorted(zip(higher.tolist(), lower.tolist(), strict=True)) == expected


def test_work_grows_with_the_instances_not_with_the_batch_squared() -> None:
    # 200,000 judged pairs in instances of two: a matrix of pairs by pairs would take 40 GB even of booleans
    n = 100_000
    rows = torch.arange(n).repeat(2)
    labels = torch.stack(
        [rows, torch.tensor([0, 1]).repeat_interleave(n), torch.tensor([1, 0]).repeat_interleave(n)], 1
    )
    queries, items = torch.tensor([[1.0, 1.0]]).expand(n, 2), torch.eye(2)
    value = GradedTripletLoss(None, reduction="mean").compute_loss_from_embeddings([queries, items], labels)
    assert value.item() == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_at_extremes(dtype: torch.dtype) -> None:
    queries, items, labels = ragged_batch(4, dtype=torch.float32)
    queries, items = queries.to(dtype).requires_grad_(), items.to(dtype)
    loss = GradedTripletLoss(None, margins=1e6, weights=1e6)
    value = loss.compute_loss_from_embeddings([queries, items], labels)
    value.backward()
    assert value.isfinite()
    assert queries.grad.isfinite().all()
    assert queries.grad.abs().max() > 0


def test_a_step_serves_grades_that_no_table_was_made_for() -> None:
    embeddings, labels = one_query([0.5, 0.5], [9, 2])
    value = GradedTripletLoss(None, margins=0.1, weights=2.0).compute_loss_from_embeddings(embeddings, labels)
    assert value.item() == pytest.approx(14 * 0.7, abs=1e-12)
    with pytest.raises(ValueError, match=r"grade 9 in the labels is outside 0\.\.2"):
        GradedTripletLoss(None, margins=[0.1, 0.2]).compute_loss_from_embeddings(embeddings, labels)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"margins": -0.1}, "margins: -0.1"),
        ({"margins": math.nan}, "margins: nan"),
        ({"margins": [0.1, math.inf]}, "margins: inf"),
        ({"margins": []}, "margins: expected"),
        ({"margins": "wide"}, "margins: expected.*'wide'"),
        ({"margins": None}, "margins: expected.*None"),
        ({"margins": True}, "margins: expected"),
        ({"margins": [[0.1], 0.2]}, "margins: expected"),
        ({"margins": [[0.1], [0.2]]}, "margins: expected"),
        ({"weights": [[0.1, 0.2]]}, "weights: expected"),
        ({"weights": 0}, "weights are all 0"),
        ({"weights": [[0.0], [0.0, 0.0]]}, "weights are all 0"),
        ({"margins": [0.1], "weights": [1.0, 2.0]}, "tables for 2 and 3 grades"),
        ({"reduction": "max"}, "reduction"),
    ],
)
def test_bad_settings_are_refused(bad: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradedTripletLoss(None, **bad)


def test_ebr_refuses_one_grade() -> None:
    with pytest.raises(UsageError, match="n_grades is 1"):
        GradedTripletLoss.ebr(None, n_grades=1)


@pytest.mark.parametrize("tables", [(0.2, 1), ([0.1, 0.2], 2.0), ((0.1, 0.2), [[1], [2, 1]])])
def test_config_can_be_written_and_read_back(tables: tuple) -> None:
    config = GradedTripletLoss(None, *tables, average_pairs=False).get_config_dict()
    again = GradedTripletLoss(None, **json.loads(json.dumps(config)))
    assert again.get_config_dict() == config
    assert config["average_pairs"] is False


def test_the_papers_are_cited() -> None:
    citation = GradedTripletLoss(None).citation
    assert "2602.17654" in citation
    assert "Facebook Search" in citation
