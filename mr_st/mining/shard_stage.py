"""A stage of the miner: shards of arrays in one folder, each known by a name that hashes what it was made from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import MrStError

__all__ = ["ShardStage"]


class ShardStage(ABC):
    """A :class:`~mr_st.encoding.stage.Stage` whose shard ``i`` is the file ``names[i]`` of a folder.

    A subclass computes the arrays of a shard. The names must tell apart whatever changes them: a shard that is there
    under its name is never computed again.

    Args:
        folder: Where the shards lie.
        names: Name of every shard: a hash of its inputs.
        sizes: How many units each holds.
    """

    name = "stage"
    unit = "shard"

    def __init__(self, folder: ShardFolder, names: Sequence[str], sizes: Sequence[int]):
        self.folder, self.names, self._sizes = folder, list(names), list(sizes)
        self._found_whole: set[str] = set()

    @property
    def sizes(self) -> Sequence[int]:
        """How many units each shard holds."""
        return self._sizes

    def is_done(self, shard: int) -> bool:
        """Whether the shard lies there and can be read; a damaged one is removed."""
        name = self.names[shard]
        if name not in self._found_whole and self.folder.has(name) and self.folder.read(name) is not None:
            self._found_whole.add(name)
        return name in self._found_whole

    def run(self, shard: int) -> None:
        """Compute one shard and write it, whole or not at all; nothing where it lies there already."""
        if not self.is_done(shard):
            self.folder.write(self.names[shard], **self.compute(shard))

    @abstractmethod
    def compute(self, shard: int) -> dict[str, np.ndarray]:
        """The arrays of one shard."""

    def result(self, shard: int) -> dict[str, np.ndarray]:
        """The arrays of a shard that is done.

        Raises:
            MrStError: it is missing or was damaged since; a rerun makes it again.
        """
        arrays = self.folder.read(self.names[shard])
        if arrays is None:
            raise MrStError(f"{self.folder.url}: shard {self.names[shard]} is gone or damaged; run again to make it")
        return arrays
