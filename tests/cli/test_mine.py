"""`mr-st mine`: what it writes and prints, and wrong use in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.mining import RefinementSet

TINY = ("marketplace", "-o", "size=tiny", "-o", "seed=3")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        main(words)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_round_its_figure_and_a_second_round(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("mine", str(tiny_base), *TINY, "--k", "10", "--max-negatives", "2", "--memory", "500MB", "-q")
    code, printed, err = run(capsys, *words, "--out", str(tmp_path / "one"), "--search", "hnsw", "--split", "train")
    assert code == 0, err
    assert "retrieved" in printed
    assert "hnsw found" in printed
    assert str(tmp_path / "one" / "refinement") in printed
    assert (tmp_path / "one" / "report.png").read_bytes().startswith(b"\x89PNG")
    dataset = GradedDataset.load("marketplace", size="tiny", seed=3)
    first = RefinementSet.load(tmp_path / "one" / "refinement", dataset)

    code, printed, err = run(
        capsys, *words, "--out", str(tmp_path / "two"), "--items", "all", "--near-duplicates", "0.99",
        "--negative-ranks", "1-4", "--positive-ranks", "6-", "--max-by-grade", "2=1", "--budget", "60",
        "--strata", "head=1", "--strata", "tail=2", "--previous", str(tmp_path / "one" / "refinement"), "--json",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(printed)
    settings = report["settings"]
    assert settings["negative_ranks"] == [1, 4]
    assert settings["positive_ranks"] == [6, None]
    assert (settings["max_by_grade"], settings["strata"]) == ({"2": 1}, {"head": 1.0, "tail": 2.0})
    assert report["pairs"]["annotated"] <= 60
    both = RefinementSet.load(tmp_path / "two" / "refinement", dataset)
    assert both.round == 2
    assert both.table.slice(0, len(first)).equals(first.table)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--memory", "many"), 2, "--memory is 'many'; expected a size such as 4GiB"),
        (("--negative-ranks", "5"), 2, "--negative-ranks is '5'; expected FIRST-LAST"),
        (("--negative-ranks", "5-3"), 2, "negative_ranks is 5..3"),
        (("--max-by-grade", "two=1"), 2, "--max-by-grade is 'two=1'; expected NAME=NUMBER"),
        (("--strata", "head=1"), 2, "give budget"),
        (("--search", "fast"), 2, "'auto', 'exact', 'hnsw'"),
        (("--items", "some"), 2, "'judged' or 'all'"),
        (("--engine", "spark"), 2, "engine is 'spark'"),
        (("--ray-address", "auto"), 2, "the local engine has no address"),
        (("--k", "100000"), 2, "choose k <="),
        (("--split", "nowhere"), 2, "no split 'nowhere'"),
        (("--previous", "nowhere"), 1, "no refinement set"),
    ],
)
def test_wrong_use_is_one_line(
    words: tuple[str, ...], code: int, message: str, tiny_base: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    got, printed, err = run(capsys, "mine", str(tiny_base), *TINY, "--out", str(tmp_path / "out"), "-q", *words)
    assert (got, printed) == (code, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
