"""Who grades: the ``--annotator`` of every command that needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset

__all__ = ["AnnotatorOption", "resolve_annotator"]

AnnotatorOption = Annotated[
    str, typer.Option("--annotator", help="policy (the marketplace's own), or the folder of a cross-encoder.")
]


def resolve_annotator(name: str, dataset: GradedDataset) -> Annotator:
    """The annotator that ``--annotator`` names.

    Args:
        name: ``policy``, or where a fitted cross-encoder is.
        dataset: What will be graded.

    Raises:
        UsageError: ``policy`` for data that is no marketplace.
        MrStError: no such model.
    """
    from mr_st.annotation import CrossEncoderAnnotator, JudgmentAnnotator
    from mr_st.errors import UsageError

    if name != "policy":
        return CrossEncoderAnnotator(name)
    from mr_st.data.marketplace import MarketplacePolicy

    if dataset.source.get("name") != "marketplace":
        raise UsageError(
            f"--annotator policy: only the marketplace has a policy that can be called, {dataset.name} is none; give "
            "the folder of a fitted cross-encoder"
        )
    return JudgmentAnnotator(MarketplacePolicy.for_dataset(dataset))
