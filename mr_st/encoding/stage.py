"""Work in shards: what an engine runs, on one process or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

__all__ = ["Stage"]


@runtime_checkable
class Stage(Protocol):
    """Work that falls into shards, each computed and written apart from the others.

    A shard's result depends on the stage's inputs only, never on which shards were done before, by whom, or in what
    order: so a killed run goes on where it stopped and gives the same bytes, and two workers may do the same shard.
    A stage can be pickled; what is heavy (a model on a device, a mapped index) is opened on the first :meth:`run`.
    """

    @property
    def name(self) -> str:
        """What a progress bar calls it: ``encode item``."""
        ...

    @property
    def unit(self) -> str:
        """What is counted: ``text``, ``vector``, ``query``, ``pair``."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """How many units each shard holds; its length is the number of shards."""
        ...

    def is_done(self, shard: int) -> bool:
        """Whether the shard's result lies there, whole."""
        ...

    def run(self, shard: int) -> None:
        """Compute one shard and write it, whole or not at all.

        Raises:
            MrStError: the result cannot be written, or the inputs are unusable.
        """
        ...
