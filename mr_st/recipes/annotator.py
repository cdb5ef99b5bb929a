"""The annotator of a job: the marketplace's policy, one that is fitted on the training judgments, or one that is."""

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

__all__ = ["LABELS_FILE", "policy_of", "prepare_annotator"]

LABELS_FILE = "labels.sqlite"


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
    out: Path,
    show_progress: bool = False,
    **text_format: Any,
) -> tuple[Step, Annotator]:
    """The annotator that a recipe asks for, and the step that made it.

    The labels of a language model and of an annotator that exists already are kept in ``labels.sqlite`` as they
    arrive: they are slow or paid for, and a killed job asks for none of them twice.

    Args:
        recipe: The whole of it: a fit takes its seed, and a cross-encoder's its base, from there.
        dataset: What is judged.
        data: The step that prepared it.
        once: Runs a step: ``once(name, title, settings, work, after)``.
        out: The job's folder.
        show_progress: Draw progress bars.
        text_format: ``item_text_levels`` and ``max_chars`` of the item texts.

    Raises:
        UsageError: the policy, for data that is no marketplace, or an annotator of another scale than the data's.
        MrStError: a saved annotator that cannot be loaded.
    """
    kind = recipe.annotator.kind
    if kind == "policy":
        return _policy(dataset, data, once)
    if kind == "saved":
        step, annotator = _saved(str(recipe.annotator.path), dataset, data, once)
    else:
        step, annotator = _fitted(recipe, dataset, data, once, show_progress, text_format)
    if kind == "cross_encoder":
        return step, annotator
    from mr_st.annotation import LabelStore, StoredAnnotator

    return step, StoredAnnotator(annotator, LabelStore(out / LABELS_FILE))


def _policy(dataset: GradedDataset, data: Step, once: Callable[..., Step]) -> tuple[Step, Annotator]:
    if dataset.source.get("name") != "marketplace":
        raise UsageError(
            "recipe, annotator.kind: policy works on the marketplace only, whose policy can be called; "
            "set annotator.kind: cross_encoder for your own data"
        )
    annotator = policy_of(dataset)
    facts = {"identity": annotator.identity}
    return once("annotator", "Annotator: the marketplace's policy", facts, lambda folder: facts, (data,)), annotator


def _fitted(
    recipe: Recipe,
    dataset: GradedDataset,
    data: Step,
    once: Callable[..., Step],
    show_progress: bool,
    text_format: dict[str, Any],
) -> tuple[Step, Annotator]:
    """Fitted on the training judgments, in the step's folder."""
    from mr_st.annotation.loading import load_annotator
    from mr_st.training import fit_cross_encoder, fit_llm_annotator

    spec = recipe.annotator
    fit: Callable[..., Annotator]
    if spec.kind == "llm":
        fit, title, base = fit_llm_annotator, "a language model", {}
    else:
        fit, title, base = fit_cross_encoder, "a cross-encoder", {"base": recipe.model.base}

    def work(folder: Path) -> dict[str, Any]:
        options = {**base, "seed": recipe.seed, **text_format, **spec.options}
        fitted = fit(dataset, out_dir=folder / "fit", **options, show_progress=show_progress)
        return {"identity": fitted.identity, **read_json(folder / "fit" / "report.json")}

    settings = spec.model_dump(include={"kind", "options"})
    step = once("annotator", f"Annotator: fitting {title}", settings, work, (data,))
    return step, load_annotator(step.folder / "fit" / "model")


def _saved(path: str, dataset: GradedDataset, data: Step, once: Callable[..., Step]) -> tuple[Step, Annotator]:
    """One that exists; another identity behind the same path makes what comes after it anew."""
    from mr_st.annotation.loading import load_annotator

    annotator = load_annotator(path)
    n_grades = getattr(annotator, "n_grades", dataset.scale.n_grades)
    if n_grades != dataset.scale.n_grades:
        raise UsageError(
            f"recipe, annotator.path: {path} knows grades 0..{n_grades - 1}, and the data's scale is {dataset.scale}; "
            "use an annotator of the same scale"
        )
    facts = {"identity": annotator.identity}
    settings = {"kind": "saved", **facts}
    return once("annotator", f"Annotator: {path}", settings, lambda folder: facts, (data,)), annotator
