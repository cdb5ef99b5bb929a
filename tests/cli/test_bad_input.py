"""Bad input ends with one clear line (what, where, mend) and exit code 1 or 2, never with a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
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
