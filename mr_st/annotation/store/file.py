"""The SQLite file behind the label store: its tables, who may open it, and what is said when something is wrong."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from mr_st.errors import MrStError, UsageError
from mr_st.files import ensure_writable

__all__ = ["StoreFile", "text_value"]

_APPLICATION = 0x6D725F73  # "mr_s", in the file's header
_VERSION = 1
_WAIT_SECONDS = 60.0
_OPENING_TRIES = 20

_TABLES = """
CREATE TABLE annotators (annotator INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, n_grades INTEGER);
CREATE TABLE texts (text_id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, text NOT NULL);
CREATE TABLE parts (
    part INTEGER PRIMARY KEY, annotator INTEGER NOT NULL REFERENCES annotators, n_labels INTEGER NOT NULL,
    cost REAL NOT NULL, written_at TEXT NOT NULL
);
CREATE TABLE labels (
    annotator INTEGER NOT NULL REFERENCES annotators, query INTEGER NOT NULL REFERENCES texts,
    item INTEGER NOT NULL REFERENCES texts, grade INTEGER NOT NULL, probabilities TEXT NOT NULL,
    part INTEGER NOT NULL REFERENCES parts,
    PRIMARY KEY (annotator, query, item)
) WITHOUT ROWID;
CREATE INDEX labels_of_a_pair ON labels (query, item);
CREATE TABLE owners (
    owner TEXT PRIMARY KEY, machine TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,
    lease_until REAL NOT NULL
);
CREATE TABLE claims (
    annotator INTEGER NOT NULL, query INTEGER NOT NULL, item INTEGER NOT NULL, owner TEXT NOT NULL,
    PRIMARY KEY (annotator, query, item)
) WITHOUT ROWID;
CREATE INDEX claims_of_an_owner ON claims (owner);
CREATE VIEW readable AS
    SELECT annotators.identity AS annotator, queries.text AS query_text, items.text AS item_text, labels.grade,
        labels.probabilities, parts.cost / parts.n_labels AS cost, parts.written_at
    FROM labels JOIN annotators USING (annotator) JOIN parts USING (part)
        JOIN texts AS queries ON queries.text_id = labels.query JOIN texts AS items ON items.text_id = labels.item;
"""
_OF_THE_CONNECTION = """
CREATE TEMP TABLE asked_texts (n INTEGER PRIMARY KEY, hash BLOB NOT NULL, text NOT NULL);
CREATE TEMP TABLE asked (row INTEGER PRIMARY KEY, query INTEGER NOT NULL, item INTEGER NOT NULL);
"""


def text_value(text: str) -> str | bytes:
    """A text as SQLite keeps it: bytes where it holds halves of surrogate pairs, which are no UTF-8."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


class StoreFile:
    """One SQLite file in WAL mode: transactions, and the ids of texts.

    Threads may share it (they take turns); a process that was forked opens it anew. Every transaction is on the disk
    when it ends (``synchronous=FULL``), so neither a killed process nor a power cut loses what was written.

    Args:
        path: The file; made, with its folder, where there is none.

    Raises:
        UsageError: a folder, or another program's database.
        MrStError: a damaged file, one of a newer version of this package, or a place that cannot be written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            raise UsageError(f"{self.path}: a folder; name the label store's file, e.g. {self.path / 'labels.sqlite'}")
        ensure_writable(self.path.parent)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        with self.explained():
            self._open()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other process's can come between; undone whole when it fails.

        Raises:
            MrStError: what SQLite says is wrong, in one line.
        """
        with self._lock, self.explained():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection for a look at one moment's state; writers need not wait for it."""
        with self._lock, self.explained():
            connection = self._open()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """SQLite's errors as one line that names the file and the mend."""
        try:
            yield
        except sqlite3.Error as error:
            reason = str(error)
            if isinstance(error, sqlite3.OperationalError) and "locked" in reason:
                mend = "another process holds it; look whether one hangs, then run again"
            elif "full" in reason:
                mend = "free some space there; what was written before is kept"
            elif "readonly" in reason or "unable to open" in reason:
                mend = "mend the permissions of the file and its folder, or name another --store"
            else:
                mend = "restore the file from a copy, or name another one"
            raise MrStError(f"{self.path}: the label store cannot be used ({reason}); {mend}") from error

    # ---- opening ---------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        for attempt in range(_OPENING_TRIES):
            try:
                self._connection, self._pid = self._connected(), os.getpid()
                return self._connection
            except sqlite3.OperationalError as error:  # two first openings: turning WAL on does not always wait
                if "locked" not in str(error) or attempt == _OPENING_TRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
        raise AssertionError("the last attempt returns or raises")

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._check(connection)
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                raise MrStError(
                    f"{self.path}: this file system cannot share a database (no WAL mode); put the label store on a "
                    "local disk"
                )
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA temp_store=MEMORY")
            self._make_tables(connection)
            connection.executescript(_OF_THE_CONNECTION)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse what is not ours before anything in it is touched."""
        application, version = self._marks(connection)
        n_things = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application == _APPLICATION and version > _VERSION:
            raise MrStError(
                f"{self.path}: a label store of version {version}, this mr_st knows {_VERSION}; update mr_st or name "
                "another file"
            )
        if application not in (0, _APPLICATION) or (application == 0 and (n_things or version)):
            raise UsageError(f"{self.path}: the database of another program, no label store; name another file")

    @staticmethod
    def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        return int(application), int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if self._marks(connection)[0] == _APPLICATION:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._marks(connection)[0] != _APPLICATION:  # another process may have been quicker
                with closing(connection.cursor()) as cursor:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        cursor.execute(statement)
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute(f"PRAGMA user_version={_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    # ---- texts and pairs -------------------------------------------------------------------------------------------

    def ask_pairs(
        self, connection: sqlite3.Connection, queries: Sequence[str], items: Sequence[str], add: bool = False
    ) -> None:
        """Fill the connection's table ``asked`` with row and text ids; unknown texts are added, or left out.

        Args:
            connection: In a transaction, which must write where ``add`` is asked for.
            queries: n texts.
            items: n texts.
            add: Keep texts that are not there yet.

        Raises:
            MrStError: two different texts with one hash.
        """
        ids = self._text_ids(connection, list(dict.fromkeys([*queries, *items])), add)
        connection.execute("DELETE FROM asked")
        connection.executemany(
            "INSERT INTO asked VALUES (?, ?, ?)",
            (
                (row, ids[query], ids[item])
                for row, (query, item) in enumerate(zip(queries, items, strict=True))
                if query in ids and item in ids
            ),
        )

    def _text_ids(self, connection: sqlite3.Connection, texts: list[str], add: bool) -> dict[str, int]:
        connection.execute("DELETE FROM asked_texts")
        rows = (
            (n, sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], text_value(text))
            for n, text in enumerate(texts)
        )
        connection.executemany("INSERT INTO asked_texts VALUES (?, ?, ?)", rows)
        if add:
            connection.execute("INSERT OR IGNORE INTO texts (hash, text) SELECT hash, text FROM asked_texts")
        found = connection.execute(  # the texts themselves are compared, not only their hashes
            "SELECT n, text_id FROM asked_texts CROSS JOIN texts USING (hash) WHERE texts.text = asked_texts.text"
        )
        ids = {texts[n]: text_id for n, text_id in found}
        if add and len(ids) < len(texts):
            missing = next(text for text in texts if text not in ids)
            raise MrStError(f"{self.path}: another text has the same hash as {missing!r:.80}; use another --store")
        return ids
