"""The evaluation of one arm of a recipe: the base, or the model of a training step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step, Steps

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["arm_name", "evaluate_arm"]

_TITLES = {
    "base": "the base", "stage1": "stage 1", "control": "the control arm", "stage2": "stage 2",
    "average": "the average",
}  # fmt: skip


def evaluate_arm(
    recipe: Recipe,
    steps: Steps,
    arm: str,
    dataset: GradedDataset,
    data: Step,
    model: Step | None,
    show_progress: bool = False,
) -> Step:
    """Evaluate one arm on the recipe's test split, once.

    Args:
        recipe: The recipe.
        steps: The job's step runner.
        arm: One of :data:`mr_st.recipes.result.ARMS`.
        dataset: The dataset whose judgments are the test.
        data: The step that prepared it.
        model: The step that trained the arm; None: the recipe's base.
        show_progress: Draw progress bars.
    """
    from mr_st.evaluation import evaluate_model
    from mr_st.models import load_sentence_transformer, truncate_tower

    spec, dim = recipe.evaluation, recipe.publish.dim
    text_format = {"item_text_levels": recipe.data.item_text_levels, "max_chars": recipe.data.max_chars}
    settings = {
        "arm": arm,
        "base": recipe.model.base if model is None else None,
        "name": recipe.publish.repo_id,
        **spec.model_dump(),
        **({} if dim is None else {"dim": dim}),
        **({} if recipe.average is None else {"final": recipe.final_arm}),  # who has the name itself
        **text_format,
    }

    def work(folder: Path) -> dict[str, Any]:
        if model is None:
            encoder = load_sentence_transformer(recipe.model.base, truncate_dim=dim)
        else:
            encoder = load_sentence_transformer(model.folder / "model")
            if dim is not None:
                encoder = truncate_tower(encoder, dim)
        report = evaluate_model(
            encoder,
            dataset,
            task_name=spec.task,
            split=spec.split,
            ks=spec.ks,
            model_name=arm_name(recipe, arm),
            store=folder / "vectors",
            show_progress=show_progress,
            item_text_levels=recipe.data.item_text_levels,
            max_chars=recipe.data.max_chars,
        )
        path = report.save(folder / "results")
        shutil.rmtree(folder / "vectors", ignore_errors=True)
        return {"file": path.relative_to(folder / "results").as_posix(), "model_name": report.model_name}

    after = (data,) if model is None else (data, model)
    return steps.once(f"evaluation/{arm}", f"Evaluating {_TITLES[arm]}", settings, work, after)


def arm_name(recipe: Recipe, arm: str) -> str:
    """The model name under which an arm's results are filed: ``organisation/name``."""
    if arm == "base":
        base = "sentence-transformers/all-MiniLM-L6-v2" if recipe.model.base == "minilm" else recipe.model.base
        return base if base.count("/") == 1 and not Path(base).exists() else f"local/{Path(base).name}"
    return recipe.publish.repo_id + ("" if arm == recipe.final_arm else f"-{arm}")
