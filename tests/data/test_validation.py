"""Each fault alone: one malformed row gives exactly one problem, with its table, row and column."""

from __future__ import annotations

from typing import Any

import pytest

from mr_st.data import GradedDataset
from mr_st.data.validation import find_problems
from mr_st.errors import DataError

ENGAGEMENT = {"query_id": "q1", "item_id": "a", "impressions": 5, "clicks": 1}


def set_value(table: str, row: int, column: str, value: Any):
    return lambda tables: tables[table][row].update({column: value})


def add(table: str, row: dict[str, Any]):
    return lambda tables: tables[table].append(row)


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
