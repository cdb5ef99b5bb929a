"""Steps that are done once: each leaves a folder with a mark of what it was made from, and a rerun skips it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mr_st.files import alone_in, ensure_writable, read_json, write_json
from mr_st.identity import settings_hash

__all__ = ["Step", "Steps"]

_DONE = "step.json"
_BEGUN = "begun.json"


@dataclass(frozen=True)
class Step:
    """A finished step.

    Args:
        folder: Where its results lie.
        key: Hash of its settings and of the keys of the steps it builds on.
        facts: What the step reported (JSON-ready).
        seconds: Wall-clock time of the try that finished it.
        resumed: Whether that try went on from an interrupted one (``seconds`` is then a part of the whole).
    """

    folder: Path
    key: str
    facts: dict[str, Any]
    seconds: float
    resumed: bool = False


class Steps:
    """Runs the pieces of a job in a folder, each at most once.

    A step is known by a key: the hash of its settings and of the keys of what it builds on. While it works, its
    folder holds whatever it needs to go on after a kill; when it is done, ``step.json`` is written, last and
    atomically. The same key later: the step is skipped. Another key (settings changed): the folder is emptied and
    the step is done anew.

    Args:
        folder: The job's folder; created if needed.
        announce: Called with one line as each step starts or is skipped.

    Raises:
        MrStError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, announce: Callable[[str], None] = lambda line: None):
        self.folder = ensure_writable(folder)
        self.announce = announce

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock; it is released when the process ends, however it ends.

        Raises:
            MrStError: another process holds it.
        """
        with alone_in(self.folder, "wait for it or choose another --out"):
            yield

    def once(
        self,
        name: str,
        title: str,
        settings: Any,
        work: Callable[[Path], dict[str, Any]],
        after: tuple[Step, ...] = (),
    ) -> Step:
        """Do ``work(folder)`` unless it was done before with the same settings after the same steps.

        Args:
            name: The step's folder below the job's.
            title: What a person reads while it runs.
            settings: Everything that changes the result (JSON-like).
            work: Gets the step's folder, may find there what an interrupted try left, returns facts (JSON-ready).
            after: The steps whose results it uses.
        """
        folder = self.folder / name
        key = settings_hash([name, settings, [step.key for step in after]])
        if (folder / _DONE).exists():
            done = read_json(folder / _DONE)
            if done["key"] == key:
                self.announce(f"{title}: done before, kept")
                return Step(folder, key, done["facts"], done["seconds"], done["resumed"])
        resumed = (folder / _BEGUN).exists() and read_json(folder / _BEGUN)["key"] == key
        if resumed:
            self.announce(f"{title}: going on where it stopped")
        else:
            if folder.exists():
                self.announce(f"{title}: the settings have changed, done anew")
                shutil.rmtree(folder)
            else:
                self.announce(title)
            ensure_writable(folder)
            write_json(folder / _BEGUN, {"key": key})
        start = time.perf_counter()
        facts = work(folder)
        seconds = round(time.perf_counter() - start, 3)
        record = {"key": key, "seconds": seconds, "resumed": resumed, "settings": settings, "facts": facts}
        write_json(folder / _DONE, record)
        (folder / _BEGUN).unlink()
        return Step(folder, key, facts, seconds, resumed)
