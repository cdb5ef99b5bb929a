"""Hostile results and cards: the site builds, writes nowhere else, and says what it left out and why."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from mr_st.leaderboard import build_leaderboard


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hostile_results", Path(__file__).parent / "hostile_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob("*") if not p.is_dir()}


def test_it_builds_writes_nowhere_else_and_names_what_it_left_out(hostile, tmp_path, monkeypatch):
    source = hostile.write_hostile(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    before = _tree(tmp_path)
    data = hostile.hostile_data()
    index = build_leaderboard(source / "results", tmp_path / "site", cards_dir=source / "cards", data=[data])
    site = {path: seen for path, seen in _tree(tmp_path).items() if path.startswith(str(tmp_path / "site"))}
    assert {path: seen for path, seen in _tree(tmp_path).items() if path not in site} == before
    written = [Path(path).relative_to(tmp_path / "site").as_posix() for path in site]
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]{1,120}", path) for path in written)
    assert not any(Path(path).read_bytes() == b"secret" for path in site)
    told = index.read_text(encoding="utf-8")
    for file, (_, reason) in hostile.BROKEN.items():
        assert re.search(rf"results/broken/1/{re.escape(file)}</code>[^<]*{reason}", told), file
    assert "stray.json" in told
