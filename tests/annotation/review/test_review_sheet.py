"""The review sheet: what is in the files, in which order, and answers read back or refused."""

from __future__ import annotations

import csv
import json
import re
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.annotation import Guideline, PairTable
from mr_st.annotation.review import AnswersError, read_answers
from mr_st.annotation.review.csv_cells import RISKY_STARTS, guarded, unguarded
from mr_st.annotation.review.sheet import SHEET_COLUMNS, ReviewSheet, write_review_sheet
from mr_st.errors import DataError, MrStError, UsageError

GUIDELINE = Guideline.load("brief")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
RISKY_TEXTS = st.one_of(TEXTS, st.builds("{}{}".format, st.sampled_from(RISKY_STARTS), TEXTS))


def table(n_queries: int = 4, n_items: int = 3) -> PairTable:
    ids = [(f"q{q}", f"i{i}") for q in range(n_queries) for i in range(n_items)]
    return PairTable(
        [q for q, _ in ids], [i for _, i in ids],
        [f"query {q}" for q, _ in ids], [f"item {i} of {q}" for q, i in ids], ["en-US"] * len(ids),
    )  # fmt: skip


def cells(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))


def write_answers(path: Path, rows: list[list[str]], header: str = "key,grade,note,expert") -> Path:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture
def sheet(tmp_path: Path) -> ReviewSheet:
    return write_review_sheet(tmp_path / "review", table(), GUIDELINE)


# ---- what is written ------------------------------------------------------------------------------------------------


def test_every_pair_stands_once_and_each_query_in_one_place(sheet: ReviewSheet) -> None:
    pairs = table()
    assert sorted(sheet.pairs) == sorted(zip(pairs.query_ids, pairs.item_ids, strict=True))
    queries = [query for query, _ in sheet.pairs]
    changes = sum(a != b for a, b in pairwise(queries))
    assert changes == len(set(queries)) - 1
    rows = cells(sheet.csv)
    assert [row["key"] for row in rows] == [sheet.key(row) for row in range(len(pairs))]
    assert [row["item"] for row in rows] == [f"item {item} of {query}" for query, item in sheet.pairs]
    assert tuple(rows[0]) == SHEET_COLUMNS
    assert {row["grade"] + row["note"] + row["expert"] for row in rows} == {""}


def test_the_order_follows_the_seed_and_not_the_order_given(tmp_path: Path) -> None:
    pairs = table(8, 4)
    first = write_review_sheet(tmp_path / "a", pairs, GUIDELINE, shuffle_seed=1)
    backwards = write_review_sheet(tmp_path / "b", pairs.take(range(len(pairs))[::-1]), GUIDELINE, shuffle_seed=1)
    other = write_review_sheet(tmp_path / "c", pairs, GUIDELINE, shuffle_seed=2)
    assert first.pairs == backwards.pairs
    assert first.hash == backwards.hash
    for name in ("sheet.csv", "sheet.html", "sheet.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert first.pairs != other.pairs
    assert first.hash != other.hash
    assert first.pairs != tuple(sorted(first.pairs))


def test_the_sheet_is_blind_unless_labels_are_given(tmp_path: Path) -> None:
    def data(sheet: ReviewSheet) -> dict:
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', sheet.html.read_text(), re.S)
        assert found is not None
        return json.loads(found[1])

    blind = write_review_sheet(tmp_path / "blind", table(1, 2), GUIDELINE)
    assert data(blind)["labels"] is None
    seeing = write_review_sheet(tmp_path / "seeing", table(1, 2), GUIDELINE, labels=[0, 2])
    label_of = dict(zip([("q0", "i0"), ("q0", "i1")], [0, 2], strict=True))
    assert data(seeing)["labels"] == [label_of[pair] for pair in seeing.pairs]
    assert blind.hash != seeing.hash


def test_the_form_is_one_file_that_names_no_other(sheet: ReviewSheet) -> None:
    page = sheet.html.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)\s*=\s*"(?!#|data:)', page.split('<script type="application/json"')[0])
    assert "default-src &#39;none&#39;" in page
    for name in GUIDELINE.grade_names:
        assert name in page


