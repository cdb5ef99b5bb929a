"""Grades known across a batch: against a loop over all pairs, and never from another split."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.training import KnownGrades, StageConfig, train_stage


def make(judgments: list[tuple], queries: dict[str, str], items: dict[str, str]) -> GradedDataset:
    """``judgments``: (query_id, item_id, grade, split)."""
    return GradedDataset.from_tables(
        [{"query_id": query_id, "text": text} for query_id, text in queries.items()],
        [{"item_id": item_id, "title": title, "category_path": ["A", "B", "C"]} for item_id, title in items.items()],
        [dict(zip(("query_id", "item_id", "grade", "split"), row, strict=True)) for row in judgments],
    )


@settings(max_examples=60)
@given(data=st.data())
def test_equals_a_loop_over_all_pairs(data) -> None:
    words = st.sampled_from(["mug", "hat", "lamp", "Bär", "shoe"])  # few, so that texts repeat
    queries = data.draw(st.lists(words, min_size=1, max_size=5))
    items = data.draw(st.lists(words, min_size=1, max_size=5))
    rows = st.tuples(st.integers(0, len(queries) - 1), st.integers(0, len(items) - 1))
    pairs = data.draw(st.lists(rows, unique=True, min_size=1, max_size=16))
    judged = [
        (query, item, data.draw(st.integers(0, 2)), data.draw(st.sampled_from(["train", "test"])))
        for query, item in pairs
    ]
    dataset = make(
        [(f"q{q}", f"i{i}", grade, split) for q, i, grade, split in judged] + [("q0", "other", 0, "train")],
        {f"q{n}": text for n, text in enumerate(queries)},
        {**{f"i{n}": text for n, text in enumerate(items)}, "other": "other"},
    )
    known = KnownGrades.from_dataset(dataset, "train", item_text_levels=0)
    grades: dict[tuple[str, str], set[int]] = {(queries[0], "other"): {0}}
    for query, item, grade, split in judged:
        if split == "train":
            grades.setdefault((queries[query], items[item]), set()).add(grade)
    assert len(known) == sum(len(found) == 1 for found in grades.values())
    asked = data.draw(st.lists(st.sampled_from([*queries, "unknown"]), max_size=5))
    among = data.draw(st.lists(st.sampled_from([*items, "other", "unknown"]), unique=True, max_size=6))
    expected = [
        [at, place, next(iter(grades[query, item]))]
        for at, query in enumerate(asked)
        for place, item in enumerate(among)
        if len(grades.get((query, item), ())) == 1
    ]
    answer = known.among(asked, among)
    assert (answer.dtype, answer.shape) == (np.int64, (len(expected), 3))
    assert answer.tolist() == expected


def test_texts_are_those_of_the_instances() -> None:
    dataset = make([("a", "x", 2, "train"), ("a", "y", 0, "train")], {"a": "q"}, {"x": "Mug", "y": "Hat"})
    assert KnownGrades.from_dataset(dataset).among(["q"], ["Hat. Category: A > B"]).tolist() == [[0, 0, 0]]
    cut = KnownGrades.from_dataset(dataset, item_text_levels=None, max_chars=15)
    assert cut.among(["q"], ["Hat. Category: ", "Hat"]).tolist() == [[0, 0, 0]]
    with pytest.raises(UsageError, match="no split 'dev'"):
        KnownGrades.from_dataset(dataset, "dev")


def test_one_text_with_two_grades_is_left_out() -> None:
    queries, items = {"a": "q", "b": "p", "c": "p"}, {"x": "Mug", "y": "Mug", "z": "Hat"}
    judged = ["a x 2", "a y 0", "a z 1", "b z 1", "c z 1", "b x 0", "c x 2"]
    judgments = [(q, i, int(grade), "train") for q, i, grade in map(str.split, judged)]
    known = KnownGrades.from_dataset(make(judgments, queries, items), item_text_levels=0)
    assert known.among(["p", "q"], ["Mug", "Hat"]).tolist() == [[0, 1, 1], [1, 1, 1]]


def test_identity_goes_with_the_grades_not_with_the_order_of_the_rows() -> None:
    queries, items = {"a": "q", "b": "p"}, {"x": "Mug", "y": "Hat"}
    judgments = [("a", "x", 2, "train"), ("b", "y", 0, "train"), ("a", "y", 1, "test")]

    def identity(rows: list[tuple], queries=queries, items=items) -> str:
        return KnownGrades.from_dataset(make(rows, queries, items)).identity

    first = identity(judgments)
    assert identity(judgments[::-1], dict(reversed(queries.items())), dict(reversed(items.items()))) == first
    assert identity(judgments[:2]) == first  # what is in the test split does not count
    assert identity([("a", "x", 1, "train"), *judgments[1:]]) != first


def test_it_travels_to_the_workers_of_a_loader() -> None:
    known = KnownGrades.from_dataset(make([("a", "x", 2, "train")], {"a": "q"}, {"x": "Mug"}), item_text_levels=0)
    assert pickle.loads(pickle.dumps(known)).among(["q"], ["Mug"]).tolist() == [[0, 0, 2]]


def test_no_judgment_at_all() -> None:
    nothing = np.empty(0, dtype=np.uint64)
    known = KnownGrades(nothing, nothing, np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.int8))
    assert known.among(["q"], ["Mug"]).shape == (0, 3)
    with pytest.raises(UsageError, match="none of the 1 query texts"):
        known.check(["q"], ["Mug"])


def test_a_stage_wants_the_lookup_if_and_only_if_its_settings_ask(tmp_path, tiny_base, instances) -> None:
    known = KnownGrades.from_dataset(make([("a", "x", 2, "train")], {"a": "q"}, {"x": "Mug"}))
    for asked, given_known in ((True, None), (False, known)):
        config = StageConfig(max_steps=1, known_in_batch=asked)
        with pytest.raises(UsageError, match=rf"known_in_batch is {asked} .* known=KnownGrades\.from_dataset"):
            train_stage(str(tiny_base), instances, config, tmp_path, show_progress=False, known=given_known)
    config = StageConfig(max_steps=1, known_in_batch=True)
    with pytest.raises(UsageError, match="none of the 16 query texts of a batch"):
        train_stage(str(tiny_base), instances, config, tmp_path, show_progress=False, known=known)
