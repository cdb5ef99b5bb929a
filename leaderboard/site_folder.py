"""Where the site goes: built beside itself, then put in place; what no build wrote is never touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from mr_st.errors import MrStError
from mr_st.files import alone_in, ensure_writable, write_json

__all__ = ["FIRST_PAGE", "LIST", "staged_site"]

FIRST_PAGE = "index.html"

LIST = ".leaderboard-files.json"
"""Names the files of the site that a build wrote, so that the next one may replace and remove them."""

_STAGING = ".tmp-leaderboard"


@contextmanager
def staged_site(out_dir: str | Path) -> Iterator[Path]:
    """Yield an empty folder to build in; on success its files become the site in ``out_dir``.

    An interrupted build leaves the old site as it was. Files are then moved in one by one, the first page last:
    whoever is killed within that moment leaves a folder without a first page, and the next build mends it. Files of an
    earlier build that this one has not written are removed; all others in the folder are left alone.

    Raises:
        MrStError: the folder cannot be written, another build is at work in it, or a file that no build wrote stands
            where the site needs one.
    """
    out = ensure_writable(out_dir)
    staging = out / _STAGING
    staging.mkdir(exist_ok=True)
    with alone_in(staging, "wait for it or choose another folder"):
        for left in staging.iterdir():  # by a build that was killed
            if left.name != ".lock":
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            site = staging / "site"
            site.mkdir()
            yield site
            _put_in_place(site, out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(site: Path, out: Path) -> None:
    new = sorted(
        Path(parent, name).relative_to(site).as_posix() for parent, _, names in os.walk(site) for name in names
    )
    old = _listed(out)
    for name in new:
        at = out / name
        if name not in old and (at.exists() or at.is_symlink()):
            raise MrStError(
                f"{at}: stands where the site needs a file and was not written by an earlier build; move it away or "
                "choose another folder"
            )
    write_json(out / LIST, {"files": sorted({*new, *old})})
    (out / FIRST_PAGE).unlink(missing_ok=True)
    whole = [folder.name for folder in site.iterdir() if folder.is_dir() and not (out / folder.name).exists()]
    for name in whole:
        os.replace(site / name, out / name)
    rest = [name for name in new if PurePosixPath(name).parts[0] not in whole]
    for parent in sorted({(out / name).parent for name in rest}):
        parent.mkdir(parents=True, exist_ok=True)
    for name in sorted(rest, key=lambda name: name == FIRST_PAGE):
        os.replace(site / name, out / name)
    for name in sorted(old - set(new)):
        (out / name).unlink(missing_ok=True)
    for folder in sorted({parent for name in old for parent in PurePosixPath(name).parents}, reverse=True):
        if folder != PurePosixPath("."):
            with suppress(OSError):  # not empty, or gone
                (out / folder).rmdir()
    write_json(out / LIST, {"files": new})


def _listed(out: Path) -> set[str]:
    """The files of the last build: those that its list names and that lie below the folder."""
    try:
        listed = json.loads((out / LIST).read_text(encoding="utf-8"))["files"]
        paths = [PurePosixPath(name) for name in listed]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    root = out.resolve()
    within: dict[PurePosixPath, bool] = {}  # a folder may be a link to elsewhere
    for folder in {path.parent for path in paths}:
        within[folder] = ".." not in folder.parts and (root / folder).resolve().is_relative_to(root)
    return {str(path) for path in paths if path.name not in ("", "..") and within[path.parent]}
