"""Each fault alone: one malformed row gives exactly one problem, with its table, row and column."""

from __future__ import annotations

from typing import Any

import pytest

from mr_st.data import GradedDataset
from mr_st.data.validation import RULES, find_notices, find_problems, group_problems
from mr_st.data.validation_locales import find_locale_fault, language_of
from mr_st.errors import DataError

ENGAGEMENT = {"query_id": "q1", "item_id": "a", "impressions": 5, "clicks": 1}


def set_value(table: str, row: int, column: str, value: Any):
    return lambda tables: tables[table][row].update({column: value})


def add(table: str, row: dict[str, Any]):
    return lambda tables: tables[table].append(row)


def repeat(table: str, row: int, **changed: Any):
    return lambda tables: tables[table].append({**tables[table][row], **changed})


def rename(table: str, row: int, column: str, value: str):
    """Give a row another id, in the judgments too."""

    def change(tables):
        old, tables[table][row][column] = tables[table][row][column], value
        for judgment in tables["judgments"]:
            if judgment[column] == old:
                judgment[column] = value

    return change


def engagement(**counts: int):
    return lambda tables: tables.update(engagement=[ENGAGEMENT | counts])


FAULTS = {
    "grade above the scale": (set_value("judgments", 1, "grade", 3), "judgments", 2, "grade", "outside the scale"),
    "grade below the scale": (set_value("judgments", 1, "grade", -1), "judgments", 2, "grade", "grade -1 is outside"),
    "null grade": (set_value("judgments", 3, "grade", None), "judgments", 4, "grade", "null"),
    "unknown item": (set_value("judgments", 2, "item_id", "z"), "judgments", 3, "item_id", "'z' is not in items"),
    "unknown query": (set_value("judgments", 0, "query_id", "z"), "judgments", 1, "query_id", "'z' is not in queries"),
    "unknown split": (set_value("judgments", 0, "split", "valid"), "judgments", 1, "split", "'valid' is no split"),
    "null split": (set_value("judgments", 0, "split", None), "judgments", 1, "split", "null"),
    "confidence above 1": (set_value("judgments", 0, "confidence", 1.5), "judgments", 1, "confidence", "1.5 is out"),
    "confidence below 0": (set_value("judgments", 0, "confidence", -0.1), "judgments", 1, "confidence", "outside"),
    "confidence is no number": (
        set_value("judgments", 0, "confidence", float("nan")), "judgments", 1, "confidence", "nan is outside 0..1"
    ),
    "contradicting pair": (
        add("judgments", {"query_id": "q1", "item_id": "a", "grade": 0}), "judgments", 5, "grade",
        "the pair (q1, a) stands in row 3 already, with grade 2 there and 0 here",
    ),
    "repeated pair": (
        add("judgments", {"query_id": "q1", "item_id": "a", "grade": 2, "split": "test"}), "judgments", 5, "grade",
        "the pair (q1, a) stands in row 3 already",
    ),
    "pair in two splits": (
        repeat("judgments", 2, split="test"), "judgments", 5, "grade", "row 3 already, in train there and test here"
    ),
    "pair judged twice": (
        repeat("judgments", 2, source="llm"), "judgments", 5, "grade", "row 3 already, with other values beside it"
    ),
    "duplicate judgment": (
        repeat("judgments", 2), "judgments", 5, "grade", "stands in row 3 already, with the same values"
    ),
    "duplicate query": (
        repeat("queries", 0), "queries", 3, "query_id", "'q1' stands in row 1 already, with the same values"
    ),
    "duplicate item": (
        repeat("items", 0), "items", 4, "item_id", "'a' stands in row 1 already, with the same values"
    ),
    "item that differs in its path only": (
        repeat("items", 0, category_path=["Home"]), "items", 4, "item_id", "'a' stands in row 1 already"
    ),
    "blank before an id": (rename("items", 1, "item_id", " b"), "items", 2, "item_id", "blanks around the id ' b'"),
    "line break after an id": (
        rename("queries", 1, "query_id", "q2\r\n"), "queries", 2, "query_id", r"blanks around the id 'q2\r\n'"
    ),
    "id not in NFC": (
        rename("items", 1, "item_id", "cafe\u0301"), "items", 2, "item_id", "is not in Unicode normal form C"
    ),
    "look-alike ids": (add("items", {"item_id": "a ", "title": "x"}), "items", 4, "item_id", "'a ' differs from"),
    "ids that look alike in NFC": (
        lambda tables: tables["items"].extend(
            [{"item_id": "\u00e9", "title": "x"}, {"item_id": "e\u0301", "title": "x"}]
        ),
        "items", 5, "item_id", "differs from another id only by",
    ),
    "NUL in an id": (rename("items", 1, "item_id", "b\0"), "items", 2, "item_id", r"U+0000 in the id 'b\x00'"),
    "tab in an id": (rename("items", 1, "item_id", "b\tc"), "items", 2, "item_id", "U+0009 in the id"),
    "byte order mark in an id": (
        rename("queries", 1, "query_id", "\ufeffq2"), "queries", 2, "query_id", r"U+FEFF in the id '\ufeffq2'"
    ),
    "id in a wrong encoding": (rename("items", 1, "item_id", "caf\ufffd"), "items", 2, "item_id", "U+FFFD in the id"),
    "NUL in a title": (set_value("items", 1, "title", "Blue\0hat"), "items", 2, "title", r"U+0000 in 'Blue\x00hat'"),
    "NUL in a category path": (
        set_value("items", 0, "category_path", ["Home", "B\0", "C"]), "items", 1, "category_path", "U+0000"
    ),
    "huge description": (
        set_value("items", 1, "description", "x" * (2**20 + 1)), "items", 2, "description",
        "a text of 1,048,577 bytes where at most 1,048,576 are expected",
    ),
    "locale with an underscore": (
        set_value("queries", 0, "locale", "en_US"), "queries", 1, "locale", "'en_US' is no BCP-47 tag"
    ),
    "country for a locale": (set_value("items", 2, "locale", "us"), "items", 3, "locale", "'us' names a country"),
    "unknown language": (
        set_value("items", 2, "locale", "xx-US"), "items", 3, "locale", "'xx' is no language of ISO 639"
    ),
    "judgment of an id with a blank": (
        set_value("judgments", 2, "item_id", "a "), "judgments", 3, "item_id",
        "'a ' is not in items; 'a' is (--fix mends it)",
    ),
    "judgment of an id as a float": (
        lambda tables: (
            rename("items", 0, "item_id", "7")(tables), set_value("judgments", 2, "item_id", "7.0")(tables)
        ),
        "judgments", 3, "item_id", "'7.0' is not in items; '7' is (write both as whole numbers)",
    ),
    "query derived from itself": (
        set_value("queries", 1, "source_query_id", "q2"), "queries", 2, "source_query_id", "derived from itself"
    ),
    "infinite frequency": (
        set_value("queries", 0, "frequency", float("inf")), "queries", 1, "frequency", "inf where a number"
    ),
    "frequency is no number": (
        set_value("queries", 0, "frequency", float("nan")), "queries", 1, "frequency", "nan where a number"
    ),
    "more clicks than impressions": (
        engagement(clicks=6), "engagement", 1, "clicks", "6 where there are 5 impressions"
    ),
    "negative purchases": (engagement(purchases=-2), "engagement", 1, "purchases", "-2 is below 0"),
    "engagement that contradicts itself": (
        lambda tables: tables.update(engagement=[ENGAGEMENT, ENGAGEMENT | {"clicks": 2}]),
        "engagement", 2, "item_id", "row 1 already, with other values beside it",
    ),
    "repeated query id": (
        add("queries", {"query_id": "q1", "text": "x"}), "queries", 3, "query_id", "'q1' stands in row 1 already"
    ),
    "repeated item id": (
        add("items", {"item_id": "b", "title": "x"}), "items", 4, "item_id", "'b' stands in row 2 already"
    ),
    "empty item id": (add("items", {"item_id": " ", "title": "x"}), "items", 4, "item_id", "empty text"),
    "empty query": (set_value("queries", 1, "text", "  "), "queries", 2, "text", "the query is an empty text"),
    "blank of another script": (set_value("queries", 1, "text", "\u3000"), "queries", 2, "text", "empty text"),
    "null query": (set_value("queries", 1, "text", None), "queries", 2, "text", "null"),
    "null query id": (add("queries", {"query_id": None, "text": "x"}), "queries", 3, "query_id", "null"),
    "null locale": (set_value("queries", 0, "locale", None), "queries", 1, "locale", "null"),
    "negative frequency": (set_value("queries", 0, "frequency", -1.0), "queries", 1, "frequency", "from 0 up"),
    "unknown source query": (
        set_value("queries", 1, "source_query_id", "q9"), "queries", 2, "source_query_id", "'q9' is no query_id"
    ),
    "null title": (set_value("items", 2, "title", None), "items", 3, "title", "null"),
    "negative clicks": (
        lambda tables: tables.update(engagement=[ENGAGEMENT | {"clicks": -1}]), "engagement", 1, "clicks", "below 0"
    ),
    "engagement with an unknown item": (
        lambda tables: tables.update(engagement=[ENGAGEMENT | {"item_id": "z"}]), "engagement", 1, "item_id", "'z'"
    ),
    "repeated engagement": (
        lambda tables: tables.update(engagement=[ENGAGEMENT, ENGAGEMENT]), "engagement", 2, "item_id", "row 1 already"
    ),
}  # fmt: skip


