"""What --fix mends, how it counts, and that it mends nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.data.mending import mend
from mr_st.data.validation import find_notices


def mended(tables) -> tuple[GradedDataset, list[tuple]]:
    dataset, counts = mend(GradedDataset.from_tables(**tables))
    return dataset, [(c.table, c.column, c.rule, c.n_mended) for c in counts]


def test_a_clean_dataset_is_given_back_itself(dataset):
    again, counts = mend(dataset)
    assert again is dataset
    assert counts == []


def test_texts_lose_their_blanks_and_take_normal_form(tables):
    tables["queries"][0]["text"] = "\u00a0red mug\t"
    tables["items"][0] |= {"title": "Cafe\u0301 mug ", "category_path": ["Home ", "Kitchen"], "brand": "Ac\u0327me"}
    tables["items"][1]["description"] = "\n A hat"
    tables["judgments"][0]["split"] = "test "
    dataset, counts = mended(tables)
    assert counts == [
        ("queries", "text", "blanks around a text", 1),
        ("items", "title", "blanks around a text", 1),
        ("items", "title", "text not in NFC", 1),
        ("items", "category_path", "blanks around a text", 1),
        ("items", "description", "blanks around a text", 1),
        ("items", "brand", "text not in NFC", 1),
        ("judgments", "split", "blanks around a text", 1),
    ]
    assert dataset.queries[0]["text"] == "red mug"
    assert dataset.items[0]["title"] == "Café mug"
    assert dataset.items["category_path"][:] == [["Home", "Kitchen"], [], ["Home"]]
    assert dataset.items[1]["description"] == "A hat"
    assert dataset.items[0]["brand"] == "A\u00e7me"
    assert dataset.problems() == []


def test_ids_are_mended_with_all_that_refer_to_them(tables):
    tables["queries"][0]["query_id"] = " q1"
    tables["queries"][1]["source_query_id"] = "q1\n"
    tables["items"][2]["item_id"] = "cafe\u0301"
    tables["judgments"][0]["item_id"] = "café "
    tables["judgments"][1]["item_id"] = "cafe\u0301 "
    tables["engagement"] = [{"query_id": "q1 ", "item_id": "a", "impressions": 5, "clicks": 1}]
    dataset, counts = mended(tables)
    assert counts == [
        ("queries", "query_id", "blanks around an id", 1),
        ("queries", "source_query_id", "blanks around an id", 1),
        ("items", "item_id", "id not in NFC", 1),
        ("judgments", "item_id", "blanks around an id", 2),
        ("judgments", "item_id", "id not in NFC", 1),
        ("engagement", "query_id", "blanks around an id", 1),
    ]
    assert dataset.queries["query_id"][:] == ["q1", "q2"]
    assert dataset.judgments["item_id"][:] == ["café", "café", "a", "b"]
    assert dataset.problems() == []


def test_ids_that_would_become_one_are_left_and_reported(tables):
    tables["items"][0]["item_id"] = "c "
    tables["judgments"][2]["item_id"] = "c "
    tables["judgments"][3]["item_id"] = " c"  # may mean either
    dataset, counts = mended(tables)
    assert counts == []
    found = [(p.rule, p.where, p.row) for p in dataset.problems()]
    assert found == [("look-alike ids", "items", 1), ("unknown id", "judgments", 4)]


def test_an_unknown_reference_and_an_empty_id_are_left(tables):
    tables["judgments"][0]["item_id"] = "z "
    tables["items"].append({"item_id": "  ", "title": "x"})
    dataset, counts = mended(tables)
    assert counts == []
    assert [p.rule for p in dataset.problems()] == ["empty id", "unknown id"]


def test_rows_that_are_equal_in_all_are_dropped_and_no_others(tables):
    tables["queries"].append(dict(tables["queries"][0]))
    tables["items"].append(dict(tables["items"][0]))
    tables["items"].append({**tables["items"][0], "category_path": ["Home"]})
    judgment = tables["judgments"][2]
    tables["judgments"] += [dict(judgment), {**judgment, "item_id": "a "}, {**judgment, "grade": 0}]
    dataset, counts = mended(tables)
    assert counts == [
        ("queries", None, "duplicate row", 1),
        ("items", None, "duplicate row", 1),
        ("judgments", "item_id", "blanks around an id", 1),
        ("judgments", None, "duplicate row", 2),
    ]
    assert [(p.rule, p.where, p.row) for p in dataset.problems()] == [
        ("repeated id", "items", 4), ("contradicting pair", "judgments", 5)
    ]  # fmt: skip


def test_nothing_mendable_is_left(tables):
    tables["items"][0]["title"] = " e\u0301"
    tables["judgments"].append(dict(tables["judgments"][0]))
    dataset, _ = mended(tables)
    rules = {p.rule for p in dataset.problems() + find_notices(dataset)}
    assert not rules & {"duplicate row", "blanks around a text", "text not in NFC"}


# few letters, so that ids and rows collide; blanks of several scripts and marks in every order
_odd = st.text(st.sampled_from(list("ae \u00a0\u2000\u3000\t\u0301\u0323\u00e9\u1e21\u212b\u1100\u1161\u09c7\u09be")), max_size=4)  # fmt: skip  # noqa: E501
_text = _odd | st.text(max_size=5)
_key = st.sampled_from(["a", "a ", " a", "b", "\u00e9", "e\u0301", "e\u0301 ", "  "])


@settings(deadline=None, max_examples=80)
@given(
    queries=st.lists(st.tuples(_key, _text), min_size=1, max_size=5),
    items=st.lists(st.tuples(_key, _text, st.lists(_text, max_size=2), st.none() | _text), min_size=1, max_size=5),
    judgments=st.lists(st.tuples(_key, _key, st.integers(0, 1)), max_size=6),
)
def test_mending_twice_is_mending_once(queries, items, judgments):
    dataset = GradedDataset.from_tables(
        [{"query_id": q, "text": t} for q, t in queries],
        [{"item_id": i, "title": t, "category_path": c, "brand": b} for i, t, c, b in items],
        [{"query_id": q, "item_id": i, "grade": g} for q, i, g in judgments],
    )
    once, counts = mend(dataset)
    twice, again = mend(once)
    assert twice is once
    assert again == []
    for column in ("text", "query_id"):
        values = once.queries[column][:]
        assert len(values) == len(queries) - sum(
            c.n_mended for c in counts if (c.table, c.column) == ("queries", None)
        )
    assert all(unicodedata.is_normalized("NFC", title) for title in once.items["title"][:])
    ids = set(dataset.items["item_id"][:])
    assert len(set(once.items["item_id"][:])) == len(ids)  # no two ids became one
    changed = sum(c.n_mended for c in counts)
    assert (once.fingerprint == dataset.fingerprint) == (changed == 0)
    if changed == 0:
        assert once is dataset


@pytest.mark.parametrize("n_rows", [120_000])
def test_only_what_is_odd_changes_in_a_long_table(n_rows):
    titles = [f"item {i}" for i in range(n_rows)]
    odd = [0, 49_999, 50_000, n_rows - 1]
    for row in odd:
        titles[row] += " "
    dataset = GradedDataset.from_tables(
        {"query_id": ["q"], "text": ["x"]},
        {"item_id": list(map(str, range(n_rows))), "title": titles},
        {"query_id": ["q", "q"], "item_id": ["0", "1"], "grade": [0, 1]},
    )
    after, counts = mend(dataset)
    assert [(c.column, c.n_mended) for c in counts] == [("title", len(odd))]
    assert after.items["title"][:] == [title.strip() for title in titles]
