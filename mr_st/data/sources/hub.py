"""Datasets on the Hub: our saved form, what ``to_mteb`` wrote, and what others have in MTEB's or BEIR's form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mr_st.data.dataset import GradedDataset
from mr_st.data.hub_form import HUB_FILES
from mr_st.data.sources.hub_files import fetch, look
from mr_st.data.sources.mteb import load_mteb
from mr_st.data.storage import load_folder
from mr_st.errors import DataError, UsageError
from mr_st.hub_client import is_hub_id

__all__ = ["load_hub"]


def load_hub(
    repo_id: str, revision: str | None = None, token: str | None = None, validate: bool = True, **options: Any
) -> GradedDataset:
    """Load a Hub dataset: what ``GradedDataset.push_to_hub`` pushed, or else MTEB's or BEIR's form.

    All files come from one commit. Where HF_HUB_OFFLINE is set, what was downloaded earlier is used.

    Args:
        repo_id: The id, ``org/name``.
        revision: Branch, tag or commit; None is ``main``.
        token: A Hub token; None takes the one that huggingface_hub finds.
        validate: Also check what the values say.
        options: For MTEB's or BEIR's form, what :func:`~mr_st.data.sources.mteb.load_mteb` takes.

    Raises:
        UsageError: ``repo_id`` is no id, the repository holds something else, or an option means nothing for it.
        DataError: a file is missing or damaged, or the data has faults; ``.problems`` lists them all.
        MrStError: the Hub refused, or cannot be reached. The token stands in no message.
    """
    if not is_hub_id(repo_id):
        raise UsageError(f"hub: {repo_id!a} is no id of a Hub dataset; write org/name")
    commit = look(repo_id, revision, token or None)
    if not commit.files & {"dataset.yaml", "judgments.parquet"}:
        return load_mteb(repo_id, revision=commit.sha, token=token or None, validate=validate, **options)
    if options:
        raise UsageError(
            f"hub: {repo_id} was pushed by push_to_hub and comes back as it was; leave out {', '.join(options)}"
        )
    folder = fetch(commit, HUB_FILES, token or None)
    try:
        return load_folder(folder, validate)
    except DataError as error:
        where = f"{repo_id}@{commit.sha[:8]}"
        problems = [replace(problem, where=f"{where}/{problem.where}") for problem in error.problems]
        raise DataError(problems) from error
