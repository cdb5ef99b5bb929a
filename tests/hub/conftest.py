"""A model that is ready to be published, reports for its card, and a Hub on loopback with a client of its own."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hub_worker import Worker, hub_worker
from loopback_hub import TOKEN, LoopbackHub, loopback_hub


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The module tests/leaderboard/sample_results, which makes reports."""
    return _load(Path(__file__).parents[1] / "leaderboard" / "sample_results.py")


@pytest.fixture
def model_dir(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model."""
    return Path(shutil.copytree(tiny_base, tmp_path / "model"))


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackHub]:
    """A Hub that wants TOKEN, one for a file of tests."""
    with loopback_hub(TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process with the real client, logged in there."""
    with hub_worker(server.endpoint, tmp_path_factory.mktemp("home")) as worker:
        yield worker


@pytest.fixture
def hub(server: LoopbackHub) -> LoopbackHub:
    """The Hub, empty and without faults."""
    server.reset()
    return server