NOTICES = {
    "blank before a query": (set_value("queries", 0, "text", " red mug"), "queries", 1, "text", "around ' red mug'"),
    "blank in a category path": (
        set_value("items", 2, "category_path", ["Home\u3000"]), "items", 3, "category_path", "blanks around"
    ),
    "brand of blanks": (set_value("items", 0, "brand", "  "), "items", 1, "brand", "blanks around '  '"),
    "title not in NFC": (
        set_value("items", 0, "title", "Cafe\u0301 mug"), "items", 1, "title", "is not in Unicode normal form C"
    ),
    "description not in NFC": (
        set_value("items", 1, "description", "\u212bngstr\u00f6m"), "items", 2, "description", "normal form C"
    ),
    "byte order mark in a title": (set_value("items", 0, "title", "\ufeffRed mug"), "items", 1, "title", "U+FEFF in"),
    "escape in a query": (set_value("queries", 0, "text", "red\x1b[31m"), "queries", 1, "text", r"U+001B in 'red\x1b"),
    "title in a wrong encoding": (set_value("items", 0, "title", "Caf\ufffd"), "items", 1, "title", "U+FFFD in"),
    "empty title": (set_value("items", 0, "title", " "), "items", 1, "title", "the title ' ' is empty"),
    "empty level": (set_value("items", 2, "category_path", ["Home", ""]), "items", 3, "category_path", "level '' is"),
    "ids 1 and 1.0": (
        lambda tables: tables["items"].extend([{"item_id": "1", "title": "x"}, {"item_id": "1.0", "title": "x"}]),
        "items", 5, "item_id", "'1.0' stands beside '1'",
    ),
    "unknown kind": (set_value("queries", 0, "kind", "guess"), "queries", 1, "kind", "'guess' is a kind that no part"),
    "unjudged query": (add("queries", {"query_id": "q3", "text": "x"}), "queries", 3, "query_id", "'q3' has no judg"),
    "pair of two languages": (
        set_value("items", 2, "locale", "fr-CA"), "judgments", 2, "item_id", "the query is en, the item fr"
    ),
    "carts without clicks": (engagement(add_to_carts=2), "engagement", 1, "add_to_carts", "2 where there are 1"),
    "purchases without carts": (
        engagement(add_to_carts=1, purchases=2), "engagement", 1, "purchases", "2 where there are 1 add_to_carts"
    ),
}  # fmt: skip


