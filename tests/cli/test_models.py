"""``mr-st models`` as a person types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mr_st.cli.main import main

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
HERE = ("--cards", str(CARDS))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    try:
        main(["models", *words])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


def test_list(capsys) -> None:
    code, out, _ = run(capsys, "list", *HERE)
    assert code == 0
    for name in (path.parent.name for path in CARDS.glob("*/recipe.yaml")):
        assert name in out
    assert "card and results" in out
    assert "recipe only" in out
    rows = {row["name"]: row for row in json.loads(run(capsys, "list", *HERE, "--json")[1])}
    assert rows["mr-minilm-marketplace"]["low"] < rows["mr-minilm-marketplace"]["value"]
    assert rows["mr-e5-small-esci"]["value"] is None


def test_the_registry_is_found_from_anywhere(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "mr-minilm-marketplace" in run(capsys, "list")[1]  # this checkout's own
    (tmp_path / "model_cards").mkdir()
    assert run(capsys, "list") == (0, "no models here\n", "")
    code, _, err = run(capsys, "list", "--cards", "absent")
    assert code == 1
    assert "comes with the source checkout" in err


def test_show(capsys) -> None:
    code, out, _ = run(capsys, "show", "mr-minilm-marketplace", *HERE)
    assert (code, out) == (0, (CARDS / "mr-minilm-marketplace" / "README.md").read_text().rstrip() + "\n")
    code, out, _ = run(capsys, "show", "mr-qwen3-0.6b-esci-256", *HERE)
    assert code == 0
    assert "not trained yet" in out
    assert "estimated, not measured" in out
    assert "loss: roar" in out
    told = json.loads(run(capsys, "show", "mr-e5-small-esci", *HERE, "--json")[1])
    assert told["card"] is None
    assert told["estimate"]["kind"] == "estimate"
    code, _, err = run(capsys, "show", "../mr-e5-small-esci", *HERE)
    assert code == 2
    assert "no model named" in err


def test_check_says_what_is_wrong_and_fails(capsys, tmp_path: Path) -> None:
    shutil.copytree(CARDS / "mr-e5-small-esci", tmp_path / "mr-e5-small-esci")
    assert run(capsys, "check", "--cards", str(tmp_path)) == (0, "1 models, 0 faults\n", "")
    (tmp_path / "mr-e5-small-esci" / "estimate.yaml").unlink()
    code, out, _ = run(capsys, "check", "--cards", str(tmp_path))
    assert code == 1
    assert out.splitlines() == [
        "mr-e5-small-esci: neither a card (README.md) nor an estimate (estimate.yaml)",
        "1 models, 1 fault",
    ]
    told = json.loads(run(capsys, "check", "--cards", str(tmp_path), "--json")[1])
    assert told["faults"] == 1


def test_pull_without_the_hub_or_a_name(capsys, tmp_path: Path) -> None:
    code, _, err = run(capsys, "pull", "no-such", *HERE, "--out", str(tmp_path / "x"))
    assert code == 2
    assert "no model named" in err
    code, _, err = run(capsys, "pull", "../../x", *HERE, "--out", str(tmp_path / "x"))
    assert code == 2
    assert "no Hub id" in err
    code, _, err = run(capsys, "pull", "mr-minilm-marketplace", *HERE, "--out", str(tmp_path / "x"))
    assert code == 1
    assert "HF_HUB_OFFLINE is set" in err


def test_average(capsys, tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "b")
    out = tmp_path / "mean"
    code, said, _ = run(capsys, "average", str(tiny_base), str(tmp_path / "b"), "--out", str(out))
    assert (code, said) == (0, f"{out}: the average of 2 models\n")
    assert (out / "modules.json").is_file()
    code, _, err = run(capsys, "average", str(tiny_base), "--out", str(tmp_path / "x"))
    assert code == 2
    assert "two models or more" in err
