"""The estimates and the table in docs/recipes.md are what the script writes now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def test_nothing_is_stale() -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "estimate_recipes"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_estimate_by_hand() -> None:
    """Stage 1 of the e5 recipe: 6 operations x weights x tokens at 15 % of 312e12, and the time to tokenise."""
    estimate = yaml.safe_load((REPOSITORY / "model_cards" / "mr-e5-small-esci" / "estimate.yaml").read_text())
    tokens = (780_000 * 45 + 33_800 * 12) * 1.4 * 2
    hours = (6 * 21_300_000 * tokens / (312e12 * 0.15) + tokens / 45 / 5_000) / 3600
    assert estimate["hours"]["stage1"] == round(hours, 1)
    weights = 16 * 118_000_000 + 512 * 80 * 12 * 384 * 34
    assert estimate["gpu_memory_gb"] == round(weights / 1e9 + 3)