@pytest.fixture
def quiet_tables(tables):
    """The tables without anything to notice: no judged pair is of two languages."""
    tables["queries"][1]["locale"] = "und"
    return tables


@pytest.mark.parametrize("name", NOTICES)
def test_a_notice_is_no_problem(quiet_tables, name):
    change, where, row, column, what = NOTICES[name]
    change(quiet_tables)
    dataset = GradedDataset.from_tables(**quiet_tables)
    dataset.validate()
    notices = find_notices(dataset)
    assert [(p.where, p.row, p.column) for p in notices] == [(where, row, column)]
    assert what in notices[0].what
    assert "\n" not in str(notices[0])
    assert not RULES[notices[0].rule].is_error


def test_nothing_to_notice(quiet_tables):
    assert find_notices(GradedDataset.from_tables(**quiet_tables)) == []


def test_query_texts_that_repeat(quiet_tables):
    quiet_tables["queries"] += [
        {"query_id": "q3", "text": " Red MUG", "locale": "en-US"},  # q1's, and judged in train as q1 is
        {"query_id": "q4", "text": "hat"},
        {"query_id": "q5", "text": "hat"},  # judged in test
        {"query_id": "q6", "text": "hat", "locale": "de-DE"},  # of another locale: another query
    ]
    for query, split in (("q3", "train"), ("q4", "train"), ("q5", "test"), ("q6", "dev")):
        quiet_tables["judgments"].append({"query_id": query, "item_id": "a", "grade": 0, "split": split})
    quiet_tables["judgments"].remove(quiet_tables["judgments"][3])  # q1's in test
    found = find_notices(GradedDataset.from_tables(**quiet_tables))
    assert [(p.rule, p.row) for p in found] == [
        ("blanks around a text", 3), ("query text in two splits", 5), ("repeated query", 3)
    ]  # fmt: skip
    assert found[1].what == "'hat' is the text of 'q4' too; judged in test, train"


