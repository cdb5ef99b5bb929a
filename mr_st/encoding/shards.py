"""A folder of vector shards: each is written whole or not at all, and damage is found on reading."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np

from mr_st.files import atomic_path, ensure_writable

__all__ = ["ShardStore"]

logger = logging.getLogger(__name__)

_DIGEST_BYTES = 32


class ShardStore:
    """Shards of one float32 matrix, each a NumPy ``.npy`` file with the SHA-256 of its bytes behind it.

    A shard is named by the rows that it holds, so ``numpy.load`` reads it and a listing tells what is there.

    Args:
        folder: Where the shards lie; made when the first is written.

    Example:
        >>> import tempfile
        >>> store = ShardStore(Path(tempfile.mkdtemp()) / "vectors")
        >>> store.write(0, np.eye(2, dtype=np.float32))
        >>> store.read(0, 2).tolist(), store.read(2, 4) is None
        ([[1.0, 0.0], [0.0, 1.0]], True)
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def path(self, start: int, stop: int) -> Path:
        """The file of rows ``start .. stop - 1``."""
        return self.folder / f"{start:010d}-{stop:010d}.npy"

    def write(self, start: int, vectors: np.ndarray) -> None:
        """Write float32 rows (n, d) that begin at row ``start``, atomically.

        Raises:
            MrStError: the folder cannot be written.
        """
        ensure_writable(self.folder)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
        data = buffer.getbuffer()
        with atomic_path(self.path(start, start + len(vectors))) as temporary, open(temporary, "wb") as handle:
            handle.write(data)
            handle.write(hashlib.sha256(data).digest())

    def read(self, start: int, stop: int) -> np.ndarray | None:
        """The rows ``start .. stop - 1``, or None where the shard is missing or damaged (a damaged one is removed)."""
        path = self.path(start, stop)
        try:
            data = memoryview(path.read_bytes())
        except FileNotFoundError:
            return None
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != bytes(digest):
            logger.warning("%s is damaged; it is encoded again", path)
            path.unlink(missing_ok=True)
            return None
        return np.load(io.BytesIO(body), allow_pickle=False)
