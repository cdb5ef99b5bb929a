"""Vectors that lie in shards, in row order: a part of them in memory, or all of them as one memory map."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import MrStError
from mr_st.files import atomic_path
from mr_st.identity import settings_hash

__all__ = ["Vectors"]

logger = logging.getLogger(__name__)

_DIGEST_BYTES = 32
_READ_BYTES = 1 << 24


class Vectors:
    """The rows of one matrix (n, d) that lie in the shards of a folder, which any fsspec storage may hold.

    Args:
        folder: Where the shards lie, each with an array ``vectors``.
        names: The shards' names in row order; a name says what its shard holds.
        sizes: Rows of each shard.
        dimension: d.
        dtype: ``"float16"`` or ``"float32"``.

    Example:
        >>> import tempfile
        >>> folder = ShardFolder(tempfile.mkdtemp())
        >>> for name in "ab":
        ...     folder.write(name, vectors=np.full((2, 3), ord(name), dtype=np.float16))
        >>> vectors = Vectors(folder, ["a", "b"], [2, 2], 3)
        >>> len(vectors), vectors.load(1, 2).tolist()
        (4, [[98.0, 98.0, 98.0], [98.0, 98.0, 98.0]])
        >>> vectors.map(Path(tempfile.mkdtemp()))[1:3, 0].tolist()
        [97.0, 98.0]
    """

    def __init__(
        self,
        folder: ShardFolder,
        names: Sequence[str],
        sizes: Sequence[int],
        dimension: int,
        dtype: str = "float16",
    ):
        self.folder = folder
        self.names = list(names)
        self.sizes = list(sizes)
        self.dimension = dimension
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """The first row of each shard, and behind the last one n: int64 (number of shards + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)]).astype(np.int64)

    @property
    def identity(self) -> str:
        """Hash of what the vectors were made from: the shards' names, sizes, the dimension and the dtype."""
        return settings_hash([self.names, self.sizes, self.dimension, self.dtype.name])

    def load(self, first_shard: int = 0, last_shard: int | None = None) -> np.ndarray:
        """The rows of shards ``first_shard .. last_shard - 1`` (all for None), (rows, d), in memory.

        Raises:
            MrStError: a shard is missing or damaged.
        """
        shards = range(len(self.names))[first_shard:last_shard]
        rows = np.empty((sum(self.sizes[shard] for shard in shards), self.dimension), dtype=self.dtype)
        start = 0
        for shard in shards:
            rows[start : start + self.sizes[shard]] = self._read(shard)
            start += self.sizes[shard]
        return rows

    def map(self, folder: str | Path) -> np.ndarray:
        """All rows as one read-only memory map (n, d).

        They are put together once, a shard at a time, as ``<identity>.npy`` with its SHA-256 behind it; later calls
        use that file where it is whole, and make it again where it is not.

        Args:
            folder: A folder on a local file system, for the file.

        Raises:
            MrStError: a shard is missing or damaged, or the folder cannot be written.
        """
        if not len(self):
            return np.empty((0, self.dimension), dtype=self.dtype)
        path = Path(folder) / f"{self.identity}.npy"
        if not _is_whole(path):
            self._assemble(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _assemble(self, path: Path) -> None:
        header = io.BytesIO()
        shape = (len(self), self.dimension)
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        )
        digest = hashlib.sha256()
        try:
            with atomic_path(path) as temporary, open(temporary, "wb") as handle:
                rows = (np.ascontiguousarray(self._read(shard)).data for shard in range(len(self.names)))
                for data in chain([header.getbuffer()], rows):
                    handle.write(data)
                    digest.update(data)
                handle.write(digest.digest())
        except OSError as error:
            n_megabytes = len(self) * self.dimension * self.dtype.itemsize / 1e6
            raise MrStError(
                f"{path}: cannot write the vectors ({error.strerror or error}); free {n_megabytes:,.0f} MB or choose "
                "another folder, then run again"
            ) from error

    def _read(self, shard: int) -> np.ndarray:
        arrays = self.folder.read(self.names[shard], only=["vectors"])
        if arrays is None:
            raise MrStError(
                f"{self.folder.url}: shard {self.names[shard]} is missing or damaged; run again: only it is encoded"
            )
        rows = arrays["vectors"]
        if rows.shape != (self.sizes[shard], self.dimension) or rows.dtype != self.dtype:
            raise MrStError(
                f"{self.folder.url}: shard {self.names[shard]} holds {rows.dtype} {rows.shape}, expected {self.dtype} "
                f"{(self.sizes[shard], self.dimension)}; delete the folder and run again"
            )
        return rows


def _chunks(path: Path, n_bytes: int) -> Iterator[bytes]:
    with open(path, "rb") as handle:
        while n_bytes > 0:
            chunk = handle.read(min(_READ_BYTES, n_bytes))
            if not chunk:
                return
            n_bytes -= len(chunk)
            yield chunk


def _is_whole(path: Path) -> bool:
    """Whether the file is there and its digest fits; says so where it is there and damaged."""
    try:
        n_bytes = path.stat().st_size - _DIGEST_BYTES
    except (FileNotFoundError, NotADirectoryError):
        return False
    digest = hashlib.sha256()
    for chunk in _chunks(path, n_bytes):
        digest.update(chunk)
    with open(path, "rb") as handle:
        handle.seek(max(0, n_bytes))
        if handle.read() == digest.digest():
            return True
    logger.warning("%s is damaged; it is put together again", path)
    return False
