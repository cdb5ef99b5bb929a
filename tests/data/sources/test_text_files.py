"""What a file says comes back as it is: any texts, in any of the forms; what cannot be read is refused in one line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.data.sources.text_files import RawTable, read_table
from mr_st.errors import DataError, MrStError, UsageError

SETTINGS = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
SPICY = st.one_of(
    TEXT,
    st.text('",;\t|\r\n a\u00e9\u3000\u2028\ufeff', max_size=8),
    st.sampled_from(["", "007", "1.0", "NaN", "null", '"']),
)
NAME = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    str.strip
)


@st.composite
def tables(
    draw: st.DrawFn, n_columns: int = 1, cell: st.SearchStrategy[str] = SPICY
) -> tuple[list[str], list[list[str]]]:
    """Column names and one or more rows of texts."""
    names = draw(st.lists(NAME, min_size=n_columns, max_size=5, unique=True))
    row = st.lists(cell, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, min_size=1, max_size=8))


def read(folder: Path, name: str, content: bytes, **options) -> RawTable:
    path = folder / name
    path.write_bytes(content)
    return read_table(path, **options)


def outcome(folder: Path, name: str, content: bytes, **options) -> tuple[MrStError | None, RawTable | None]:
    try:
        return None, read(folder, name, content, **options)
    except MrStError as error:
        return error, None


def rows_of(raw: RawTable) -> tuple[list[str], list[list]]:
    columns = [column.to_pylist() for column in raw.columns.values()]
    return list(raw.columns), [list(row) for row in zip(*columns, strict=True)]


# ---- round trips ----------------------------------------------------------------------------------------------------


@SETTINGS
@given(table=tables(n_columns=2), delimiter=st.sampled_from(",;\t|^ "),
       line_end=st.sampled_from(["\n", "\r\n", "\r"]),
       quote_all=st.booleans(), mark=st.booleans(), blank_end=st.booleans())  # fmt: skip
def test_texts_written_as_csv_come_back(tmp_path, table, delimiter, line_end, quote_all, mark, blank_end):
    has_line_ends = any(c in text for row in [table[0], *table[1]] for text in row for c in "\r\n")
    quoting = csv.QUOTE_ALL if quote_all or has_line_ends else csv.QUOTE_MINIMAL  # the writer leaves some bare
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerows([table[0], *table[1]])
    content = out.getvalue() + line_end * 2 * blank_end
    raw = read(tmp_path, "t.csv", content.encode("utf-8-sig" if mark else "utf-8"), delimiter=delimiter)
    assert rows_of(raw) == table
    assert raw.n_rows == len(table[1])


@SETTINGS
@given(table=tables(n_columns=1))
def test_one_column_comes_back(tmp_path, table):
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([table[0][:1], *[row[:1] for row in table[1]]])
    names, rows = table[0][:1], [row[:1] for row in table[1]]
    if any(c in names[0] for c in "\t;|"):
        return  # a header that looks like several columns is taken for a wrong delimiter
    assert rows_of(read(tmp_path, "t.csv.gz", gzip.compress(out.getvalue().encode()))) == (names, rows)


@SETTINGS
@given(
    table=tables(
        n_columns=2, cell=st.text(st.characters(exclude_characters="\0\t\r\n", exclude_categories=["Cs"]), max_size=12)
    )
)
def test_plain_tab_separated_texts_come_back_with_their_quotes(tmp_path, table):
    names = ["".join(c for c in name if c not in "\t\r\n") or "x" for name in table[0]]
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        return
    content = "".join("\t".join(row) + "\n" for row in [names, *table[1]])
    assert rows_of(read(tmp_path, "t.tsv", content.encode(), quoting=False)) == (names, table[1])


@SETTINGS
@given(table=tables(cell=st.one_of(st.none(), SPICY)), escaped=st.booleans(), line_end=st.sampled_from(["\n", "\r\n"]))
def test_texts_written_as_json_lines_come_back(tmp_path, table, escaped, line_end):
    names, rows = table
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=escaped) for row in rows]
    raw = read(tmp_path, "t.jsonl", line_end.join(lines).encode())
    assert rows_of(raw) == table


@SETTINGS
@given(table=tables(n_columns=2), encoding=st.sampled_from(["utf-16", "utf-16-le", "utf-32", "gb18030"]))
def test_other_encodings_come_back(tmp_path, table, encoding):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([table[0], *table[1]])
    content = out.getvalue()
    if encoding == "utf-16-le" and content[0] == "\ufeff":
        return
    assert rows_of(read(tmp_path, "t.csv", content.encode(encoding), encoding=encoding)) == table


@SETTINGS
@given(table=tables())
def test_parquet_comes_back(tmp_path, table):
    names, rows = table
    sink = io.BytesIO()
    pq.write_table(pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names), sink)
    assert rows_of(read(tmp_path, "t.parquet", sink.getvalue())) == table


def test_chunks_of_many_rows_keep_their_order(tmp_path):
    n = 120_001
    content = "id,text\n" + "".join(f'{i},"line {i}\nand more"\n' for i in range(n))
    raw = read(tmp_path, "t.csv", content.encode())
    assert raw.n_rows == n
    assert raw.columns["id"].to_pylist() == [str(i) for i in range(n)]
    assert raw.columns["text"][n - 1].as_py() == f"line {n - 1}\nand more"
    lines = "".join(f'{{"id": {i}, "text": {json.dumps(None if i < 60_000 else "x")}}}\n' for i in range(n))
    raw = read(tmp_path, "t.jsonl", lines.encode())
    assert raw.columns["id"].type == pa.int64()
    assert raw.columns["id"].to_pylist() == list(range(n))
    assert raw.kinds == {"id": {"a whole number": (1, n)}, "text": {"text": (60_001, n - 60_000)}}


# ---- types in JSON lines --------------------------------------------------------------------------------------------


def test_the_types_of_json_lines(tmp_path):
    rows = [
        {"t": "x", "i": 1, "f": 1, "b": True, "l": ["u"], "n": None, "big": 1, "mixed": "x", "nested": {"a": 1}},
        {"t": None, "i": None, "f": 0.5, "b": None, "l": [], "n": None, "big": 2**70, "mixed": 1, "nested": [[1]]},
    ]
    raw = read(tmp_path, "t.ndjson", "\n".join(json.dumps(row) for row in rows).encode())
    assert {name: column.to_pylist() for name, column in raw.columns.items()} == {
        "t": ["x", None], "i": [1, None], "f": [1.0, 0.5], "b": [True, None], "l": [["u"], []], "n": [None, None],
        "big": ["1", str(2**70)], "mixed": ['"x"', "1"], "nested": ['{"a": 1}', "[[1]]"],
    }  # fmt: skip
    assert raw.kinds["mixed"] == {"text": (1, 1), "a whole number": (2, 1)}
    assert raw.kinds["nested"] == {"a nested value": (1, 2)}
    assert raw.kinds["n"] == {}


def test_a_column_may_change_its_type_between_chunks(tmp_path):
    lines = [f'{{"a": {i}, "b": {i}, "c": "x", "d": 1}}\n' for i in range(50_001)]
    lines[50_000] = '{"a": 0.5, "b": "x", "c": 1, "d": 1' + "0" * 400 + "}\n"
    raw = read(tmp_path, "t.jsonl", "".join(lines).encode())
    first, last = ({name: column[row].as_py() for name, column in raw.columns.items()} for row in (0, 50_000))
    assert first == {"a": 0.0, "b": "0", "c": '"x"', "d": "1"}
    assert last == {"a": 0.5, "b": '"x"', "c": "1", "d": "1" + "0" * 400}
    assert raw.kinds["b"] == {"a whole number": (1, 50_000), "text": (50_001, 1)}


def test_line_ends_may_be_mixed(tmp_path):
    raw = read(tmp_path, "t.csv", b'a,b\r\n1,x\n2,"y\r\nz"\r3,w')
    assert rows_of(raw)[1] == [["1", "x"], ["2", "y\r\nz"], ["3", "w"]]
    assert rows_of(read(tmp_path, "t.jsonl", b'{"a": 1}\r\n{"a": 2}\n\r\n'))[1] == [[1], [2]]


def test_a_broken_header_is_one_fault(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, "t.csv", b'a,"b\n1,x\n2,y\n')
    assert [p.what for p in error.value.problems] == ["the header: a double quote opens a field that is never closed"]


# ---- what is not text -----------------------------------------------------------------------------------------------


@SETTINGS
@given(content=st.one_of(st.binary(max_size=200), st.text('a",\t\r\n{}[]:1\0\\ué', max_size=60).map(str.encode)),
       name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.csv.gz", "t.jsonl.gz"]),
       packed=st.booleans(), quoting=st.booleans(),
       encoding=st.sampled_from(["utf-8", "utf-16", "utf-32-be", "cp1252", "shift_jis", "iso2022_jp"]))  # fmt: skip
def test_random_bytes_are_read_or_refused(tmp_path, content, name, packed, quoting, encoding):
    if packed and name.endswith(".gz"):
        content = gzip.compress(content)
    error, raw = outcome(tmp_path, name, content, quoting=quoting, encoding=encoding)
    assert "\n" not in str(error)
    if raw is not None:
        assert raw.n_rows > 0
        assert {len(column) for column in raw.columns.values()} == {raw.n_rows}


@SETTINGS
@given(table=tables(n_columns=2), at=st.integers(0, 10_000), byte=st.binary(min_size=1, max_size=1))
def test_one_changed_byte_is_read_or_refused(tmp_path, table, at, byte):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([table[0], *table[1]])
    content = bytearray(out.getvalue().encode())
    content[at % len(content)] = byte[0]
    packed = bytearray(gzip.compress(bytes(content)))
    packed[at % len(packed)] = byte[0]
    for name, damaged in (("t.csv", content), ("t.csv.gz", packed)):
        error, _ = outcome(tmp_path, name, bytes(damaged))
        assert not any("\n" in str(problem) for problem in getattr(error, "problems", []))


def test_every_place_of_a_wrong_encoding_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, "t.csv", b"id,t\n1,\xe9\n2,x\n3,ab\xff\n")
    assert [p.what for p in error.value.problems] == [
        "line 2, byte 3 (0xE9, offset 7) is not UTF-8", "line 4, byte 5 (0xFF, offset 17) is not UTF-8",
    ]  # fmt: skip
    assert rows_of(read(tmp_path, "t.csv", b"id,t\n1,\xe9\n", encoding="latin-1"))[1] == [["1", "é"]]


def test_a_quote_inside_an_unquoted_field_is_a_plain_character(tmp_path):
    assert rows_of(read(tmp_path, "t.csv", b'id,t\n1,36" desk\n2, "x"\n'))[1] == [["1", '36" desk'], ["2", ' "x"']]


def test_the_limit_of_a_field_is_an_argument(tmp_path):
    assert csv.field_size_limit() == 131_072
    assert read(tmp_path, "t.csv", b"a,b\nxxx,yyy\n", max_field=3).n_rows == 1
    for name, content in (("t.csv", b"a,b\nxxx,yyyy\n"), ("t.jsonl", b'{"a": "xxx", "b": "yyyy"}')):
        with pytest.raises(DataError, match="3 "):
            read(tmp_path, name, content, max_field=3)
    assert csv.field_size_limit() == 131_072  # what belongs to the whole process is as before
    long = "x" * 2_000_000
    assert rows_of(read(tmp_path, "t.csv", f"a,b\n1,{long}\n".encode(), max_field=2_000_000))[1] == [["1", long]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delimiter": ",,"}, "give one character"),
        ({"delimiter": '"'}, "give one character"),
        ({"delimiter": ""}, "give one character"),
        ({"delimiter": 3}, "give one character"),
        ({"encoding": "klingon"}, "is unknown"),
        ({"encoding": "a\0b"}, "is unknown"),
        ({"encoding": None}, "is unknown"),
        ({"encoding": "base64"}, "is no character set"),
        ({"encoding": "unicode_escape"}, "is no character set"),
        ({"encoding": "utf-7"}, "is no character set"),
        ({"max_field": 0}, "no number of characters"),
        ({"max_field": True}, "no number of characters"),
        ({"max_field": "1 MB"}, "no number of characters"),
        ({"max_field": 2**40}, "no number of characters"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, "t.csv", b"a,b\n1,2\n", **options)


@pytest.mark.parametrize("word", ["semicolon", ";"])
def test_a_delimiter_by_its_name(tmp_path, word):
    assert rows_of(read(tmp_path, "t.tsv", b"a;b\n1;2\n", delimiter=word)) == (["a", "b"], [["1", "2"]])


def test_names_out_of_a_file_stay_in_one_line(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, "a\nb.csv", b'"x\ny","x\ny"\n1,2\n')
    assert str(error.value).startswith(r"'a\nb.csv', column 'x\ny': columns 1 and 2 have the same name")
