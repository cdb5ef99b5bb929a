"""The loopback Hub, and a model that is ready to be published."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub() -> Iterator[Any]:
    """A loopback Hub that wants the token ``hf_secretSECRET123``."""
    with _load(Path(__file__).parent / "loopback_hub.py").loopback_hub("hf_secretSECRET123") as server:
        yield server


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The module tests/leaderboard/sample_results, which makes reports."""
    return _load(Path(__file__).parents[1] / "leaderboard" / "sample_results.py")


@pytest.fixture
def model_dir(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model."""
    return Path(shutil.copytree(tiny_base, tmp_path / "model"))
