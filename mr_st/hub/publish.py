"""Publish a model, its card, its results and its recipe in one step: to a folder, or in one commit to the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mr_st.errors import MrStError, UsageError
from mr_st.hub.publish_files import Files, check_target_folder, collect_files, size_of, write_folder
from mr_st.hub_client import hub_endpoint, hub_session, one_line

if TYPE_CHECKING:
    from mr_st.hub.publish_hub import Target

__all__ = ["Publication", "publish"]


@dataclass(frozen=True)
class Publication:
    """Where a model went, and what went there; ``str()`` of it is the place.

    Args:
        where: The folder, the commit's address, or the pull request's address.
        files: The files published, as paths in the repository.
        n_bytes: Their size together.
        card: The card as published (README.md).
        is_dry_run: True where nothing was written or sent.
        sizes: Each file's size in bytes.
        changes: What happens to each path on the Hub: ``new``, ``changed``, ``same`` or ``deleted``. None for a
            folder, and where the Hub could not be asked.
    """

    where: str
    files: tuple[str, ...]
    n_bytes: int
    card: str
    is_dry_run: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return self.where


def publish(
    model_dir: str | Path,
    destination: str | Path,
    *,
    token: str | None = None,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
    message: str | None = None,
    card: str | None = None,
    results_dir: str | Path | None = None,
    recipe: str | Path | None = None,
    overwrite: bool = False,
    timeout: float = 120.0,
    announce: Callable[[str], None] | None = None,
    show_progress: bool = False,
) -> Publication:
    """Publish a model folder, with its card, results and recipe, to a local folder or as one commit to the Hub.

    The repository also gets ``mr_st.json``, which lists what was published, and the model folder a hidden note of the
    commit that it became. By them a later publication knows whether what stands there is this model's: if not, or if
    the branch has moved on since, it refuses. What an earlier publication put there and this one has not is deleted
    in the same commit. A broken upload is completed by the same call: large files that arrived are not sent again.

    Args:
        model_dir: A saved SentenceTransformer; safetensors only. README.md, ``results/``, ``recipe.yaml`` go along.
        destination: A folder (a ``Path``, ``./x``, ``../x``, ``~/x``, ``/x``, or one that exists) or a Hub id.
        token: A Hub token; None takes the one that huggingface_hub finds (``HF_TOKEN`` or ``hf auth login``).
        private: Make the repository private if it is created now. An existing public one is then refused.
        revision: Branch to commit to; created if needed. None is ``main``.
        create_pr: Open a pull request instead of committing; it may be to anybody's repository.
        dry_run: Check everything, look what would change on the Hub; write and send nothing.
        message: The commit's message.
        card: The card's Markdown; None takes the folder's README.md, or builds a card that claims no results.
        results_dir: A results folder to publish as ``results/``.
        recipe: A recipe file to publish as ``recipe.yaml``.
        overwrite: Replace whatever stands on the branch; it then holds exactly this model.
        timeout: Seconds without a byte after which the Hub counts as gone.
        announce: Told what takes time or is worth knowing: that the client waits and tries again.
        show_progress: Show the client's progress bars while large files are sent.

    Returns:
        Where it went, and what changed there.

    Raises:
        UsageError: the destination is neither a folder nor a Hub id, an option does not fit it, or what stands there
            is somebody else's or newer.
        MrStError: the folder is no model that plain sentence-transformers loads, holds pickled weights, unmerged
            adapters or links out of it, has a card with invalid metadata, or the Hub refused. The token stands in no
            message.
    """
    model_dir = Path(model_dir)
    folder, repo_id = _parse_destination(destination)
    files = collect_files(model_dir, results_dir, recipe)
    text = _card_text(model_dir, files, card, repo_id)
    files["README.md"] = text.encode()
    sizes = {path: size_of(source) for path, source in sorted(files.items())}
    done = Publication(
        where=str(folder) if folder else f"{hub_endpoint()}/{repo_id}",
        files=tuple(sizes),
        n_bytes=sum(sizes.values()),
        card=text,
        is_dry_run=dry_run,
        sizes=sizes,
    )
    if folder is not None:
        if revision or create_pr or overwrite:
            raise UsageError(
                f"{destination}: revision, pull request and overwrite mean nothing for a folder; leave them out"
            )
        check_target_folder(model_dir, folder)
        if not dry_run:
            write_folder(files, folder)
        return done
    assert repo_id is not None
    from mr_st.hub.publish_hub import Target

    _check_branch(revision, create_pr)
    target = Target(repo_id, revision or "main", token or None, private, create_pr, overwrite, timeout)
    with hub_session(target.token, timeout, announce, show_progress):
        return _to_hub(done, files, model_dir, target, message or f"Publish {repo_id}", announce)


def _to_hub(
    done: Publication,
    files: Files,
    model_dir: Path,
    target: Target,
    message: str,
    announce: Callable[[str], None] | None,
) -> Publication:
    from huggingface_hub import HfApi

    from mr_st.hub.publish_hub import HubUnreachableError, plan_publication, send
    from mr_st.hub.publish_record import MARK

    api = HfApi(token=target.token, library_name="mr_st")
    files.pop(MARK, None)  # of an earlier publication, in a folder that was loaded from the Hub
    try:
        plan = plan_publication(api, files, model_dir, target)
    except HubUnreachableError as error:
        if not done.is_dry_run:
            raise
        if announce is not None:
            announce(f"{error}; what would change there is not known")
        return done
    sizes = {**{path: size_of(source) for path, source in sorted(files.items())}, MARK: len(plan.mark.to_bytes())}
    done = replace(done, files=tuple(sorted(sizes)), sizes=sizes, n_bytes=sum(sizes.values()), changes=plan.changes)
    if done.is_dry_run:
        return done
    return replace(done, where=send(api, files, plan, model_dir, target, message))


def _check_branch(revision: str | None, create_pr: bool) -> None:
    if revision is not None and (
        not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,200}", revision) or ".." in revision or "//" in revision
    ):
        raise UsageError(
            f"revision {one_line(ascii(revision))} is no name of a branch; take letters, digits, '-', '_', '.', '/'"
        )
    if create_pr and revision not in (None, "main"):
        raise UsageError(f"revision {revision!r} with a pull request: a pull request starts from main; choose one")


def _parse_destination(destination: str | Path) -> tuple[Path | None, str | None]:
    """The folder or the Hub id that ``destination`` names; the other one is None."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    text = os.fspath(destination)
    if not text.strip() or "\0" in text:
        raise UsageError("the destination is empty; give a folder (./published) or a Hub id (org/name)")
    is_path = isinstance(destination, Path) or text in (".", "..") or text.startswith(("/", "./", "../", "~"))
    if is_path or Path(text).is_dir():
        return Path(text).expanduser(), None
    try:
        validate_repo_id(text)
    except HFValidationError:
        is_id = False
    else:
        is_id = "/" in text
    if not is_id:
        raise UsageError(
            f"destination {one_line(ascii(text))} is neither a folder nor a Hub id; write ./name for a folder, or "
            "org/name (letters, digits, '-', '_', '.') for the Hub"
        )
    return None, text


def _card_text(model_dir: Path, files: Files, card: str | None, repo_id: str | None) -> str:
    from mr_st.hub.card import build_card, check_card, with_model_id

    if card is None and isinstance(readme := files.get("README.md"), Path):
        try:
            card = readme.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise MrStError(f"{readme}: not UTF-8 ({error.reason}); rebuild the card") from error
    if card is None:
        card = build_card(model_dir, model_id=repo_id)
    if repo_id is not None:
        card = with_model_id(card, repo_id)
    check_card(card)
    return card
