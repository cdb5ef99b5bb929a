"""Holding out whole queries, and the weights of grades."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.training.holdout import hold_out, weigh_classes


def dataset_of(counts: list[int], variants: dict[int, int] | None = None) -> GradedDataset:
    """Query n has ``counts[n]`` judged items, grades in turn; ``variants[n]`` is the query that n is a variant of."""
    variants = variants or {}
    queries = [
        {"query_id": f"q{n}", "text": f"mug {n}", "source_query_id": f"q{variants[n]}" if n in variants else None}
        for n in range(len(counts))
    ]
    items = [{"item_id": f"i{n}", "title": f"mug {n}"} for n in range(max(counts))]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": (q + i) % 3} for q, n in enumerate(counts) for i in range(n)
    ]
    return GradedDataset.from_tables(queries, items, judgments)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(2, 9), min_size=2, max_size=20), st.floats(0.05, 0.9), st.integers(0, 3))
def test_every_pair_is_on_one_side_and_no_query_on_both(counts, share, seed):
    learn, held = hold_out(dataset_of(counts), "train", share, seed, 2, 400)
    assert len(learn.grades) + len(held.grades) == sum(counts)
    assert learn.grades.size
    assert held.grades.size
    assert not set(learn.pairs.query_ids) & set(held.pairs.query_ids)
    for part in (learn, held):
        assert [(int(q[1:]) + int(i[1:])) % 3 for q, i in
                zip(part.pairs.query_ids, part.pairs.item_ids, strict=True)] == part.grades.tolist()  # fmt: skip


def test_the_share_holds_for_rich_and_sparse_queries_alike():
    _, held = hold_out(dataset_of([40] * 20 + [2] * 100), "train", 0.2, 0, 2, 400)
    rows = [int(query[1:]) for query in held.pairs.query_ids]
    assert len({row for row in rows if row < 20}) == 4
    assert len({row for row in rows if row >= 20}) == 20


def test_variants_go_with_their_original_through_chains():
    variants = {n: n - 1 for n in range(1, 12) if n % 3}  # 0<-1<-2, 3<-4<-5, ...
    for seed in range(5):
        learn, held = hold_out(dataset_of([4] * 12, variants), "train", 0.3, seed, 2, 400)
        families = [{int(query[1:]) // 3 for query in part.pairs.query_ids} for part in (learn, held)]
        assert not families[0] & families[1]


def test_the_choice_depends_on_the_seed_and_repeats():
    dataset = dataset_of([3] * 30)
    chosen = [set(hold_out(dataset, "train", 0.3, seed, 2, 400)[1].pairs.query_ids) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_out_of_range(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        hold_out(dataset_of([3, 3]), "train", share, 0, 2, 400)


def test_too_little_data():
    with pytest.raises(UsageError, match="1 query in split 'train'"):
        hold_out(dataset_of([3]), "train", 0.5, 0, 2, 400)
    one_grade = GradedDataset.from_tables(
        [{"query_id": f"q{n}", "text": "mug"} for n in range(4)],
        [{"item_id": "i", "title": "mug"}],
        [{"query_id": f"q{n}", "item_id": "i", "grade": 2} for n in range(4)],
    )
    with pytest.raises(UsageError, match="one grade only"):
        hold_out(one_grade, "train", 0.5, 0, 2, 400)


def test_weights_by_hand():
    grades = np.array([0] * 1 + [1] * 4 + [2] * 4)
    assert weigh_classes("none", grades, 3) == [1.0, 1.0, 1.0]
    # balanced: 9/1, 9/4, 9/4, over their mean 3
    assert weigh_classes("balanced", grades, 3) == [3.0, 0.75, 0.75]
    # sqrt: 3, 1.5, 1.5, over (1*3 + 8*1.5)/9 = 15/9
    assert weigh_classes("sqrt", grades, 3) == [1.8, 0.9, 0.9]
    assert weigh_classes([1, 2, 0.5], grades, 3) == [1.0, 2.0, 0.5]
    assert np.isfinite(weigh_classes("balanced", np.array([1, 1]), 3)).all()


@pytest.mark.parametrize("wanted", ["heavy", [1, 2], [1, -1, 1], [0, 0, 0], [1, float("nan"), 1]])
def test_weights_that_do_not_fit(wanted):
    with pytest.raises(UsageError, match="class_weights"):
        weigh_classes(wanted, np.array([0, 1, 2]), 3)
