"""After stage 2: the average of several stage-2 models, and the model cut to the width that is published."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step

__all__ = ["average_stage2", "cut_model"]


def average_stage2(once: Callable[..., Step], members: Sequence[Step], seeds: Sequence[int]) -> Step:
    """The uniform average of the models of several steps, once.

    Args:
        once: Runs a step: ``once(name, title, settings, work, after)``.
        members: The training steps; the facts of the first describe the training.
        seeds: Their seeds.
    """
    from mr_st.training import average_models

    def work(folder: Path) -> dict[str, Any]:
        shutil.rmtree(folder / "model", ignore_errors=True)  # of a try that was killed after it
        average_models([member.folder / "model" for member in members], folder / "model")
        of = [{"seed": seed, "best": step.facts.get("best")} for seed, step in zip(seeds, members, strict=True)]
        shared = {key: members[0].facts[key] for key in ("steps", "loss_config", "config", "hardware", "instances")}
        return {
            **shared,
            "seconds": round(sum(member.facts["seconds"] for member in members), 1),
            "average_of": of,
        }

    settings = {"seeds": list(seeds)}
    return once("average", f"Averaging {len(members)} stage-2 models", settings, work, tuple(members))


def cut_model(recipe: Recipe, once: Callable[..., Step], final: Step) -> Step:
    """The step whose model is published: the last one, or it cut to ``publish.dim``.

    Args:
        recipe: The recipe.
        once: Runs a step.
        final: The step that trained the model.
    """
    from mr_st.models import load_sentence_transformer, truncate_tower

    dim = recipe.publish.dim
    if dim is None:
        return final

    def work(folder: Path) -> dict[str, Any]:
        shutil.rmtree(folder / "model", ignore_errors=True)
        model = truncate_tower(load_sentence_transformer(final.folder / "model"), dim)
        model.save(str(folder / "model"), create_model_card=False)
        return {**final.facts, "dim": dim}

    return once("cut", f"Cutting the model to {dim} dimensions", {"dim": dim}, work, (final,))
