"""Who is labelling what: claims in the label store, so that two processes never pay for the same pair."""

from __future__ import annotations

import os
import platform
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from mr_st.data.pairs import PairTable
from mr_st.errors import MrStError

if TYPE_CHECKING:
    import sqlite3

    from mr_st.annotation.store.file import StoreFile

__all__ = ["BUSY", "KNOWN", "MINE", "Claims"]

KNOWN, MINE, BUSY = 0, 1, 2
"""What a claim came to: labelled already, ours to label, or another's who is still at it."""

LEASE_SECONDS = 60.0


class Claims:
    """The claims of one worker; a context that gives back at its end what was not labelled.

    A claim holds while its owner lives: an owner is taken for dead when its process is gone (on this machine) or
    when it has not renewed its lease (on any). A thread renews it while the context is open, so a slow annotator
    keeps its claims.

    Args:
        file: The store's file.
        lease: Seconds that a sign of life holds.
    """

    def __init__(self, file: StoreFile, lease: float = LEASE_SECONDS):
        self._file, self._lease = file, lease
        self.owner = uuid4().hex
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        with self._file.transaction() as connection:
            self._renew(connection)
        self._thread = threading.Thread(target=self._keep_alive, name="label-store-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with self._file.transaction() as connection:
            _forget(connection, self.owner)

    def take(self, identity: str, pairs: PairTable) -> np.ndarray:
        """Claim what nobody has labelled or claimed.

        Args:
            identity: The annotator's.
            pairs: n pairs.

        Returns:
            int8 (n,): KNOWN, MINE or BUSY; two rows with the same texts get the same.
        """
        state = np.full(len(pairs), BUSY, dtype=np.int8)
        with self._file.transaction() as connection:
            self._renew(connection)
            self._bury(connection)
            self._file.ask_pairs(connection, pairs.query_texts, pairs.item_texts, add=True)
            connection.execute("INSERT OR IGNORE INTO annotators (identity) VALUES (?)", (identity,))
            (annotator,) = connection.execute(
                "SELECT annotator FROM annotators WHERE identity = ?", (identity,)
            ).fetchone()
            same_pair = "t.annotator = ? AND t.query = asked.query AND t.item = asked.item"
            connection.execute(
                "INSERT OR IGNORE INTO claims SELECT ?, query, item, ? FROM asked "
                f"WHERE NOT EXISTS (SELECT 1 FROM labels AS t WHERE {same_pair})",
                (annotator, self.owner, annotator),
            )
            rows = connection.execute(
                f"SELECT row FROM asked CROSS JOIN claims AS t ON {same_pair} WHERE owner = ?", (annotator, self.owner)
            )
            state[[row for (row,) in rows]] = MINE
            rows = connection.execute(f"SELECT row FROM asked CROSS JOIN labels AS t ON {same_pair}", (annotator,))
            state[[row for (row,) in rows]] = KNOWN
        return state

    def release(self) -> None:
        """Give back every claim; those that were labelled are gone already."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))

    # ---- who lives -------------------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        while not self._ended.wait(self._lease / 4):
            try:
                with self._file.transaction() as connection:
                    self._renew(connection)
            except MrStError:  # a full disk, say: the worker itself meets it, and tells
                continue

    def _renew(self, connection: sqlite3.Connection) -> None:
        process = (_machine(), os.getpid(), _started(os.getpid()) or "")
        connection.execute(
            "INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)", (self.owner, *process, time.time() + self._lease)
        )

    def _bury(self, connection: sqlite3.Connection) -> None:
        """Forget the owners that are dead, with their claims."""
        others = connection.execute("SELECT * FROM owners WHERE owner != ?", (self.owner,)).fetchall()
        for owner, machine, pid, started, lease_until in others:
            is_gone = machine == _machine() and _started(pid) != started
            if is_gone or lease_until < time.time():
                _forget(connection, owner)


def _forget(connection: sqlite3.Connection, owner: str) -> None:
    connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))
    connection.execute("DELETE FROM owners WHERE owner = ?", (owner,))


def _machine() -> str:
    """This machine since it was started, and the room of process numbers in it (a container has its own)."""
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        pass
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process was started (a number may be used again), "" where that cannot be told; None if it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
