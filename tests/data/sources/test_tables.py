"""Anybody's tables: every form, mapped columns and grades, one joined file, splits given or drawn."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.data.sources.joined import content_id
from mr_st.data.sources.tables import load_table
from mr_st.errors import DataError, UsageError

SETTINGS = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
LABEL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=5)
ROWS: dict[str, list[dict[str, Any]]] = {
    "queries": [
        {"query_id": "007", "text": 'red "mug"', "locale": "en-US", "frequency": 3.5},
        {"query_id": "7", "text": "タザ\n赤", "locale": "ja-JP", "frequency": None},
    ],
    "items": [
        {"item_id": "1e3", "title": "Red mug", "category_path": ["Home", "Mugs"], "brand": "Acme"},
        {"item_id": "01", "title": "Blue, hat", "category_path": [], "brand": None},
    ],
    "judgments": [
        {"query_id": "007", "item_id": "1e3", "grade": 2, "split": "train", "confidence": 0.5},
        {"query_id": "007", "item_id": "01", "grade": 0, "split": "test", "confidence": None},
        {"query_id": "7", "item_id": "01", "grade": 1, "split": "dev", "confidence": 1.0},
    ],
    "engagement": [{"query_id": "7", "item_id": "01", "impressions": 12, "clicks": 3}],
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows in the form that the path's ending names."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
        return
    if kind in ("jsonl", "ndjson"):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if kind == "tsv" else ",")
        writer.writerow(rows[0])
        for row in rows:
            cells = [" > ".join(v) if isinstance(v, list) else "" if v is None else v for v in row.values()]
            writer.writerow(cells)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "ndjson", "parquet", "csv.gz", "tsv.gz", "jsonl.gz"])
def test_every_form_says_the_same(tmp_path, suffix):
    for table, rows in ROWS.items():
        write(tmp_path / f"{table}.{suffix}", rows)
    dataset = GradedDataset.load(tmp_path)
    assert dataset.fingerprint == GradedDataset.from_tables(**ROWS).fingerprint
    assert dataset.queries["query_id"][:] == ["007", "7"]
    assert dataset.items["item_id"][:] == ["1e3", "01"]
    assert dataset.source["name"] == "table"
    assert GradedDataset.load(dataset.save(tmp_path / "saved")).fingerprint == dataset.fingerprint


def test_forms_mix_and_files_are_named_one_by_one(tmp_path):
    files = {"queries": "q.tsv", "items": "i.parquet", "judgments": "j.csv.gz", "engagement": "e.jsonl"}
    for table, file in files.items():
        write(tmp_path / file, ROWS[table])
    dataset = GradedDataset.load("table", **{table: str(tmp_path / file) for table, file in files.items()})
    assert dataset.fingerprint == GradedDataset.from_tables(**ROWS).fingerprint
    assert dataset.name == "j"
    assert dataset.source["files"] == files
    assert str(tmp_path) not in json.dumps(dataset.source)  # a dataset does not tell where it was made


def test_whole_numbers_are_ids_too(tmp_path):
    (tmp_path / "queries.jsonl").write_text('{"query_id": 7, "text": "mug"}')
    write(tmp_path / "items.parquet", [{"item_id": 12, "title": "Mug"}])
    (tmp_path / "judgments.csv").write_text("query_id,item_id,grade\n7,12,2\n")
    dataset = GradedDataset.load(tmp_path)
    assert (dataset.queries["query_id"][:], dataset.items["item_id"][:]) == (["7"], ["12"])


# ---- one joined file ------------------------------------------------------------------------------------------------

JOINED = """search,product,maker,verdict,lang
red mug,Red mug,Acme,Exact,en
red mug,Blue hat,,Irrelevant,en
tasse,Red mug,Acme,Partial,fr
"""
OPTIONS: dict[str, Any] = {
    "columns": {"text": "search", "title": "product", "brand": "maker", "grade": "verdict", "locale": "lang"},
    "grade_map": {"Exact": 2, "Partial": 1, "Irrelevant": 0},
    "dev_share": 0,
    "test_share": 0,
}


def test_a_joined_file_without_ids_gets_them_from_its_content(tmp_path):
    (tmp_path / "shop.csv").write_text(JOINED)
    dataset = GradedDataset.load(tmp_path / "shop.csv", **OPTIONS)
    mug, tasse = content_id("red mug", "en"), content_id("tasse", "fr")
    english, french = (
        content_id("Red mug", [], None, "Acme", None, "en"),
        content_id("Red mug", [], None, "Acme", None, "fr"),
    )
    hat = content_id("Blue hat", [], None, None, None, "en")
    assert dataset.queries["query_id"][:] == [mug, tasse]
    assert dataset.queries["text"][:] == ["red mug", "tasse"]
    assert dataset.items["item_id"][:] == [english, hat, french]
    assert dataset.items["brand"][:] == ["Acme", None, "Acme"]
    judgments = dataset.judgments
    assert list(zip(judgments["query_id"][:], judgments["item_id"][:], judgments["grade"][:], strict=True)) == [
        (mug, english, 2), (mug, hat, 0), (tasse, french, 1),
    ]  # fmt: skip
    options = OPTIONS | {"columns": {key: their for key, their in OPTIONS["columns"].items() if key != "locale"}}
    options["columns"]["queries.locale"] = "lang"  # then the two mugs are one item, of no known locale
    assert len(GradedDataset.load(tmp_path / "shop.csv", **options).items) == 2


def test_a_joined_file_with_ids(tmp_path):
    (tmp_path / "shop.csv").write_text(
        "query_id,text,item_id,title,grade\nq,mug,1,Red mug,2\nq,mug,2,Hat,0\nr,hat,2,Hat,2\n"
    )
    dataset = GradedDataset.load(tmp_path / "shop.csv")
    assert dataset.queries["query_id"][:] == ["q", "r"]
    assert dataset.items["title"][:] == ["Red mug", "Hat"]
    assert dataset.judgments["item_id"][:] == ["1", "2", "2"]


def test_an_id_that_stands_for_two_texts_is_named_with_both_rows(tmp_path):
    (tmp_path / "shop.csv").write_text(
        "query_id,text,item_id,title,category_path,grade\n"
        "q,mug,1,Mug,Home,2\nq,mugs,2,Hat,,0\nr,hat,1,Mug,Shop,0\nr,hat,2,Hut,,2\nq,mug,3,Box,,9\n"
    )
    with pytest.raises(DataError) as error:
        GradedDataset.load(tmp_path / "shop.csv")
    assert [(p.row, p.column, p.what) for p in error.value.problems] == [
        (2, "text", "query_id 'q' has another value here than in row 1"),
        (4, "title", "item_id '2' has another value here than in row 2"),
        (3, "category_path", "item_id '1' has another value here than in row 1"),
        (5, "grade", "grade 9 is outside the scale 0..2 (irrelevant, partial, relevant)"),
    ]


def test_faults_of_gathered_rows_name_the_row_of_the_file(tmp_path):
    (tmp_path / "shop.csv").write_text(
        "search,title,grade,lang\nmug,Mug,2,en\nmug,Hat,0,en\n ,Mug,1,en\nhat,Hat,2,us\nmug,Mug,1,en\n"
    )
    with pytest.raises(DataError) as error:
        GradedDataset.load(tmp_path / "shop.csv", columns={"text": "search", "locale": "lang"})
    found = {(p.where, p.row, p.column) for p in error.value.problems}
    assert found == {("shop.csv", 3, "search"), ("shop.csv", 4, "lang"), ("shop.csv", 5, "grade")}
    assert "stands in row 1 already, with grade 2 there and 1 here" in str(error.value.problems[-1])


def test_a_joined_file_of_lists_and_nulls(tmp_path):
    rows = [
        {"query_id": i % 2, "text": "xy"[i % 2], "item_id": i % 3, "title": "t", "category_path": path, "brand": None,
         "grade": 0} for i, path in enumerate([["A", "B"], [], ["C"]] * 2)
    ]  # fmt: skip
    write(tmp_path / "shop.jsonl", rows)
    dataset = GradedDataset.load(tmp_path / "shop.jsonl")
    assert dataset.items["category_path"][:] == [["A", "B"], [], ["C"]]
    rows[5]["category_path"] = ["C", "D"]
    write(tmp_path / "shop.parquet", rows)
    with pytest.raises(
        DataError, match="row 6, column category_path: item_id '2' has another value here than in row 3"
    ):
        GradedDataset.load(tmp_path / "shop.parquet")


# ---- grades ---------------------------------------------------------------------------------------------------------


def judged(folder: Path, *labels: str, **options: Any) -> list[int]:
    """Grades that labels become."""
    lines = "".join(f"q,mug,{i},Item,{label}\n" for i, label in enumerate(labels))
    (folder / "t.csv").write_text("query_id,text,item_id,title,grade\n" + lines)
    return GradedDataset.load(folder / "t.csv", **options).judgments["grade"][:]


def test_numbers_are_grades_where_the_scale_has_them(tmp_path):
    assert judged(tmp_path, "2", "0", "+1", "1.0") == [2, 0, 1, 1]
    assert judged(tmp_path, "4", "0", grades=list("abcde")) == [4, 0]
    for label in ("1.5", "1e0", "x", "1,000", "1 000", "٢", " 1", "0x1", "True"):
        with pytest.raises(DataError, match="is no grade of the scale"):
            judged(tmp_path, "2", f'"{label}"')


@SETTINGS
@given(labels=st.lists(LABEL, min_size=1, max_size=6, unique=True),
       picks=st.lists(st.integers(0, 5), min_size=1, max_size=12), data=st.data())  # fmt: skip
def test_any_labels_map_to_any_grades(tmp_path, labels, picks, data):
    grade_map = {label: data.draw(st.integers(0, 2)) for label in labels}
    rows = [labels[pick % len(labels)] for pick in picks]
    with open(tmp_path / "t.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "title", "grade"])
        writer.writerows(["mug", f"Item {i}", label] for i, label in enumerate(rows))
    dataset = load_table(tmp_path / "t.csv", grade_map=grade_map)
    assert dataset.judgments["grade"][:] == [grade_map[label] for label in rows]
    missing = {label: grade for label, grade in grade_map.items() if label != rows[0]} or {rows[0] + "x": 0}
    with pytest.raises(DataError) as error:
        load_table(tmp_path / "t.csv", grade_map=missing)
    problem = error.value.problems[0]
    assert (problem.row, problem.column, problem.n_faults) == (1, "grade", rows.count(rows[0]))
    assert repr(rows[0]) in problem.what
    assert len(error.value.problems) == 1


def test_labels_that_are_numbers_map_as_they_are_written(tmp_path):
    assert judged(tmp_path, "1", "3", grade_map={1: 0, 3: 2}) == [0, 2]
    assert judged(tmp_path, "0.5", grade_map={0.5: 1}) == [1]
    write(tmp_path / "t.parquet", [{"text": "mug", "title": f"{i}", "grade": i / 2} for i in range(3)])
    assert load_table(tmp_path / "t.parquet", grade_map={0: 0, 0.5: 1, 1: 2}).judgments["grade"][:] == [0, 1, 2]


def test_a_map_that_misses_labels_names_each_once(tmp_path):
    with pytest.raises(DataError) as error:
        judged(tmp_path, "E", "S", "S", "C", "S", grade_map={"E": 2, "I": 0})
    assert [str(p) for p in error.value.problems] == [
        "t.csv, row 2, column grade: the label 'S' (3 times, first here) is not in the grade map (E, I); add it to "
        "grade_map",
        "t.csv, row 4, column grade: the label 'C' (once) is not in the grade map (E, I); add it to grade_map",
    ]


# ---- splits ---------------------------------------------------------------------------------------------------------


def queries_of(dataset: GradedDataset) -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for query, split in zip(dataset.judgments["query_id"][:], dataset.judgments["split"][:], strict=True):
        table.setdefault(split, set()).add(query)
    return table


@settings(SETTINGS, max_examples=12)
@given(n=st.integers(5, 40), seed=st.integers(0, 5), order=st.randoms(use_true_random=False))
def test_a_drawn_query_has_one_split_in_any_row_order(tmp_path, n, seed, order):
    rows = [f"q{i},mug {i},{j},Item {j},{(i + j) % 3}\n" for i in range(n) for j in range(3)]
    header = "query_id,text,item_id,title,grade\n"
    (tmp_path / "t.csv").write_text(header + "".join(rows))
    splits = queries_of(load_table(tmp_path / "t.csv", seed=seed))
    assert sum(map(len, splits.values())) == n  # no query is in two
    assert len(splits.get("test", ())) == round(0.2 * n)
    assert len(splits.get("dev", ())) == round(0.1 * n)
    order.shuffle(rows)
    (tmp_path / "t.csv").write_text(header + "".join(rows))
    assert queries_of(load_table(tmp_path / "t.csv", seed=seed)) == splits


def test_a_split_column_is_taken_named_or_drawn_over(tmp_path):
    lines = "".join(
        f"q{i},mug {i},1,Mug,{i % 3},{'train' if i else 'test'},{'dev' if i else 'train'}\n" for i in range(10)
    )
    (tmp_path / "t.csv").write_text("query_id,text,item_id,title,grade,split,part\n" + lines)
    path = tmp_path / "t.csv"
    assert queries_of(load_table(path))["test"] == {"q0"}
    assert queries_of(load_table(path, split="part"))["train"] == {"q0"}
    assert queries_of(load_table(path, columns={"split": "part"}))["train"] == {"q0"}
    drawn = load_table(path, split=False)
    assert {split: len(ids) for split, ids in queries_of(drawn).items()} == {"train": 7, "test": 2, "dev": 1}
    assert drawn.source["split"] == {"dev_share": 0.1, "test_share": 0.2, "seed": 0}
    with pytest.raises(DataError, match=r"t\.csv, column fold: missing; found query_id, text"):
        load_table(path, split="fold")


def test_the_result_does_not_depend_on_the_hash_seed(tmp_path):
    (tmp_path / "shop.csv").write_text(JOINED)
    code = (
        "from mr_st.data import GradedDataset; print(GradedDataset.load('shop.csv', columns={'text': 'search', "
        "'title': 'product', 'grade': 'verdict'}, grade_map={'Exact': 2, 'Partial': 1, 'Irrelevant': 0}).fingerprint)"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": "1"}, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    options = OPTIONS | {"columns": {"text": "search", "title": "product", "grade": "verdict"}}
    del options["dev_share"], options["test_share"]
    assert there.strip() == load_table(tmp_path / "shop.csv", **options).fingerprint


GOOD = [b"query_id,text\nq,mug\n", b"item_id,title\n1,Mug\n", b"query_id,item_id,grade\nq,1,2\n", b'{"text": "mug"}\n']


@SETTINGS
@given(
    contents=st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(GOOD)), min_size=3, max_size=3),
    suffixes=st.lists(st.sampled_from(["csv", "jsonl", "parquet"]), min_size=3, max_size=3),
    validate=st.booleans(),
)
def test_whatever_the_files_hold_is_read_or_refused(tmp_path, contents, suffixes, validate):
    for file in tmp_path.iterdir():
        file.unlink()
    for table, content, suffix in zip(("queries", "items", "judgments"), contents, suffixes, strict=True):
        (tmp_path / f"{table}.{suffix}").write_bytes(content)
    problems: list[Any] = []
    try:
        assert len(load_table(tmp_path, validate=validate).judgments)
    except DataError as error:
        problems = error.problems
    assert all("\n" not in str(problem) for problem in problems)
    assert {problem.where.split(".")[0] for problem in problems} <= {"queries", "items", "judgments"}
    assert len({str(problem) for problem in problems}) == len(problems)


# ---- options --------------------------------------------------------------------------------------------------------


def test_columns_are_mapped_for_one_table_or_for_all(tmp_path, caplog):
    (tmp_path / "queries.csv").write_text("id,search,language,note\nq,mug,en,x\n")
    (tmp_path / "items.csv").write_text("id,title,language\n1,Mug,de\n")
    (tmp_path / "judgments.csv").write_text("query,product,grade\nq,1,2\n")
    columns = {
        "queries.query_id": "id", "query_id": "query", "item_id": "product", "items.item_id": "id", "text": "search",
        "locale": "language",
    }  # fmt: skip
    with caplog.at_level(logging.WARNING):
        dataset = load_table(tmp_path, columns=columns)
    assert dataset.queries[0]["locale"] == "en"
    assert dataset.items[0]["locale"] == "de"
    assert dataset.judgments[0]["query_id"] == "q"
    assert caplog.messages == ["queries.csv: columns that are not used: note"]


def test_locale_separator_scale_and_name(tmp_path):
    (tmp_path / "shop.csv").write_text("text;title;category_path;grade\nmug;Mug;Home/Kitchen / Mugs;3\n")
    dataset = load_table(
        tmp_path / "shop.csv", delimiter="semicolon", category_separator="/", locale="en-GB", name="mine",
        grades=["no", "so-so", "good", "best"], gains=[0, 0.1, 0.5, 1], license="CC0-1.0",
    )  # fmt: skip
    assert dataset.items[0]["category_path"] == ["Home", "Kitchen", "Mugs"]
    assert (dataset.items[0]["locale"], dataset.queries[0]["locale"]) == ("en-GB", "en-GB")
    assert (dataset.name, dataset.license, dataset.scale.gains) == ("mine", "CC0-1.0", (0.0, 0.1, 0.5, 1.0))
    assert load_table(tmp_path / "shop.csv", delimiter=";", grades=list("abcd")).scale.gains == (0, 1 / 3, 2 / 3, 1)


def test_what_the_values_say_is_checked_unless_asked_not_to(tmp_path):
    (tmp_path / "t.csv").write_text("query_id,text,item_id,title,grade\nq,mug,1,Mug,7\n")
    assert load_table(tmp_path / "t.csv", validate=False).judgments["grade"][:] == [7]
    (tmp_path / "t.csv").write_text("query_id,text,item_id,title,grade\nq,mug,1,Mug,x\n")
    with pytest.raises(DataError):  # a value that cannot be read is no value
        load_table(tmp_path / "t.csv", validate=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": {"texts": "search"}}, "'texts' is none of our columns"),
        ({"columns": {"items.text": "search"}}, "'items.text' is none of our columns"),
        ({"columns": {"text": 3}}, "which is no name of a column"),
        ({"columns": "text"}, "give a mapping such as"),
        ({"grade_map": {True: 2}}, "YAML reads yes as true"),
        ({"grade_map": {"E": 3}}, "no grade of the scale"),
        ({"grade_map": {"E": "2"}}, "no grade of the scale"),
        ({"grade_map": {"1": 1, 1: 2}}, "stands twice, with two grades"),
        ({"grade_map": {}}, "give a mapping such as"),
        ({"grade_map": ["E"]}, "give a mapping such as"),
        ({"grades": ["only"]}, "two or more grades"),
        ({"grades": "abc"}, "a list of names"),
        ({"gains": [0, 1]}, "two or more grades"),
        ({"gains": [0, "x", 1]}, "gains="),
        ({"split": True}, "name the column"),
        ({"dev_share": 1}, "outside"),
        ({"dev_share": 0.5, "test_share": 0.5}, "leave no query"),
        ({"category_separator": " "}, "between the levels"),
        ({"locale": "en_US"}, "write en-US"),
        ({"queries": "q.csv"}, "path and queries are given"),
        ({"shares": 1}, "unknown option shares; it takes queries"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, words):
    (tmp_path / "t.csv").write_text("text,title,grade\nmug,Mug,2\n")
    with pytest.raises(UsageError, match=words):
        GradedDataset.load(tmp_path / "t.csv", **options)


def test_files_must_be_named(tmp_path):
    with pytest.raises(UsageError, match="queries, items, judgments missing"):
        load_table()
    with pytest.raises(UsageError, match="items missing"):
        load_table(queries="q.csv", judgments="j.csv")
    with pytest.raises(UsageError, match="is no path"):
        load_table(3)  # type: ignore[arg-type]
