"""What the annotators' bench learns from, and what it keeps for scoring."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from annotator_labels import ASIDE, some_of_each, with_fewer_queries, with_set_aside, without_set_aside

from mr_st.data import GradedDataset


@pytest.fixture(scope="module")
def shop() -> GradedDataset:
    return GradedDataset.load("marketplace", size="tiny")


def queries_of(dataset: GradedDataset, split: str) -> set[str]:
    return {dataset.queries["query_id"][row] for row in dataset.judged_pairs(split).query_rows.tolist()}


def judgments_of(dataset: GradedDataset, *splits: str) -> list[tuple[Any, ...]]:
    return sorted(
        (row["query_id"], row["item_id"], row["grade"]) for row in dataset.judgments if row["split"] in splits
    )


def test_set_aside_queries_leave_the_train_split_with_their_variants(shop: GradedDataset) -> None:
    moved = with_set_aside(shop, 9, seed=1)
    source = dict(zip(shop.queries["query_id"], shop.queries["source_query_id"], strict=True))
    learned, aside = ({source[q] or q for q in queries_of(moved, split)} for split in ("train", ASIDE))
    assert len(aside) == 9
    assert not learned & aside
    assert judgments_of(moved, "train", ASIDE) == judgments_of(shop, "train")
    assert judgments_of(moved, "test") == judgments_of(shop, "test")
    assert queries_of(with_set_aside(shop, 9, seed=1), ASIDE) == queries_of(moved, ASIDE)
    assert queries_of(with_set_aside(shop, 9, seed=2), ASIDE) != queries_of(moved, ASIDE)


def test_what_is_learned_from_can_be_saved(shop: GradedDataset, tmp_path: Path) -> None:
    learned = with_fewer_queries(without_set_aside(with_set_aside(shop, 9, seed=1)), 8, seed=0)
    learned.save(tmp_path / "learned")
    loaded = GradedDataset.load(tmp_path / "learned")
    assert loaded.fingerprint == learned.fingerprint
    assert len(queries_of(loaded, "train")) == 8
    assert ASIDE not in loaded.splits


def test_some_pairs_of_each_query() -> None:
    rows = np.array([3, 1, 1, 3, 3, 2])
    assert some_of_each(rows, None, seed=0).tolist() == list(range(6))
    chosen = some_of_each(rows, 2, seed=0)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(rows[chosen]).tolist() == [0, 2, 1, 2]
