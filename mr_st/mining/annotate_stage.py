"""Annotation as two stages: what this annotator graded before is looked up, the rest is graded in chunks."""

from __future__ import annotations

import numpy as np

from mr_st.annotation.protocol import Annotations, Annotator
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import MrStError
from mr_st.identity import array_hash, settings_hash
from mr_st.mining.pair_keys import find_keys
from mr_st.mining.shard_stage import ShardStage
from mr_st.mining.shared_dataset import SharedDataset

__all__ = ["AnnotateStage", "KnownLabelsStage", "labels_folder"]

_CHUNK = "pairs-"


def labels_folder(work: ShardFolder, annotator: Annotator) -> ShardFolder:
    """Where an annotator's labels lie."""
    return work / "annotations" / settings_hash(annotator.identity)


class KnownLabelsStage(ShardStage):
    """Look up which pairs the annotator graded in earlier rounds, or over an earlier catalogue, with the same texts.

    Its one shard holds ``rows`` int64 (m,), ``grades`` int8 (m,) and ``probabilities`` float32 (m, G). It is written
    before anything is graded, so that a killed round finds the same pairs left to grade, in the same chunks.

    Args:
        keys: uint64 (n, 2), the round's pairs (:func:`~mr_st.mining.pair_keys.pair_keys`).
        n_grades: G.
        chunk_size: Pairs in one chunk of the round.
        folder: The annotator's labels.
    """

    name, unit = "look up labels", "pair"

    def __init__(self, keys: np.ndarray, n_grades: int, chunk_size: int, folder: ShardFolder):
        self.keys, self.n_grades = keys, n_grades
        super().__init__(folder, [f"known-{settings_hash([array_hash(keys), chunk_size])}"], [len(keys)])

    def compute(self, shard: int) -> dict[str, np.ndarray]:
        """Read the chunks of earlier rounds, one after another."""
        taken = np.zeros(len(self.keys), dtype=bool)
        grades = np.zeros(len(self.keys), dtype=np.int8)
        probabilities = np.zeros((len(self.keys), self.n_grades), dtype=np.float32)
        for name in sorted(self.folder.names()):
            chunk = self.folder.read(name) if name.startswith(_CHUNK) else None
            if chunk is None or chunk["probabilities"].shape[1] != self.n_grades:
                continue
            place = find_keys(chunk["keys"], self.keys)
            new = np.flatnonzero(place >= 0)
            new = new[~taken[place[new]]]
            grades[place[new]], probabilities[place[new]] = chunk["grades"][new], chunk["probabilities"][new]
            taken[place[new]] = True
        rows = np.flatnonzero(taken)
        return {"rows": rows, "grades": grades[rows], "probabilities": probabilities[rows]}


class AnnotateStage(ShardStage):
    """Grade pairs in chunks: of the round's pairs, those whose label was not looked up.

    A chunk holds ``keys`` uint64 (m, 2), ``grades`` int8 (m,) and ``probabilities`` float32 (m, G).

    Args:
        annotator: Who grades.
        dataset: Where ids and texts are.
        query_rows: int (n,).
        item_rows: int (n,).
        keys: uint64 (n, 2), the pairs' names.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        n_grades: G of the dataset's scale.
        chunk_size: Pairs in one chunk: what a killed round loses at most.
        folder: The annotator's labels.
    """

    name, unit = "annotate", "pair"

    def __init__(
        self,
        annotator: Annotator,
        dataset: SharedDataset,
        query_rows: np.ndarray,
        item_rows: np.ndarray,
        keys: np.ndarray,
        *,
        item_text_levels: int | None,
        max_chars: int | None,
        n_grades: int,
        chunk_size: int,
        folder: ShardFolder,
    ):
        self.annotator, self.dataset = annotator, dataset
        self.query_rows, self.item_rows, self.keys = query_rows, item_rows, keys
        self.text_format = item_text_levels, max_chars
        self.n_grades = n_grades
        self.chunks = [slice(start, start + chunk_size) for start in range(0, len(keys), chunk_size)]
        names = [f"{_CHUNK}{array_hash(keys[chunk])}" for chunk in self.chunks]
        super().__init__(folder, names, [len(keys[chunk]) for chunk in self.chunks])

    def compute(self, shard: int) -> dict[str, np.ndarray]:
        """Have one chunk graded.

        Raises:
            MrStError: an answer that does not fit the pairs or the scale, or what the annotator raises.
        """
        chunk = self.chunks[shard]
        table = self.dataset.get().pair_table(self.query_rows[chunk], self.item_rows[chunk], *self.text_format)
        answer = self.annotator.grade(table)
        _check_answer(answer, len(table), self.n_grades, self.annotator.identity)
        return {"keys": self.keys[chunk], "grades": answer.grades, "probabilities": answer.probabilities}

    def annotations(self) -> Annotations:
        """The labels of all pairs, in order, once every chunk is done."""
        chunks = (self.result(shard) for shard in range(len(self.names)))
        return Annotations.concatenate((Annotations(c["grades"], c["probabilities"]) for c in chunks), self.n_grades)


def _check_answer(answer: Annotations, n_pairs: int, n_grades: int, identity: str) -> None:
    if len(answer) != n_pairs:
        raise MrStError(f"{identity}: {len(answer):,} grades for {n_pairs:,} pairs; mend the annotator")
    if answer.n_grades != n_grades:
        raise MrStError(
            f"{identity}: grades 0..{answer.n_grades - 1}, but the dataset's scale is 0..{n_grades - 1}; use an "
            "annotator of the same scale"
        )
