"""Named groups of arrays in one folder, here or on any file system that fsspec knows; each is whole or not there."""

from __future__ import annotations

import io
import logging
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mr_st.errors import MrStError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["ShardFolder"]

logger = logging.getLogger(__name__)


class ShardFolder:
    """Shards of results, each a NumPy ``.npz`` file (uncompressed, with the checksums of its zip form).

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
        np.savez(buffer, allow_pickle=False, **arrays)  # type: ignore[arg-type]
        fs, folder = self._opened()
        temporary = f"{folder}/.tmp-{name}-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            fs.makedirs(folder, exist_ok=True)
            try:
                with fs.open(temporary, "wb") as handle:
                    handle.write(buffer.getbuffer())
                    if self.is_local:
                        handle.flush()
                        os.fsync(handle.fileno())
                fs.mv(temporary, self._path(folder, name))
            except BaseException:
                if fs.exists(temporary):
                    fs.rm(temporary)
                raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise MrStError(
                f"{self.url}: cannot write shard {name} ({reason}); free space or mend the folder, then run again: "
                "finished shards are kept"
            ) from error

    def read(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of a shard, or None where it is missing or damaged (a damaged one is removed)."""
        fs, folder = self._opened()
        path = self._path(folder, name)
        try:
            data = fs.cat_file(path)
        except FileNotFoundError:
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError):
            logger.warning("%s: shard %s is damaged; it is made again", self.url, name)
            fs.rm(path)
            return None

    def has(self, name: str) -> bool:
        """Whether the shard is there; damage is found on reading."""
        fs, folder = self._opened()
        return bool(fs.exists(self._path(folder, name)))

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

    def _opened(self) -> tuple[AbstractFileSystem, str]:
        from fsspec.core import url_to_fs

        fs, folder = url_to_fs(self.url, use_listings_cache=False)
        return fs, folder.rstrip("/")

    @staticmethod
    def _path(folder: str, name: str) -> str:
        return f"{folder}/{name}.npz"
