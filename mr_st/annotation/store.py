"""The store of labels: whatever an annotator was asked once is kept, and never asked or paid for again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.annotation.claims import BUSY, KNOWN, MINE, Claims
from mr_st.annotation.protocol import (
    Annotations,
    Annotator,
    GradedPart,
    PairTable,
    StreamingAnnotator,
    UnansweredError,
)
from mr_st.annotation.store_file import StoreFile
from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KeptPart", "LabelStore", "StoredAnnotator"]

_CHUNK, _STREAMED_CHUNK = 256, 1024
_POLL_SECONDS = (0.1, 1.0)
_EXPORT_ROWS = 20_000


class LabelStore:
    """Labels in one SQLite file, under the annotator's identity, the query's text and the item's text.

    Every process of a machine may use the file at the same time, and every thread the object. Its view ``readable``
    shows a person what is in it: ``sqlite3 labels.sqlite "SELECT * FROM readable LIMIT 5"``.

    Args:
        path: The file; made, with its folder, where there is none.

    Raises:
        UsageError: a folder, or another program's database.
        MrStError: a damaged file, one of a newer version of this package, or a place that cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> pairs = PairTable(["q1", "q1"], ["i1", "i2"], ["mug", "mug"], ["a red mug", "a lamp"], ["en", "en"])
        >>> with TemporaryDirectory() as folder:
        ...     store = LabelStore(Path(folder) / "labels.sqlite")
        ...     n_new = store.put("judge-1", pairs.take([0]), Annotations.certain([2], 3), cost=0.01)
        ...     known, annotations = store.get("judge-1", pairs)
        ...     store.close()
        >>> known.tolist(), annotations.grades.tolist()
        ([True, False], [2])
    """

    def __init__(self, path: str | Path):
        self.file = StoreFile(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelStore, (self.path,)

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.file.path

    def get(self, identity: str, pairs: PairTable) -> tuple[np.ndarray, Annotations]:
        """Look n pairs up.

        Args:
            identity: The annotator's.
            pairs: What to look up; texts count, ids do not.

        Returns:
            bool (n,), which pairs are known, and the annotations of those, in order.
        """
        known = np.zeros(len(pairs), dtype=bool)
        with self.file.reading() as connection:
            found = connection.execute("SELECT annotator, n_grades FROM annotators WHERE identity = ?", (identity,))
            annotator, n_grades = found.fetchone() or (None, None)
            if n_grades is None:
                return known, Annotations.concatenate([], 0)
            self.file.ask_pairs(connection, pairs.query_texts, pairs.item_texts)
            labels = connection.execute(
                "SELECT row, grade, probabilities FROM asked CROSS JOIN labels "
                "ON annotator = ? AND labels.query = asked.query AND labels.item = asked.item ORDER BY row",
                (annotator,),
            ).fetchall()
        rows, grades, texts = zip(*labels, strict=True) if labels else ((), (), ())
        known[list(rows)] = True
        probabilities = np.array(json.loads(f"[{','.join(texts)}]"), dtype=np.float32).reshape(len(rows), n_grades)
        return known, Annotations(np.array(grades, dtype=np.int8), probabilities)

    def put(self, identity: str, pairs: PairTable, annotations: Annotations, cost: float = 0.0) -> int:
        """Keep the labels of n pairs, in one transaction; a pair that is known keeps the label it has.

        Args:
            identity: The annotator's.
            pairs: What was labelled.
            annotations: Their n labels.
            cost: What was paid for them together; counted even where no label is new.

        Returns:
            How many labels are new.

        Raises:
            UsageError: another number of annotations than of pairs.
            MrStError: another number of grades than this identity has had before.
        """
        if len(pairs) != len(annotations):
            raise UsageError(f"{len(pairs):,} pairs and {len(annotations):,} annotations; give one for each pair")
        with self.file.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO annotators (identity) VALUES (?)", (identity,))
            find = "SELECT annotator, n_grades FROM annotators WHERE identity = ?"
            annotator, n_grades = connection.execute(find, (identity,)).fetchone()
            if n_grades is None:
                update = "UPDATE annotators SET n_grades = ? WHERE annotator = ?"
                connection.execute(update, (annotations.n_grades, annotator))
            elif n_grades != annotations.n_grades:
                raise MrStError(
                    f"{self.path}: {identity} has labels of {n_grades} grades, and comes with {annotations.n_grades}; "
                    "an identity must change with the scale: mend the annotator"
                )
            self.file.ask_pairs(connection, pairs.query_texts, pairs.item_texts, add=True)
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            part = connection.execute("INSERT INTO parts VALUES (NULL, ?, 0, ?, ?)", (annotator, cost, now)).lastrowid
            before = connection.total_changes
            rows = zip(annotations.grades.tolist(), map(_as_text, annotations.probabilities), strict=True)
            connection.executemany(
                "INSERT OR IGNORE INTO labels SELECT ?, query, item, ?, ?, ? FROM asked WHERE row = ?",
                ((annotator, grade, text, part, row) for row, (grade, text) in enumerate(rows)),
            )
            n_new = connection.total_changes - before
            connection.execute("UPDATE parts SET n_labels = ? WHERE part = ?", (n_new, part))
            connection.execute(
                "DELETE FROM claims WHERE annotator = ? AND (query, item) IN (SELECT query, item FROM asked)",
                (annotator,),
            )
        return n_new

    def facts(self) -> list[dict[str, Any]]:
        """For each annotator: identity, n_labels, cost, by_grade, first_written and last_written (UTC); JSON-ready."""
        with self.file.reading() as connection:
            annotators = connection.execute(
                "SELECT annotator, identity, n_grades, sum(cost), min(written_at), max(written_at) "
                "FROM annotators JOIN parts USING (annotator) GROUP BY annotator ORDER BY identity"
            ).fetchall()
            counts = connection.execute("SELECT annotator, grade, count(*) FROM labels GROUP BY 1, 2").fetchall()
        facts = []
        for annotator, identity, n_grades, cost, first, last in annotators:
            by_grade = {grade: n for whose, grade, n in counts if whose == annotator}
            facts.append(
                {
                    "identity": identity,
                    "n_labels": sum(by_grade.values()),
                    "cost": cost,
                    "by_grade": [by_grade.get(grade, 0) for grade in range(n_grades)],
                    "first_written": first,
                    "last_written": last,
                }
            )
        return facts

    def history(self, query_text: str, item_text: str) -> list[dict[str, Any]]:
        """Every label that a pair was ever given, oldest first: annotator, grade, probabilities, cost, written_at."""
        with self.file.reading() as connection:
            self.file.ask_pairs(connection, [query_text], [item_text])
            labels = connection.execute(
                "SELECT identity, grade, probabilities, parts.cost / parts.n_labels, written_at "
                "FROM asked CROSS JOIN labels USING (query, item) JOIN parts USING (part) "
                "JOIN annotators ON annotators.annotator = labels.annotator ORDER BY part, identity"
            ).fetchall()
        columns = ("annotator", "grade", "probabilities", "cost", "written_at")
        return [dict(zip(columns, (who, grade, json.loads(p), *rest), strict=True)) for who, grade, p, *rest in labels]

    def export(self, path: str | Path) -> Path:
        """Write all labels as one Parquet table, in the order they came: the columns of the view ``readable``.

        Halves of surrogate pairs, which are no UTF-8, are written as U+FFFD. The cost of a part stands in equal
        shares at its labels; :meth:`facts` also counts what was paid without an answer.

        Raises:
            MrStError: the file cannot be written.
        """
        import pyarrow as pa

        from mr_st.data.parquet import write_parquet
        from mr_st.files import atomic_path

        text, number = pa.string(), pa.float64()
        schema = pa.schema(
            [
                ("annotator", text), ("query_text", text), ("item_text", text), ("grade", pa.int8()),
                ("probabilities", pa.list_(pa.float32())), ("cost", number), ("written_at", text),
            ]
        )  # fmt: skip
        with atomic_path(path) as temporary, self.file.reading() as connection:
            labels = connection.execute("SELECT * FROM readable ORDER BY written_at, annotator, query_text, item_text")

            def batches() -> Iterator[pa.RecordBatch]:
                while rows := labels.fetchmany(_EXPORT_ROWS):
                    columns = [list(column) for column in zip(*rows, strict=True)]
                    columns[1], columns[2] = (list(map(_printable, columns[n])) for n in (1, 2))
                    columns[4] = list(map(json.loads, columns[4]))
                    yield pa.record_batch(columns, schema=schema)

            write_parquet(temporary, batches(), schema)
        return Path(path)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.file.close()


@dataclass(frozen=True, eq=False)
class KeptPart(GradedPart):
    """A part whose labels are in the store; ``was_known`` says that they came from there."""

    was_known: bool = False


class StoredAnnotator:
    """An annotator that asks another only what nobody asked it before, and keeps every answer as it arrives.

    Pairs with equal texts are asked once. What another process is just asking is waited for. Between the answers no
    lock is held. Its labels are the other's: it has the same identity.

    Args:
        annotator: Who grades; it must grade by texts.
        store: Where labels are kept, or the path of its file.
        chunk: Pairs claimed and asked at once: what a killed process has asked in vain at most, and how finely two
            processes share the work; None is 256, or 1,024 for an annotator whose answers arrive one by one.

    Raises:
        UsageError: an annotator that grades by ids (a policy, a table of judgments), or a chunk below 1.
    """

    def __init__(self, annotator: Annotator, store: LabelStore | str | Path, chunk: int | None = None):
        if getattr(annotator, "reads_ids", False):
            raise UsageError(
                f"{annotator.identity} grades by ids, and labels are kept by texts; ask it directly, it costs nothing"
            )
        if chunk is not None and chunk < 1:
            raise UsageError(f"chunk is {chunk}; it must be 1 or more")
        self.annotator = annotator
        self.store = store if isinstance(store, LabelStore) else LabelStore(store)
        self.chunk = chunk or (_STREAMED_CHUNK if isinstance(annotator, StreamingAnnotator) else _CHUNK)
        self._is_stopped = False

    @property
    def identity(self) -> str:
        """The identity of the annotator that is asked."""
        return self.annotator.identity

    def stop(self) -> None:
        """Ask for nothing more: ``grade_in_parts`` ends with the answers that are under way, or with the chunk."""
        self._is_stopped = True
        stop = getattr(self.annotator, "stop", None)
        if stop is not None:
            stop()

    def grade(self, pairs: PairTable) -> Annotations:
        """Grade every pair, from the store where it can be.

        Raises:
            UnansweredError: pairs without a usable answer; the others are kept.
            BudgetSpentError: the annotator's budget is spent; what was paid for is kept.
        """
        if not len(pairs):
            return self.annotator.grade(pairs)
        parts = list(self.grade_in_parts(pairs))
        rows = np.concatenate([np.empty(0, dtype=np.int64), *(part.rows for part in parts)])
        missing = np.setdiff1d(np.arange(len(pairs)), rows)
        if len(missing):
            first = missing[0]
            raise UnansweredError(
                f"{self.identity}: no usable answer for {len(missing):,} of {len(pairs):,} pairs, the first for query "
                f"{pairs.query_ids[first]!r}, item {pairs.item_ids[first]!r}; the others are kept in "
                f"{self.store.path}: run again to ask these once more",
                missing,
            )
        together = Annotations.concatenate((part.annotations for part in parts), parts[0].annotations.n_grades)
        return together.take(np.argsort(rows))

    def grade_in_parts(self, pairs: PairTable) -> Iterator[KeptPart]:
        """Grade the pairs; what is known comes first, the rest as it arrives, kept before it is handed over."""
        distinct = _Distinct(pairs)
        known, annotations = self.store.get(self.identity, distinct.pairs)
        if known.any():
            yield distinct.spread(np.flatnonzero(known), annotations, was_known=True)
        left = np.flatnonzero(~known)
        if not len(left):
            return
        with Claims(self.store.file) as claims:
            pause = _POLL_SECONDS[0]
            while len(left):
                busy: list[np.ndarray] = []
                for start in range(0, len(left), self.chunk):
                    if self._is_stopped:
                        return
                    rows = left[start : start + self.chunk]
                    state = claims.take(self.identity, distinct.pairs.take(rows))
                    if (state == KNOWN).any():
                        yield self._known(distinct, rows[state == KNOWN])
                    if (state == MINE).any():
                        yield from self._ask(distinct, rows[state == MINE])
                        claims.release()
                    busy.append(rows[state == BUSY])
                waited_in_vain = sum(map(len, busy)) == len(left)
                left = np.concatenate(busy)
                if len(left):
                    pause = min(2 * pause, _POLL_SECONDS[1]) if waited_in_vain else _POLL_SECONDS[0]
                    time.sleep(pause)

    def _ask(self, distinct: _Distinct, rows: np.ndarray) -> Iterator[KeptPart]:
        """Ask for these distinct pairs, and keep each part before it is handed over."""
        asked = distinct.pairs.take(rows)
        for part in self._parts(asked):
            if not len(part.rows) and not part.cost:
                continue
            answered = asked.take(part.rows)
            annotations = part.annotations
            if self.store.put(self.identity, answered, annotations, part.cost) < len(annotations):
                _, annotations = self.store.get(self.identity, answered)  # another was quicker: its labels hold
            yield distinct.spread(rows[part.rows], annotations, part.cost)

    def _parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        if isinstance(self.annotator, StreamingAnnotator):
            yield from self.annotator.grade_in_parts(pairs)
            return
        annotations = self.annotator.grade(pairs)
        if len(annotations) != len(pairs):
            raise MrStError(f"{self.identity}: {len(annotations):,} grades for {len(pairs):,} pairs; mend it")
        yield GradedPart(np.arange(len(pairs)), annotations)

    def _known(self, distinct: _Distinct, rows: np.ndarray) -> KeptPart:
        known, annotations = self.store.get(self.identity, distinct.pairs.take(rows))
        return distinct.spread(rows[known], annotations, was_known=True)


class _Distinct:
    """The different pairs of texts in a table, and the way back to all its rows."""

    def __init__(self, pairs: PairTable):
        number: dict[tuple[str, str], int] = {}
        texts = zip(pairs.query_texts, pairs.item_texts, strict=True)
        at = np.array([number.setdefault(pair, len(number)) for pair in texts], dtype=np.int64)
        self._order = np.argsort(at, kind="stable")
        self._ends = np.cumsum(np.bincount(at, minlength=len(number)))
        self._counts = np.diff(self._ends, prepend=0)
        self.pairs = pairs.take(self._order[self._ends - self._counts])

    def spread(
        self, rows: np.ndarray, annotations: Annotations, cost: float = 0.0, was_known: bool = False
    ) -> KeptPart:
        """The part of the whole table that some distinct pairs stand for."""
        counts = self._counts[rows]
        first = np.repeat(self._ends[rows] - np.cumsum(counts), counts)
        everywhere = self._order[first + np.arange(len(first))]
        return KeptPart(everywhere, annotations.take(np.repeat(np.arange(len(rows)), counts)), cost, was_known)


def _as_text(probabilities: np.ndarray) -> str:
    """JSON of a float32 row, short and exact."""
    return f"[{','.join(map(str, probabilities))}]"


def _printable(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace")