def test_the_guideline_cannot_bring_markup_or_pictures(tmp_path: Path) -> None:
    text = (
        GUIDELINE.text
        + '\n<img src=x onerror="alert(1)">\n\n![plan](https://example.com/a.png)\n\n<script>1</script>\n'
    )
    sheet = write_review_sheet(tmp_path, table(1, 1), Guideline.parse(text))
    page = sheet.html.read_text(encoding="utf-8")
    assert "<img" not in page
    assert "https://example.com" not in page
    assert page.count("<script") == 2


def test_texts_cannot_end_the_data_of_the_page(tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script><!--"
    pairs = PairTable(["q"], ["i"], [bad], [bad], [bad])
    page = write_review_sheet(tmp_path, pairs, GUIDELINE, title=bad).html.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<!--" not in page


@pytest.mark.parametrize(
    ("pairs", "labels", "message"),
    [
        (table(0, 0), None, "at least one pair"),
        (PairTable(["q", "q"], ["i", "i"], ["a", "a"], ["b", "b"], ["en", "en"]), None, "given twice"),
        (table(1, 2), [1], "1 labels for 2 pairs"),
    ],
)
def test_what_makes_no_sheet(tmp_path: Path, pairs: PairTable, labels: list[int] | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_review_sheet(tmp_path, pairs, GUIDELINE, labels=labels)


# ---- cells ----------------------------------------------------------------------------------------------------------


@given(RISKY_TEXTS)
def test_a_guarded_cell_is_no_formula_and_reads_back(text: str) -> None:
    cell = guarded(text)
    assert cell[:1] not in {*"=+-@\t\r\n＝＋－＠"} - {""}
    assert unguarded(cell) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.tuples(RISKY_TEXTS, RISKY_TEXTS, RISKY_TEXTS, st.integers(0, 2)), min_size=1, max_size=5))
def test_the_csv_file_gives_texts_and_answers_back(tmp_path: Path, rows: list[tuple[str, str, str, int]]) -> None:
    n = len(rows)
    pairs = PairTable(
        [f"q{k}" for k in range(n)], ["i"] * n, [row[0] for row in rows], [row[1] for row in rows], ["und"] * n
    )
    sheet = write_review_sheet(tmp_path / "review", pairs, GUIDELINE)
    written = cells(sheet.csv)
    row_of = {f"q{k}": row for k, row in enumerate(rows)}
    in_order = [row_of[query] for query, _ in sheet.pairs]
    assert [(unguarded(row["query"]), unguarded(row["item"])) for row in written] == [row[:2] for row in in_order]
    filled = [
        [*list(cell.values())[:4], str(grade), guarded(note), "Ann"]
        for cell, (*_, note, grade) in zip(written, in_order, strict=True)
    ]
    answers = read_answers(write_answers(tmp_path / "back.csv", filled, ",".join(SHEET_COLUMNS)), sheet)
    assert answers.rows() == [
        (query, "i", grade, "Ann", note) for (query, _), (*_, note, grade) in zip(sheet.pairs, in_order, strict=True)
    ]


# ---- answers --------------------------------------------------------------------------------------------------------


def test_answers_of_several_experts(sheet: ReviewSheet, tmp_path: Path) -> None:
    ann = write_answers(tmp_path / "a.csv", [[sheet.key(0), "2", "clear", "Ann"], [sheet.key(1), "", "", "Ann"]])
    ben = write_answers(tmp_path / "ben.csv", [[sheet.key(0), "Relevant"], [sheet.key(2), "0.0"]], "key,grade")
    answers = read_answers([ann, ben], sheet.folder)
    assert answers.rows() == [
        (*sheet.pairs[0], 2, "Ann", "clear"),
        (*sheet.pairs[0], 2, "ben", ""),
        (*sheet.pairs[2], 0, "ben", ""),
    ]
    assert answers.schema == {"query_id": pl.String, "item_id": pl.String, "grade": pl.Int8, "expert": pl.String,
                              "note": pl.String}  # fmt: skip
    assert sheet.n_unanswered(answers) == 12 - 2


