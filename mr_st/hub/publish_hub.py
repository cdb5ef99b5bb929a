"""Publishing to the Hub: what stands there, whether it may be replaced, and the one commit that replaces it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError
from mr_st.hub.publish_files import Files, size_of
from mr_st.hub.publish_record import MARK, Mark, Sent, read_sent, remember
from mr_st.hub_client import file_digests, hub_endpoint, is_unreachable, one_line, raise_hub_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["HubPlan", "HubUnreachableError", "Target", "plan_publication", "send"]

_OFFLINE = "unset it to publish, or publish to a folder"
_NAMED = 3  # files that a refusal names


class HubUnreachableError(MrStError):
    """The Hub cannot be asked: no network, no answer, or HF_HUB_OFFLINE is set."""


@dataclass(frozen=True)
class Target:
    """Where to publish, and how.

    Args:
        repo_id: The repository.
        branch: The branch.
        token: An explicit token.
        private: Make the repository private if it is created now.
        create_pr: Open a pull request instead of committing.
        overwrite: Replace what is not this model's.
        timeout: Seconds without a byte after which a request is given up.
    """

    repo_id: str
    branch: str
    token: str | None
    private: bool
    create_pr: bool
    overwrite: bool
    timeout: float

    @property
    def place(self) -> str:
        """Address, repository and branch."""
        return f"{hub_endpoint()}/{self.repo_id}@{self.branch}"


@dataclass(frozen=True)
class _Remote:
    """What stands on the Hub; ``files`` is path to (size, SHA-256 of a large file or None, git's hash)."""

    exists: bool = False
    has_branch: bool = False
    head: str | None = None
    is_private: bool = False
    files: Mapping[str, tuple[int, str | None, str]] = field(default_factory=dict)
    mark: Mark | None = None
    is_empty: bool = True


@dataclass(frozen=True)
class HubPlan:
    """What a publication changes on the Hub.

    Args:
        changes: Path to ``new``, ``changed``, ``same`` or ``deleted``.
        remote: What stands there.
        mark: What ``mr_st.json`` will say.
    """

    changes: dict[str, str]
    remote: _Remote
    mark: Mark

    @property
    def is_done(self) -> bool:
        """Whether all of it stands there already."""
        return self.remote.has_branch and set(self.changes.values()) == {"same"}


def plan_publication(api: HfApi, files: Files, model_dir: Path, target: Target) -> HubPlan:
    """Look at the Hub and decide what to change there; nothing is sent.

    Raises:
        UsageError: what stands there is somebody else's, or newer, and ``overwrite`` is not set.
        HubUnreachableError: the Hub cannot be reached.
        MrStError: the Hub refused.
    """
    try:
        remote = _look(api, target)
    except Exception as error:
        try:
            raise_hub_error(error, target.repo_id, "looking at the repository", target.token, _OFFLINE)
        except MrStError as told:
            raise (HubUnreachableError(str(told)) if is_unreachable(error) else told) from None
    if target.private and remote.exists and not remote.is_private:
        raise UsageError(
            f"{target.repo_id}: the repository exists and is public, and private was asked for; make it private in "
            "its settings, or choose another id"
        )
    digests = {path: file_digests(source) for path, source in files.items() if path != MARK}
    mark = Mark.of({path: large for path, (large, _) in digests.items()}, remote.head)
    changes = {path: _change(remote.files.get(path), size_of(files[path]), digests[path]) for path in digests}
    known = set(remote.mark.files) | {MARK} if remote.mark else set()
    gone = {path for path in remote.files if path not in changes and path not in (MARK, ".gitattributes")}
    is_ours = _is_ours(remote, target, read_sent(model_dir, target.place), mark, changes, gone & known)
    if target.create_pr or (is_ours and not target.overwrite):
        gone &= known  # what others added stays
    if not is_ours and not target.create_pr:
        _refuse(remote, target, changes, gone, is_known=read_sent(model_dir, target.place) is not None)
    changes |= dict.fromkeys(gone, "deleted")
    is_same = set(changes.values()) == {"same"} and remote.mark is not None and remote.mark.content == mark.content
    changes[MARK] = "same" if is_same else "changed" if MARK in remote.files else "new"
    return HubPlan(dict(sorted(changes.items())), remote, mark)


def _look(api: HfApi, target: Target) -> _Remote:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.hf_api import RepoFile

    has_branch = True
    try:
        info = api.model_info(target.repo_id, revision=target.branch, timeout=target.timeout)
    except RepositoryNotFoundError as error:
        if error.response.status_code != 404:  # 401: no token; 403: gated
            raise
        return _Remote()
    except RevisionNotFoundError:
        has_branch = False
        info = api.model_info(target.repo_id, timeout=target.timeout)
    files = {
        entry.path: (entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in api.list_repo_tree(target.repo_id, recursive=True, revision=info.sha)
        if isinstance(entry, RepoFile)
    }
    head = str(info.sha)
    mark = Mark.parse(_read(api, target, head, MARK)) if MARK in files else None
    theirs = set(files) - {".gitattributes"}
    is_empty = not theirs or (
        theirs == {"README.md"} and not _has_prose(_read(api, target, head, "README.md"))
    )  # made on the website
    return _Remote(True, has_branch, head, bool(info.private), files, mark, is_empty)


def _read(api: HfApi, target: Target, head: str, path: str) -> bytes:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(target.repo_id, path, revision=head, endpoint=api.endpoint)
    response = get_session().get(url, headers=build_hf_headers(token=target.token, library_name="mr_st"))
    hf_raise_for_status(response)
    return response.content


def _has_prose(readme: bytes) -> bool:
    """Whether a README says more than metadata and a heading."""
    text = re.sub(r"\A---\n.*?\n---\n", "", readme.decode("utf-8", "replace").replace("\r\n", "\n"), flags=re.DOTALL)
    return any(line.strip() and not line.startswith("#") for line in text.splitlines())


def _change(there: tuple[int, str | None, str] | None, size: int, digests: tuple[str, str]) -> str:
    if there is None:
        return "new"
    there_size, large, blob = there
    is_same = there_size == size and (large == digests[0] if large else blob == digests[1])
    return "same" if is_same else "changed"


def _is_ours(
    remote: _Remote, target: Target, sent: Sent | None, mark: Mark, changes: Mapping[str, str], gone: set[str]
) -> bool:
    """Whether nobody else's work is lost: nothing stands there, or this very model, or what was sent from here."""
    if remote.is_empty:
        return True
    if remote.mark is None:
        return False
    if not remote.has_branch:
        return True  # a new branch of a model that mr-st published
    if sent is not None and sent.stands_at(remote.head, remote.mark):
        return True
    return remote.mark.content == mark.content and not gone and set(changes.values()) == {"same"}


def _refuse(remote: _Remote, target: Target, changes: Mapping[str, str], gone: set[str], is_known: bool) -> None:
    """Say what would be lost, unless that was asked for."""
    if target.overwrite:
        return
    lost = sorted([path for path, change in changes.items() if change == "changed"] + list(gone))
    names = ", ".join(one_line(path) for path in lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
    loses = f"replaces or deletes {len(lost)} file{'s' if len(lost) > 1 else ''} there ({names})"
    loses = loses if lost else "adds files to it"
    where = f"{target.repo_id}@{target.branch} on {hub_endpoint()}"
    if remote.mark is None:
        what = "the repository holds something that mr-st did not publish"
    elif is_known:
        what = f"the branch has moved on since this folder was published there (now {str(remote.head)[:8]})"
    else:
        what = f"a model stands there that was not published from this folder ({str(remote.head)[:8]})"
    raise UsageError(
        f"{where}: {what}; choose another id, open a pull request (create_pr, --create-pr), or say overwrite "
        f"(--overwrite), which {loses}"
    )


def send(api: HfApi, files: Files, plan: HubPlan, model_dir: Path, target: Target, message: str) -> str:
    """Create what is missing and commit what changes, once; the commit's or the pull request's address.

    Large files go first and are kept by the Hub, so what a broken run has sent is not sent again; the commit comes
    last and only on top of what was looked at.

    Raises:
        MrStError: the Hub refused, or cannot be reached; the branch stands as it was, which the message says.
    """
    repo_id, remote, note = target.repo_id, plan.remote, "nothing was changed there"
    if plan.is_done:
        _remember(model_dir, target, Sent(plan.mark.content, remote.head, remote.head))
        return f"{hub_endpoint()}/{repo_id}/commit/{remote.head}"
    step = "creating the repository"
    head = remote.head
    try:
        if not remote.exists:
            note = ""
            repo_id = api.create_repo(repo_id, private=target.private, exist_ok=True).repo_id
            note = "the new repository stands empty, the same command completes it"
            step = "looking at the new repository"
            head = str(api.model_info(repo_id, timeout=target.timeout).sha)
        if not remote.has_branch and target.branch != "main" and not target.create_pr:
            step = "creating the branch"
            api.create_branch(repo_id, branch=target.branch, revision=head, exist_ok=True)
            note = f"the new branch {target.branch} holds no new model yet, the same command completes it"
        step = "committing"
        mark = Mark(plan.mark.content, head, plan.mark.files)
        _remember(model_dir, target, Sent(mark.content, head, None))
        info = _commit(api, {**files, MARK: mark.to_bytes()}, plan.changes, repo_id, head, target, message)
    except Exception as error:
        if step == "committing" and not _is_surely_not_there(error):
            note = "whether the commit arrived is not known, the same command finds out and completes it"
        raise_hub_error(error, repo_id, step, target.token, _OFFLINE, note)
    _remember(model_dir, target, Sent(mark.content, head, str(info.oid)))
    return one_line(str(info.pr_url or info.commit_url), target.token)


def _is_surely_not_there(error: Exception) -> bool:
    """Whether a commit that ended so did not happen: the Hub said no, or a large file did not get there."""
    from json import JSONDecodeError

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status < 500
    return isinstance(error, (ValueError, RuntimeError)) and not isinstance(error, JSONDecodeError)


def _remember(model_dir: Path, target: Target, sent: Sent) -> None:
    if not target.create_pr:  # a pull request is no branch of ours
        remember(model_dir, target.place, sent)


def _commit(
    api: HfApi, files: Files, changes: Mapping[str, str], repo_id: str, head: str | None, target: Target, message: str
) -> Any:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [
        CommitOperationAdd(path, source if isinstance(source, bytes) else str(source))
        for path, source in sorted(files.items())
    ]
    operations += [CommitOperationDelete(path) for path, change in changes.items() if change == "deleted"]
    for operation in operations:
        if getattr(operation, "path_in_repo", None) not in changes:
            raise MrStError(f"{repo_id}: {one_line(operation.path_in_repo)} is no path that can be committed")
    return api.create_commit(
        repo_id,
        operations,
        commit_message=message,
        revision=None if target.branch == "main" else target.branch,
        create_pr=target.create_pr or None,
        parent_commit=head,
    )
