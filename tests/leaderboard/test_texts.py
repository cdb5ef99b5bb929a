"""Texts of data at hand: matched by fingerprint, examples of each grade, the bundled shop without being named."""

from __future__ import annotations

import json

import pytest

from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.leaderboard.board import make_board
from mr_st.leaderboard.results import read_results
from mr_st.leaderboard.texts import Example, Texts, load_texts
from mr_st.tasks.statistics import read_baselines


@pytest.fixture(scope="module")
def shop() -> GradedDataset:
    return GradedDataset.from_tables(
        [{"query_id": f"q{i}", "text": f"query {i}", "locale": "en-US"} for i in range(3)],
        [{"item_id": f"i{i}", "title": f"item {i}", "locale": "en-US"} for i in range(4)],
        [
            {"query_id": q, "item_id": i, "grade": grade, "split": split}
            for q, i, grade, split in (
                ("q0", "i0", 2, "test"), ("q0", "i1", 1, "test"), ("q0", "i2", 0, "test"),
                ("q1", "i0", 2, "test"), ("q1", "i3", 2, "test"),
                ("q2", "i3", 0, "train"),
            )
        ],
        name="three mugs",
        license="CC0-1.0",
    )  # fmt: skip


def board_on(folder, samples, revision):
    path = samples.make_report("base", n_queries=10).save(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_revision": revision}))
    results, failures, _ = read_results([folder])
    return make_board(results, failures)


def test_a_dataset_is_matched_by_its_fingerprint(tmp_path, samples, shop):
    found, left_out = load_texts(board_on(tmp_path, samples, shop.fingerprint), [shop])
    assert left_out == []
    (texts,) = found.values()
    assert texts.queries == {"q0": "query 0", "q1": "query 1", "q2": "query 2"}
    assert texts.items["i3"] == "item 3"
    assert (texts.name, texts.license) == ("three mugs", "CC0-1.0")


def test_examples_are_of_the_split_the_query_with_most_grades_first(tmp_path, samples, shop):
    found, _ = load_texts(board_on(tmp_path, samples, shop.fingerprint), [shop])
    first, second = found[0].examples
    assert first == Example(
        "query 0", "en-US", ((2, "item 0", "en-US"), (1, "item 1", "en-US"), (0, "item 2", "en-US"))
    )
    assert second.query == "query 1"
    assert [grade for grade, _, _ in second.items] == [2]


def test_a_saved_folder_gives_the_same_texts(tmp_path, samples, shop):
    board = board_on(tmp_path / "results", samples, shop.fingerprint)
    from_object, _ = load_texts(board, [shop])
    from_folder, _ = load_texts(board, [shop.save(tmp_path / "shop")])
    assert from_folder[0].queries == from_object[0].queries
    assert from_folder[0].examples == from_object[0].examples


def test_other_data_is_not_used_and_that_is_said(tmp_path, samples, shop):
    found, left_out = load_texts(board_on(tmp_path, samples, "another revision"), [shop])
    assert found == {}
    (said,) = left_out
    assert said.file == "data three mugs"
    assert shop.fingerprint in said.reason


def test_what_is_no_dataset_is_refused(tmp_path, samples):
    with pytest.raises(UsageError):
        load_texts(board_on(tmp_path / "results", samples, "x"), [tmp_path / "results"])


def test_the_bundled_shop_is_made_where_its_fingerprint_is_a_task_s_and_not_else(tmp_path, samples, monkeypatch):
    made = []
    load = GradedDataset.load
    monkeypatch.setattr(GradedDataset, "load", lambda name: made.append(name) or load(name))
    load_texts(board_on(tmp_path / "a", samples, "0123456789abcdef"))
    assert made == []
    fingerprint = read_baselines("MarketplaceRetrieval")["entries"][0]["fingerprint"]
    found, left_out = load_texts(board_on(tmp_path / "b", samples, fingerprint))
    assert made == ["marketplace"]
    assert left_out == []
    assert found[0].name == "marketplace"
    assert {grade for example in found[0].examples for grade, _, _ in example.items} == {0, 1, 2}


def test_without_data_there_are_no_texts():
    assert (Texts().queries, Texts().items, Texts().examples) == ({}, {}, ())
