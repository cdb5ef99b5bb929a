"""What describe counts, against counts made by hand."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.data.splits_compared import compare_splits, find_unseen
from mr_st.data.traffic import segment_facts, traffic_segments


@pytest.fixture
def shop() -> GradedDataset:
    """Four queries (two of one text, one unjudged) over three splits, and four items."""
    judged = [
        ("q1", "a", 2, "train"), ("q1", "b", 0, "train"), ("q1", "c", 0, "test"),
        ("q2", "a", 1, "test"), ("q2", "d", 1, "test"),
        ("q3", "b", 0, "dev"),
    ]  # fmt: skip
    return GradedDataset.from_tables(
        queries=[
            {"query_id": "q1", "text": "Red  MUG", "locale": "en-US", "frequency": 60.0},
            {"query_id": "q2", "text": "red mug", "locale": "en-US", "frequency": 30.0},
            {"query_id": "q3", "text": "hat", "locale": "de-DE", "frequency": 6.0, "kind": "synthetic"},
            {"query_id": "q4", "text": "cup", "locale": "de-DE", "frequency": 4.0},
        ],
        items=[{"item_id": i, "title": i * 3, "description": "x" * 10 if i == "a" else None} for i in "abcd"],
        judgments=[{"query_id": q, "item_id": i, "grade": g, "split": s} for q, i, g, s in judged],
    )


def test_the_figures(shop):
    facts = shop.describe()
    assert facts["queries_without_judgments"] == 1
    assert facts["splits"]["test"]["queries"] == 2
    assert facts["splits"]["test"]["items"] == 3
    assert facts["splits"]["test"]["queries_with_one_grade"] == 2
    assert facts["splits"]["train"]["one_grade_share"] == 0.0
    assert facts["splits"]["train"]["judged_share_of_catalogue"] == 0.5
    assert facts["description_characters"] == {"min": 10.0, "median": 10.0, "mean": 10.0, "max": 10.0}
    assert facts["labels_by_locale"] == {
        "en-US": {"queries": 2, "judgments": 5,
                  "label_shares": {"irrelevant": 0.4, "partial": 0.4, "relevant": 0.2}},
        "de-DE": {"queries": 1, "judgments": 1,
                  "label_shares": {"irrelevant": 1.0, "partial": 0.0, "relevant": 0.0}},
    }  # fmt: skip
    assert facts["query_kinds"] == {"organic": 3, "synthetic": 1}
    assert json.loads(json.dumps(facts)) == facts


def test_unseen_and_shared(shop):
    facts = shop.describe()
    assert facts["unseen"]["test"] == {
        "queries": 2, "items": 3, "queries_unseen": 1, "texts_unseen": 0, "items_unseen": 2,
        "queries_unseen_share": 0.5, "texts_unseen_share": 0.0, "items_unseen_share": 0.6667,
    }  # fmt: skip
    assert facts["unseen"]["dev"]["texts_unseen"] == 1
    assert facts["unseen"]["dev"]["items_unseen"] == 0
    assert facts["overlap"] == {
        "train & dev": {"queries": 0, "texts": 0, "items": 1, "pairs": 0},
        "train & test": {"queries": 1, "texts": 1, "items": 1, "pairs": 0},
        "dev & test": {"queries": 0, "texts": 0, "items": 0, "pairs": 0},
    }


def test_head_torso_and_tail(shop):
    facts = shop.describe()
    assert facts["traffic"] == {
        "queries_with_frequency": 4,
        "head": {"queries": 1, "query_share": 0.25, "traffic_share": 0.6, "least_frequency": 60.0},
        "torso": {"queries": 1, "query_share": 0.25, "traffic_share": 0.3, "least_frequency": 30.0},
        "tail": {"queries": 2, "query_share": 0.5, "traffic_share": 0.1, "least_frequency": 4.0},
    }
    assert facts["segments_by_split"] == {
        "train": {"head": 1, "torso": 0, "tail": 0},
        "dev": {"head": 0, "torso": 0, "tail": 1},
        "test": {"head": 1, "torso": 1, "tail": 0},
    }


def test_what_a_dataset_has_not_is_left_empty():
    dataset = GradedDataset.from_tables(
        [{"query_id": "q", "text": "x"}], [{"item_id": "a", "title": "A"}],
        [{"query_id": "q", "item_id": "a", "grade": 1, "split": "test"}],
    )  # fmt: skip
    facts = dataset.describe()
    assert (facts["traffic"], facts["segments_by_split"], facts["unseen"], facts["overlap"]) == ({}, {}, {}, {})
    assert facts["description_characters"] == {}


def test_a_dataset_with_faults_can_be_described(shop):
    tables = {name: getattr(shop, name).to_list() for name in ("queries", "items", "judgments")}
    tables["judgments"].append({"query_id": "nobody", "item_id": "nothing", "grade": 0, "split": "train"})
    facts = GradedDataset.from_tables(**tables).describe()
    assert facts["splits"]["train"]["judgments"] == 3
    assert facts["overlap"]["train & test"]["pairs"] == 0


@given(st.lists(st.none() | st.floats(0, 1e6, width=32), max_size=40))
def test_segments_are_thirds_in_order(frequencies):
    values = np.array([np.nan if f is None else f for f in frequencies], dtype=float)
    segments = traffic_segments(values)
    total = np.nansum(values)
    if total == 0:
        assert (segments == -1).all()
        return
    assert ((segments == -1) == np.isnan(values)).all()
    assert segments[np.nanargmax(values)] == 0
    for higher, lower in ((0, 1), (1, 2), (0, 2)):
        if (segments == higher).any() and (segments == lower).any():
            assert values[segments == higher].min() >= values[segments == lower].max()
    head = values[segments == 0]
    assert head.sum() - head.min() <= total / 3 * (1 + 1e-9)  # without its last query it is short of a third
    facts = segment_facts(values, segments)
    assert sum(facts[name]["queries"] for name in ("head", "torso", "tail")) == facts["queries_with_frequency"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(["train", "dev", "test"])), max_size=30)
)
def test_unseen_and_shared_against_sets(rows):
    frame = pl.DataFrame(
        {"query": [r[0] for r in rows], "item": [r[1] for r in rows], "split": [r[2] for r in rows]},
        schema={"query": pl.Int64, "item": pl.Int64, "split": pl.String},
    )
    texts = pl.Series(["x", "y", "x", "z", None], dtype=pl.String)
    splits = [s for s in ("train", "dev", "test") if s in {r[2] for r in rows}]
    of = {s: [r for r in rows if r[2] == s] for s in splits}
    for both, counts in compare_splits(frame, texts, splits).items():
        one, other = (of[name] for name in both.split(" & "))
        assert counts == {
            "queries": len({q for q, _, _ in one} & {q for q, _, _ in other}),
            "texts": len(({texts[q] for q, _, _ in one} & {texts[q] for q, _, _ in other}) - {None}),
            "items": len({i for _, i, _ in one} & {i for _, i, _ in other}),
            "pairs": len({(q, i) for q, i, _ in one} & {(q, i) for q, i, _ in other}),
        }
    unseen = find_unseen(frame, texts, splits)
    assert set(unseen) == (set(splits) - {"train"} if "train" in splits else set())
    for split, counts in unseen.items():
        own, train = {q for q, _, _ in of[split]}, {q for q, _, _ in of["train"]}
        assert counts["queries_unseen"] == len(own - train)
        assert counts["items_unseen"] == len({i for _, i, _ in of[split]} - {i for _, i, _ in of["train"]})
        known = {texts[q] for q in train} - {None}
        assert counts["texts_unseen"] == sum(texts[q] not in known for q in own)
