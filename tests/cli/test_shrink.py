"""``mr-st shrink`` on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mr_st.cli.main import main


def run(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["shrink", *map(str, arguments)])
    assert (stopped.value.code or 0) == code


def test_table_files_and_resuming(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [tiny_base, "-o", "size=tiny", "--out", tmp_path, "-s", "int8+rescore", "-s", "float32-8"]
    run(*options, "--save", "float32-8")
    shown = capsys.readouterr()
    assert "MarketplaceRetrieval" in shown.out
    assert "int8+rescore" in shown.out
    assert "truncate_dim=8" in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model",
        "plots",
        "shrink.json",
        "shrink.md",
        "vectors",
    ]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "vectors").rglob("*.*")}
    run(*options, "--json", "--quiet", "--name", "org/tiny")
    again = capsys.readouterr()
    assert again.err == ""
    found = json.loads(again.out)
    assert found["model"]["name"] == "org/tiny"
    assert [row["name"] for row in found["settings"]] == ["float32", "int8+rescore", "float32-8"]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "vectors").rglob("*.*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "int2"], "no setting 'int2'"),
        (["--dims", "33"], "33 dimensions: the model's vectors have 32"),
        (["--dims", "a"], "--dims is 'a'; expected whole numbers"),
        (["--save", "binary-99"], "99 dimensions"),
        (["--encoder", "int8"], "--encoder 'int8': there is no such one; there are float16-weights, onnx, onnx-int8"),
        (["--task", "Mall"], "no task 'Mall'"),
        (["--task", "MarketplaceRetrieval", "--data", "x"], "give one of them"),
        (["--save-to", "x"], "--save-to needs --save"),
    ],
)
def test_wrong_use(
    arguments: list[str], message: str, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny_base, "--out", tmp_path, *arguments, code=2)
    assert message in capsys.readouterr().err


def test_what_has_no_vectors_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("bm25", "--out", tmp_path, code=2)
    assert "only a bi-encoder has vectors to shrink" in capsys.readouterr().err
