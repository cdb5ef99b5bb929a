"""What an engine is: it runs the shards of a stage that are not done."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from mr_st.encoding.stage import Stage

__all__ = ["Engine"]


@runtime_checkable
class Engine(Protocol):
    """Runs stages; the results lie where the stage writes them, the same under every engine."""

    @property
    def is_main(self) -> bool:
        """Whether this process selects, merges and writes the refinement set (one of several may)."""
        ...

    def run(self, stage: Stage, show_progress: bool = False) -> None:
        """Run every shard that is not done, and return when all are (on every process).

        Raises:
            MrStError: what a shard raised, in one line.
        """
        ...
