"""Build the files of many cells in several processes.

Not with :mod:`multiprocessing`: its ``spawn`` and ``forkserver`` run a user's unguarded script again, and ``fork`` is
unsafe beside the threads of pyarrow. A worker is this module, run by name; jobs go in and answers come out as lines of
JSON. Whatever a worker cannot do (no interpreter to start, killed, no memory), this process does itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

from mr_st.leaderboard.cells import write_cells

__all__ = ["run_jobs"]


def run_jobs(
    jobs: Sequence[dict[str, Any]], n_workers: int, done: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """:func:`mr_st.leaderboard.cells.write_cells` of each job, in the jobs' order.

    Args:
        jobs: Plain JSON.
        n_workers: Processes; 1 for none but this one.
        done: Called after each job, in any thread.
    """
    answers: dict[int, dict[str, Any]] = {}
    if n_workers > 1 and len(jobs) > 1:
        left: SimpleQueue[int] = SimpleQueue()
        for i in range(len(jobs)):
            left.put(i)
        n = min(n_workers, len(jobs))
        with ThreadPoolExecutor(n) as pool:
            for future in [pool.submit(_feed, jobs, left, answers, done) for _ in range(n)]:
                future.result()
    for i, job in enumerate(jobs):
        if i not in answers:
            answers[i] = write_cells(job)
            done()
    return [answers[i] for i in range(len(jobs))]


def _feed(
    jobs: Sequence[dict[str, Any]],
    left: SimpleQueue[int],
    answers: dict[int, dict[str, Any]],
    done: Callable[[], None],
) -> None:
    """Give jobs to one worker until there are none left, or until it fails."""
    here = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", "from mr_st.leaderboard.worker import main; main()"]
    try:
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
    except (OSError, ValueError):
        return
    with worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            while True:
                i = left.get_nowait()
                worker.stdin.write(json.dumps(jobs[i]).encode("ascii") + b"\n")
                worker.stdin.flush()
                answers[i] = json.loads(worker.stdout.readline())
                done()
        except (Empty, OSError, ValueError):
            pass
        finally:
            worker.kill()


def main() -> None:
    """Answer each line of standard input with one line of standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever else is printed is no answer
    for line in sys.stdin.buffer:
        print(json.dumps(write_cells(json.loads(line))), file=answers, flush=True)
