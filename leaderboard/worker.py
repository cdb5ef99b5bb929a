"""Write the files of many cells in several processes.

Jobs go into a worker and answers come out as lines of JSON. Whatever a worker cannot do (no interpreter to start,
killed, no memory), this process does itself.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

from mr_st.leaderboard.beside import start_beside
from mr_st.leaderboard.cells import write_cells

__all__ = ["started"]

_MAIN = "mr_st.leaderboard.worker:main"


@contextmanager
def started(
    jobs: Sequence[dict[str, Any]], n_workers: int, done: Callable[[], None] = lambda: None
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Start :func:`mr_st.leaderboard.cells.write_cells` of each job; what is yielded waits for the answers.

    Leaving early ends the workers.

    Args:
        jobs: Plain JSON.
        n_workers: Processes; 1 for none but this one, which then works when the answers are asked for.
        done: Called after each job, in any thread.
    """
    pool = _Pool(jobs, done)
    n = min(n_workers, len(jobs)) if n_workers > 1 else 0
    with ThreadPoolExecutor(max(n, 1)) as threads:
        feeding = [threads.submit(pool.feed) for _ in range(n)]

        def answers() -> list[dict[str, Any]]:
            for feeder in feeding:
                feeder.result()
            return pool.answers()

        try:
            yield answers
        finally:
            pool.stop()
            wait(feeding)


class _Pool:
    def __init__(self, jobs: Sequence[dict[str, Any]], done: Callable[[], None]):
        self.jobs, self.done = jobs, done
        self.left = deque(range(len(jobs)))
        self.answered: dict[int, dict[str, Any]] = {}
        self.workers: list[subprocess.Popen[bytes]] = []

    def feed(self) -> None:
        """Give jobs to one worker until there are none left, or until it fails."""
        try:
            worker = start_beside(_MAIN, piped=True)
        except (OSError, ValueError):
            return
        self.workers.append(worker)
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            while True:
                i = self.left.popleft()
                worker.stdin.write(json.dumps(self.jobs[i]).encode("ascii") + b"\n")
                worker.stdin.flush()
                self.answered[i] = json.loads(worker.stdout.readline())
                self.done()
        except (IndexError, OSError, ValueError):  # there is no more to do, or it failed
            pass
        finally:
            worker.kill()
            with suppress(OSError):
                worker.communicate()

    def stop(self) -> None:
        """Begin no more jobs, and end those that are at work."""
        self.left.clear()
        for worker in self.workers:
            worker.kill()

    def answers(self) -> list[dict[str, Any]]:
        """All answers, those that no worker gave by this process."""
        for i, job in enumerate(self.jobs):
            if i not in self.answered:
                self.answered[i] = write_cells(job)
                self.done()
        return [self.answered[i] for i in range(len(self.jobs))]


def main() -> None:
    """Answer each line of standard input with one line of standard output."""
    gc.disable()  # nothing here has cycles
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever else is printed is no answer
    for line in sys.stdin.buffer:
        print(json.dumps(write_cells(json.loads(line))), file=answers, flush=True)
