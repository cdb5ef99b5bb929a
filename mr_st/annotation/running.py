"""A labelling job: pairs go to an annotator, answers to the store; it stops cleanly and goes on where it stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

import numpy as np

from mr_st.annotation.protocol import (
    Annotations,
    Annotator,
    BudgetSpentError,
    GradedPart,
    PairTable,
    StreamingAnnotator,
)
from mr_st.annotation.store import LabelStore, StoredAnnotator
from mr_st.errors import MrStError, UsageError

__all__ = ["AnnotationRun", "annotate"]

StoppedBy = Literal["budget", "limit", "interrupt"]

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class AnnotationRun:
    """What came of a labelling job over n pairs.

    Args:
        identity: The annotator's.
        is_labelled: bool (n,).
        annotations: Of the labelled pairs, in order.
        known_before: How many were in the store.
        unanswered: int64, the rows that were asked in vain; empty where the job stopped early, for then it is not
            known.
        spend: What this run cost, in the currency of the annotator's prices.
        seconds: How long it took.
        stopped_by: ``budget``, ``limit`` or ``interrupt``; None where every pair was asked for.
        reason: What the annotator said of its budget; empty otherwise.
    """

    identity: str
    is_labelled: np.ndarray
    annotations: Annotations
    known_before: int
    unanswered: np.ndarray
    spend: float
    seconds: float
    stopped_by: StoppedBy | None = None
    reason: str = ""

    @property
    def newly_labelled(self) -> int:
        """How many pairs this run labelled."""
        return len(self.annotations) - self.known_before

    @property
    def n_left(self) -> int:
        """How many pairs have no label."""
        return len(self.is_labelled) - len(self.annotations)

    @property
    def rate(self) -> float:
        """New labels a second."""
        return self.newly_labelled / self.seconds if self.seconds > 0 else 0.0

    @property
    def complete(self) -> bool:
        """Whether every pair has a label."""
        return not self.n_left

    @property
    def advice(self) -> str:
        """One line: why pairs are left, and how to go on; empty where none is."""
        if self.complete:
            return ""
        left = f"{self.n_left:,} of {len(self.is_labelled):,} pairs have no label yet"
        if self.stopped_by == "budget":
            return f"{self.reason}: {left}; raise the budget and run again: only these are asked"
        if self.stopped_by == "limit":
            return f"{left}; run again to go on: only these are asked"
        if self.stopped_by == "interrupt":
            return f"interrupted: {left}; run again to go on: only these are asked"
        return f"no usable answer for {self.n_left:,} of {len(self.is_labelled):,} pairs; run again to ask these anew"

    def to_dict(self) -> dict[str, Any]:
        """The counts, JSON-ready."""
        return {
            "annotator": self.identity,
            "n_pairs": len(self.is_labelled),
            "known_before": self.known_before,
            "newly_labelled": self.newly_labelled,
            "unanswered": len(self.unanswered),
            "left": self.n_left,
            "spend": self.spend,
            "seconds": round(self.seconds, 3),
            "labels_per_second": round(self.rate, 3),
            "complete": self.complete,
            "stopped_by": self.stopped_by,
        }


def annotate(
    annotator: Annotator,
    pairs: PairTable,
    store: LabelStore | None,
    *,
    chunk: int | None = None,
    budget: float | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
    show_progress: bool = False,
) -> AnnotationRun:
    """Label pairs; what the store knows is not asked again, and what is paid for is kept however the job ends.

    A spent budget, the annotator's own or this one, and Ctrl-C end the job early and cleanly: the answers that have
    arrived are in the store, and the same call asks for the rest. A second Ctrl-C does not wait for answers that are
    under way.

    Args:
        annotator: Who grades.
        pairs: n pairs.
        store: Where labels are kept; None keeps nothing (for an annotator that costs nothing).
        chunk: Pairs that are asked at once: see :class:`StoredAnnotator`.
        budget: No more is asked once this run has cost so much, in the currency of the annotator's prices; requests
            that are under way then may pass it, where the annotator's own budget never does. 0 or more.
        limit: At most so many pairs that the store does not know are asked, the first ones.
        on_progress: Called after every part with the pairs labelled, n, and what this run has cost.
        show_progress: Draw a progress bar with labels a second, spend and time left.

    Raises:
        UsageError: a budget or limit below 0, or an annotator that a store cannot serve.
        MrStError: what the annotator or the store raises; what arrived before is kept.
    """
    if (budget is not None and not budget >= 0) or (limit is not None and limit < 0):
        raise UsageError(f"budget is {budget} and limit {limit}; both must be 0 or more")
    asked: Annotator = annotator if store is None else StoredAnnotator(annotator, store, chunk)
    rows = np.arange(len(pairs))
    if limit is not None:
        known = np.zeros(len(pairs), dtype=bool) if store is None else store.get(annotator.identity, pairs)[0]
        rows = np.flatnonzero(known | (np.cumsum(~known) <= limit))
    job = _Job(asked, len(pairs), budget, on_progress, show_progress)
    return job.run(_parts(asked, pairs.take(rows), chunk or _CHUNK), rows)


class _Job:
    """What has come in so far, and what is shown of it."""

    def __init__(
        self,
        annotator: Annotator,
        n_pairs: int,
        budget: float | None,
        on_progress: Callable[[int, int, float], None] | None,
        show_progress: bool,
    ):
        self._annotator, self._n_pairs, self._budget = annotator, n_pairs, budget
        self._on_progress, self._show_progress = on_progress, show_progress
        self._rows: list[np.ndarray] = [np.empty(0, dtype=np.int64)]
        self._annotations: list[Annotations] = []
        self._n_labelled = self._n_known = 0
        self._spend = 0.0

    def run(self, parts: Iterator[GradedPart], rows: np.ndarray) -> AnnotationRun:
        from tqdm.auto import tqdm

        started = time.monotonic()
        stopped_by: StoppedBy | None = "limit" if len(rows) < self._n_pairs else None
        reason = ""
        bar = tqdm(total=self._n_pairs, desc="annotate", unit="label", smoothing=0.1, disable=not self._show_progress)
        with bar, _gentle_interrupt(self._annotator, self._say) as interrupt:
            try:
                while stopped_by in (None, "limit") and (part := next(parts, None)) is not None:
                    self._book(part, rows, bar)
                    if interrupt.is_set() and not _ends_by_itself(self._annotator):
                        stopped_by = "interrupt"
                    elif self._is_spent and self._n_labelled < len(rows):
                        stopped_by, reason = (
                            "budget",
                            f"{self._spend:.6g} of the budget of {self._budget:.6g} is spent",
                        )
            except BudgetSpentError as error:
                stopped_by, reason = "budget", str(error)
            except KeyboardInterrupt:
                stopped_by = "interrupt"
            finally:
                parts.close()  # type: ignore[attr-defined]
            if interrupt.is_set() and self._n_labelled < self._n_pairs:
                stopped_by, reason = "interrupt", ""
        return self._outcome(stopped_by, reason, rows, time.monotonic() - started)

    @property
    def _is_spent(self) -> bool:
        return self._budget is not None and self._spend >= self._budget

    def _book(self, part: GradedPart, rows: np.ndarray, bar: Any) -> None:
        n, was_known = len(part.rows), getattr(part, "was_known", False)
        if n:
            self._rows.append(rows[part.rows])
            self._annotations.append(part.annotations)
        self._n_labelled += n
        self._n_known += n if was_known else 0
        self._spend += part.cost
        if was_known and not bar.disable:  # they count as done, not for the rate and the time left
            bar.initial, bar.n, bar.last_print_n = bar.initial + n, bar.n + n, bar.last_print_n + n
            bar.refresh()
        else:
            bar.update(n)
        if self._spend:
            bar.set_postfix_str(f"spent {self._spend:.4g}", refresh=False)
        if self._on_progress is not None:
            self._on_progress(self._n_labelled, self._n_pairs, self._spend)

    def _say(self, line: str) -> None:
        from tqdm.auto import tqdm

        if self._show_progress:
            import sys

            tqdm.write(line, file=sys.stderr)

    def _outcome(self, stopped_by: StoppedBy | None, reason: str, rows: np.ndarray, seconds: float) -> AnnotationRun:
        labelled = np.concatenate(self._rows)
        n_grades = self._annotations[0].n_grades if self._annotations else 0
        is_labelled = np.zeros(self._n_pairs, dtype=bool)
        is_labelled[labelled] = True
        unanswered = rows[~is_labelled[rows]] if stopped_by in (None, "limit") else rows[:0]
        together = Annotations.concatenate(self._annotations, n_grades).take(np.argsort(labelled))
        if is_labelled.all():
            stopped_by = None
        return AnnotationRun(
            self._annotator.identity, is_labelled, together, self._n_known, unanswered, self._spend, seconds,
            stopped_by, reason,
        )  # fmt: skip


def _parts(annotator: Annotator, pairs: PairTable, chunk: int) -> Iterator[GradedPart]:
    """The annotator's answers as they arrive; a chunk at a time where it gives them all at once."""
    if isinstance(annotator, StreamingAnnotator):
        yield from annotator.grade_in_parts(pairs)
        return
    for start in range(0, len(pairs), chunk):
        rows = np.arange(start, min(start + chunk, len(pairs)))
        annotations = annotator.grade(pairs.take(rows))
        if len(annotations) != len(rows):
            raise MrStError(f"{annotator.identity}: {len(annotations):,} grades for {len(rows):,} pairs; mend it")
        yield GradedPart(rows, annotations)


def _ends_by_itself(annotator: Annotator) -> bool:
    """Whether the annotator can be told to ask nothing more, and then ends with the answers that are under way."""
    return hasattr(_behind_the_store(annotator), "stop")


def _behind_the_store(annotator: Annotator) -> Annotator:
    return annotator.annotator if isinstance(annotator, StoredAnnotator) else annotator


@contextmanager
def _gentle_interrupt(annotator: Annotator, say: Callable[[str], None]) -> Iterator[threading.Event]:
    """The first Ctrl-C is noted, so that answers that were paid for still arrive; the second one interrupts.

    An annotator whose answers do not arrive one by one is interrupted at once: it works here, and is not paid.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # started in the background of a shell: Ctrl-C is not for it
        yield noted
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if noted.is_set() or not isinstance(_behind_the_store(annotator), StreamingAnnotator):
            raise KeyboardInterrupt
        noted.set()
        if hasattr(annotator, "stop"):
            annotator.stop()
        say("stopping: answers under way are waited for; Ctrl-C again to drop them")

    signal.signal(signal.SIGINT, handle)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
