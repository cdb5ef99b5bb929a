"""``mr-st tasks`` and ``mr-st results`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mr_st.cli.main import main

SIZE = ("-o", "size=tiny")


def run(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    try:
        main(list(words))
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def broken_package(tmp_path: Path, monkeypatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mr_st.tasks]\nBrokenRetrieval = broken_is_gone:BrokenRetrieval\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_list_goes_on_where_a_package_is_broken(capsys, broken_package) -> None:
    code, out, err = run(capsys, "tasks", "list")
    assert code == 0
    assert "MarketplaceRetrieval" in out
    assert "cannot be imported" in out
    assert "broken_is_gone" in err
    rows = {row["name"]: row for row in json.loads(run(capsys, "tasks", "list", "--json")[1])}
    assert rows["MarketplaceRetrieval"]["main_score"] == "ndcg_at_10"
    assert rows["MarketplaceRetrieval"]["license"] == "apache-2.0"
    assert "broken_is_gone" in rows["BrokenRetrieval"]["error"]
    assert "BrokenRetrieval" in run(capsys, "tasks", "list", "--names")[1].split()


def test_show(capsys) -> None:
    code, out, _ = run(capsys, "tasks", "show", "MarketplaceRetrieval", *SIZE)
    assert code == 0
    assert "MarketplaceRetrieval-tiny-seed0" in out
    recorded = next(line for line in out.splitlines() if "baseline mr-st/bm25" in line)
    assert "400 queries of other data (marketplace: 4,000 items)" in recorded
    facts = json.loads(run(capsys, "tasks", "show", "MarketplaceRetrieval", *SIZE, "--json")[1])
    assert facts["statistics"]["test"]["n_queries"] == 12
    assert facts["metadata"]["license"] == "apache-2.0"


def test_new_then_check(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "tasks", "new", "KitchenRetrieval")
    assert (code, "--package" in err) == (2, True)
    code, out, _ = run(capsys, "tasks", "new", "KitchenRetrieval", "--dir", ".")
    assert code == 0
    assert "mr-st tasks check kitchen.py" in out
    code, out, _ = run(capsys, "tasks", "check", "kitchen.py", "--quick")
    assert code == 1
    assert "metadata not decided" in out
    made = ("--license", "mit", "--date", "2024-01-01", "2024-02-01", "--reference", "https://example.org",
            "--annotators", "human-annotated", "--creation", "found",
            "--description", "Find kitchen things. Grades: 2 fits, 0 does not.")  # fmt: skip
    code, out, _ = run(capsys, "tasks", "new", "CellarRetrieval", "--dir", ".", *made, "--json")
    assert (code, json.loads(out)["undecided"]) == (0, [])
    code, out, _ = run(capsys, "tasks", "check", "cellar.py", "--quick", "--json")
    assert (code, json.loads(out)["is_sound"]) == (0, True)
    assert run(capsys, "tasks", "check", "cellar.py", "--quick", "--strict")[0] == 1  # few queries
    assert run(capsys, "tasks", "check", "cellar.py:OtherRetrieval")[0] == 2
    assert run(capsys, "tasks", "new", "CellarRetrieval", "--dir", ".")[0] == 2
    assert run(capsys, "tasks", "new", "cellar")[0] == 2


@pytest.fixture(scope="module")
def handed(tmp_path_factory) -> Path:
    from mr_st.evaluation.systems import Bm25System
    from mr_st.tasks import get_task

    folder = tmp_path_factory.mktemp("there") / "results"
    for report in get_task("MarketplaceRetrieval", size="tiny").reports(Bm25System()).values():
        report.save(folder)
    return folder


def test_results_are_checked_and_added(capsys, handed, tmp_path) -> None:
    code, out, _ = run(capsys, "results", "check", str(handed), *SIZE)
    assert code == 0, out
    assert "worked out anew from run and judgments: ndcg@10" in out
    code, out, _ = run(capsys, "results", "add", str(handed), "--results", str(tmp_path / "ours"), *SIZE, "--json")
    (result,) = json.loads(out)
    assert (code, result["state"], result["model"]) == (0, "added", "mr-st/bm25")
    assert (tmp_path / "ours" / result["file"]).is_file()


def test_results_of_a_task_that_is_not_the_one_here(capsys, handed, tmp_path) -> None:
    code, out, _ = run(capsys, "results", "check", str(handed), "-o", "size=tiny", "-o", "seed=1")
    assert code == 1
    assert "give the options that make MarketplaceRetrieval-tiny-seed0" in out
    code, out, _ = run(
        capsys, "results", "add", str(handed), "--results", str(tmp_path / "ours"), *SIZE, "-o", "seed=1"
    )
    assert code == 1
    assert "nothing was added" in out
    assert not (tmp_path / "ours").exists()


def test_results_that_are_no_results(capsys, tmp_path) -> None:
    code, _, err = run(capsys, "results", "check", str(tmp_path / "nowhere"))
    assert (code, "no such folder" in err) == (2, True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "evil\x1b[2J.pkl").write_text("")
    code, _, err = run(capsys, "results", "check", str(tmp_path / "in"))
    assert code == 1
    assert "\x1b" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [("tasks", w) for w in ("list", "show", "new", "check")]
                         + [("results", w) for w in ("check", "add")])  # fmt: skip
def test_help_has_an_example(capsys, words) -> None:
    code, out, _ = run(capsys, *words, "--help")
    assert (code, "Example" in out) == (0, True)
