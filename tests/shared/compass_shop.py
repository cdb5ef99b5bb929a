"""A shop of seven items whose rankings are known by hand: a text's vector is the direction that it ends with."""

from __future__ import annotations

import numpy as np
import torch

from mr_st.annotation import JudgmentAnnotator
from mr_st.data import GradedDataset
from mr_st.mining import RefinementSet


class Compass(torch.nn.Module):
    """A model whose vector of a text is the direction (in degrees) that the text ends with."""

    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.zeros(1))

    def _encode(self, texts, **options):
        angles = np.radians([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    encode_query = encode_document = _encode

    def get_embedding_dimension(self):
        return 2


ANGLES = {"a": 0, "b": 10, "c": 20, "d": 30, "e": 40, "f": 50}


def compass_shop() -> GradedDataset:
    """Two train queries at 0 and 50 degrees, a test query; every item is judged for some train query, but g."""
    return GradedDataset.from_tables(
        queries=[
            {"query_id": "q0", "text": "mug 0"},
            {"query_id": "q1", "text": "mug 50"},
            {"query_id": "t", "text": "mug 5"},
        ],
        items=[{"item_id": i, "title": f"item {angle}"} for i, angle in {**ANGLES, "g": 1}.items()],
        judgments=[
            {"query_id": "q0", "item_id": "a", "grade": 2, "split": "train"},
            {"query_id": "q0", "item_id": "c", "grade": 0, "split": "train"},
            {"query_id": "q1", "item_id": "b", "grade": 1, "split": "train"},
            {"query_id": "q1", "item_id": "d", "grade": 0, "split": "train"},
            {"query_id": "q1", "item_id": "e", "grade": 0, "split": "train"},
            {"query_id": "q1", "item_id": "f", "grade": 2, "split": "train"},
            {"query_id": "q0", "item_id": "d", "grade": 1, "split": "test"},
            {"query_id": "t", "item_id": "b", "grade": 2, "split": "test"},
        ],
    )


def policy(query_id: str, item_id: str) -> int:
    return {"b": 0, "c": 1, "e": 2, "f": 0}.get(item_id, 2)


ANNOTATOR = JudgmentAnnotator(policy, name="by-hand")


def rows(refinement: RefinementSet) -> list[tuple]:
    return [(r["query_id"], r["item_id"], r["grade"], r["rank"], r["reason"]) for r in refinement.table.to_pylist()]


class Interrupted:
    """Grades as the policy, and stops in front of its n-th call."""

    identity = ANNOTATOR.identity

    def __init__(self, stop_before: int | None = None):
        self.calls = 0
        self.graded = 0
        self.stop_before = stop_before

    def grade(self, pairs):
        if self.calls == self.stop_before:
            raise KeyboardInterrupt
        self.calls += 1
        self.graded += len(pairs)
        return ANNOTATOR.grade(pairs)
