"""Looking at a Hub dataset's files and fetching some of them, all of one commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mr_st.hub_client import raise_hub_error

__all__ = ["OFFLINE_MEND", "HubCommit", "fetch", "look"]

logger = logging.getLogger(__name__)

OFFLINE_MEND = "unset it to read from the Hub, or give a folder"


@dataclass(frozen=True)
class HubCommit:
    """A commit of a Hub dataset.

    Args:
        repo_id: The repository.
        sha: The commit.
        files: Paths of its files; offline, of those that were fetched earlier.
    """

    repo_id: str
    sha: str
    files: frozenset[str]


def look(repo_id: str, revision: str | None, token: str | None) -> HubCommit:
    """The commit that a revision stands for now; where HF_HUB_OFFLINE is set, what was fetched of it earlier.

    Raises:
        MrStError: the Hub refused, cannot be reached, or nothing was fetched earlier.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    step = "reading the dataset" + ("" if Path(repo_id).exists() else " (there is no such path here)")
    try:
        info = HfApi(token=token, library_name="mr_st").dataset_info(repo_id, revision=revision)
    except OfflineModeIsEnabled as error:
        try:
            folder = Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            raise_hub_error(error, repo_id, step, token, f"it was not downloaded before; {OFFLINE_MEND}")
        logger.warning("%s: HF_HUB_OFFLINE is set; commit %s was downloaded before and is used", repo_id, folder.name)
        files = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return HubCommit(repo_id, folder.name, files)
    except Exception as error:
        raise_hub_error(error, repo_id, step, token, OFFLINE_MEND)
    return HubCommit(repo_id, str(info.sha), frozenset(sibling.rfilename for sibling in info.siblings or []))


def fetch(commit: HubCommit, patterns: Sequence[str], token: str | None) -> Path:
    """The folder of the Hub's cache with those files of a commit that match ``patterns``.

    Raises:
        MrStError: the Hub refused, or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                commit.repo_id, repo_type="dataset", revision=commit.sha, allow_patterns=list(patterns), token=token
            )
        )
    except Exception as error:
        raise_hub_error(error, commit.repo_id, "downloading", token, OFFLINE_MEND)
