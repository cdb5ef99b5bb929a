"""More training queries before stage 1: synthetic and misspelt ones, as the recipe asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset
    from mr_st.recipes.schema import AugmentSpec

__all__ = ["augment_dataset", "say_counts", "variants_of"]


def augment_dataset(
    dataset: GradedDataset, spec: AugmentSpec, annotator: Annotator, show_progress: bool = False, **text_format: Any
) -> tuple[GradedDataset, dict[str, Any]]:
    """Add to the training split what ``spec`` asks for; synthetic queries first, so that they are misspelt too.

    Args:
        dataset: Dev and test stay as they are.
        spec: What to add.
        annotator: Labels the synthetic pairs.
        show_progress: Draw progress bars.
        text_format: ``item_text_levels`` and ``max_chars`` of the item texts.

    Returns:
        The dataset, and the report of each augmentation (JSON-ready). Spelling that is to regularise changes no query:
        see :func:`variants_of`.
    """
    from mr_st.augment import (
        add_misspelt_queries,
        add_synthetic_queries,
        misspelt_variants,
        substitute_misspelt_queries,
    )

    facts: dict[str, Any] = {}
    if spec.synthetic is not None:
        options = spec.synthetic.model_dump()
        dataset, synthetic = add_synthetic_queries(
            dataset, annotator, **options, **text_format, show_progress=show_progress
        )
        facts["synthetic"] = synthetic.to_dict()
    if spec.spelling is not None:
        options = {"share": spec.spelling.share, "split": "train", "seed": spec.spelling.seed}
        if spec.spelling.mode == "regularise":
            _, spelling = misspelt_variants(dataset, **options)
        else:
            misspell = add_misspelt_queries if spec.spelling.mode == "additive" else substitute_misspelt_queries
            dataset, spelling = misspell(dataset, **options)
        facts["spelling"] = spelling.to_dict()
    return dataset, facts


def variants_of(dataset: GradedDataset, spec: AugmentSpec, loss: str) -> dict[str, str] | None:
    """Query id -> misspelt text, for the instances of a stage with this loss; None where the loss takes none.

    Args:
        dataset: What :func:`augment_dataset` returned, or one with the same training queries.
        spec: What to add.
        loss: The stage's.
    """
    from mr_st.augment import misspelt_variants

    if spec.spelling is None or spec.spelling.mode != "regularise" or loss != "spelling_consistency":
        return None
    return misspelt_variants(dataset, spec.spelling.share, "train", spec.spelling.seed)[0]


def say_counts(facts: dict[str, Any]) -> list[str]:
    """One line for each augmentation, from its report."""
    lines = []
    if "synthetic" in facts:
        report = facts["synthetic"]
        wrong = report["assumed_wrong"]
        labels = ", ".join(f"{n:,} {name}" for name, n in report["own_pairs"].items())
        lines.append(
            f"Synthetic queries ({report['policy']}): {report['queries']:,} for {report['items_with_query']:,} of "
            f"{report['items_without_positive']:,} items without a positive; own pairs: {labels}"
            + ("" if wrong is None else f"; assumed positive, {wrong:.1%} would be wrong")
        )
    if "spelling" in facts:
        report = facts["spelling"]
        lines.append(
            f"Misspelt queries ({report['way']}): {report['n_variants']:,} of {report['n_queries']:,} queries"
            + ("" if report["way"] == "regularise" else f", {report['n_pairs']:,} pairs")
        )
    return lines
