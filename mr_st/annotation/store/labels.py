"""The store of labels: whatever an annotator was asked once is kept, so that it is never asked or paid for again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.annotation.protocol import Annotations, PairTable
from mr_st.annotation.store.file import StoreFile
from mr_st.errors import MrStError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LabelStore"]

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
            labels = connection.execute(
                "SELECT identity, queries.text, items.text, grade, probabilities, parts.cost / parts.n_labels, "
                "written_at FROM labels JOIN annotators USING (annotator) JOIN parts USING (part) "
                "JOIN texts AS queries ON queries.text_id = labels.query "
                "JOIN texts AS items ON items.text_id = labels.item ORDER BY part, queries.text, items.text"
            )

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


def _as_text(probabilities: np.ndarray) -> str:
    """JSON of a float32 row, short and exact."""
    return f"[{','.join(map(str, probabilities))}]"


def _printable(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace")
