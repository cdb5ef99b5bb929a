"""Datasets on the Hub: our saved form, what ``to_mteb`` wrote, and what others have in MTEB's or BEIR's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mr_st.data.dataset import GradedDataset
from mr_st.data.hub_form import HUB_FILES
from mr_st.data.sources.beir_files import BEIR_PATTERNS
from mr_st.data.sources.hub_files import fetch, look
from mr_st.data.sources.mteb import load_mteb, refuse_options
from mr_st.data.sources.mteb_export import EXPORT_FILES
from mr_st.data.storage import load_folder
from mr_st.errors import DataError, UsageError
from mr_st.grades import GradeScale
from mr_st.hub_client import is_hub_id

__all__ = ["load_hub"]


def load_hub(
    repo_id: str,
    revision: str | None = None,
    token: str | None = None,
    validate: bool = True,
    subset: str | None = None,
    scale: GradeScale | Mapping[str, Any] | None = None,
    grade_map: Mapping[Any, int] | None = None,
    split_map: Mapping[str, str | None] | None = None,
    locale: str = "und",
    name: str | None = None,
    license: str | None = None,
) -> GradedDataset:
    """Load a Hub dataset: what ``GradedDataset.push_to_hub`` pushed, or else MTEB's or BEIR's form.

    All files come from one commit. Where HF_HUB_OFFLINE is set, what was downloaded earlier is used.

    Args:
        repo_id: The id, ``org/name``.
        revision: Branch, tag or commit; None is ``main``.
        token: A Hub token; None takes the one that huggingface_hub finds.
        validate: Also check what the values say.
        subset: This and the rest, for MTEB's or BEIR's form only: see :func:`~mr_st.data.sources.mteb.load_mteb`.
        scale: What the grades mean.
        grade_map: Score -> grade.
        split_map: The source's split -> ours.
        locale: BCP-47 tag that all texts get.
        name: What to call the dataset.
        license: Its licence.

    Raises:
        UsageError: ``repo_id`` is no id, the repository holds something else, or an option means nothing for it.
        DataError: a file is missing or damaged, or the data has faults; ``.problems`` lists them all.
        MrStError: the Hub refused, or cannot be reached. The token stands in no message.
    """
    if not is_hub_id(repo_id):
        raise UsageError(f"hub: {repo_id!a} is no id of a Hub dataset; write org/name")
    commit = look(repo_id, revision, token or None, [*HUB_FILES, *EXPORT_FILES, *BEIR_PATTERNS])
    if not commit.files & {"dataset.yaml", "judgments.parquet"}:
        return load_mteb(
            repo_id, revision, subset, scale, grade_map, split_map, locale, name, license, token, validate
        )
    refuse_options(
        f"hub: {repo_id} was pushed by push_to_hub", subset=subset, scale=scale, grade_map=grade_map,
        split_map=split_map, locale=None if locale == "und" else locale, name=name, license=license,
    )  # fmt: skip
    folder = fetch(commit, HUB_FILES, token or None)
    try:
        return load_folder(folder, validate)
    except DataError as error:
        where = f"{repo_id}@{commit.sha[:8]}"
        problems = [replace(problem, where=f"{where}/{problem.where}") for problem in error.problems]
        raise DataError(problems) from error
