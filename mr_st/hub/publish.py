"""Publish a model, its card, its results and its recipe in one step: to a folder, or in one commit to the Hub."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder, read_json
from mr_st.hub_client import hub_endpoint, one_line, raise_hub_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Publication", "publish"]

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".h5"}


@dataclass(frozen=True)
class Publication:
    """Where a model went, and what went there; ``str()`` of it is the place.

    Args:
        where: The folder, the commit's address, or the pull request's address.
        files: The files published, as paths in the repository.
        n_bytes: Their size together.
        card: The card as published (README.md).
        is_dry_run: True where nothing was written or sent.
    """

    where: str
    files: tuple[str, ...]
    n_bytes: int
    card: str
    is_dry_run: bool = False

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
) -> Publication:
    """Publish a model folder, with its card, results and recipe, to a local folder or as one commit to the Hub.

    Args:
        model_dir: A saved SentenceTransformer; safetensors only. README.md, ``results/``, ``recipe.yaml`` go along.
        destination: A folder (a ``Path``, ``./x``, ``../x``, ``~/x``, ``/x``, or one that exists) or a Hub id.
        token: A Hub token; None takes the one that huggingface_hub finds (``HF_TOKEN`` or ``hf auth login``).
        private: Make the repository private if it is created now.
        revision: Branch to commit to; created if needed. None is ``main``.
        create_pr: Open a pull request instead of committing.
        dry_run: Check everything that can be checked here, write and send nothing.
        message: The commit's message.
        card: The card's Markdown; None takes the folder's README.md, or builds a card that claims no results.
        results_dir: A results folder to publish as ``results/``.
        recipe: A recipe file to publish as ``recipe.yaml``.

    Returns:
        Where it went.

    Raises:
        UsageError: the destination is neither a folder nor a Hub id, or an option does not fit it.
        MrStError: the folder is no model that plain sentence-transformers loads, holds pickled weights, has a card
            with invalid metadata, or the Hub refused. The token stands in no message.
    """
    model_dir = Path(model_dir)
    folder, repo_id = _parse_destination(destination)
    files = _collect(model_dir, results_dir, recipe)
    text = _card_text(model_dir, files, card, repo_id)
    files["README.md"] = text.encode()
    plan = Publication(
        where=str(folder) if folder else f"{hub_endpoint()}/{repo_id}",
        files=tuple(sorted(files)),
        n_bytes=sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in files.values()),
        card=text,
        is_dry_run=dry_run,
    )
    if folder is not None:
        if revision or create_pr:
            raise UsageError(f"{destination}: revision and pull request mean nothing for a folder; leave them out")
        _check_target_folder(model_dir, folder)
        if not dry_run:
            _write_folder(files, folder)
        return plan
    assert repo_id is not None
    if create_pr and revision not in (None, "main"):
        raise UsageError(f"revision {revision!r} with a pull request: a pull request starts from main; choose one")
    if dry_run:
        return plan
    where = _commit(files, repo_id, token or None, private, revision, create_pr, message or f"Publish {repo_id}")
    return Publication(where, plan.files, plan.n_bytes, text)


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


def _collect(model_dir: Path, results_dir: str | Path | None, recipe: str | Path | None) -> dict[str, Path | bytes]:
    """Every file to publish, by its path in the repository; refuses what must not be published."""
    if not model_dir.is_dir():
        raise MrStError(f"{model_dir}: no such folder; give the folder of a saved SentenceTransformer")
    _check_modules(model_dir)
    files: dict[str, Path | bytes] = dict(_walk(model_dir))
    if results_dir is not None:
        results_dir = Path(results_dir)
        if not results_dir.is_dir():
            raise MrStError(f"{results_dir}: no such folder; give the results folder that `mr-st evaluate` wrote")
        files.update({f"results/{path}": source for path, source in _walk(results_dir)})
    if recipe is not None:
        recipe = Path(recipe)
        if not recipe.is_file():
            raise MrStError(f"{recipe}: no such file; give the recipe's YAML file")
        files["recipe.yaml"] = recipe
    for path in files:
        if Path(path).suffix.lower() in _PICKLES:
            raise MrStError(
                f"{model_dir}: {path} may hold pickled code, only safetensors are published; save the model with "
                "SentenceTransformer.save (safe_serialization=True) and remove the file"
            )
    if not any(path.endswith(".safetensors") for path in files):
        raise MrStError(f"{model_dir}: holds no .safetensors weights; save the model with SentenceTransformer.save")
    return files


def _walk(folder: Path) -> list[tuple[str, Path]]:
    """The files below a folder in order, hidden ones and caches left out; links to folders are not followed."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = Path(parent, name)
            if not name.isprintable() or "\\" in name:
                raise MrStError(f"{folder}: the file name {name!a} cannot be published; rename the file")
            found.append((path.relative_to(folder).as_posix(), path))
    return found


def _check_modules(model_dir: Path) -> None:
    """Refuse what plain ``SentenceTransformer(...)`` would not load without remote code."""
    modules_file = model_dir / "modules.json"
    if not modules_file.is_file():
        raise MrStError(f"{model_dir}: not a saved SentenceTransformer (no modules.json); give the model's own folder")
    modules = read_json(modules_file)
    types = [m.get("type", "") if isinstance(m, Mapping) else "" for m in modules] if isinstance(modules, list) else []
    if not types:
        raise MrStError(f"{modules_file}: lists no modules; save the model with SentenceTransformer.save")
    for kind in types:
        if not str(kind).startswith("sentence_transformers."):
            raise MrStError(
                f"{modules_file}: module {one_line(ascii(kind))} is not one of sentence-transformers' own, so "
                "loading would need remote code; build the model from its modules"
            )


def _card_text(model_dir: Path, files: Mapping[str, Path | bytes], card: str | None, repo_id: str | None) -> str:
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


def _check_target_folder(model_dir: Path, folder: Path) -> None:
    source, target = model_dir.resolve(), folder.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise UsageError(f"{folder}: is, holds or lies in the model's own folder {model_dir}; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file stands there; choose another folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "modules.json").is_file():
        raise UsageError(f"{folder}: holds other files than a published model; choose a new or empty folder")


def _write_folder(files: Mapping[str, Path | bytes], folder: Path) -> None:
    try:
        with atomic_folder(folder.resolve()) as temporary:
            for path, source in files.items():
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(source, bytes):
                    target.write_bytes(source)
                else:
                    shutil.copyfile(source, target)
    except OSError as error:
        raise MrStError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from error


def _commit(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    token: str | None,
    private: bool,
    revision: str | None,
    create_pr: bool,
    message: str,
) -> str:
    """Create the repository if needed, send everything as one commit; the commit's or the pull request's address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token, library_name="mr_st")
    step = "creating the repository"
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision not in (None, "main"):
            step = "creating the branch"
            api.create_branch(repo_id, branch=str(revision), exist_ok=True)
        step = "committing"
        operations = [
            CommitOperationAdd(path, source if isinstance(source, bytes) else str(source))
            for path, source in files.items()
        ]
        info = _quietly_commit(api, repo_id, operations, message, revision, create_pr)
    except Exception as error:
        raise_hub_error(error, repo_id, step, token, "unset it to publish, or publish to a folder")
    return str(info.pr_url or info.commit_url)


def _quietly_commit(
    api: HfApi, repo_id: str, operations: list[Any], message: str, revision: str | None, create_pr: bool
) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        return api.create_commit(
            repo_id, operations, commit_message=message, revision=revision, create_pr=create_pr or None
        )
