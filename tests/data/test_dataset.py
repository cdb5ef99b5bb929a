import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import Dataset

from mr_st.data import GradedDataset, PairTable
from mr_st.data.schema import arrow_schema, arrow_table
from mr_st.errors import DataError, UsageError
from mr_st.grades import ESCI_FOUR_GRADES


def test_optional_columns_are_filled_and_types_are_those_of_the_design(dataset):
    for table in ("queries", "items", "judgments"):
        assert arrow_table(getattr(dataset, table)).schema.equals(arrow_schema(table))
    assert dataset.queries[0] == {
        "query_id": "q1", "text": "red mug", "locale": "en-US", "frequency": 3.0, "kind": "organic",
        "source_query_id": None,
    }  # fmt: skip
    assert dataset.items[1] == {
        "item_id": "b", "title": "Blue hat", "category_path": [], "description": "A hat", "brand": None,
        "color": "blue", "locale": "und",
    }  # fmt: skip
    assert dataset.judgments[2] == {
        "query_id": "q1", "item_id": "a", "grade": 2, "split": "train", "source": "human", "confidence": None
    }  # fmt: skip
    assert dataset.problems() == []


@pytest.mark.parametrize(
    "convert",
    [
        pl.DataFrame,
        lambda rows: pl.DataFrame(rows).lazy(),
        pd.DataFrame,
        pa.Table.from_pylist,
        lambda rows: {key: [row[key] for row in rows] for key in rows[0]},
        Dataset.from_list,
        lambda rows: Dataset.from_list([*rows, rows[0]]).select(range(len(rows))),
    ],
    ids=["polars", "lazy", "pandas", "arrow", "dict of lists", "datasets", "selected datasets"],
)
def test_every_kind_of_table_gives_the_same_dataset(convert):
    queries = [{"query_id": 7, "text": "red mug"}, {"query_id": 8, "text": "hat"}]
    items = [{"item_id": "a", "title": "Red mug", "category_path": ["Home"]}]
    judgments = [{"query_id": 7, "item_id": "a", "grade": 2}, {"query_id": 8, "item_id": "a", "grade": 0}]
    expected = GradedDataset.from_tables(queries, items, judgments)
    made = GradedDataset.from_tables(convert(queries), convert(items), convert(judgments))
    assert made.queries["query_id"][:] == ["7", "8"]
    assert made.fingerprint == expected.fingerprint
    made.validate()


def test_all_type_faults_of_all_tables_come_at_once():
    with pytest.raises(DataError) as error:
        GradedDataset.from_tables(
            queries=[{"query_id": 1.5, "text": "x"}, {"query_id": "q", "text": 3}],
            items=pl.DataFrame({"item_id": ["a"], "category_path": ["Home > Kitchen"]}),
            judgments=pl.DataFrame({"query_id": ["q"] * 3, "item_id": ["a"] * 3, "grade": [1.0, 1.5, 300.0]}),
        )
    places = [(p.where, p.row, p.column) for p in error.value.problems]
    assert places == [
        ("queries", 1, "query_id"), ("queries", 2, "text"), ("items", None, "title"), ("items", None, "category_path"),
        ("judgments", 2, "grade"), ("judgments", 3, "grade"),
    ]  # fmt: skip
    assert "and 5 more" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_float_id_column_a_boolean_grade_and_a_text_grade_are_refused():
    good = {"queries": [{"query_id": "q", "text": "x"}], "items": [{"item_id": "a", "title": "A"}]}
    for grade in (pl.Series([True]), pl.Series(["2"])):
        with pytest.raises(DataError, match="judgments, column grade"):
            GradedDataset.from_tables(
                **good, judgments=pl.DataFrame({"query_id": ["q"], "item_id": ["a"], "grade": grade})
            )
    with pytest.raises(DataError, match="judgments, column query_id"):
        GradedDataset.from_tables(**good, judgments=pl.DataFrame({"query_id": [1.0], "item_id": ["a"], "grade": [1]}))


def test_what_is_no_table_is_refused():
    with pytest.raises(UsageError, match="int is no table"):
        GradedDataset.from_tables(3, [], [])


def test_columns_that_are_not_used_are_named(caplog):
    GradedDataset.from_tables([{"query_id": "q", "text": "x", "txet": 1}], [], [])
    assert "queries: columns that are not used: txet" in caplog.text


