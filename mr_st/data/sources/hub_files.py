"""Looking at a Hub dataset's files and fetching some of them, all of one commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mr_st.hub_client import check_downloads, hub_session, raise_hub_error

__all__ = ["OFFLINE_MEND", "HubCommit", "fetch", "look"]

logger = logging.getLogger(__name__)

OFFLINE_MEND = "unset it to read from the Hub, or give a folder"


@dataclass(frozen=True)
class HubCommit:
    """A commit of a Hub dataset.

    Args:
        repo_id: The repository.
        revision: What was asked for: a branch, a tag or a commit; None is ``main``.
        sha: The commit that it stood for.
        files: Paths of its files; offline, of those that were fetched earlier.
    """

    repo_id: str
    revision: str | None
    sha: str
    files: frozenset[str]


def look(repo_id: str, revision: str | None, token: str | None, patterns: Sequence[str]) -> HubCommit:
    """The commit that a revision stands for now; where HF_HUB_OFFLINE is set, what was fetched of it earlier.

    Args:
        repo_id: The repository.
        revision: Branch, tag or commit; None is ``main``.
        token: A Hub token.
        patterns: The files that may be needed; offline, all of them that the repository has must be there.

    Raises:
        MrStError: the Hub refused, cannot be reached, or nothing was fetched earlier.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    step = "reading the dataset" + ("" if Path(repo_id).exists() else " (there is no such path here)")
    try:
        with hub_session(token):
            info = HfApi(token=token, library_name="mr_st").dataset_info(repo_id, revision=revision, timeout=120.0)
    except OfflineModeIsEnabled as error:
        try:
            folder = Path(
                snapshot_download(
                    repo_id, repo_type="dataset", revision=revision, local_files_only=True,
                    allow_patterns=list(patterns),
                )
            )  # fmt: skip
        except LocalEntryNotFoundError:
            raise_hub_error(error, repo_id, step, token, f"it was not downloaded before; {OFFLINE_MEND}")
        logger.warning("%s: HF_HUB_OFFLINE is set; commit %s was downloaded before and is used", repo_id, folder.name)
        files = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return HubCommit(repo_id, revision, folder.name, files)
    except Exception as error:
        raise_hub_error(error, repo_id, step, token, OFFLINE_MEND)
    files = frozenset(sibling.rfilename for sibling in info.siblings or [])
    return HubCommit(repo_id, revision, str(info.sha), files)


def fetch(commit: HubCommit, patterns: Sequence[str], token: str | None) -> Path:
    """The folder of the Hub's cache with those files of a commit that match ``patterns``.

    Raises:
        MrStError: the Hub refused, or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    def download(revision: str | None) -> Path:
        folder = snapshot_download(
            commit.repo_id, repo_type="dataset", revision=revision, allow_patterns=list(patterns), token=token
        )
        return Path(folder)

    try:
        with hub_session(token, show_progress=True):
            folder = download(commit.revision)  # by its name, so that the cache knows what the name stood for
            folder = folder if folder.name == commit.sha else download(commit.sha)
        check_downloads(folder, commit.repo_id)
        return folder
    except Exception as error:
        raise_hub_error(error, commit.repo_id, "downloading", token, OFFLINE_MEND)
