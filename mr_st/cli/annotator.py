"""Who grades: the ``--annotator`` of every command that needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mr_st.annotation import Annotator
    from mr_st.data import GradedDataset

__all__ = ["STORE_FILE", "AnnotatorOption", "resolve_annotator"]

STORE_FILE = "labels.sqlite"

AnnotatorOption = Annotated[
    str,
    typer.Option(
        "--annotator",
        help="policy (the marketplace's own), the folder of a fitted cross-encoder or LLM, a YAML file that says "
        "which annotator it is (kind: cross_encoder, llm, endpoint, similarity or ensemble), or the Hub id of a "
        "cross-encoder.",
    ),
]


def resolve_annotator(name: str, dataset: GradedDataset, budget: float | None = None) -> Annotator:
    """The annotator that ``--annotator`` names.

    Args:
        name: ``policy``, or what :func:`mr_st.annotation.loading.load_annotator` takes.
        dataset: What will be graded.
        budget: What an endpoint may spend, in the place of its file's budget.

    Raises:
        UsageError: ``policy`` for data that is no marketplace, a YAML file that says nothing known, or a budget for
            an annotator that is not paid.
        MrStError: no such model.
    """
    from mr_st.annotation import JudgmentAnnotator
    from mr_st.annotation.loading import load_annotator
    from mr_st.errors import UsageError

    if name != "policy":
        return load_annotator(name, budget=budget)
    from mr_st.data.marketplace import MarketplacePolicy

    if budget is not None:
        raise UsageError("--budget: the policy costs nothing; leave the option out")
    if dataset.source.get("name") != "marketplace":
        raise UsageError(
            f"--annotator policy: only the marketplace has a policy that can be called, {dataset.name} is none; give "
            "the folder of a fitted annotator, or a YAML file that names one"
        )
    return JudgmentAnnotator(MarketplacePolicy.for_dataset(dataset))
