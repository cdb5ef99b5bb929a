"""Steps are done once, resumed after an interruption, and done anew when their settings change."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.recipes.steps import Steps


def count_up(folder: Path) -> dict[str, int]:
    """Work that shows how often it ran in this folder."""
    tally = folder / "tally.txt"
    tally.write_text(tally.read_text() + "x" if tally.exists() else "x")
    return {"runs": len(tally.read_text())}


def test_a_finished_step_is_not_repeated(tmp_path: Path) -> None:
    lines: list[str] = []
    steps = Steps(tmp_path, lines.append)
    first = steps.once("a", "Step A", {"x": 1}, count_up)
    second = Steps(tmp_path, lines.append).once("a", "Step A", {"x": 1}, count_up)
    assert first.facts == second.facts == {"runs": 1}
    assert first.key == second.key
    assert lines == ["Step A", "Step A: done before, kept"]


def test_changed_settings_start_from_an_empty_folder(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    steps.once("a", "A", {"x": 1}, count_up)
    assert steps.once("a", "A", {"x": 2}, count_up).facts == {"runs": 1}


def test_a_changed_step_redoes_what_builds_on_it(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    lines: list[str] = []
    for x in (1, 2):
        first = steps.once("a", "A", {"x": x}, count_up)
        steps.announce = lines.append
        steps.once("b", "B", {}, count_up, (first,))
    assert lines == ["B", "A: the settings have changed, done anew", "B: the settings have changed, done anew"]


def test_an_interrupted_step_finds_what_it_left(tmp_path: Path) -> None:
    steps = Steps(tmp_path)

    def broken(folder: Path) -> dict[str, int]:
        count_up(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps.once("a", "A", {"x": 1}, broken)
    done = steps.once("a", "A", {"x": 1}, count_up)
    assert done.facts == {"runs": 2}
    assert done.resumed


def _hold(folder: Path, ready: multiprocessing.synchronize.Event, release: multiprocessing.synchronize.Event) -> None:
    with Steps(folder).alone():
        ready.set()
        release.wait(30)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, release))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(MrStError, match="another run is at work"), Steps(tmp_path).alone():
            pass
    finally:
        release.set()
        other.join(30)
    with Steps(tmp_path).alone():
        pass


def test_a_recipe_is_not_run_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mr_st.recipes import Recipe, run_recipe

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="a recipe runs in one process"):
        run_recipe(Recipe(name="try"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
