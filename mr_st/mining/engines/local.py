"""Shards on one machine: in this process, or in several."""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess

from mr_st.encoding.stage import Stage
from mr_st.errors import MrStError, UsageError
from mr_st.mining.engines.work import Progress, packed, plain_error, shards_to_do, unseen
from mr_st.mining.engines.worker import serve

__all__ = ["LocalEngine"]

_TICK = 0.2  # seconds between two looks: an endless wait would not end on Ctrl-C once polars is imported
_GRACE = 5.0  # seconds that a worker has to leave by itself


class LocalEngine:
    """Run stages on this machine.

    One process runs the shards itself. More are spawned for each stage, share the cores among them, get the pickled
    stage once, and take the next shard when one is done. A script that uses them has its work under
    ``if __name__ == "__main__":``, since every spawned process reads it again. An error, or Ctrl-C, stops all workers;
    finished shards are kept. (With other numbers of threads a model's outputs differ by float noise, about 1e-7; with
    ``OMP_NUM_THREADS=1`` any number of processes gives the same bytes.)

    Args:
        processes: How many; None: one for each device, or this process.
        devices: Accelerators, dealt out in turn: ``["cuda:0", "cuda:1"]``; ``cpu`` hides all. Each worker sees its own
            only. None leaves the choice to the stages.

    Raises:
        UsageError: fewer processes than 1 or than devices, or a device that is no ``kind`` or ``kind:number``.

    Example:
        >>> LocalEngine().is_main
        True

    Source: ours.
    """

    is_main = True

    def __init__(self, processes: int | None = None, devices: Sequence[str] | None = None):
        self.devices = None if devices is None else list(devices)
        self.processes = processes if processes is not None else len(self.devices or ["this process"])
        if isinstance(devices, str) or self.devices == []:
            raise UsageError(f"devices is {devices!r}; expected a list such as ['cuda:0', 'cuda:1'], or None")
        for device in self.devices or []:
            kind, colon, number = str(device).partition(":")
            if not kind.isalpha() or (colon and not number.isdigit()):
                raise UsageError(f"device {device!r}: expected cpu, or a kind and a number such as cuda:0")
        if self.processes < 1:
            raise UsageError(f"processes is {self.processes}; it must be 1 or more")
        if self.processes < len(self.devices or []):
            raise UsageError(
                f"{len(self.devices or [])} devices for {self.processes} process(es); give a process for each device"
            )

    def run(self, stage: Stage, show_progress: bool = False) -> None:
        """Run every shard that is not done.

        Raises:
            MrStError: what a shard raised, a worker that was killed, or a result that this process cannot see.
            UsageError: a stage that cannot be pickled, with several processes.
        """
        to_do = shards_to_do(stage)
        with Progress(stage, to_do, show_progress) as progress:
            if self.processes == 1 and self.devices is None:
                _run_here(stage, to_do, progress)
            elif to_do:
                workers = _Workers(stage, min(self.processes, len(to_do)), self.devices)
                try:
                    workers.run(to_do, progress)
                finally:
                    workers.stop()


def _run_here(stage: Stage, to_do: Sequence[int], progress: Progress) -> None:
    tells = "advance" in inspect.signature(stage.run).parameters  # a stage may tell how far it is within a shard
    for shard in to_do:
        try:
            if tells:
                stage.run(shard, advance=progress.update)  # type: ignore[call-arg]
            else:
                stage.run(shard)
                progress.update(stage.sizes[shard])
        except Exception as error:
            raise plain_error(error, stage.name, shard) from error


class _Worker:
    """One spawned process and the shard that it is at; -1 while it opens the stage, None when it has nothing to do."""

    def __init__(self, device: str | None, n_threads: int):
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=serve, args=(theirs, device, n_threads))
        self.shard: int | None = -1
        try:
            self.process.start()
        finally:
            theirs.close()


class _Workers:
    """The workers of one stage."""

    def __init__(self, stage: Stage, n_workers: int, devices: Sequence[str] | None):
        self.stage = stage
        data = packed(stage)
        n_threads = max(1, _n_cores() // n_workers)
        self.workers: list[_Worker] = []
        try:
            for number in range(n_workers):
                worker = _Worker(None if devices is None else devices[number % len(devices)], n_threads)
                self.workers.append(worker)
            for worker in self.workers:
                self._send(worker, data)
        except BaseException:
            self.stop()
            raise

    def run(self, to_do: Sequence[int], progress: Progress) -> None:
        left, seen = deque(to_do), set()
        while any(worker.shard is not None for worker in self.workers):
            ready = connection.wait([worker.pipe for worker in self.workers if worker.shard is not None], _TICK)
            for worker in self.workers:
                if worker.pipe not in ready or worker.shard is None:
                    continue
                try:
                    answer = worker.pipe.recv_bytes()
                except (EOFError, OSError) as error:
                    raise self._lost(worker) from error
                if answer:
                    raise pickle.loads(answer)  # from a process of our own
                if worker.shard >= 0:
                    progress.update(self.stage.sizes[worker.shard])
                    if worker not in seen and not self.stage.is_done(worker.shard):
                        raise unseen(self.stage, worker.shard)
                    seen.add(worker)
                worker.shard = left.popleft() if left else None
                if worker.shard is not None:
                    self._send(worker, pickle.dumps(worker.shard))

    def stop(self) -> None:
        """End all workers: by the end of their pipes, then asked to, then killed."""
        for worker in self.workers:
            if worker.shard is not None:
                worker.process.terminate()
            worker.pipe.close()
        deadline = time.monotonic() + _GRACE
        for worker in self.workers:
            while worker.process.is_alive() and time.monotonic() < deadline:
                worker.process.join(_TICK)
            worker.process.kill()
            worker.process.join()

    def _send(self, worker: _Worker, data: bytes) -> None:
        try:
            worker.pipe.send_bytes(data)
        except OSError as error:
            raise self._lost(worker) from error

    def _lost(self, worker: _Worker) -> MrStError:
        worker.process.join(_GRACE)
        code = worker.process.exitcode
        if worker.shard == -1:
            guard = "" if code and code < 0 else '; a script has its work under `if __name__ == "__main__":`'
            return MrStError(f"{self.stage.name}: a worker process ended at its start ({_ending(code)}){guard}")
        return MrStError(
            f"{self.stage.name}, shard {worker.shard}: its worker process ended ({_ending(code)}), most likely for "
            f"want of memory; finished shards are kept: run again with fewer processes than {len(self.workers)} or "
            "smaller shards"
        )


def _ending(code: int | None) -> str:
    if code is None:
        return "it does not answer"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
