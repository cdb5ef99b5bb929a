"""A finished run once more from its trained models on: evaluated, compared and published anew, nothing trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mr_st.errors import MrStError
from mr_st.files import read_json
from mr_st.recipes.evaluation import evaluate_arm
from mr_st.recipes.outcome import finish
from mr_st.recipes.result import ARMS, RunResult
from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step, Steps

__all__ = ["publish_again"]

_TRAINED = ("data", "annotator", "augment", "tower", "stage1", "mining", "stage2", "average", "control", "cut")
_NEEDED = ("data", "annotator", "stage1", "mining", "stage2")


def publish_again(
    recipe: Recipe,
    out: str | Path,
    *,
    evaluate: bool = True,
    announce: Callable[[str], None] = lambda line: None,
    show_progress: bool = False,
) -> RunResult:
    """Make results, card and leaderboard of a run's trained models anew, whatever version trained them.

    Args:
        recipe: The recipe that was run.
        out: The run's folder; what it trained is read, what it evaluated and published is replaced.
        evaluate: Throw earlier evaluations away; False keeps those that are finished.
        announce: Called with one line as each step starts or is skipped.
        show_progress: Draw progress bars.

    Raises:
        MrStError: the folder has no finished training.
    """
    from mr_st.data import GradedDataset

    steps = Steps(out, announce)
    with steps.alone():
        done = {name: step for name in _TRAINED if (step := _finished(steps.folder / name)) is not None}
        needed = {*_NEEDED, recipe.final_arm} | ({"cut"} if recipe.publish.dim is not None else set())
        missing = [name for name in _TRAINED if name in needed - done.keys()]
        if missing:
            raise MrStError(f"{out}: {', '.join(missing)} not finished there; run the recipe first")
        dataset = GradedDataset.load(done["data"].folder / "dataset")
        for name in ("evaluation",) * evaluate + ("report", "published", "leaderboard"):
            shutil.rmtree(steps.folder / name, ignore_errors=True)
        evaluated = {}
        for arm in ARMS:
            if arm == "base" or arm in done:
                step = evaluate_arm(recipe, steps, arm, dataset, done["data"], done.get(arm), show_progress)
                evaluated[arm] = done[f"evaluation/{arm}"] = step
        return finish(recipe, steps, done, evaluated, dataset, done.get("cut", done[recipe.final_arm]))


def _finished(folder: Path) -> Step | None:
    """A step as its folder records it; None where it was not finished."""
    if not (folder / "step.json").exists():
        return None
    record = read_json(folder / "step.json")
    return Step(folder, record["key"], record["facts"], record["seconds"], record["resumed"])
