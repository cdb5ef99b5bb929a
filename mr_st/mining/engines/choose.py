"""Which engine: by name, or by how this process was started."""

from __future__ import annotations

from collections.abc import Sequence

from mr_st.errors import UsageError
from mr_st.mining.engines.local import LocalEngine
from mr_st.mining.engines.protocol import Engine
from mr_st.mining.engines.ranks import RanksEngine, n_ranks_launched

__all__ = ["ENGINES", "engine_of"]

ENGINES = ("local", "ray")


def engine_of(
    name: str = "local",
    *,
    processes: int | None = None,
    devices: Sequence[str] | None = None,
    address: str | None = None,
    num_cpus_per_task: float = 1,
    num_gpus_per_task: float = 0,
) -> Engine:
    """The engine of a name; ``local`` under ``accelerate launch`` or ``torchrun`` is a rank among the others.

    Args:
        name: ``local`` or ``ray``.
        processes: Of ``local``: see :class:`~mr_st.mining.engines.local.LocalEngine`.
        devices: Of ``local``.
        address: Of ``ray``: see :class:`~mr_st.mining.engines.ray.RayEngine`.
        num_cpus_per_task: Of ``ray``.
        num_gpus_per_task: Of ``ray``.

    Raises:
        UsageError: an unknown name, or options that the engine does not have.

    Example:
        >>> type(engine_of("local", processes=2)).__name__
        'LocalEngine'
    """
    if name not in ENGINES:
        raise UsageError(f"engine is {name!r}; expected {' or '.join(ENGINES)}")
    if name == "local" and (address is not None or num_cpus_per_task != 1 or num_gpus_per_task):
        raise UsageError(
            "the local engine has no address, CPUs or GPUs for a task; choose engine ray, or leave them out"
        )
    if name == "ray" and (processes is not None or devices is not None):
        raise UsageError("engine ray has no processes or devices; give CPUs and GPUs for a task instead")
    if n_ranks_launched() > 1:
        if name == "ray" or processes is not None or devices is not None:
            raise UsageError(
                f"{n_ranks_launched()} processes were launched, and they share the work among them; leave out engine, "
                "processes and devices, or start without accelerate launch"
            )
        return RanksEngine()
    if name == "ray":
        from mr_st.mining.engines.ray import RayEngine

        return RayEngine(address, num_cpus_per_task, num_gpus_per_task)
    return LocalEngine(processes, devices)
