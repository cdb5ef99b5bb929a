"""Bad input ends with one clear line (what, where, mend) and exit code 1 or 2, never with a traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mr_st.cli.main import main

QUERIES = {"query_id": ["q1", "q2"], "text": ["red shoes", "mug"], "locale": ["en-US", "en-US"]}
ITEMS = {
    "item_id": ["i1", "i2", "i3"],
    "title": ["Red running shoes", "Blue shoes", "Coffee mug"],
    "category_path": [["Shoes"], ["Shoes"], ["Kitchen"]],
    "locale": ["en-US"] * 3,
}
JUDGMENTS = {
    "query_id": ["q1", "q1", "q2", "q2"],
    "item_id": ["i1", "i2", "i3", "i1"],
    "grade": [2, 1, 2, 0],
    "split": ["train", "train", "test", "test"],
    "source": ["human"] * 4,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved dataset, written as a user's tool would write it."""
    made = tmp_path / "shop"
    made.mkdir()
    write(made, "queries", QUERIES)
    write(made, "items", ITEMS)
    write(made, "judgments", JUDGMENTS)
    (made / "dataset.yaml").write_text(
        "format: 1\nname: shop\nlicense: mit\nscale: {names: [irrelevant, partial, relevant], gains: [0, 0.5, 1]}\n"
    )
    return made


def write(folder: Path, table: str, columns: dict) -> None:
    pl.DataFrame(columns).write_parquet(folder / f"{table}.parquet")


def change(table: str, columns: dict, **changed: list) -> Callable[[Path], None]:
    return lambda folder: write(folder, table, {**columns, **changed})


def drop(table: str, columns: dict, name: str) -> Callable[[Path], None]:
    return lambda folder: write(folder, table, {k: v for k, v in columns.items() if k != name})


def settings(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "dataset.yaml").write_text(text) and None


