"""A dataset as a Hub dataset repository: our saved form and a card, pushed in one commit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mr_st.data.dataset_card import dataset_card
from mr_st.data.schema import TABLES
from mr_st.data.storage import SETTINGS_FILE, save_folder
from mr_st.errors import UsageError
from mr_st.hub_client import hub_session, is_hub_id, one_line, raise_hub_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from mr_st.data.dataset import GradedDataset

__all__ = ["HUB_FILES", "push_dataset"]

HUB_FILES = (SETTINGS_FILE, *(f"{table}.parquet" for table in TABLES))
"""What of a repository is read; README.md is for people and the viewer."""

_OFFLINE = "unset it to push, or save to a folder"
_PATIENCE = 120.0  # seconds without an answer


def push_dataset(
    dataset: GradedDataset,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Push tables, ``dataset.yaml`` and a card as one commit; returns the commit's address.

    Args:
        dataset: The dataset; one with faults is refused.
        repo_id: Id of the Hub dataset, ``org/name``; created if it does not exist.
        private: Make the repository private if it is created now. An existing public one is then refused.
        token: A Hub token; None takes the one that huggingface_hub finds (``HF_TOKEN`` or ``hf auth login``).
        revision: Branch to commit to; created if needed. None is ``main``.
        commit_message: The commit's message.

    Raises:
        DataError: the dataset has faults.
        UsageError: ``repo_id`` is no id, or the repository holds something else than a dataset that was pushed so.
        MrStError: the Hub refused, or cannot be reached. The token stands in no message.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    if not is_hub_id(repo_id):
        raise UsageError(f"{repo_id!a} is no id of a Hub dataset; write org/name (letters, digits, '-', '_', '.')")
    dataset.validate()
    token = token or None
    api = HfApi(token=token, library_name="mr_st")
    step = "creating the repository"
    with tempfile.TemporaryDirectory() as temporary, hub_session(token, show_progress=True):
        folder = save_folder(dataset, Path(temporary) / "dataset")
        (folder / "README.md").write_text(dataset_card(dataset, repo_id), encoding="utf-8")
        try:
            repo_id = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
            if revision not in (None, "main"):
                step = "creating the branch"
                api.create_branch(repo_id, repo_type="dataset", branch=str(revision), exist_ok=True)
            step = "looking at the repository"
            head, known = _check_repository(api, repo_id, revision, private)
            stale = known - {path.name for path in folder.iterdir()}
            step = "committing"
            operations = [CommitOperationAdd(path.name, str(path)) for path in sorted(folder.iterdir())]
            info = api.create_commit(
                repo_id,
                [*operations, *(CommitOperationDelete(name) for name in sorted(stale))],
                commit_message=commit_message or f"Push {dataset.name}",
                repo_type="dataset",
                revision=revision,
                parent_commit=head,
            )
        except UsageError:
            raise
        except Exception as error:
            raise_hub_error(error, repo_id, step, token, _OFFLINE)
    return one_line(str(info.commit_url), token)


def _check_repository(api: HfApi, repo_id: str, revision: str | None, private: bool) -> tuple[str | None, set[str]]:
    """The commit that stands there and the data files of an earlier push; refuses a repository of anything else."""
    info = api.dataset_info(repo_id, revision=revision, timeout=_PATIENCE)
    if private and not info.private:
        raise UsageError(
            f"{repo_id}: the repository exists and is public, and private was asked for; make it private in its "
            "settings, or choose another id"
        )
    files = {sibling.rfilename for sibling in info.siblings or []}
    foreign = sorted(files - {*HUB_FILES, "README.md", ".gitattributes"})
    if foreign or (files & set(HUB_FILES) and SETTINGS_FILE not in files):
        found = ", ".join(foreign[:3] or sorted(files & set(HUB_FILES))[:3])
        raise UsageError(
            f"{repo_id}: the repository holds something else than a dataset of ours ({ascii(found)[1:-1]}); "
            "choose another id"
        )
    return info.sha, files & set(HUB_FILES)
