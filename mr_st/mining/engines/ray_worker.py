"""The side of a Ray worker of :class:`~mr_st.mining.engines.ray.RayEngine`: it imports little and opens lazily."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ShardRunner", "Starts", "answer_probe"]


class ShardRunner:
    """Runs the shards of a batch, as Ray Data's actors call it; what comes back is small.

    Args:
        stage: One reference to the packed stage in Ray's object store, in a list so that Ray does not fetch it.
        starts: A handle of the :class:`Starts` actor.
        max_starts: How often a shard may be started before it is given up.
        device: Where stages that have a say compute; None leaves them.
    """

    def __init__(self, stage: list[Any], starts: Any, max_starts: int, device: str | None):
        self._reference, self._starts, self._max_starts, self._device = stage[0], starts, max_starts, device
        self._stage: Any = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``shard`` int64 (n,) becomes ``shard``, ``error`` (packed, or empty) and ``node`` of each."""
        import ray

        shards = batch["shard"].tolist()
        errors = [self._error_of(shard) for shard in shards]
        node = ray.get_runtime_context().get_node_id()
        return {
            "shard": batch["shard"],
            "error": np.array([error.hex() for error in errors]),
            "node": np.array([node] * len(shards)),
        }

    def _error_of(self, shard: int) -> bytes:
        import ray

        from mr_st.errors import MrStError
        from mr_st.mining.engines.work import pin, plain_error, travelling_error

        name = "the stage"
        try:
            if self._stage is None:
                self._stage = ray.cloudpickle.loads(ray.get(self._reference))  # from the engine, in memory
                pin(self._stage, self._device)
            name = self._stage.name
            if self._stage.is_done(shard):
                return b""
            n_starts = ray.get(self._starts.count.remote(shard))
            if n_starts > self._max_starts:
                raise MrStError(
                    f"{name}, shard {shard}: its worker died {n_starts - 1} times, most likely for want of memory; "
                    "finished shards are kept: run again with more memory for each task or smaller shards"
                )
            self._stage.run(shard)
            return b""
        except Exception as error:
            return travelling_error(plain_error(error, name, shard))


class Starts:
    """Counts how often each shard was started: an actor beside the engine, which outlives workers that die."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def count(self, shard: int) -> int:
        """Note one more start, and say how many there were."""
        self._counts[shard] = self._counts.get(shard, 0) + 1
        return self._counts[shard]


def answer_probe(url: str, probe: str, answer: str) -> bool:
    """Whether this worker reads the shard ``probe`` in the folder; it then writes ``answer`` there."""
    from mr_st.encoding.shard_folder import ShardFolder

    folder = ShardFolder(url)
    if folder.read(probe) is None:
        return False
    folder.write(answer, seen=np.ones(1))
    return True