def cut_in_half(folder: Path) -> None:
    whole = (folder / "items.parquet").read_bytes()
    (folder / "items.parquet").write_bytes(whole[: len(whole) // 2])


def spoil_bytes(folder: Path) -> None:
    whole = bytearray((folder / "items.parquet").read_bytes())
    whole[10:60] = b"\xff" * 50
    (folder / "items.parquet").write_bytes(bytes(whole))


def latin_1(folder: Path) -> None:
    """Titles whose bytes are Latin-1, as a careless writer leaves them in a column of text."""
    table = pq.read_table(folder / "items.parquet")
    titles = pa.array([b"Caf\xe9", b"plain", b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("title"), "title", titles), folder / "items.parquet")


def link_to_itself(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return spoil


def folder_for_file(folder: Path) -> None:
    (folder / "items.parquet").unlink()
    (folder / "items.parquet").mkdir()


SCALE = "scale: {names: [irrelevant, partial, relevant], gains: [0, 0.5, 1]}\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(11)
)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


def test_a_good_folder_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "check", str(folder))
    assert code == 0, out
    assert "no problems found" in out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(drop("judgments", JUDGMENTS, "grade"), ["judgments.parquet", "column grade"], id="no column"),
        pytest.param(
            change("judgments", JUDGMENTS, grade=[2, 1, 7, 0]),
            ["judgments.parquet", "row 3", "column grade", "7", "0..2"],
            id="unknown grade",
        ),
        pytest.param(
            change("judgments", JUDGMENTS, item_id=["i1", "i2", "nowhere", "i1"]),
            ["judgments.parquet", "row 3", "column item_id", "nowhere"],
            id="unknown item",
        ),
        pytest.param(
            change("judgments", {k: [*v, v[0]] for k, v in JUDGMENTS.items()}, grade=[2, 1, 2, 0, 0]),
            ["judgments.parquet", "row 5", "q1", "i1"],
            id="duplicate pair, other grade",
        ),
        pytest.param(
            change("queries", QUERIES, text=["red shoes", "  "]),
            ["queries.parquet", "row 2", "column text"],
            id="empty query",
        ),
        pytest.param(
            change("items", {k: v[:0] for k, v in ITEMS.items()}), ["items.parquet", "empty"], id="no items"
        ),
        pytest.param(lambda f: (f / "items.parquet").write_bytes(b"PAR1 cut"), ["items.parquet"], id="truncated file"),
        pytest.param(lambda f: (f / "items.parquet").unlink(), ["items.parquet"], id="missing file"),
        pytest.param(cut_in_half, ["items.parquet", "not a readable Parquet file"], id="half a file"),
        pytest.param(spoil_bytes, ["items.parquet", "not a readable Parquet file"], id="damaged file"),
        pytest.param(lambda f: (f / "items.parquet").write_bytes(b""), ["items.parquet"], id="empty file"),
        pytest.param(latin_1, ["items.parquet", "row 1", "column title", r"b'Caf\xe9' is no UTF-8"], id="Latin-1"),
        pytest.param(
            change("judgments", JUDGMENTS, grade=["2", "1", "2", "0"]),
            ["judgments.parquet", "column grade", "where a small whole number is expected"],
            id="grades as text",
        ),
        pytest.param(
            change("judgments", JUDGMENTS, grade=[2.0, 1.5, 2.0, 0.0]),
            ["judgments.parquet", "row 2", "column grade", "1.5"],
            id="grade between two",
        ),
        pytest.param(
            change("items", ITEMS, category_path=["Shoes", "Shoes", "Kitchen"]),
            ["items.parquet", "column category_path", "where a list of texts is expected"],
            id="path as text",
        ),
        pytest.param(
            change("judgments", JUDGMENTS, query_id=[1.0, 1.0, 2.0, 2.0]),
            ["judgments.parquet", "column query_id", "where text or a whole number is expected"],
            id="ids as floats",
        ),
        pytest.param(
            lambda f: (
                write(f, "queries", {**QUERIES, "query_id": [1, 2]}),
                write(f, "judgments", {**JUDGMENTS, "query_id": ["1", "1.0", "2", "2"]}),
            ),
            ["judgments.parquet", "row 2", "column query_id", "'1.0' is not in queries.parquet; '1' is"],
            id="ids of three kinds",
        ),
        pytest.param(
            change("queries", QUERIES, query_id=["q1", "q1"]),
            ["queries.parquet", "row 2", "column query_id", "'q1' stands in row 1 already"],
            id="duplicate id",
        ),
        pytest.param(
            change("items", ITEMS, locale=["en-US", "us", "en-US"]),
            ["items.parquet", "row 2", "column locale", "'us' names a country"],
            id="unknown locale",
        ),
        pytest.param(
            change("queries", QUERIES, text=["red shoes", "mug\0"]),
            ["queries.parquet", "row 2", "column text", "U+0000"],
            id="NUL",
        ),
        pytest.param(
            change("items", ITEMS, description=["", "x" * (2**20 + 1), ""]),
            ["items.parquet", "row 2", "column description", "1,048,577 bytes"],
            id="huge field",
        ),
        pytest.param(link_to_itself("items.parquet"), ["items.parquet", "symbolic links"], id="symlink loop"),
        pytest.param(link_to_itself("dataset.yaml"), ["dataset.yaml"], id="symlink loop of the settings"),
        pytest.param(folder_for_file, ["items.parquet"], id="folder for a file"),
        pytest.param(settings("format: 1\nname: " + "[" * 5000), ["dataset.yaml", "cannot be read"], id="deep YAML"),
        pytest.param(
            settings("!!python/object/apply:os.getcwd []"), ["dataset.yaml", "cannot be read"], id="unsafe YAML tag"
        ),
        pytest.param(
            settings(f"format: 1\n{SCALE}{BOMB}name: *a11"), ["dataset.yaml", "100,000 values"], id="YAML bomb"
        ),
        pytest.param(
            settings(f"format: 1\nsource: &s {{self: *s}}\n{SCALE}"), ["dataset.yaml", "100,000"], id="YAML in itself"
        ),
        pytest.param(
            settings("format: 1\nscale: {names: [no, yes], gains: [0, 1]}"),
            ["dataset.yaml", "column scale", "in quotes"],
            id="names that YAML reads as truth values",
        ),
        pytest.param(
            settings("format: 1\nscale: {names: [bad, good], gains: [0, 1, 2]}"),
            ["dataset.yaml", "column scale", "each named and with a gain"],
            id="names and gains of different length",
        ),
        pytest.param(
            settings("format: 1\nscale: {names: [bad, good], gains: [0, .nan]}"),
            ["dataset.yaml", "column scale", "no list of numbers"],
            id="a gain that is no number",
        ),
        pytest.param(
            settings("format: 1\nscale: {names: [bad, good], gains: [0, 1]}"),
            ["judgments.parquet", "row 1", "column grade", "grade 2 is outside the scale 0..1 (bad, good)"],
            id="a scale of other grades",
        ),
        pytest.param(settings(f"format: 1\nsource: [1]\n{SCALE}"), ["dataset.yaml", "column source"], id="odd source"),
        pytest.param(settings(f"format: 7\n{SCALE}"), ["dataset.yaml", "format 7"], id="another format"),
    ],
)  # fmt: skip
def test_bad_tables(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], words: list[str]
) -> None:
    spoil(folder)
    code, out, _ = run(capsys, "data", "check", str(folder))
    assert code == 1
    assert all(word in out for word in words), out
    code, _, err = run(capsys, "data", "describe", str(folder))
    assert code in (1, 2)
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("mr-st: error: ")
    assert all(word in err for word in words), err


