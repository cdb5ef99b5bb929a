"""Synthetic queries: for whom they are written, that everything is labelled, and that nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading_annotators import ConstantAnnotator, OverlapAnnotator

from mr_st.annotation import CrossEncoderAnnotator, JudgmentAnnotator
from mr_st.augment.model_writer import ModelQueryWriter
from mr_st.augment.query_writer import ItemFeatures
from mr_st.augment.synthetic_queries import add_synthetic_queries
from mr_st.data import GradedDataset, build_instances
from mr_st.errors import MrStError, UsageError
from mr_st.text import tokens


class Dictated:
    """Writes what it is told, by item id."""

    identity = "dictated"

    def __init__(self, by_item: dict[str, list[str]]):
        self.by_item = by_item
        self.asked: list[str] = []

    def write(self, items: Sequence[ItemFeatures], n: int, seed: int) -> list[list[str]]:
        self.asked = [item.item_id for item in items]
        return [self.by_item.get(item.item_id, []) for item in items]


def shelf() -> GradedDataset:
    """a is positive in training, b judged irrelevant, c positive in test only, d and e never judged."""
    return GradedDataset.from_tables(
        queries=[{"query_id": "q1", "text": "red mug"}, {"query_id": "q2", "text": "blue cap"}],
        items=[
            {"item_id": "a", "title": "Red mug", "category_path": ["Mugs"]},
            {"item_id": "b", "title": "Blue wool hat", "category_path": ["Hats"]},
            {"item_id": "c", "title": "Blue cap", "category_path": ["Hats"], "locale": "en-GB"},
            {"item_id": "d", "title": "Desk lamp", "category_path": ["Lamps"]},
            {"item_id": "e", "title": "Big lamp", "category_path": ["Lamps"]},
        ],
        judgments=[
            {"query_id": "q1", "item_id": "a", "grade": 1},
            {"query_id": "q1", "item_id": "b", "grade": 0},
            {"query_id": "q2", "item_id": "c", "grade": 2, "split": "test"},
        ],
    )


def added(before: GradedDataset, after: GradedDataset) -> list[dict[str, Any]]:
    """The new judgments; the old ones must stand unchanged before them."""
    n = len(before.judgments)
    assert after.judgments[:n] == before.judgments[:]
    assert after.queries[: len(before.queries)] == before.queries[:]
    assert after.items is before.items
    after.validate()
    return list(after.judgments.select(range(n, len(after.judgments))))


def test_selective_writes_for_items_without_a_positive_in_training() -> None:
    writer = Dictated({"b": ["wool hat"], "c": ["blue hat"], "d": ["lamp"], "e": ["reading light"]})
    before = shelf()
    after, report = add_synthetic_queries(before, OverlapAnnotator(), writer, negatives_per_query=0)
    assert writer.asked == ["b", "c", "d", "e"]
    assert (report.items, report.items_without_positive, report.items_chosen) == (5, 4, 4)
    judgments = added(before, after)
    assert {(j["query_id"], j["item_id"], j["grade"]) for j in judgments} == {
        ("synthetic:b:0", "b", 2), ("synthetic:c:0", "c", 1), ("synthetic:d:0", "d", 2), ("synthetic:e:0", "e", 0),
    }  # fmt: skip
    assert {(j["split"], j["source"]) for j in judgments} == {("train", "synthetic:overlap-1")}
    by_id = {j["query_id"]: j["confidence"] for j in judgments}
    assert by_id["synthetic:b:0"] == pytest.approx(0.98)
    assert by_id["synthetic:c:0"] == pytest.approx(0.6)
    new = {row["query_id"]: row for row in after.queries if row["kind"] == "synthetic"}
    assert new["synthetic:c:0"] == {
        "query_id": "synthetic:c:0", "text": "blue hat", "locale": "en-GB", "frequency": None, "kind": "synthetic",
        "source_query_id": None,
    }  # fmt: skip
    assert report.own_pairs == {"irrelevant": 1, "partial": 1, "relevant": 2}
    assert report.assumed_wrong == 0.25  # "reading light" is no positive of its own item
    assert (report.queries, report.items_with_query, report.items_with_positive) == (4, 4, 3)


def test_a_higher_positive_grade_makes_more_items_lack_one() -> None:
    _, report = add_synthetic_queries(shelf(), OverlapAnnotator(), Dictated({}), positive_grade=2)
    assert report.items_without_positive == 5


def test_low_ratio_takes_a_share_of_all_items(shop: GradedDataset) -> None:
    _, report = add_synthetic_queries(shop, OverlapAnnotator(), policy="low_ratio", share=0.1)
    assert report.items_chosen == 25
    _, report = add_synthetic_queries(shop, OverlapAnnotator(), policy="low_ratio", share=0.1, max_items=7)
    assert report.items_chosen == 7


def test_the_same_words_for_two_items_are_one_query() -> None:
    writer = Dictated({"b": ["warm hat"], "d": ["Lamp"], "e": ["lamp!"]})
    before = shelf()
    after, report = add_synthetic_queries(before, OverlapAnnotator(), writer, negatives_per_query=0)
    assert report.queries == 2
    assert {(j["query_id"], j["item_id"]) for j in added(before, after)} == {
        ("synthetic:b:0", "b"), ("synthetic:d:0", "d"), ("synthetic:d:0", "e"),
    }  # fmt: skip
    assert report.items_with_query == 3


def test_a_text_that_is_a_query_already_is_left_out() -> None:
    writer = Dictated({"b": ["BLUE cap"], "c": ["mug, red"], "d": ["Desk lamp"], "e": ["<b>"]})
    before = shelf()
    after, report = add_synthetic_queries(before, OverlapAnnotator(), writer, negatives_per_query=0)
    assert report.dropped == {"a query of the dataset": 1, "markup": 1, "the whole title": 1}
    assert [row["text"] for row in after.queries if row["kind"] == "synthetic"] == ["mug, red"]


def test_nothing_written_leaves_the_dataset_as_it_was() -> None:
    before = shelf()
    after, report = add_synthetic_queries(before, ConstantAnnotator(0), Dictated({}))
    assert after is before
    assert report.dropped == {"no query for the item": 4}
    assert report.assumed_wrong is None


def test_likely_negatives_are_other_items_half_of_the_same_leaf(shop: GradedDataset) -> None:
    before = shop
    after, report = add_synthetic_queries(before, OverlapAnnotator(), negatives_per_query=4, seed=5)
    leaf = dict(zip(shop.items["item_id"], map(tuple, shop.items["category_path"]), strict=True))
    per_query: dict[str, list[str]] = {}
    for judgment in added(before, after):
        per_query.setdefault(judgment["query_id"], []).append(judgment["item_id"])
    sizes = Counter(leaf[item] for items in per_query.values() for item in items[:1])
    large = {path for path, n in sizes.items() if n >= 6}
    for query_id, items in per_query.items():
        own = query_id.split(":")[1]
        assert items[0] == own
        assert len(items) == len(set(items))
        same = [item for item in items[1:] if leaf[item] == leaf[own]]
        if leaf[own] in large:
            assert len(same) >= 2
    n_own = sum(report.own_pairs.values())
    assert sum(report.other_pairs.values()) == 4 * report.queries
    assert n_own + 4 * report.queries == sum(map(len, per_query.values()))
    assert report.other_pairs["relevant"] > 0  # labelled, not assumed irrelevant


def test_unsure_labels_go_and_queries_left_without_any() -> None:
    writer = Dictated({"b": ["wool hat"], "c": ["blue hat"]})
    before = shelf()
    after, report = add_synthetic_queries(
        before, OverlapAnnotator(), writer, negatives_per_query=0, min_confidence=0.7
    )
    assert [j["query_id"] for j in added(before, after)] == ["synthetic:b:0"]
    assert [row["query_id"] for row in after.queries] == ["q1", "q2", "synthetic:b:0"]
    assert (report.low_confidence, report.queries) == (1, 1)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999), n=st.integers(1, 3), negatives=st.integers(0, 5),
    policy=st.sampled_from(["selective", "low_ratio"]), share=st.sampled_from([None, 0.1, 0.5]),
)  # fmt: skip
def test_what_always_holds(
    shop: GradedDataset, seed: int, n: int, negatives: int, policy: Any, share: float | None
) -> None:
    annotator = OverlapAnnotator()
    after, report = add_synthetic_queries(
        shop, annotator, policy=policy, seed=seed, n_per_item=n, share=share, negatives_per_query=negatives
    )
    judgments = added(shop, after)
    assert annotator.n_pairs == len(judgments)
    new = [(tuple(tokens(row["text"])), row["locale"]) for row in after.queries if row["kind"] == "synthetic"]
    assert len(set(new)) == len(new) == report.queries
    assert not {text for text, _ in new} & {tuple(tokens(text)) for text in shop.queries["text"]}
    assert {j["split"] for j in judgments} <= {"train"}
    positive = {j["item_id"] for j in shop.judgments if j["split"] == "train" and j["grade"] >= 1}
    if policy == "selective":
        assert not positive & {j["item_id"] for j in judgments}
    assert sum(report.own_pairs.values()) + sum(report.other_pairs.values()) == len(judgments)
    again, _ = add_synthetic_queries(
        shop, OverlapAnnotator(), policy=policy, seed=seed, n_per_item=n, share=share, negatives_per_query=negatives
    )
    assert again.fingerprint == after.fingerprint


def test_adding_twice_writes_under_new_ids(shop: GradedDataset) -> None:
    once, _ = add_synthetic_queries(shop, OverlapAnnotator(), policy="low_ratio", seed=0)
    twice, report = add_synthetic_queries(once, OverlapAnnotator(), policy="low_ratio", share=1.0, seed=1)
    twice.validate()
    assert report.dropped["a query of the dataset"] > 0
    assert len(build_instances(twice)) > len(build_instances(shop))


def test_a_model_writes_and_a_cross_encoder_labels(shop: GradedDataset, tiny_base) -> None:  # type: ignore[no-untyped-def]
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(tiny_base / "0_Transformer" if (tiny_base / "0_Transformer").exists() else tiny_base),
                         num_labels=3, device="cpu")  # fmt: skip
    writer = ModelQueryWriter(lambda prompts: [f"thing {len(p)}\nmore" for p in prompts], "lengths")
    before = shop
    after, report = add_synthetic_queries(
        before, CrossEncoderAnnotator(model), writer, max_items=12, negatives_per_query=2
    )
    judgments = added(before, after)
    assert report.items_with_query == 12
    assert all(j["source"].startswith("synthetic:cross-encoder-") for j in judgments)
    assert np.isfinite([j["confidence"] for j in judgments]).all()


def test_an_annotator_by_id_cannot_judge_what_it_does_not_know(
    shop: GradedDataset, shop_policy: JudgmentAnnotator
) -> None:
    with pytest.raises(MrStError, match=r"synthetic:.*another annotator"):
        add_synthetic_queries(shop, shop_policy)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"policy": "all"}, "policy is 'all'; expected 'selective' or 'low_ratio'"),
        ({"n_per_item": 0}, "n_per_item 0"),
        ({"max_items": 0}, "max_items 0"),
        ({"share": 1.5}, r"share is 1\.5"),
        ({"negatives_per_query": -1}, "negatives_per_query -1"),
        ({"positive_grade": 0}, r"positive_grade is 0; expected 1\.\.2"),
        ({"min_confidence": -0.5}, r"min_confidence is -0\.5"),
        ({"seed": -1}, "seed -1"),
        ({"split": "valid"}, "no split 'valid'"),
    ],
)
def test_bad_use_is_one_clear_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        add_synthetic_queries(shelf(), ConstantAnnotator(0), **asked)


def test_writers_and_annotators_that_do_not_fit_are_named() -> None:
    class Short(Dictated):
        def write(self, items: Sequence[ItemFeatures], n: int, seed: int) -> list[list[str]]:
            return [["hat"]]

    with pytest.raises(MrStError, match="dictated: queries for 1 items, asked for 4"):
        add_synthetic_queries(shelf(), ConstantAnnotator(0), Short({}))
    with pytest.raises(MrStError, match=r"always-0: grades 0\.\.3, but the dataset's scale is 0\.\.2"):
        add_synthetic_queries(shelf(), ConstantAnnotator(0, n_grades=4), Dictated({"b": ["hat"]}))
