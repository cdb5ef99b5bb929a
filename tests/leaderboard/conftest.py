"""Sample result folders for the leaderboard's tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The module sample_results, which makes result folders."""
    spec = importlib.util.spec_from_file_location("sample_results", Path(__file__).parent / "sample_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