def test_a_dataset_of_one_grade(quiet_tables):
    for judgment in quiet_tables["judgments"]:
        judgment["grade"] = 1
    found = find_notices(GradedDataset.from_tables(**quiet_tables))
    assert [(p.rule, p.what) for p in found] == [
        ("one grade only", "all 4 judgments have the grade 1; nothing can be learnt from them")
    ]


def test_queries_that_are_derived_from_each_other(tables):
    tables["queries"][0]["source_query_id"] = "q2"
    tables["queries"] += [
        {"query_id": "q3", "text": "x", "source_query_id": "q1"},  # leads into the circle, is not in it
        {"query_id": "q4", "text": "y", "source_query_id": "q3"},
    ]
    problems = GradedDataset.from_tables(**tables).problems()
    assert [(p.rule, p.row) for p in problems] == [("circular source", 1), ("circular source", 2)]
    assert "derived from 'q2', which is derived from it" in problems[0].what


def test_each_rule_is_shown_by_an_input_that_breaks_only_it(tables):
    """The rules of the tables above, and those that tests of their own show."""
    shown = set()
    for faults, find in ((FAULTS, find_problems), (NOTICES, find_notices)):
        for change, *_ in faults.values():
            fresh = {name: [dict(row) for row in rows] for name, rows in tables.items()}
            fresh["queries"][1]["locale"] = "und"
            change(fresh)
            shown.update(problem.rule for problem in find(GradedDataset.from_tables(**fresh)))
    elsewhere = {"empty table", "circular source", "query text in two splits", "repeated query", "one grade only"}
    assert shown | elsewhere == set(RULES)
    assert {name for name, rule in RULES.items() if rule.is_mendable} == {
        "duplicate row", "blanks around an id", "id not in NFC", "blanks around a text", "text not in NFC"
    }  # fmt: skip


def test_the_limit_of_a_field_can_be_set(tables):
    tables["queries"][0]["text"] = "é" * 10
    dataset = GradedDataset.from_tables(**tables)
    assert find_problems(dataset, max_field_bytes=20) == []
    found = find_problems(dataset, max_field_bytes=19)
    assert [(p.rule, p.where, p.row, p.column) for p in found] == [("huge field", "queries", 1, "text")]


def test_problems_are_grouped_and_counted_in_full(tables):
    tables["judgments"] += [{"query_id": "q1", "item_id": f"z{i}", "grade": 0} for i in range(1500)]
    tables["judgments"][0]["grade"] = 9
    groups = group_problems(GradedDataset.from_tables(**tables).problems())
    assert [(g.where, g.column, g.rule, g.n_faults) for g in groups] == [
        ("judgments", "grade", "grade outside the scale", 1), ("judgments", "item_id", "unknown id", 1500)
    ]  # fmt: skip
    assert [p.row for p in groups[1].problems[:2]] == [5, 6]
    assert len(groups[1].problems) == 1001


