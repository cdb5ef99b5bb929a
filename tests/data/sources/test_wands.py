"""WANDS from files of its shape, with the traps that the real ones have."""

from __future__ import annotations

from pathlib import Path

import pytest

from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.data.sources.splits import draw_splits
from mr_st.errors import DataError, UsageError

PRODUCTS = (
    "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features\t"
    "rating_count\taverage_rating\treview_count\n"
    "0\tsolid wood platform bed\tBeds\tFurniture / Bedroom Furniture / Beds & Headboards / Beds\tgood , deep sleep\t"
    "overallwidth-sidetoside:64.7|color : brown\t15.0\t4.5\t15.0\n"
    '1\t"36"" round table"\tTables|Desks\tFurniture / Tables / 1/2 Size\t\tshape : round\t\t\t\n'
    "2\tfletcher 27.5 '' armchair\t\t\t\"one line\nand another\"\t\t3.0\t5.0\t2.0\n"
    "3\tunjudged lamp\tLamps\tLighting\tlight\t\t\t\t\n"
)
QUERIES = (
    "query_id\tquery\tquery_class\n"
    "0\tsalon chair\tMassage Chairs\n"
    '208\t"fawkes 36"" blue vanity"\tVanities\n'
    '391\t"writing desk 48"""\tDesks\n'
    "197\tdesk for kids tjat ate 10 year old\t\n"
    "400\tmirror , 3/4 length\tMirrors\n"
)
LABELS = (
    "id\tquery_id\tproduct_id\tlabel\n"
    "0\t0\t0\tExact\n"
    "1\t0\t1\tIrrelevant\n"
    "2\t208\t1\tPartial\n"
    "4\t391\t2\tIrrelevant\n"
    "5\t197\t0\tPartial\n"
    "6\t400\t2\tExact\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("product.csv", PRODUCTS), ("query.csv", QUERIES), ("label.csv", LABELS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_product_query_and_label_is_there(folder):
    dataset = GradedDataset.load(folder)
    assert dataset.queries["query_id"][:] == ["0", "208", "391", "197", "400"]
    assert dataset.queries["text"][:] == [
        "salon chair", 'fawkes 36" blue vanity', 'writing desk 48"', "desk for kids tjat ate 10 year old",
        "mirror , 3/4 length",
    ]  # fmt: skip
    assert dataset.items["item_id"][:] == ["0", "1", "2", "3"]  # 3 is judged by nobody, and searched
    assert dataset.items["title"][1:3] == ['36" round table', "fletcher 27.5 '' armchair"]
    assert dataset.items["category_path"][:] == [
        ["Furniture", "Bedroom Furniture", "Beds & Headboards", "Beds"], ["Furniture", "Tables", "1/2 Size"], [],
        ["Lighting"],
    ]  # fmt: skip
    assert dataset.items["description"][:] == ["good , deep sleep", None, "one line\nand another", "light"]
    assert set(dataset.items["locale"][:]) == {"en-US"}
    assert dataset.judgments["grade"][:] == [2, 0, 1, 0, 1, 2]
    assert (dataset.name, dataset.license) == ("wands", "MIT")
    assert dataset.source["rows_left_out"] == 0


def test_queries_are_drawn_for_dev_and_test(folder):
    dataset = GradedDataset.load(folder, dev_share=0.2, test_share=0.4, seed=3)
    expected = draw_splits(["0", "208", "391", "197", "400"], 0.2, 0.4, 3)
    judgments = dataset.judgments
    assert dict(zip(judgments["query_id"][:], judgments["split"][:], strict=True)) == expected
    assert sorted(expected.values()) == ["dev", "test", "test", "train", "train"]
    assert GradedDataset.load(folder, dev_share=0, test_share=0).splits == ["train"]


REPEATED = "7\t0\t1\tIrrelevant\n8\t208\t1\tExact\n9\t208\t1\tIrrelevant\n10\t400\t2\tPartial\n"


def test_pairs_that_are_labelled_again_are_counted(folder, caplog):
    (folder / "label.csv").write_text(LABELS + REPEATED)
    dataset = GradedDataset.load(folder)
    pairs = list(zip(dataset.judgments["query_id"][:], dataset.judgments["item_id"][:], strict=True))
    assert pairs == [("0", "0"), ("0", "1"), ("391", "2"), ("197", "0"), ("400", "2"), ("208", "1")]
    assert dataset.judgments["grade"][:] == [2, 0, 0, 1, 2, 2]
    assert dataset.source["rows_left_out"] == 4
    assert dataset.source["contradicting_pairs"] == 2
    assert "4 rows label a pair again and are left out, 2 pairs have different labels" in caplog.text
    lowest = GradedDataset.load(folder, repeated="lowest")
    assert sorted(lowest.judgments["grade"][:]) == [0, 0, 0, 1, 1, 2]
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder, repeated="error")
    found = {(p.where, p.row, p.column) for p in error.value.problems}
    assert found == {("label.csv", row, "label") for row in (7, 8, 9, 10)}