def test_an_untouched_sheet_holds_no_answers(sheet: ReviewSheet) -> None:
    answers = read_answers(sheet.csv, sheet)
    assert len(answers) == 0
    assert sheet.n_unanswered(answers) == 12


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_spreadsheets_make_of_it(sheet: ReviewSheet, tmp_path: Path, separator: str, mark: str) -> None:
    lines = [
        ["key", "query", "grade", "note"],
        [sheet.key(4), '"a, b; c\n""d"""', "1", "fine"],
        [sheet.key(5), "", "", ""],
    ]
    path = tmp_path / "cleo.v2.csv"
    path.write_bytes((mark + "\r\n".join(separator.join(line) for line in lines)).encode())
    assert read_answers(path, sheet).rows() == [(*sheet.pairs[4], 1, "cleo", "fine")]


def test_the_same_answer_twice_counts_once(sheet: ReviewSheet, tmp_path: Path) -> None:
    early = write_answers(tmp_path / "1.csv", [[sheet.key(3), "1", "", "Ann"]])
    late = write_answers(tmp_path / "2.csv", [[sheet.key(3), "1", "a substitute", "Ann"]])
    assert read_answers([early, late], sheet).rows() == [(*sheet.pairs[3], 1, "Ann", "a substitute")]


@pytest.mark.parametrize(
    ("rows", "place", "found"),
    [
        ([["x", "1"]], "a.csv, row 1, column key", "x is no key of the sheet"),
        ([["KEY0", "1"], ["KEY99", "1"]], "a.csv, row 2, column key", "is no key of the sheet"),
        ([["s0123456789ab-1", "1"]], "a.csv, row 1, column key", "belongs to another sheet (0123456789ab)"),
        ([["KEY0", "1"], ["KEY1", "3"]], "a.csv, row 2, column grade", "grade 3 is not on the scale (0 irrelevant"),
        ([["KEY0", "maybe"]], "a.csv, row 1, column grade", "grade maybe is not on the scale"),
        ([["KEY0", "1.5"]], "a.csv, row 1, column grade", "grade 1.5 is not on the scale"),
        ([["KEY0", "-1"]], "a.csv, row 1, column grade", "grade -1 is not on the scale"),
        ([["KEY0", "1"], ["KEY0", "2"]], "a.csv, row 2, column grade", "gave this pair grade 2, and grade 1 in a.csv"),
    ],
)  # fmt: skip
def test_bad_answers_are_named(
    sheet: ReviewSheet, tmp_path: Path, rows: list[list[str]], place: str, found: str
) -> None:
    keyed = [[re.sub(r"KEY(\d+)", lambda m: sheet.key(int(m[1])), key), grade] for key, grade in rows]
    path = write_answers(tmp_path / "a.csv", keyed, "key,grade")
    with pytest.raises(AnswersError) as caught:
        read_answers(path, sheet)
    assert str(caught.value).startswith(f"{place}: ")
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_fault_is_listed(sheet: ReviewSheet, tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.csv", [["x", "1"], [sheet.key(0), "7"], [sheet.key(1), "1"]], "key,grade")
    with pytest.raises(AnswersError, match=r"\(and 1 more faults\)") as caught:
        read_answers(path, sheet)
    assert [problem.row for problem in caught.value.problems] == [1, 2]


def test_files_that_are_no_answers(sheet: ReviewSheet, tmp_path: Path) -> None:
    with pytest.raises(AnswersError, match=r"a\.csv, column grade: no such column; there are key, mark"):
        read_answers(write_answers(tmp_path / "a.csv", [["x", "1"]], "key,mark"), sheet)
    with pytest.raises(DataError, match=r"none\.csv: the file is missing"):
        read_answers(tmp_path / "none.csv", sheet)
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"b\.csv: the file is a zip archive or an Excel workbook"):
        read_answers(tmp_path / "b.csv", sheet)
    with pytest.raises(UsageError, match=r"c\.txt: no table file"):
        read_answers(tmp_path / "c.txt", sheet)
    with pytest.raises(MrStError, match=r"sheet\.json: no such file"):
        read_answers(tmp_path / "a.csv", tmp_path)
    (tmp_path / "sheet.json").write_text('{"format": 1, "pairs": [["q"]]}')
    with pytest.raises(MrStError, match="not the record of a review sheet"):
        read_answers(tmp_path / "a.csv", tmp_path)