@pytest.mark.parametrize(
    "tag", ["en", "en-US", "zh-Hant-TW", "es-419", "de-DE-1996", "sl-rozaj-biske-1994", "und", "mul", "yue", "zh-yue",
            "x-shop", "en-x-shop", "en-US-u-ca-gregory", "JA-jp"],
)  # fmt: skip
def test_locales_that_pass(tag):
    assert find_locale_fault(tag) is None


@pytest.mark.parametrize(
    ("tag", "rule", "mend"),
    [
        ("", "ill-formed locale", "write a BCP-47 tag"),
        ("en--US", "ill-formed locale", "write a BCP-47 tag"),
        ("en-US-", "ill-formed locale", "write a BCP-47 tag"),
        ("e", "ill-formed locale", "write a BCP-47 tag"),
        ("en-u", "ill-formed locale", "write a BCP-47 tag"),
        ("én", "ill-formed locale", "write a BCP-47 tag"),
        ("pt_BR ", "ill-formed locale", "write pt-BR"),
        ("jp", "unknown locale", "write ja-JP"),
        ("english", "unknown locale", "ISO 639"),
        ("qq-US", "unknown locale", "ISO 639"),
    ],
)
def test_locales_that_do_not(tag, rule, mend):
    fault = find_locale_fault(tag)
    assert fault is not None
    assert fault[0] == rule
    assert mend in fault[2]


def test_languages():
    assert [language_of(tag) for tag in ("en-GB", "JA-jp", "und", "und-Latn", "x-shop")] == [
        "en", "ja", None, None, None
    ]  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_problem(tables, name):
    change, where, row, column, what = FAULTS[name]
    change(tables)
    problems = GradedDataset.from_tables(**tables).problems()
    assert [(p.where, p.row, p.column) for p in problems] == [(where, row, column)]
    assert what in problems[0].what
    assert problems[0].mend
    assert "\n" not in str(problems[0])


@pytest.mark.parametrize("table", ["queries", "judgments"])
def test_empty_tables(tables, table):
    tables[table] = []
    problems = GradedDataset.from_tables(**tables).problems()
    assert (problems[0].where, problems[0].what) == (table, "no rows")


def test_an_empty_catalogue_is_said_first(tables):
    tables["items"] = []
    problems = GradedDataset.from_tables(**tables).problems()
    assert str(problems[0]) == "items: the catalogue is empty; give the items that can be searched"
    assert len(problems) == 1 + len(tables["judgments"])


def test_a_null_level_in_a_category_path(tables):
    import polars as pl

    tables["items"] = pl.DataFrame(tables["items"]).with_columns(
        pl.col("locale").fill_null("und"),
        pl.Series("category_path", [["Home", None], [], None], dtype=pl.List(pl.String)),
    )
    problems = GradedDataset.from_tables(**tables).problems()
    assert [(p.row, p.column) for p in problems] == [(1, "category_path")]


def test_all_faults_are_found_in_one_pass(tables):
    names = [
        "grade above the scale", "unknown item", "unknown query", "null query", "null title", "repeated item id"
    ]  # fmt: skip
    for name in names:
        FAULTS[name][0](tables)
    dataset = GradedDataset.from_tables(**tables)
    found = {(p.where, p.row, p.column) for p in dataset.problems()}
    assert found == {FAULTS[name][1:4] for name in names}
    with pytest.raises(DataError, match="and 5 more") as error:
        dataset.validate()
    assert len(error.value.problems) == 6


def test_a_fault_in_very_many_rows_is_listed_up_to_a_limit_and_counted(tables):
    tables["judgments"] = [{"query_id": "q1", "item_id": "z", "grade": 0}] + [
        {"query_id": f"x{i}", "item_id": "a", "grade": 0} for i in range(1500)
    ]
    problems = GradedDataset.from_tables(**tables).problems()
    assert sum(p.column == "query_id" and p.row is not None for p in problems) == 1000
    assert any(p.row is None and p.what == "500 more faults like these" for p in problems)


def test_a_file_is_called_by_its_name(tables):
    set_value("judgments", 1, "grade", 3)(tables)
    problems = find_problems(GradedDataset.from_tables(**tables), suffix=".parquet")
    assert str(problems[0]).startswith("judgments.parquet, row 2, column grade: grade 3 is outside the scale 0..2 (")
