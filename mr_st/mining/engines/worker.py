"""The worker process of :class:`~mr_st.mining.engines.local.LocalEngine`: it runs shards as they are sent."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing import connection, parent_process
from typing import Any

__all__ = ["serve", "thread_settings", "visible_device"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def serve(pipe: connection.Connection, device: str | None, n_threads: int) -> None:
    """Take the packed stage, then shards, until the pipe ends; answer each with its error, packed, or ``b""``.

    Args:
        pipe: To the engine.
        device: The only accelerator this process sees, such as ``cuda:1``; ``cpu`` sees none, None leaves all.
        n_threads: Threads of numerical libraries.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides, and says so once
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that half-written files are removed
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.environ.update(thread_settings(n_threads))
    own = None if device is None else visible_device(device)
    _limit_torch(n_threads)

    from mr_st.mining.engines.work import pin, plain_error, travelling_error

    stage: Any = None
    try:
        import pickle

        stage = pickle.loads(pipe.recv_bytes())  # from the engine, over a pipe
        pin(stage, own)
        pipe.send_bytes(b"")
    except EOFError:
        return
    except Exception as error:
        pipe.send_bytes(travelling_error(plain_error(error, "a worker could not open the stage", 0)))
        return
    while True:
        try:
            shard = pipe.recv()
        except EOFError:
            return
        answer = b""
        try:
            if not stage.is_done(shard):
                stage.run(shard)
        except Exception as error:
            answer = travelling_error(plain_error(error, stage.name, shard))
        pipe.send_bytes(answer)


def thread_settings(n_threads: int) -> dict[str, str]:
    """Environment variables that give numerical libraries ``n_threads`` threads, or fewer where it says so already.

    What ``OMP_NUM_THREADS`` says holds for those that say nothing, as in a process that nobody set up: the last bits
    of a product depend on the number of threads.
    """
    settings = {}
    for name in _THREAD_VARIABLES:
        asked = os.environ.get(name) or os.environ.get("OMP_NUM_THREADS", "")
        settings[name] = str(min(n_threads, int(asked)) if asked.isdigit() and int(asked) else n_threads)
    return settings


def visible_device(device: str) -> str:
    """Hide every accelerator but one from this process, and give the name that the one has now.

    Args:
        device: ``cpu``, or ``cuda:N`` counted among those that are visible; another kind is left as it is.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif kind == "cuda" and number:
        seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[int(number)] if seen else number
        return "cuda"
    return device


def _limit_torch(n_threads: int) -> None:
    """A script that a spawned process reads again may have imported torch, too early for the environment."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(min(n_threads, torch.get_num_threads()))


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
