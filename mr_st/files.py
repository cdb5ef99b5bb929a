"""Atomic and resumable writes: a file or folder is either whole or not there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from mr_st.errors import MrStError, UsageError

__all__ = [
    "alone_in",
    "atomic_folder",
    "atomic_path",
    "ensure_writable",
    "parse_yaml",
    "read_json",
    "read_yaml",
    "write_json",
    "write_text",
]

_CANNOT_WRITE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EMFILE}
)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it replaces ``target`` in one step.

    Raises:
        MrStError: the folder cannot be written, or is full; what stood at ``target`` before still does.
    """
    target = Path(target)
    temporary = _temporary_beside(target)
    try:
        with _told_in_one_line(target):
            yield temporary
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target``; on success it replaces ``target`` whole.

    What a killed run leaves behind has a name that starts with ``.tmp-`` and is never read.

    Raises:
        MrStError: the parent folder cannot be written, or is full; what stood at ``target`` before still does.
    """
    target = Path(target)
    temporary = _temporary_beside(target)
    try:
        with _told_in_one_line(target):
            temporary.mkdir()
            yield temporary
            if target.exists():
                old = _temporary_beside(target)
                os.replace(target, old)
                os.replace(temporary, target)
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, atomically, with "\\n" line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` to ``path`` as JSON, atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read the JSON file at ``path``.

    Raises:
        MrStError: the file is no JSON; the message names file, line and column.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MrStError(f"{path}: not valid JSON ({error}); delete the file and run again") from error


def parse_yaml(text: str) -> Any:
    """The value of a YAML text that a person wrote, safe-loaded; ``2e-4`` is a number, as in YAML 1.2 and JSON.

    (PyYAML follows YAML 1.1, where a number with an exponent needs a point, and reads a text there.)

    Raises:
        yaml.YAMLError: no YAML.

    Example:
        >>> parse_yaml("{rate: 2e-4, revision: 12e4567}")
        {'rate': 0.0002, 'revision': '12e4567'}
    """
    import yaml

    return yaml.load(text, Loader=_yaml_loader())


@lru_cache(maxsize=1)
def _yaml_loader() -> type:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    # the exponent's sign is asked for: "12e4567" is a commit's name before it is a number
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+][0-9]+\Z"), list("-+0123456789")
    )
    return Loader


def read_yaml(path: str | Path, what: str) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Args:
        path: The file.
        what: What it is, for messages: ``recipe``.

    Raises:
        UsageError: no such file, no YAML (line and column are named), or no mapping.
    """
    import yaml

    try:
        value = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"{path}: cannot read the {what} ({reason}); give the path of a YAML file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise UsageError(f"{path}{line}: not valid YAML ({problem}); mend the file") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply; mend the file") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: the {what} is no YAML mapping (key: value, ...): {value!r:.60}; mend the file")
    return value


def ensure_writable(folder: str | Path) -> Path:
    """Create ``folder`` if needed and prove that a file can be written in it.

    Raises:
        MrStError: no permission, read-only file system, or a file stands where the folder should be.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tmp-"):
            pass
    except OSError as error:
        raise MrStError(
            f"{folder}: cannot write here ({error.strerror}); choose another folder or mend its permissions"
        ) from error
    return folder


@contextmanager
def alone_in(folder: str | Path, mend: str = "wait for it or choose another folder") -> Iterator[None]:
    """Hold a folder's lock; it is released when the process ends, however it ends.

    Args:
        folder: A folder that exists.
        mend: What to do about it when another process holds the lock.

    Raises:
        MrStError: another process holds it, or the folder cannot be written.
    """
    path = Path(folder) / ".lock"
    with _told_in_one_line(path):
        path.touch()
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MrStError(f"{folder}: another run is at work in this folder; {mend}") from error
        yield


@contextmanager
def _told_in_one_line(target: Path) -> Iterator[None]:
    """An error of the file system under ``target`` (full, read-only, forbidden, broken) as one line."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise MrStError(
            f"{target}: cannot be written ({os.strerror(error.errno)}); free space or choose another folder, then run "
            "again"
        ) from error


def _temporary_beside(target: Path) -> Path:
    ensure_writable(target.parent)
    return target.parent / f".tmp-{target.name}-{os.getpid()}-{os.urandom(4).hex()}"
