"""The annotator of a job: the marketplace's policy, or one that is fitted on the training judgments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import UsageError
from mr_st.files import read_json
from mr_st.recipes.schema import Recipe
from mr_st.recipes.steps import Step

if TYPE_CHECKING:
    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset

__all__ = ["policy_of", "prepare_annotator"]


def policy_of(dataset: GradedDataset) -> Annotator:
    """The policy of a marketplace dataset, which grades its own queries and their variants."""
    from mr_st.annotation import JudgmentAnnotator
    from mr_st.data.marketplace import MarketplacePolicy

    return JudgmentAnnotator(MarketplacePolicy.for_dataset(dataset))


def prepare_annotator(
    recipe: Recipe,
    dataset: GradedDataset,
    data: Step,
    once: Callable[..., Step],
    show_progress: bool = False,
    **text_format: Any,
) -> tuple[Step, Annotator]:
    """The annotator that a recipe asks for, and the step that made it.

    Args:
        recipe: The whole of it: a fit takes its base and seed from there.
        dataset: What is judged.
        data: The step that prepared it.
        once: Runs a step: ``once(name, title, settings, work, after)``.
        show_progress: Draw progress bars.
        text_format: ``item_text_levels`` and ``max_chars`` of the item texts.

    Raises:
        UsageError: the policy, for data that is no marketplace.
    """
    if recipe.annotator.kind == "policy":
        return _policy(dataset, data, once)
    from mr_st.annotation import CrossEncoderAnnotator
    from mr_st.training import fit_cross_encoder

    spec = recipe.annotator

    def work(folder: Path) -> dict[str, Any]:
        fitted = fit_cross_encoder(
            dataset,
            out_dir=folder / "fit",
            **{"base": recipe.model.base, "seed": recipe.seed, **text_format, **spec.options},
            show_progress=show_progress,
        )
        return {"identity": fitted.identity, **read_json(folder / "fit" / "report.json")}

    step = once("annotator", "Annotator: fitting a cross-encoder", spec.model_dump(), work, (data,))
    return step, CrossEncoderAnnotator(step.folder / "fit" / "model")


def _policy(dataset: GradedDataset, data: Step, once: Callable[..., Step]) -> tuple[Step, Annotator]:
    if dataset.source.get("name") != "marketplace":
        raise UsageError(
            "recipe, annotator.kind: policy works on the marketplace only, whose policy can be called; "
            "set annotator.kind: cross_encoder for your own data"
        )
    annotator = policy_of(dataset)
    facts = {"identity": annotator.identity}
    return once("annotator", "Annotator: the marketplace's policy", facts, lambda folder: facts, (data,)), annotator
