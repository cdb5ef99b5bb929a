"""Small graded instances, a dev evaluator, and a way to run a stage in a process that can be killed."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from datasets import Dataset

sys.path.append(str(Path(__file__).parent))

from stage_tools import graded_rows


@pytest.fixture
def rows() -> list[dict]:
    """Two epochs of 20 and 18 instances of 3 to 9 items."""
    return graded_rows(random.Random(0))


@pytest.fixture
def instances(rows: list[dict]) -> Dataset:
    return Dataset.from_list(rows)
