"""Annotators that grade by the length of the texts and remember what they were asked, for tests of what asks them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from mr_st.annotation import Annotations, BudgetSpentError, GradedPart, PairTable


def pairs_of(texts: list[tuple[str, str]]) -> PairTable:
    """Pairs with these texts; ids are the rows."""
    ids = [str(row) for row in range(len(texts))]
    return PairTable(ids, ids, [q for q, _ in texts], [i for _, i in texts], ["en-US"] * len(texts))


def numbered(n: int, start: int = 0) -> PairTable:
    """n pairs with texts of their own."""
    return pairs_of([(f"query {row // 10}", f"item {row}") for row in range(start, start + n)])


def right_grades(pairs: PairTable) -> list[int]:
    """What every annotator of this file answers."""
    return [(len(q) + sum(map(ord, i))) % 3 for q, i in zip(pairs.query_texts, pairs.item_texts, strict=True)]


def right_annotations(pairs: PairTable) -> Annotations:
    """The same, with 0.8 for the grade."""
    grades = np.array(right_grades(pairs), dtype=np.int8)
    probabilities = np.full((len(pairs), 3), 0.1, dtype=np.float32)
    probabilities[np.arange(len(pairs)), grades] = 0.8
    return Annotations(grades, probabilities)


class Counting:
    """Grades all pairs at once; ``asked`` counts the texts."""

    identity = "counting-1"

    def __init__(self, seconds: float = 0.0):
        self.asked: Counter[tuple[str, str]] = Counter()
        self.calls: list[int] = []
        self._seconds = seconds
        self._lock = threading.Lock()

    def grade(self, pairs: PairTable) -> Annotations:
        self._note(pairs)
        time.sleep(self._seconds)
        return right_annotations(pairs)

    def _note(self, pairs: PairTable) -> None:
        with self._lock:
            self.asked.update(zip(pairs.query_texts, pairs.item_texts, strict=True))
            self.calls.append(len(pairs))


class Streaming(Counting):
    """Answers in parts of ``size``, last rows first, each pair for 0.01; leaves out items in ``refused``; a budget."""

    identity = "streaming-1"

    def __init__(
        self, size: int = 3, refused: tuple[str, ...] = (), budget: float = float("inf"), seconds: float = 0.0
    ):
        super().__init__(seconds)
        self.size, self.refused, self.budget, self.spent = size, set(refused), budget, 0.0

    def grade(self, pairs: PairTable) -> Annotations:
        raise AssertionError("a streaming annotator is read part by part")

    def grade_in_parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        left = [row for row in reversed(range(len(pairs))) if pairs.item_texts[row] not in self.refused]
        for start in range(0, len(left), self.size):
            rows = np.array(left[start : start + self.size])
            cost = 0.01 * len(rows)
            if self.spent + cost > self.budget + 1e-9:
                raise BudgetSpentError(f"{self.spent:.2f} of the budget of {self.budget:.2f} is spent")
            self.spent += cost
            self._note(pairs.take(rows))
            time.sleep(self._seconds)
            yield GradedPart(rows, right_annotations(pairs.take(rows)), cost)
