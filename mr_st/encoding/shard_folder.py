"""Named groups of arrays in one folder, here or on any file system that fsspec knows; each is whole or not there."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import MrStError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["ShardFolder"]

logger = logging.getLogger(__name__)

_REMOTE_BLOCK = 1 << 22  # bytes fetched at once where only some arrays of a far file are read


class ShardFolder:
    """Shards of results, each a NumPy ``.npz`` file (uncompressed, with the checksums of its zip form).

    A file whose zip comment is not the list of its members was not written by this class, and counts as damaged.

    Args:
        url: A folder's path, or an fsspec URL such as ``s3://bucket/run``; made when the first shard is written.

    Example:
        >>> import tempfile
        >>> shards = ShardFolder(tempfile.mkdtemp())
        >>> shards.write("0-2", ids=np.arange(2), scores=np.ones(2, dtype=np.float32))
        >>> shards.read("0-2")["ids"].tolist(), shards.has("2-4"), shards.read("2-4")
        ([0, 1], False, None)
    """

    def __init__(self, url: str | Path):
        self.url = os.fspath(url)

    def __truediv__(self, name: str) -> ShardFolder:
        """The folder ``name`` inside this one."""
        return ShardFolder(f"{self.url.rstrip('/')}/{name}")

    def write(self, name: str, **arrays: np.ndarray) -> None:
        """Write the arrays of a shard as one file, in one step.

        Raises:
            MrStError: the folder cannot be written, or is full.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        with zipfile.ZipFile(buffer, "a") as file:
            file.comment = _listing(file)  # the sums of a zip cover its members, not the list of them
        self._put(f"{name}.npz", buffer.getbuffer())

    def describe(self, about: Mapping[str, Any]) -> None:
        """Write ``about.json``, what the folder holds, for people to read; one that is there stays.

        Raises:
            MrStError: the folder cannot be written, or is full.
        """
        fs, folder = self._opened()
        if not fs.exists(f"{folder}/about.json"):
            self._put("about.json", (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())

    def read(self, name: str, only: Sequence[str] | None = None) -> dict[str, np.ndarray] | None:
        """The arrays of a shard, or None where it is missing or damaged (a damaged one is removed).

        Args:
            name: The shard.
            only: Read these arrays and no others, also from afar.

        Raises:
            MrStError: the folder cannot be read.
        """
        fs, folder = self._opened()
        path = self._path(folder, name)
        try:
            handle = fs.open(path, "rb", **({} if self.is_local else {"block_size": _REMOTE_BLOCK}))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise MrStError(f"{self.url}: cannot read shard {name} ({_reason(error)}); mend the folder") from error
        try:
            with handle, zipfile.ZipFile(handle) as file:
                if file.comment != _listing(file):
                    raise zipfile.BadZipFile("its list of members is not the one that was written")
                members = file.namelist() if only is None else [f"{array}.npy" for array in only]
                # Each member is read whole, and so checked against its sum, before NumPy believes its header.
                return {
                    member.removesuffix(".npy"): np.load(io.BytesIO(file.read(member)), allow_pickle=False)
                    for member in members
                }
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):  # EINVAL: damaged bytes sent it to an impossible place
                raise MrStError(f"{self.url}: cannot read shard {name} ({_reason(error)}); mend the folder") from error
        except Exception:  # whatever zipfile and NumPy make of damaged bytes
            pass
        logger.warning("%s: shard %s is damaged; it is made again", self.url, name)
        with suppress(OSError):
            fs.rm(path)
        return None

    def has(self, name: str) -> bool:
        """Whether the shard is there; damage is found on reading."""
        fs, folder = self._opened()
        return bool(fs.exists(self._path(folder, name)))

    def remove(self, name: str) -> None:
        """Remove a shard; nothing where there is none, or where it cannot be removed."""
        fs, folder = self._opened()
        with suppress(OSError):
            fs.rm(self._path(folder, name))

    def names(self) -> set[str]:
        """The names of all shards."""
        fs, folder = self._opened()
        if not fs.exists(folder):
            return set()
        files = (entry.rsplit("/", 1)[-1] for entry in fs.ls(folder, detail=False))
        return {file[: -len(".npz")] for file in files if file.endswith(".npz") and not file.startswith(".")}

    @property
    def is_local(self) -> bool:
        """Whether the folder lies on a file system of this machine, so that files in it can be memory-mapped."""
        fs, _ = self._opened()
        return "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)

    def _put(self, file: str, data: bytes | memoryview) -> None:
        fs, folder = self._opened()
        temporary = f"{folder}/.tmp-{file}-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            fs.makedirs(folder, exist_ok=True)
            try:
                with fs.open(temporary, "wb") as handle:
                    handle.write(data)
                    if self.is_local:
                        handle.flush()
                        os.fsync(handle.fileno())
                fs.mv(temporary, f"{folder}/{file}")
            except BaseException:
                if fs.exists(temporary):
                    fs.rm(temporary)
                raise
        except OSError as error:
            raise MrStError(
                f"{self.url}: cannot write here ({_reason(error)}, {file}); free space, or mend the folder or its "
                "permissions, then run again: finished shards are kept"
            ) from error

    def _opened(self) -> tuple[AbstractFileSystem, str]:
        from fsspec.core import url_to_fs

        fs, folder = url_to_fs(self.url, use_listings_cache=False)
        return fs, folder.rstrip("/")

    @staticmethod
    def _path(folder: str, name: str) -> str:
        return f"{folder}/{name}.npz"


def _listing(file: zipfile.ZipFile) -> bytes:
    return ",".join(file.namelist()).encode()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