def test_judged_pairs_are_rows_of_the_tables(dataset):
    pairs = dataset.judged_pairs()
    triples = list(zip(pairs.query_rows.tolist(), pairs.item_rows.tolist(), pairs.grades.tolist(), strict=True))
    assert triples == [(0, 0, 2), (0, 1, 0), (0, 2, 1), (1, 2, 1)]
    assert dataset.judged_pairs("test").item_rows.tolist() == [1, 2]
    with pytest.raises(UsageError, match="no split 'dev'; the judgments have train, test"):
        dataset.judged_pairs("dev")


def test_judged_pairs_refuse_a_judgment_of_an_unknown_item_or_grade(tables):
    tables["judgments"][0]["item_id"] = "nowhere"
    with pytest.raises(DataError, match="row 1, column item_id: 'nowhere' is not in items"):
        GradedDataset.from_tables(**tables).judged_pairs()
    tables["judgments"][0].update(item_id="c", grade=3)
    with pytest.raises(DataError, match="row 1, column grade: grade 3 is outside the scale"):
        GradedDataset.from_tables(**tables).judged_pairs()
    GradedDataset.from_tables(**tables, scale=ESCI_FOUR_GRADES).judged_pairs()


def test_a_split_keeps_its_queries_and_all_items(tables):
    engagement = [
        {"query_id": q, "item_id": "a", "impressions": 5, "clicks": 1} for q in ("q1", "q2")
    ]  # fmt: skip
    dataset = GradedDataset.from_tables(**tables, engagement=engagement, name="tiny")
    train = dataset.split("train")
    assert dataset.splits == ["train", "test"]
    assert train.queries["query_id"][:] == ["q1"]
    assert train.items is dataset.items
    assert train.judgments["item_id"][:] == ["c", "a"]
    assert train.engagement["query_id"][:] == ["q1"]
    assert (train.splits, train.name) == (["train"], "tiny")
    with pytest.raises(UsageError, match="no split 'validation'"):
        dataset.split("validation")


def test_texts_and_pair_tables(dataset):
    assert dataset.query_texts() == ["red mug", "taza roja"]
    assert dataset.item_texts() == ["Red mug. Category: Home > Kitchen", "Blue hat", "Red cup. Category: Home"]
    assert dataset.item_texts(levels=0, max_chars=3) == ["Red", "Blu", "Red"]
    assert dataset.pair_table(np.array([1, 0]), [2, 2], item_text_levels=0) == PairTable(
        ["q2", "q1"], ["c", "c"], ["taza roja", "red mug"], ["Red cup", "Red cup"], ["es-ES", "en-US"]
    )
    assert len(dataset.pair_table([], [])) == 0


def test_rows_of_ids(dataset):
    assert dataset.item_rows(["c", "a"]).tolist() == [2, 0]
    with pytest.raises(UsageError, match="no query has the id 'q9'"):
        dataset.query_rows(["q1", "q9"])


def test_the_fingerprint_is_of_the_content(dataset, tables):
    same = GradedDataset.from_tables(**tables, name="other", source={})
    assert same.fingerprint == dataset.fingerprint
    assert GradedDataset.from_tables(**tables, scale=ESCI_FOUR_GRADES).fingerprint != dataset.fingerprint
    for table, column, value in (
        ("queries", "text", "red mugs"), ("items", "category_path", ["Home", "Kitchen Mugs"]),
        ("judgments", "grade", 0), ("judgments", "confidence", None), ("items", "brand", ""),
    ):  # fmt: skip
        before = tables[table][0].get(column)
        tables[table][0][column] = value
        assert GradedDataset.from_tables(**tables).fingerprint != dataset.fingerprint, (table, column)
        tables[table][0][column] = before


def test_describe(dataset):
    figures = dataset.describe()
    assert figures["counts"] == {
        "queries": 2, "items": 3, "judgments": 4, "engagement": 0, "items_judged": 3, "items_without_category": 1
    }  # fmt: skip
    assert figures["splits"]["train"]["labels"] == {"irrelevant": 0, "partial": 1, "relevant": 1}
    assert figures["splits"]["test"]["label_shares"] == {"irrelevant": 0.5, "partial": 0.5, "relevant": 0.0}
    assert figures["splits"]["test"]["queries_with_one_grade"] == 2
    assert figures["splits"]["train"]["judged_per_query"] == {"min": 2.0, "median": 2.0, "mean": 2.0, "max": 2.0}
    assert figures["item_locales"] == {"und": 2, "en-US": 1}
    assert figures["query_characters"]["max"] == 9.0
