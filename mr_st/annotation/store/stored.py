"""An annotator behind the store: only what nobody asked before is asked, and every answer is kept as it arrives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mr_st.annotation.ensemble import EnsembleAnnotator
from mr_st.annotation.protocol import (
    Annotations,
    Annotator,
    BudgetSpentError,
    GradedPart,
    PairTable,
    StreamingAnnotator,
    UnansweredError,
)
from mr_st.annotation.store.claims import BUSY, KNOWN, MINE, Claims
from mr_st.annotation.store.labels import LabelStore
from mr_st.errors import MrStError, UsageError

__all__ = ["KeptPart", "StoredAnnotator"]

_CHUNK, _STREAMED_CHUNK = 256, 1024
_POLL_SECONDS = (0.1, 1.0)


@dataclass(frozen=True, eq=False)
class KeptPart(GradedPart):
    """A part whose labels are in the store; ``was_known`` says that they came from there."""

    was_known: bool = False


class StoredAnnotator:
    """An annotator that asks another only what nobody asked it before, and keeps every answer as it arrives.

    Pairs with equal texts are asked once. What another process is just asking is waited for. Between the answers no
    lock is held. Its labels are the other's: it has the same identity. Of an ensemble the members' labels are kept
    too, each under its own identity, with what they cost.

    Args:
        annotator: Who grades; it must grade by texts.
        store: Where labels are kept, or the path of its file.
        chunk: Pairs claimed and asked at once: what a killed process has asked in vain at most, and how finely two
            processes share the work; None is 256, or 1,024 for an annotator whose answers arrive one by one.

    Raises:
        UsageError: an annotator that grades by ids (a policy, a table of judgments), or a chunk below 1.
    """

    def __init__(self, annotator: Annotator, store: LabelStore | str | Path, chunk: int | None = None):
        if _reads_ids(annotator):
            raise UsageError(
                f"{annotator.identity} grades by ids, and labels are kept by texts; ask it directly, it costs nothing"
            )
        if chunk is not None and chunk < 1:
            raise UsageError(f"chunk is {chunk}; it must be 1 or more")
        self.store = store if isinstance(store, LabelStore) else LabelStore(store)
        self._members: list[StoredAnnotator] = []
        if isinstance(annotator, EnsembleAnnotator):
            self._members = [StoredAnnotator(member, self.store, chunk) for member in annotator.annotators]
            annotator = EnsembleAnnotator(self._members, annotator.how, annotator.weights.tolist())
        self.annotator: Annotator = annotator
        self.chunk = chunk or (_STREAMED_CHUNK if self.is_streaming else _CHUNK)
        self.spent = 0.0
        """What this object's questions have cost, in the currency of the annotator's prices."""
        self._is_stopped = False

    @property
    def identity(self) -> str:
        """The identity of the annotator that is asked."""
        return self.annotator.identity

    @property
    def is_streaming(self) -> bool:
        """Whether the answers of the annotator that is asked arrive one by one."""
        return isinstance(self.annotator, StreamingAnnotator)

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
        parts = [part for part in self.grade_in_parts(pairs) if len(part.rows)]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *(part.rows for part in parts)])
        missing = np.setdiff1d(np.arange(len(pairs)), rows)
        if len(missing) and parts and getattr(self.annotator, "on_unanswered", "error") == "unsure":
            rows, parts = np.concatenate([rows, missing]), [*parts, _unsure(missing, parts[0].annotations.n_grades)]
        elif len(missing):
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
            self.spent += part.cost
            if not len(part.rows):  # paid for, with no answer
                if part.cost and not self._members:
                    self.store.put(self.identity, asked.take([]), part.annotations, part.cost)
                yield KeptPart(part.rows, part.annotations, part.cost)
                continue
            answered = asked.take(part.rows)
            annotations = part.annotations
            cost = 0.0 if self._members else part.cost  # a member's is kept with its label
            if self.store.put(self.identity, answered, annotations, cost) < len(annotations):
                _, annotations = self.store.get(self.identity, answered)  # another was quicker: its labels hold
            yield distinct.spread(rows[part.rows], annotations, part.cost)

    def _parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        if isinstance(self.annotator, StreamingAnnotator):
            yield from self.annotator.grade_in_parts(pairs)
            return
        before, rows = self._members_spent(), np.arange(len(pairs))
        while len(rows):
            try:
                annotations = self.annotator.grade(pairs.take(rows))
            except UnansweredError as error:  # the others are worth keeping
                if not len(error.rows):
                    raise
                rows = np.delete(rows, error.rows)
                continue
            except BudgetSpentError:  # of a member: what the others cost is told
                yield GradedPart(rows[:0], Annotations.concatenate([], 0), self._members_spent() - before)
                raise
            if len(annotations) != len(rows):
                raise MrStError(f"{self.identity}: {len(annotations):,} grades for {len(rows):,} pairs; mend it")
            yield GradedPart(rows, annotations, self._members_spent() - before)
            return

    def _members_spent(self) -> float:
        return sum(member.spent for member in self._members)

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


def _reads_ids(annotator: Annotator) -> bool:
    members = annotator.annotators if isinstance(annotator, EnsembleAnnotator) else ()
    return getattr(annotator, "reads_ids", False) or any(map(_reads_ids, members))


def _unsure(rows: np.ndarray, n_grades: int) -> KeptPart:
    """Rows that nobody could grade: every grade alike, and grade 0."""
    probabilities = np.full((len(rows), n_grades), 1 / n_grades, dtype=np.float32)
    return KeptPart(rows, Annotations(np.zeros(len(rows), dtype=np.int8), probabilities))
