"""kill -9 at any moment of `mr-st run`: the same command goes on, repeats no finished step, and ends alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = """
name: killed
data: {{source: marketplace, options: {{size: tiny, seed: 3}}}}
model: {{base: {base}, dim: 16}}
stage1: {{loss: supcon, max_steps: 40, queries_per_batch: 4, evaluations: 8}}
mining: {{k: 20}}
stage2: {{loss: circle, max_steps: 40, queries_per_batch: 4, evaluations: 8, seed: 1}}
evaluation: {{dev_items: 50}}
publish: {{repo_id: test/killed}}
"""

# the line that starts a step, and how long after it the axe falls (seconds)
MOMENTS = [
    ("Preparing the data", 0.0),
    ("Building the towers", 0.0),
    ("Stage 1", 0.3),
    ("Stage 1", 1.5),
    ("Mining", 0.0),
    ("Mining", 0.1),
    ("Stage 2", 0.3),
    ("Stage 2", 1.5),
    ("Control arm", 1.0),
    ("Evaluating the base", 0.0),
    ("Evaluating stage 1", 0.0),
    ("Evaluating the control", 0.1),
    ("Evaluating stage 2", 0.0),
    ("Comparing", 0.0),
    ("Publishing", 0.0),
    ("Building the leaderboard", 0.0),
]


def start(recipe: Path, out: Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mr_st.cli.main", "run", str(recipe), "--out", str(out), "--json"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_at(recipe: Path, out: Path, title: str, delay: float) -> bool:
    """Start the run, kill it after ``title`` is announced; whether it was still running then."""
    process = start(recipe, out, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        if title in line and "kept" not in line:
            time.sleep(delay)
            break
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return was_running and process.returncode == -signal.SIGKILL


def marks(out: Path) -> dict[str, float]:
    return {p.parent.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.glob("**/step.json")}


@pytest.mark.slow
def test_killed_at_moments_spread_over_all_steps(tmp_path: Path, tiny_base: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(RECIPE.format(base=tiny_base))
    kills, finished = 0, {}
    for title, delay in MOMENTS:
        kills += kill_at(recipe, out, title, delay)
        now = marks(out)
        assert {name: now.get(name) for name in finished} == finished, f"a finished step was repeated ({title})"
        finished = now
    assert kills >= 10, f"only {kills} of {len(MOMENTS)} kills hit a running job"

    process = start(recipe, out)
    printed, remarks = process.communicate(timeout=300)
    assert process.returncode == 0, remarks
    now = marks(out)
    assert {name: now[name] for name in finished} == finished
    result = json.loads(printed)
    assert set(result["metrics"]) == {"base", "stage1", "control", "stage2"}
    assert Path(result["paths"]["leaderboard"]).is_file()
    assert Path(result["paths"]["card"]).read_text().startswith("---\n")
    assert not list(out.glob("**/checkpoints"))

    whole = start(recipe, tmp_path / "whole")
    printed, remarks = whole.communicate(timeout=300)
    assert whole.returncode == 0, remarks
    unbroken = json.loads(printed)
    for arm, metrics in unbroken["metrics"].items():
        for name, value in metrics.items():
            if value["value"] is not None:
                assert result["metrics"][arm][name]["value"] == pytest.approx(value["value"], abs=0.05), (arm, name)
