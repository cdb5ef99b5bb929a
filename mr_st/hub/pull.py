"""Pulling a published model: its weights, card, results and recipe from the Hub into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder
from mr_st.hub.publish_files import collect_files
from mr_st.hub_client import check_downloads, hub_session, is_hub_id, one_line, raise_hub_error

__all__ = ["Pulled", "pull"]

_WANTED = [
    "*.safetensors", "*.json", "*.txt", "*.model", "*.md", "recipe.yaml", "results/*.parquet", "plots/*.png",
    "LICENSE",
]  # fmt: skip
_UNSET = "unset it to pull a model that was not downloaded before"


@dataclass(frozen=True)
class Pulled:
    """What was pulled.

    Args:
        repo_id: From which repository.
        revision: The commit.
        folder: Where it lies; a plain SentenceTransformer.
        files: Its files, as paths in the folder.
        n_bytes: Their size together.
    """

    repo_id: str
    revision: str
    folder: Path
    files: tuple[str, ...]
    n_bytes: int


def pull(
    repo_id: str,
    out: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    timeout: float = 120.0,
    announce: Callable[[str], None] | None = None,
    show_progress: bool = False,
) -> Pulled:
    """Fetch a published model with its card, results, recipe and plots into a folder; safetensors only.

    Each file is checked against the hash that the Hub gave for it, and the whole appears at once or not at all. What
    arrived of a broken download is kept in the Hub's cache, so that the same call goes on from there.

    Args:
        repo_id: ``organisation/name``.
        out: A new or empty folder.
        revision: Branch, tag or commit; None is ``main``.
        token: A Hub token; None takes the one that huggingface_hub finds.
        timeout: Seconds without a byte after which the Hub counts as gone.
        announce: Told what the client warns of.
        show_progress: Show the client's progress bars.

    Raises:
        UsageError: the id is none, or ``out`` holds files already.
        MrStError: the Hub refused or cannot be reached, a file came with other bytes, or the repository holds no model
            that plain sentence-transformers loads. The token stands in no message.
    """
    out = Path(out)
    if not is_hub_id(repo_id):
        raise UsageError(f"{one_line(ascii(repo_id))} is no Hub id; write organisation/name")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: holds files already; choose a new or empty folder")
    with hub_session(token, timeout, announce, show_progress):
        sha, snapshot = _download(repo_id, revision, token, timeout)
        check_downloads(snapshot, repo_id)
    files: list[str] = []
    with atomic_folder(out) as temporary:
        for path in sorted(snapshot.rglob("*")):
            if path.is_file():
                target = temporary / path.relative_to(snapshot)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        try:
            files = sorted(collect_files(temporary, None, None))
        except MrStError as error:
            raise MrStError(str(error).replace(str(temporary), repo_id)) from None
    return Pulled(repo_id, sha, out, tuple(files), sum((out / path).stat().st_size for path in files))


def _download(repo_id: str, revision: str | None, token: str | None, timeout: float) -> tuple[str, Path]:
    """The commit, and the folder of the Hub's cache with its files."""
    from huggingface_hub import HfApi, snapshot_download

    step = "looking at the repository"
    try:
        info = HfApi(token=token, library_name="mr_st").model_info(repo_id, revision=revision, timeout=timeout)
        names = [sibling.rfilename for sibling in info.siblings or []]
        for name in names:
            if not _is_inside(name):
                raise MrStError(f"{repo_id}: has a file {one_line(ascii(name))}, no plain path")
        if "modules.json" not in names:
            raise MrStError(f"{repo_id}: holds no SentenceTransformer (no modules.json); check id and revision")
        step = "downloading"
        folder = snapshot_download(repo_id, revision=str(info.sha), allow_patterns=_WANTED, token=token)
    except Exception as error:
        raise_hub_error(error, repo_id, step, token, _UNSET)
    return str(info.sha), Path(folder)


def _is_inside(name: str) -> bool:
    """Whether a file's name is a path that stays below its folder, on any system."""
    path = PurePosixPath(name)
    return bool(name) and name.isprintable() and "\\" not in name and not path.is_absolute() and ".." not in path.parts
