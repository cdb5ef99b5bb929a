"""The arms of the mining study: as many pairs a query in each, and what a report says of false negatives."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation import JudgmentAnnotator
from mr_st.data import GradedDataset
from mr_st.data.marketplace import MarketplacePolicy
from mr_st.mining import RefinementSet, mine
from mr_st.mining.select import is_judged

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from study_mining_pairs import (
    ANNOTATED,
    DRAWN,
    NAIVE,
    ORIGINAL,
    RANDOM,
    REGRADED,
    arms_of,
    false_negatives,
    first_of_each,
)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30),
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
)
def test_first_of_each_is_a_sort_cut_at_the_budget(rows: list[tuple[int, int]], budgets: list[int]) -> None:
    groups = np.array([group for group, _ in rows], dtype=np.int64)
    priorities = np.array([priority for _, priority in rows], dtype=np.int64)
    taken = first_of_each(groups, priorities, np.array(budgets))
    for group, budget in enumerate(budgets):
        members = [row for row in range(len(rows)) if groups[row] == group]
        expected = sorted(members, key=lambda row: (priorities[row], row))[:budget]
        assert sorted(expected) == [row for row in members if taken[row]]


@pytest.fixture(scope="module")
def rounds(tiny_base: Path) -> tuple[RefinementSet, RefinementSet, JudgmentAnnotator]:
    from mr_st.models import load_sentence_transformer

    shop = GradedDataset.load("marketplace", size="tiny", seed=0)
    annotator = JudgmentAnnotator(MarketplacePolicy.for_dataset(shop))
    nothing = JudgmentAnnotator(lambda query, item: 0, name="nothing")
    model = load_sentence_transformer(tiny_base)
    mined = mine(model, shop, annotator, 30, boundary=0.2, search="exact")
    return mined, mine(model, shop, nothing, 30, boundary=1.0, search="exact"), annotator


def test_every_arm_gets_as_many_pairs_of_each_query_as_the_miner_took(
    rounds: tuple[RefinementSet, RefinementSet, JudgmentAnnotator],
) -> None:
    mined, everything, annotator = rounds
    assert len(mined) > 20
    shop = mined.dataset
    data, facts = arms_of(mined, everything, annotator)
    before = shop.judged_pairs("train")
    expected = np.bincount(shop.query_rows(mined.table["query_id"].to_pylist()), minlength=len(shop.queries))
    for name in (ANNOTATED, NAIVE, DRAWN, REGRADED, RANDOM):
        after = data[name].judged_pairs("train")
        np.testing.assert_array_equal(np.diff(after.offsets) - np.diff(before.offsets), expected, err_msg=name)
        assert facts[name]["pairs"] == len(mined)
    assert data[ORIGINAL] is shop


def test_naive_arms_call_all_negative_and_only_the_graded_ones_are_right(
    rounds: tuple[RefinementSet, RefinementSet, JudgmentAnnotator],
) -> None:
    mined, everything, annotator = rounds
    data, facts = arms_of(mined, everything, annotator)
    policy = MarketplacePolicy.for_dataset(mined.dataset)
    for name in (NAIVE, DRAWN, RANDOM):
        added = [row for row in data[name].judgments if row["source"].startswith("mined:")]
        assert {row["grade"] for row in added} == {0}
        wrong = sum(policy(row["query_id"], row["item_id"]) > 0 for row in added)
        assert facts[name]["false_negatives"] == wrong
    assert facts[NAIVE]["false_negatives"] > 0
    for name in (ANNOTATED, REGRADED):
        added = [row for row in data[name].judgments if row["source"].startswith("mined:")]
        assert all(policy(row["query_id"], row["item_id"]) == row["grade"] for row in added)
        assert facts[name]["false_negatives"] == 0


def test_no_arm_touches_a_judged_pair_and_the_naive_one_takes_the_highest_ranked(
    rounds: tuple[RefinementSet, RefinementSet, JudgmentAnnotator],
) -> None:
    mined, everything, annotator = rounds
    shop = mined.dataset
    data, _ = arms_of(mined, everything, annotator)
    known = shop.judged_pairs()
    for name in (ANNOTATED, NAIVE, DRAWN, REGRADED, RANDOM):
        added = [row for row in data[name].judgments if row["source"].startswith("mined:")]
        queries = shop.query_rows([row["query_id"] for row in added])
        items = shop.item_rows([row["item_id"] for row in added])
        assert not is_judged(queries, items, known.query_rows, known.item_rows).any()
    query = mined.table["query_id"][0].as_py()
    ranked = [row["item_id"] for row in everything.table.to_pylist() if row["query_id"] == query]
    n = mined.table["query_id"].to_pylist().count(query)
    taken = [
        row["item_id"] for row in data[NAIVE].judgments
        if row["query_id"] == query and row["source"].startswith("mined:")
    ]  # fmt: skip
    assert sorted(taken) == sorted(ranked[:n])


def test_false_negatives_are_the_reports(rounds: tuple[RefinementSet, RefinementSet, JudgmentAnnotator]) -> None:
    mined, everything, _ = rounds
    found = false_negatives(mined.report["pairs"])
    policy = MarketplacePolicy.for_dataset(mined.dataset)
    pairs = [(row["rank"], policy(row["query_id"], row["item_id"])) for row in everything.table.to_pylist()]
    assert found["to_k"]["pairs"] == len(pairs)
    assert found["to_k"]["positive"] == sum(grade > 0 for _, grade in pairs)
    assert found["to_boundary"]["positive"] == sum(grade > 0 and rank <= 6 for rank, grade in pairs)
    for row in found["deciles"]:
        first, last = row["ranks"]
        assert row["positive"] == sum(grade > 0 and first <= rank <= last for rank, grade in pairs)
    assert sum(row["pairs"] for row in found["deciles"]) == len(pairs)