def test_a_fault_after_rows_that_were_left_out_names_its_own_row(folder):
    (folder / "label.csv").write_text(LABELS + REPEATED + "11\t0\t77\tExact\n")
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [(p.where, p.row, p.column, p.what) for p in error.value.problems] == [
        ("label.csv", 11, "product_id", "'77' is not in items")
    ]


def test_all_faults_of_the_three_files_come_in_one_pass(folder):
    (folder / "product.csv").write_text(PRODUCTS.replace("\tgood , deep", "\t\tgood , deep"))
    (folder / "query.csv").write_text(QUERIES.replace("query\t", "text\t", 1) + "0\tagain\tBeds\n")
    (folder / "label.csv").write_text(LABELS.replace("Partial", "Part") + "7\t9\t0\tExact\n8\t0\t1\tExact\n")
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    found = [(p.where, p.row, p.column) for p in error.value.problems]
    assert found == [
        ("query.csv", None, "query"), ("product.csv", 1, None), ("label.csv", 3, "label"),
        ("query.csv", 6, "query_id"), ("label.csv", 7, "query_id"),
    ]  # fmt: skip
    assert "'Part' (2 times, first here) is not in the grade map (Exact, Partial, Irrelevant)" in str(
        error.value.problems[2]
    )


def test_files_that_do_not_quote_are_read_on_request(folder):
    (folder / "query.csv").write_text('query_id\tquery\n0\t"salon" chair\n208\tx\n391\t48"\n197\t"\n400\ty\n')
    with pytest.raises(DataError, match="text follows a closing double quote"):
        GradedDataset.load(folder)
    (folder / "product.csv").write_text(PRODUCTS.replace('"one line\nand another"', "one line"))
    dataset = GradedDataset.load(folder, quoting=False)
    assert dataset.queries["text"][:] == ['"salon" chair', "x", '48"', '"', "y"]
    assert dataset.items["title"][1] == '"36"" round table"'


def test_the_hierarchy_may_have_the_name_that_the_readme_gives_it(folder):
    original = GradedDataset.load(folder).fingerprint
    (folder / "product.csv").write_text(PRODUCTS.replace("category hierarchy", "category_hierarchy"))
    assert GradedDataset.load(folder).fingerprint == original


def test_a_clone_is_recognised_and_a_missing_file_is_named(folder, tmp_path_factory, capsys):
    clone = tmp_path_factory.mktemp("clone")
    (clone / "dataset").mkdir()
    for file in folder.iterdir():
        (clone / "dataset" / file.name).write_bytes(file.read_bytes())
    assert GradedDataset.load(clone).fingerprint == GradedDataset.load("wands", path=folder).fingerprint
    (clone / "dataset" / "query.csv").unlink()
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", str(clone)])
    assert stop.value.code == 1
    assert "query.csv: the file is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeated": "mean"}, "not one of highest, lowest, error"),
        ({"dev_share": 1.5}, "outside"),
        ({"locale": "us"}, "unknown option locale"),
    ],
)
def test_options_that_mean_nothing(folder, options, words):
    with pytest.raises(UsageError, match=words):
        GradedDataset.load(folder, **options)
    with pytest.raises(UsageError, match="is no folder"):
        GradedDataset.load("wands", path=folder / "label.csv")
