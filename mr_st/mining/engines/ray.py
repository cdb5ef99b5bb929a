"""Shards over a Ray cluster: a stream through a pool of actors, with the results on storage that all workers see."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.stage import Stage
from mr_st.errors import MrStError, UsageError, require_extra
from mr_st.mining.engines.ray_worker import ShardRunner, Starts, answer_probe
from mr_st.mining.engines.work import Progress, packed, shards_to_do

__all__ = ["RayEngine"]

_OBJECT_STORE = 512 * 2**20  # bytes; it holds one packed stage, and what is larger Ray puts on disk
_MAX_BLOCKS = 4096  # shards beyond it travel several to a block
_MAX_STARTS = 4
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anyone
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its remark on every actor; what fails is raised
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class RayEngine:
    """Run stages on a Ray cluster (extra ``ray``).

    The shards that are to do stream through Ray Data into a pool of actors, which write their results where the stage
    keeps them and send small records back. A stage must keep its work in a folder or URL that every node sees under
    the same name (for a stage with a ``folder`` this is tried first), and every node needs this package in the same
    version. Shards of a node that dies are run again elsewhere; one whose worker dies four times is given up.

    Args:
        address: A cluster's address, or ``auto``; None: what ``RAY_ADDRESS`` names, or a Ray of this machine's own,
            which ends with the engine. A Ray that this process has joined already is used, and left as it is.
        num_cpus_per_task: CPUs that one worker holds, above 0.
        num_gpus_per_task: GPUs that one worker holds, 0 or more; a stage then computes on the one it sees.
        max_concurrency: Workers at most; None: as many as the cluster has room for.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: a number out of range.
        MrStError: no cluster at the address.

    Example:
        >>> with RayEngine(address="auto") as engine:  # doctest: +SKIP
        ...     mine(model, dataset, annotator, work_dir="s3://bucket/run", engine=engine)

    Source: ours.
    """

    is_main = True

    def __init__(
        self,
        address: str | None = None,
        num_cpus_per_task: float = 1,
        num_gpus_per_task: float = 0,
        max_concurrency: int | None = None,
    ):
        if not num_cpus_per_task > 0 or not num_gpus_per_task >= 0:
            raise UsageError(
                f"num_cpus_per_task is {num_cpus_per_task} and num_gpus_per_task {num_gpus_per_task}; expected more "
                "than 0 and 0 or more"
            )
        if max_concurrency is not None and max_concurrency < 1:
            raise UsageError(f"max_concurrency is {max_concurrency}; it must be 1 or more, or None")
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._ray: Any = require_extra("ray", "ray")
        require_extra("ray.data", "ray")
        self.num_cpus, self.num_gpus, self.max_concurrency = num_cpus_per_task, num_gpus_per_task, max_concurrency
        self._checked: set[str] = set()
        self._is_joined = False
        if not self._ray.is_initialized():
            self._join(address or os.environ.get("RAY_ADDRESS") or "local")

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, and end it where this engine started it."""
        if self._is_joined:
            self._ray.shutdown()
            self._is_joined = False

    def run(self, stage: Stage, show_progress: bool = False) -> None:
        """Run every shard that is not done.

        Raises:
            MrStError: what a shard raised, a folder that not all nodes see, or a cluster that went away.
            UsageError: a stage that cannot be pickled, or a task that no node has room for.
        """
        to_do = shards_to_do(stage)
        with Progress(stage, to_do, show_progress) as progress:
            if not to_do:
                return
            data = packed(stage, self._ray.cloudpickle.dumps)
            self._check_room(stage)
            folder = getattr(stage, "folder", None)
            if isinstance(folder, ShardFolder):
                self.check_storage(folder.url)
            seen: set[str] = set()
            with self._ray_errors(stage.name):
                for record in self._records(stage.name, data, to_do):
                    if record["error"]:
                        raise pickle.loads(bytes.fromhex(record["error"]))  # from a worker of our own
                    shard = int(record["shard"])
                    if record["node"] not in seen and not stage.is_done(shard):
                        raise _unseen(f"shard {shard} of {stage.name}", record["node"])
                    seen.add(record["node"])
                    progress.update(stage.sizes[shard])

    def check_storage(self, url: str) -> None:
        """Try whether every node reads and writes where this process does; each folder is tried once.

        Args:
            url: A folder's path, or an fsspec URL.

        Raises:
            MrStError: a node that does not; it is named.
        """
        if url in self._checked:
            return
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        folder, mark = ShardFolder(url), f"probe-{os.urandom(8).hex()}"
        folder.write(mark, seen=np.ones(1))
        answers: list[str] = []
        try:
            for node in self._ray.nodes():
                if not node["Alive"] or node["Resources"].get("CPU", 0) < self.num_cpus:
                    continue
                answers.append(f"{mark}-{len(answers)}")
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ask = self._ray.remote(answer_probe).options(num_cpus=0, scheduling_strategy=here, max_retries=0)
                with self._ray_errors("the check of the work folder"):
                    is_seen = self._ray.get(ask.remote(url, mark, answers[-1]))
                if not is_seen or folder.read(answers[-1]) is None:
                    raise _unseen(url, node["NodeID"])
        finally:
            for name in (mark, *answers):
                folder.remove(name)
        self._checked.add(url)

    def _join(self, address: str) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        try:
            self._ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise MrStError(
                f"Ray at {address}: cannot join it ({reason:.200}); start it or mend the address"
            ) from error
        self._is_joined = True

    def _check_room(self, stage: Stage) -> None:
        rooms = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(room.get("CPU", 0) >= self.num_cpus and room.get("GPU", 0) >= self.num_gpus for room in rooms):
            most = max((room.get("CPU", 0), room.get("GPU", 0)) for room in rooms)
            raise UsageError(
                f"{stage.name}: no node of the cluster has {self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs (the "
                f"largest has {most[0]:g} and {most[1]:g}); ask less for a task"
            )

    def _records(self, name: str, data: bytes, to_do: Sequence[int]) -> Iterator[dict[str, Any]]:
        """What the workers answer, as it comes in."""
        from ray.data import ActorPoolStrategy, DataContext, from_numpy  # noqa: F401
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = self._ray
        own_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        starts = (
            ray.remote(Starts)
            .options(  # asked again where it has to be started anew
                num_cpus=0, scheduling_strategy=own_node, max_restarts=-1, max_task_retries=-1
            )
            .remote()
        )
        reference = ray.put(data)
        most = min(len(to_do), self.max_concurrency or len(to_do))
        device = "cuda" if self.num_gpus else None
        with _quiet(DataContext):
            shards = ray.data.from_items(
                [{"shard": shard} for shard in to_do], override_num_blocks=min(len(to_do), _MAX_BLOCKS)
            )
            answers = shards.map_batches(
                ShardRunner,
                fn_constructor_kwargs={
                    "stage": [reference], "starts": starts, "max_starts": _MAX_STARTS, "device": device,
                },
                batch_size=1,
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus or None,
                compute=ActorPoolStrategy(min_size=1, max_size=most),
            )  # fmt: skip
            try:
                yield from answers.iter_rows()
            finally:
                ray.kill(starts)

    @contextmanager
    def _ray_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            reason = (str(cause).strip().splitlines() or [""])[0]
            raise MrStError(
                f"{what}: Ray gave up ({type(cause).__name__}: {reason:.200}); every node needs this package in the "
                "same version and room for a task; finished shards are kept: run again"
            ) from error


@contextmanager
def _quiet(context_class: Any) -> Iterator[None]:
    """Ray Data without bars, plans and hints, in this process, for a while."""
    context = context_class.get_current()
    names = [name for name in ("enable_progress_bars", "print_on_execution_start") if hasattr(context, name)]
    before = {name: getattr(context, name) for name in names}
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    for name in names:
        setattr(context, name, False)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            with suppress(AttributeError):
                setattr(context, name, value)


def _unseen(what: str, node: str) -> MrStError:
    return MrStError(
        f"{what}: node {node[:12]} of the cluster and this process do not see the same folder; give a work folder as "
        "a URL (s3://bucket/run) or an absolute path that all nodes share"
    )