def test_all_problems_of_many_files_in_one_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latin_1(folder)
    drop("judgments", JUDGMENTS, "grade")(folder)
    change("queries", QUERIES, locale=[1, 2])(folder)
    settings("format: 1\nname: []\nscale: {names: [a], gains: [0]}")(folder)
    code, out, _ = run(capsys, "data", "check", str(folder), "--json")
    assert code == 1
    found = [(g["where"], g["column"], g["count"]) for g in json.loads(out)["groups"]]
    assert found == [
        ("dataset.yaml", "name", 1), ("dataset.yaml", "scale", 1), ("queries.parquet", "locale", 1),
        ("items.parquet", "title", 2), ("judgments.parquet", "grade", 1),
    ]  # fmt: skip


def test_all_problems_of_the_values_in_one_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "queries", {**QUERIES, "locale": ["us", "en_US"], "text": ["", "mug\0"]})
    write(folder, "items", {**ITEMS, "item_id": ["i1", "i1", "i3"]})
    write(folder, "judgments", {**JUDGMENTS, "grade": [9, 1, 2, -1], "split": ["train", "train", "tst", "test"]})
    code, out, _ = run(capsys, "data", "check", str(folder), "--json")
    assert code == 1
    groups = {(g["rule"], g["count"]) for g in json.loads(out)["groups"]}
    assert groups == {
        ("ill-formed locale", 1), ("unknown locale", 1), ("NUL character", 1), ("empty query", 1), ("repeated id", 1),
        ("grade outside the scale", 2), ("unknown split", 1), ("unknown id", 1),
    }  # fmt: skip


@pytest.mark.parametrize("make", [lambda p: p.symlink_to(p), lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_what_is_no_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object]
) -> None:
    make(tmp_path / "thing")
    code, _, err = run(capsys, "data", "check", str(tmp_path / "thing"))
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "no known form" in err


RECIPE = """
name: x
data: {source: marketplace, options: {size: tiny}}
stage1: {max_steps: 1}
stage2: {loss: circle, max_steps: 1}
"""


@pytest.mark.parametrize(
    ("recipe", "words", "code"),
    [
        (RECIPE + "minning: {k: 3}", ["recipe.yaml", "minning", "did you mean mining?"], 2),
        (RECIPE + "model: {base: /no/such/model}", ["/no/such/model", "no such"], 1),
        (RECIPE + "model: {base: no-such-org/no-such-model}", ["no-such-org/no-such-model", "Hub"], 1),
        (RECIPE + "model: {base: BASE, dim: 16}\nmining: {k: 100000}", ["mining.k", "100,000", "catalogue"], 2),
        (RECIPE + "data: 7", ["recipe.yaml"], 2),
        (RECIPE.replace("tiny", "enormous"), ["enormous", "tiny"], 2),
        (RECIPE.replace("options: {size: tiny}", "options: {sise: tiny}"), ["sise"], 2),
    ],
)
def test_bad_recipes(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str], recipe: str, words: list[str], code: int
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.replace("BASE", str(tiny_base)))
    found, _, err = run(capsys, "run", str(path), "--out", str(tmp_path / "out"), "--quiet")
    assert found == code, err
    last = err.strip().splitlines()[-1]
    assert last.startswith("mr-st: error: ")
    assert all(word in last for word in words), last
    assert "Traceback" not in err


def test_no_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")  # works as root too, whom permissions do not stop
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    code, _, err = run(capsys, "run", str(path), "--out", str(blocked / "out"))
    assert code == 1
    assert "cannot write here" in err
    if os.geteuid() != 0:
        sealed = tmp_path / "sealed"
        sealed.mkdir(mode=0o500)
        code, _, err = run(capsys, "run", str(path), "--out", str(sealed / "out"))
        assert (code, "cannot write here" in err) == (1, True)


def test_data_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "data", "describe", str(tmp_path / "nothing"))
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "nothing" in err


def test_unknown_option_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "run", "--no-such-option")[0] == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from mr_st.errors import MrStError

    with pytest.raises(MrStError):
        main(["data", "describe", str(tmp_path / "nothing"), "--debug"])
