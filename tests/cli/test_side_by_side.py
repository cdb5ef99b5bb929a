"""``mr-st side-by-side``: the figures, what was swapped, the page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mr_st.cli.main import main
from mr_st.evaluation import GradedReport
from mr_st.evaluation.side_by_side import side_by_side

TASK = ["--task", "MarketplaceRetrieval", "-o", "size=tiny"]


@pytest.fixture
def systems(tmp_path: Path) -> dict[str, Path]:
    """Files of four systems."""
    files = {
        "old": "kind: bm25\nname: shop/old\n",
        "new": "kind: bm25\nname: shop/new\nk1: 0.1\nb: 0.0\n",
        "hybrid": "kind: hybrid\nname: shop/hybrid\nparts:\n  words: old.yaml\n  chance: random\n",
        "far": "kind: hybrid\nname: shop/far\nparts: {words: new.yaml, chance: {kind: random, seed: 1}}\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return {name: tmp_path / f"{name}.yaml" for name in files}


def run(*words: Any) -> int:
    try:
        main(["side-by-side", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_two_systems(systems: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "side.html"
    words = [systems["old"], systems["new"], *TASK, "--queries", 500, "--results", tmp_path / "results"]
    assert run(*words, "--page", page, "--json") == 0
    out = capsys.readouterr()
    value = json.loads(out.out)
    assert "swapped: the system (bm25): k1 1.2 -> 0.1; b 0.75 -> 0.0" in out.err
    assert value["queries"]["by_frequency"] is True
    assert value["queries"]["drawn"] == 500
    assert value["control"]["model"] == "shop/old"
    assert {"value", "low", "high", "n"} <= set(value["traffic"]["relative"])
    assert value["most_moved"][0]["query"]
    assert page.read_text(encoding="utf-8").count("<html") == 1

    paths = sorted((tmp_path / "results").glob("*/*/*.json"))
    paths = [
        next(p for p in paths if f"shop__{arm}" in str(p) and p.name != "model_meta.json") for arm in ("old", "new")
    ]
    by_hand = side_by_side(*map(GradedReport.load, paths), n_draws=500)
    assert by_hand.to_dict()["traffic"] == value["traffic"]
    assert run(*paths, *TASK, "--queries", 500, "--json") == 0
    assert json.loads(capsys.readouterr().out)["traffic"] == value["traffic"], "from results the figures are the same"


def test_figures_on_a_terminal(systems: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(systems["old"], systems["hybrid"], *TASK, "--k", 5, "--quiet") == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert "swapped: the system: added hybrid with random" in out.out
    for shown in ("NDCG@5, control", "relative", "judged@5", "overlap of the lists at 5", "drawn by frequency"):
        assert shown in out.out
    assert "12,000 queries drawn with replacement from 12" in out.out


def test_more_than_one_component_must_be_allowed(systems: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = [systems["hybrid"], systems["far"], *TASK]
    assert run(*words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "differ in more than one component (" in error
    assert "parts.words (bm25): k1 1.2 -> 0.1; b 0.75 -> 0.0" in error
    assert "parts.chance (random): seed 0 -> 1" in error
    assert "--allow-many" in error
    assert run(*words, "--allow-many") == 0
    out = capsys.readouterr()
    assert "warning: the arms differ in more than one component" in out.err
    assert out.out.count("swapped: ") == 2


def test_a_part_of_the_queries_is_not_kept_as_the_result(
    systems: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(systems["old"], systems["new"], *TASK, "--queries", 3, "--results", tmp_path / "results") == 0
    assert "results: not kept, for only" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{old}", "{old}", *TASK], "are the same system; swap one component"),
        (["{old}", "a.json", *TASK], "one arm is a result JSON and the other a system"),
        (["{old}", "{new}", *TASK, "--page", "side.txt"], "the file must end in .html"),
        (["{old}", "{new}", "--task", "MarketplaceRetrival"], "did you mean MarketplaceRetrieval?"),
        (["{old}", "{missing}", *TASK], "missing.yaml"),
    ],
)
def test_wrong_use_is_one_line(
    systems: dict[str, Path], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    places = {**systems, "missing": systems["old"].with_name("missing.yaml")}
    assert run(*(word.format(**places) for word in words)) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
