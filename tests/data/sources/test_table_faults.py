"""Each malformed file alone: it breaks one rule, which is named with file, row and column; nothing is repaired."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.data.sources.text_files import read_table
from mr_st.errors import DataError, UsageError

QUERIES = "query_id,text\nq1,red mug\nq2,blue hat\n"
ITEMS = "item_id,title,category_path\na,Red mug,Home > Mugs\nb,Blue hat,\nc,Hat box,Home\n"
JUDGMENTS = "query_id,item_id,grade\nq1,a,2\nq1,b,0\nq2,b,2\nq2,c,1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("queries", QUERIES), ("items", ITEMS), ("judgments", JUDGMENTS)):
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def parquet(**columns: list) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def twice_named() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table([pa.array(["a", "b", "c"])] * 2, names=["title", "title"]), sink)
    return sink.getvalue()


def items(*lines: str) -> bytes:
    return ("item_id,title\n" + "".join(line + "\n" for line in lines)).encode()


def json_items(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


A, B, C = (f'{{"item_id": "{i}", "title": "{i}"}}' for i in "abc")

# name -> (file, its bytes, row, column, words of the one problem)
FAULTS: dict[str, tuple[str, bytes, int | None, str | None, str]] = {
    "latin-1": ("items.csv", ITEMS.replace("Hat", "H\xe9t").encode("latin-1"), None, None,
                "line 4, byte 4 (0xE9, offset 65) is not UTF-8; save the file as UTF-8 or pass its real encoding"),
    "cut character": ("items.csv", items("a,x", "b,y", "c,z")[:-1] + "é".encode()[:1], None, None, "byte 4 (0xC3"),
    "UTF-16": ("items.csv", ITEMS.encode("utf-16"), None, None, "UTF-16 byte order mark; save it as UTF-8 or pass "),
    "UTF-32": ("items.csv", ITEMS.encode("utf-32"), None, None, "UTF-32 byte order mark"),
    "NUL": ("items.csv", items("a,x", "b,\0\0y", "c,\0"), None, None, "3 NUL characters, the first in line 3"),
    "too few fields": ("items.csv", items("a,x", "b", "c,z"), 2, None, "1 field where the header has 2 (line 3)"),
    "too many fields": ("items.csv", items("a,x", "b,y", "c,z,0"), 3, None, "3 fields where the header has 2"),
    "ragged after two lines": ("items.csv", items('a,"x\ny"', "b", "c,z"), 2, None, "has 2 (line 4)"),
    "unclosed quote": ("items.csv", items("a,x", "b,y", 'c,"z'), 3, None,
                       "line 4: a double quote opens a field that is never closed"),
    "text after a quote": ("items.csv", items("a,x", 'b,"y" z', "c,z"), 2, None, "text follows a closing"),
    "empty line": ("items.csv", items("a,x", "", "b,y", "c,z"), 2, None, "line 3 is empty; remove it"),
    "huge field": ("items.csv", items("a,x", "b," + "y" * (2**20 + 1), "c,z"), 2, None,
                   "a field is longer than 1,048,576 characters; shorten it or raise max_field"),
    "no line ends": ("items.csv", b"x" * (2**26 + 1), None, None, "line 1 is longer than 67,108,864 characters"),
    "empty file": ("items.csv", b"", None, None, "the file is empty"),
    "mark only": ("items.csv", b"\xef\xbb\xbf", None, None, "the file is empty"),
    "header only": ("items.csv", items(), None, None, "a header but no rows"),
    "header and empty lines": ("items.csv", items() + b"\n\n", None, None, "a header but no rows"),
    "repeated name": ("items.csv", b"item_id,title,title\na,x,x\n", None, "title", "columns 2 and 3 have the same"),
    "nameless column": ("items.csv", b",item_id,title\n0,a,x\n1,b,y\n2,c,z\n", None, None,
                        "column 1 has no name; name it, or write the file without an index column"),
    "wrong delimiter": ("items.csv", b"item_id;title\na;x\nb;y\nc;z\n", None, None,
                        "one column item_id;title when cut at each comma; the delimiter seems to be a semicolon"),
    "missing column": ("items.csv", b"item_id,Title\na,x\nb,y\nc,z\n", None, "title", "missing; found item_id, Title"),
    "Excel": ("items.csv", b"PK\x03\x04\x14\0", None, None, "a zip archive or an Excel workbook"),
    "packed without saying so": ("items.csv", gzip.compress(ITEMS.encode()), None, None, "gzip-compressed; add .gz"),
    "Parquet called CSV": ("items.csv", parquet(item_id=["a"], title=["x"]), None, None, "a Parquet file; name it"),
    "truncated gzip": ("items.csv.gz", gzip.compress(ITEMS.encode())[:-9], None, None, "the gzip file ends too early"),
    "no gzip": ("items.csv.gz", ITEMS.encode(), None, None, "cannot be unpacked (Not a gzipped file"),
    "damaged gzip": ("items.csv.gz", gzip.compress(ITEMS.encode())[:10] + b"\xff" * 40, None, None, "cannot be"),
    "repeated id": ("items.csv", items("a,x", "b,y", "c,z", "b,w"), 4, "item_id", "'b' stands in row 2 already"),
    "empty id": ("items.csv", items("a,x", "b,y", "c,z", ",w"), 4, "item_id", "the id is an empty text"),
    "floats for ids": ("items.csv", items("a,x", "b,y", "c,z", "1.0,u", "1.0,w"), 5, "item_id", "'1.0' stands in"),
    "empty category level": ("items.csv", ITEMS.replace(" > ", " >  > ").encode(), 1, "category_path", "empty level"),
    "empty locale": ("items.csv", b"item_id,title,locale\na,x,en\nb,y,\nc,z,en\n", 2, "locale", "null"),
    "unknown locale": ("items.csv", b"item_id,title,locale\na,x,en\nb,y,xx-Q\nc,z,en\n", 2, "locale", "'xx-Q'"),
    "broken JSON": ("items.jsonl", json_items(A, '{"item_id": "b", "title"}', C), 2, None,
                    "no JSON: Expecting ':' delimiter at character 25"),
    "no object": ("items.jsonl", json_items(A, '["b", "y"]', C), 2, None, "a list where an object is expected"),
    "a key less": ("items.jsonl", json_items(A, B, '{"item_id": "c"}'), 3, None, "first row: lacks title"),
    "another key": ("items.jsonl", json_items(A, B, '{"item_id": "c", "name": "z"}'), 3, None, "lacks title and has"),
    "repeated key": ("items.jsonl", json_items(A, B, '{"item_id": "c", "item_id": "d", "title": "z"}'), 3, None,
                     "the key item_id stands more than once"),
    "NaN": ("items.jsonl", json_items(A, B, '{"item_id": "c", "title": NaN}'), 3, None, "NaN is no JSON number"),
    "infinite": ("items.jsonl", json_items(A, B, '{"item_id": "c", "title": 1e999}'), 3, None, "1e999 is out of"),
    "5,000 digits": ("items.jsonl", json_items(A, B, f'{{"item_id": {"9" * 5000}, "title": "z"}}'), 3, None,
                                 "no JSON that can be read (Exceeds the limit"),
    "too deep": ("items.jsonl", json_items(A, B, '{"item_id": ' + "[" * 100_000), 3, None, "nested too deeply"),
    "half a character": ("items.jsonl", json_items(A, B, '{"item_id": "c", "title": "\\ud83d"}'), 3, None,
                         "half a character (a lone surrogate)"),
    "escaped NUL": ("items.jsonl", json_items(A, B, '{"item_id": "c", "title": "\\u0000"}'), 3, None, "a NUL"),
    "empty JSON line": ("items.jsonl", json_items(A, "", B, C), 2, None, "an empty line"),
    "nested value": ("items.jsonl", json_items(A, B, '{"item_id": "c", "title": {"en": "z"}}'), 3, "title",
                     "of several kinds: text (first in row 1, 2 in all), a nested value (first in row 3, 1 in all)"),
    "ids of all kinds": ("items.jsonl",
                         json_items(A, '{"item_id": 1, "title": "y"}', '{"item_id": 1.0, "title": "z"}'),
                         2, "item_id", "of several kinds: text (first in row 1, 1 in all), a whole number (first in "
                         "row 2, 1 in all), a decimal number (first in row 3, 1 in all); write every id as a text"),
    "decimal ids": ("items.jsonl", json_items('{"item_id": 1.0, "title": "x"}', '{"item_id": 2.0, "title": "y"}'), 1,
                    "item_id", "a decimal number (first in row 1, 2 in all) where ids, all of them texts or all of "
                    "them whole numbers, are expected"),
    "true for an id": ("items.jsonl", json_items('{"item_id": true, "title": "x"}'), 1, "item_id", "true or false"),
    "truncated Parquet": ("items.parquet", parquet(item_id=list("abc"), title=list("xyz"))[:-20], None, None,
                          "not a readable Parquet file"),
    "no Parquet": ("items.parquet", ITEMS.encode(), None, None, "not a readable Parquet file"),
    "empty Parquet": ("items.parquet", parquet(item_id=[], title=[]), None, None, "no rows"),
    "repeated Parquet name": ("items.parquet", twice_named(), None, "title", "2 columns have this name"),
    "decimal Parquet ids": ("items.parquet", parquet(item_id=[1.0, 2.0], title=["x", "y"]), None, "item_id",
                            "type double where text or a whole number is expected"),
    "true for a Parquet id": ("items.parquet", parquet(item_id=[True, False], title=["x", "y"]), None, "item_id",
                              "type bool where text or a whole number is expected"),
    "label for a grade": ("judgments.csv", JUDGMENTS.replace(",1", ",Partial").encode(), 4, "grade",
                          "the label 'Partial' (once) is no grade of the scale 0..2"),
    "labels for grades": ("judgments.csv", JUDGMENTS.replace(",2", ",E").encode(), 1, "grade", "'E' (2 times, "),
    "thousands": ("judgments.csv", JUDGMENTS.replace(",1", ',"1,000"').encode(), 4, "grade",
                  "write it without a separator of thousands"),
    "half a grade": ("judgments.csv", JUDGMENTS.replace(",1", ",0.5").encode(), 4, "grade", "the label '0.5' (once)"),
    "grade of another script": ("judgments.csv", JUDGMENTS.replace(",1", ",１").encode(), 4, "grade", "label '１'"),
    "grade beyond the scale": ("judgments.csv", JUDGMENTS.replace(",1", ",3").encode(), 4, "grade", "outside the"),
    "grade beyond a byte": ("judgments.csv", JUDGMENTS.replace(",1", ",300").encode(), 4, "grade", "the label '300'"),
    "no grade": ("judgments.csv", JUDGMENTS.replace(",1", ",").encode(), 4, "grade", "empty (null)"),
    "unknown item": ("judgments.csv", JUDGMENTS.replace("c,", "z,").encode(), 4, "item_id", "'z' is not in items"),
    "unknown split": ("judgments.csv", b"query_id,item_id,grade,split\nq1,a,2,train\nq1,b,0,valid\n", 2, "split",
                      "'valid' is no split"),
    "confidence": ("judgments.csv", b"query_id,item_id,grade,confidence\nq1,a,2,.5\nq1,b,0,\"0,5\"\n", 2, "confidence",
                   "'0,5' where a number is expected; correct the value"),
    "thousands of clicks": ("engagement.csv", b"query_id,item_id,impressions,clicks\nq1,a,\"12,000\",5\n", 1,
                            "impressions", "'12,000' where a whole number is expected; write it without a separator"),
    "repeated pair": ("judgments.csv", (JUDGMENTS + "q1,a,0\n").encode(), 5, "grade", "with grade 2 there and 0 here"),
}  # fmt: skip


def put(folder: Path, file: str, content: bytes) -> None:
    (folder / f"{file.split('.')[0]}.csv").unlink(missing_ok=True)
    (folder / file).write_bytes(content)


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_problem(folder, name):
    file, content, row, column, words = FAULTS[name]
    put(folder, file, content)
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    problems = error.value.problems
    assert [(p.where, p.row, p.column) for p in problems] == [(file, row, column)], [str(p) for p in problems]
    assert words in str(problems[0])
    assert "\n" not in str(problems[0])


def test_the_folder_without_a_fault_loads(folder):
    assert len(GradedDataset.load(folder).judgments) == 4


@pytest.mark.parametrize("name", ["latin-1", "unclosed quote", "truncated gzip", "broken JSON", "truncated Parquet",
                                  "ids of all kinds", "huge field", "label for a grade", "NUL"])  # fmt: skip
def test_the_command_line_names_it_in_one_line(folder, name, capsys):
    file, content, _, _, words = FAULTS[name]
    put(folder, file, content)
    with pytest.raises(SystemExit) as stop:
        main(["data", "convert", str(folder), str(folder / "out")])
    streams = capsys.readouterr()
    assert stop.value.code == 1
    assert len(streams.err.strip().splitlines()) == 1
    assert words[:40] in streams.err
    assert "Traceback" not in streams.err + streams.out
    assert not (folder / "out").exists()


def test_check_lists_it_and_ends_with_1(folder, capsys):
    put(folder, "items.csv", b"item_id;title\na;x\n")
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", str(folder)])
    assert stop.value.code == 1
    assert "the delimiter seems to be a semicolon" in capsys.readouterr().out


def test_options_reach_the_reader_from_the_command_line(folder, capsys):
    (folder / "queries.csv").write_text("query_id,search\nq1,red mug\nq2,blue hat\n")
    (folder / "judgments.csv").write_text(
        JUDGMENTS.replace(",2", ",Exact").replace(",1", ",Partial").replace(",0", ",No")
    )
    main_arguments = ["-o", "columns={text: search}", "-o", "grade_map={Exact: 2, Partial: 1, 'No': 0}"]
    with pytest.raises(SystemExit) as stop:
        main(["data", "convert", str(folder), str(folder / "out"), *main_arguments])
    assert stop.value.code == 0
    saved = GradedDataset.load(folder / "out")
    assert saved.queries["text"][:] == ["red mug", "blue hat"]
    assert saved.judgments["grade"][:] == [2, 0, 2, 1]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["data", "convert", str(folder), str(folder / "out"), "-o", "grade_map={No: 0}"])
    assert stop.value.code == 2
    assert "YAML reads yes as true" in capsys.readouterr().err


def test_all_faults_of_all_files_come_in_one_pass(folder):
    (folder / "queries.csv").write_bytes(b'query_id,text\nq1,caf\xe9\nq2\n\nq3,x,y\nq4,"x" y\nq5,\0\nq6,"open\n')
    (folder / "items.csv").write_text("item_id,title,locale\na,Red mug,en\nb,Blue hat,us\na,Hat,\nc,Box,en\n")
    (folder / "judgments.csv").write_text(
        "query_id,item_id,grade,confidence,split\nq1,a,2,0.5,train\nq1,z,X,2,valid\nq2,b,X,a,train\n,c,9,,test\n"
    )
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    found = {(p.where, p.row, p.column) for p in error.value.problems}
    assert found == {
        ("queries.csv", None, None),  # the encoding, and the NUL
        ("queries.csv", 2, None),  # too few fields
        ("queries.csv", 3, None),  # empty
        ("queries.csv", 4, None),  # too many
        ("queries.csv", 5, None),  # text after a quote
        ("queries.csv", 7, None),  # unclosed
        ("items.csv", 2, "locale"),
        ("items.csv", 3, "item_id"),
        ("items.csv", 3, "locale"),
        ("judgments.csv", 2, "grade"),  # X, twice
        ("judgments.csv", 2, "item_id"),
        ("judgments.csv", 2, "confidence"),
        ("judgments.csv", 2, "split"),
        ("judgments.csv", 3, "confidence"),
        ("judgments.csv", 4, "grade"),
    }
    assert len(error.value.problems) == 16  # 15 places, of which one has two


def test_odd_values_stay_in_one_line(folder):
    (folder / "judgments.csv").write_text(
        'query_id,item_id,grade,split\nq1,a,2,"a\nb"\nq1,a,2,train\n"q\n",a,0,"\n"\n'
    )
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert len(error.value.problems) == 4  # two unknown splits, a pair that stands twice, an unknown query
    assert not any("\n" in str(problem) for problem in error.value.problems)


def test_an_unclosed_quote_hides_no_later_fault(folder):
    lines = ['a,"x', "b,y", 'c,"z"', "d", 'e,"', 'f,"g" h']
    put(folder, "items.csv", items(*lines))
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [p.row for p in error.value.problems] == [1, 4, 5, 6]


def test_of_one_kind_a_thousand_are_listed_and_the_rest_is_counted(folder):
    put(folder, "items.csv", items(*["a"] * 1005))
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    problems = error.value.problems
    assert len(problems) == 1001
    assert problems[-1].what == "5 more ragged rows"
    assert problems[-1].n_faults == 5


# ---- places that hold no file ---------------------------------------------------------------------------------------


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_loop_of_two(path: Path) -> None:
    other = path.with_name("other.csv")
    other.symlink_to(path)
    path.symlink_to(other)


def a_dead_link(path: Path) -> None:
    path.symlink_to(path.with_name("gone.csv"))


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


PLACES: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (a_folder, "a folder stands here, not a file"),
    "loop": (a_loop, "cannot be read (Too many levels of symbolic links)"),
    "loop of two": (a_loop_of_two, "cannot be read (Too many levels of symbolic links)"),
    "dead link": (a_dead_link, "a link to a file that is not there"),
    "pipe": (a_pipe, "neither a file nor a link to one"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_without_a_file_is_named(folder, name):
    make, words = PLACES[name]
    (folder / "items.csv").unlink()
    make(folder / "items.csv")
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [(p.where, p.row) for p in error.value.problems] == [("items.csv", None)]
    assert words in str(error.value)
    with pytest.raises(DataError, match=r"items\.csv"):  # as one joined file
        GradedDataset.load(folder / "items.csv") if name != "folder" else GradedDataset.load(folder)


def test_a_file_without_permission_is_named(folder):
    file = folder / "items.csv"
    file.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: be nobody for a moment
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"items\.csv: cannot be read \(Permission denied\)"):
            read_table(file)
    finally:
        os.seteuid(user)


def test_missing_and_doubled_files_are_named_together(folder):
    (folder / "items.csv").unlink()
    (folder / "queries.tsv").write_text(QUERIES)
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    texts = [str(p) for p in error.value.problems]
    assert len(texts) == 2
    assert "queries.csv, queries.tsv are all there" in texts[0]
    assert "no file of the items" in texts[1]
    with pytest.raises(DataError) as error:
        GradedDataset.load("table", queries=folder / "a.csv", items=folder / "b.csv", judgments=folder / "c.csv")
    assert [(p.where, p.what) for p in error.value.problems] == [(f"{n}.csv", "the file is missing") for n in "abc"]


def test_another_ending_is_refused(tmp_path):
    (tmp_path / "data.xlsx").write_bytes(b"PK")
    with pytest.raises(UsageError, match="of no known form"):
        GradedDataset.load(tmp_path / "data.xlsx")
    with pytest.raises(UsageError, match=r"no table file; its name must end in \.csv, \.tsv"):
        GradedDataset.load("table", path=tmp_path / "data.xlsx")
