"""Annotators that read texts, for the tests of this folder."""

from __future__ import annotations

import numpy as np

from mr_st.annotation import Annotations, PairTable
from mr_st.text import token_overlap


class OverlapAnnotator:
    """Grade 2 where all words of the query stand in the item's text, 1 from half of them on; surest at the ends."""

    identity = "overlap-1"

    def __init__(self) -> None:
        self.n_pairs = 0

    def grade(self, pairs: PairTable) -> Annotations:
        self.n_pairs += len(pairs)
        overlaps = np.array([token_overlap(q, i) for q, i in zip(pairs.query_texts, pairs.item_texts, strict=True)])
        grades = (overlaps >= 0.5).astype(int) + (overlaps >= 1.0)
        sure = np.where((overlaps == 0) | (overlaps == 1), 0.98, 0.6)
        probabilities = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
        probabilities[np.arange(len(grades)), grades] = sure
        return Annotations(grades, probabilities)


class ConstantAnnotator:
    """The same grade for everything."""

    def __init__(self, grade: int, n_grades: int = 3):
        self.given, self.n_grades = grade, n_grades
        self.identity = f"always-{grade}"

    def grade(self, pairs: PairTable) -> Annotations:
        return Annotations.certain([self.given] * len(pairs), self.n_grades)
