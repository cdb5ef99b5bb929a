"""RunFile: what somebody else's system found, read from a TREC run."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import DataError, Problem, UsageError
from mr_st.evaluation.systems.named import full_name, name_of_file
from mr_st.search import TopK
from mr_st.search.top import empty_top

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection

__all__ = ["RunCoverage", "RunFile"]

logger = logging.getLogger(__name__)

_FORM = "qid Q0 docid rank score tag"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class RunCoverage:
    """How a run's ids fit what is evaluated.

    Args:
        n_queries: Queries of the run that are evaluated.
        n_missing_queries: Evaluated queries that the run lacks; they count as having found nothing.
        n_unknown_queries: Queries of the run that are not evaluated (another split, or nothing relevant to find).
        n_unknown_items: Lines of evaluated queries whose item is not among those searched; left out.
    """

    n_queries: int
    n_missing_queries: int
    n_unknown_queries: int
    n_unknown_items: int

    def __str__(self) -> str:
        parts = [
            f"{self.n_missing_queries:,} queries missing, which count as empty" if self.n_missing_queries else "",
            f"{self.n_unknown_queries:,} queries that are not evaluated" if self.n_unknown_queries else "",
            f"{self.n_unknown_items:,} lines whose item is not in the catalogue, left out"
            if self.n_unknown_items
            else "",
        ]
        return "; ".join([f"{self.n_queries:,} queries", *filter(None, parts)])


class RunFile:
    """A run in TREC's form, ``qid Q0 docid rank score tag``, as a system.

    As in trec_eval the order is that of the scores, read as float32, and the rank column is not looked at. Equal
    scores stand lower item row first, the rule of every system here (trec_eval: larger id first). Columns are parted
    by any blanks; empty lines, a byte-order mark and gzip are fine.

    Args:
        path: The file.
        name: ``org/name``; None for ``local/`` and the file's name.

    Raises:
        UsageError: no such file, or nothing in it.
        DataError: a line that is no run line, a score that is no finite float32, an item twice for one query; file
            and line are named.
    """

    gives_similarities = False

    def __init__(self, path: str | Path, *, name: str | None = None):
        self.path = Path(path)
        self.name = full_name(name_of_file(path) if name is None else name)
        content = _content(self.path)
        self.revision = hashlib.sha256(content).hexdigest()[:16]
        self._read(content)
        self.settings: dict[str, Any] = {
            "kind": "run",
            "content": self.revision,
            "n_queries": len(self._query_ids),
            "n_lines": len(self._scores),
        }
        self.facts: dict[str, Any] = {"framework": []}

    def search(self, collection: Collection, k: int) -> TopK:
        """The best ``k`` items that the run has for each query.

        Raises:
            UsageError: the run has none of the queries, or none of the items.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        queries, rows, scores = self._lines_of(collection)
        order = np.lexsort((rows, -scores, queries))
        queries, rows, scores = queries[order], rows[order], scores[order]
        counts = np.bincount(queries, minlength=collection.n_queries)
        places = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = places < k
        top = empty_top(collection.n_queries, k)
        top.ids[queries[kept], places[kept]] = rows[kept]
        top.scores[queries[kept], places[kept]] = scores[kept]
        return top

    def score_pairs(self, collection: Collection) -> np.ndarray:
        """The run's score of each judged pair, float64 (m,), NaN where it has none.

        Raises:
            UsageError: the run has none of the queries, or none of the items.
        """
        judged = collection.judged
        queries, rows, scores = self._lines_of(collection)
        stride = len(collection.item_ids)
        keys = queries * stride + rows
        order = np.argsort(keys)
        keys, scores = keys[order], scores[order]
        wanted = judged.query_of_pair * stride + judged.items
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, scores[at].astype(np.float64), np.nan)

    def coverage(self, collection: Collection) -> RunCoverage:
        """How the run's ids fit what is evaluated."""
        known, query_rows, item_rows = self._rows(collection)
        n_known = int(known.sum())
        return RunCoverage(
            n_queries=n_known,
            n_missing_queries=collection.n_queries - n_known,
            n_unknown_queries=len(known) - n_known,
            n_unknown_items=int(np.count_nonzero((query_rows >= 0) & (item_rows < 0))),
        )

    # ---- ids to rows -----------------------------------------------------------------------------------------------

    def _rows(self, collection: Collection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which of the run's queries are evaluated, and each line's query and item row, -1 where it has none."""
        query_of = {query_id: row for row, query_id in enumerate(collection.query_ids)}
        item_of = {item_id: row for row, item_id in enumerate(collection.item_ids)}
        queries = np.array([query_of.get(one, -1) for one in self._query_ids], dtype=np.int64)
        items = np.array([item_of.get(one, -1) for one in self._item_ids], dtype=np.int64)
        return queries >= 0, queries[self._queries], items[self._items]

    def _lines_of(self, collection: Collection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _, queries, rows = self._rows(collection)
        kept = (queries >= 0) & (rows >= 0)
        if not kept.any():
            what, own, theirs = "query", self._query_ids, collection.query_ids
            if (queries >= 0).any():
                what, own, theirs = "item", self._item_ids, collection.item_ids
            raise UsageError(
                f"{self.path}: no {what} id of the run (e.g. {own[0]!r}) is one of the task's (e.g. {theirs[0]!r}); "
                "give the run of this task and split"
            )
        coverage = self.coverage(collection)
        if coverage.n_missing_queries or coverage.n_unknown_items:
            logger.warning("%s: %s", self.path, coverage)
        return queries[kept], rows[kept], self._scores[kept]

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _read(self, content: bytes) -> None:
        query_of: dict[bytes, int] = {}
        item_of: dict[bytes, int] = {}
        queries: list[int] = []
        items: list[int] = []
        texts: list[bytes] = []
        numbers: list[int] = []
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 6:
                shown = line[:80].decode("utf-8", "replace").strip()
                raise self._fault(number, f"{len(fields)} columns ({shown!r})", f"a run line is: {_FORM}")
            queries.append(query_of.setdefault(fields[0], len(query_of)))
            items.append(item_of.setdefault(fields[2], len(item_of)))
            texts.append(fields[4])
            numbers.append(number)
        if not queries:
            raise UsageError(f"{self.path}: nothing in it; a run line is: {_FORM}")
        self._query_ids, self._item_ids = self._decoded(query_of), self._decoded(item_of)
        self._queries, self._items = np.array(queries, dtype=np.int64), np.array(items, dtype=np.int64)
        self._scores = self._scores_of(texts, numbers)
        self._refuse_repeats(numbers)

    def _scores_of(self, texts: list[bytes], numbers: list[int]) -> np.ndarray:
        values = np.empty(len(texts))
        for at, text in enumerate(texts):
            try:
                values[at] = float(text)
            except ValueError:
                values[at] = np.nan
        wrong = np.flatnonzero(~(np.abs(values) <= _LARGEST))
        if len(wrong):
            at = int(wrong[0])
            shown = texts[at][:40].decode("utf-8", "replace")
            raise self._fault(numbers[at], f"the score is {shown!r}", "give a finite number that float32 holds")
        return values.astype(np.float32)

    def _refuse_repeats(self, numbers: list[int]) -> None:
        keys = self._queries * len(self._item_ids) + self._items
        order = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(np.diff(keys[order]) == 0)
        if not len(twice):
            return
        pairs = [(int(order[at + 1]), int(order[at])) for at in twice.tolist()]
        second, first = min(pairs)
        query, item = self._query_ids[self._queries[second]], self._item_ids[self._items[second]]
        raise self._fault(
            numbers[second],
            f"item {item!r} stands twice for query {query!r}, first in line {numbers[first]:,}",
            "keep one of them",
        )

    def _decoded(self, ids: dict[bytes, int]) -> list[str]:
        try:
            return [one.decode("utf-8") for one in ids]
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{self.path}: id {error.object!r:.80} is not UTF-8 text; save the file as UTF-8"
            ) from error

    def _fault(self, number: int, what: str, mend: str) -> DataError:
        return DataError(Problem(f"{self.path}, line {number:,}", what, mend))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read the run ({error.strerror}); give a file in TREC's form") from error
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise UsageError(f"{path}: a damaged gzip file ({error}); copy it again") from error
