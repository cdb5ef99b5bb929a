"""What mining rounds give: the original judgments, and the mined pairs with where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mr_st.annotation.protocol import Annotations
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_schema, arrow_table, to_dataset
from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder, read_json, write_json
from mr_st.mining.candidates import Candidates, found_by, is_judged
from mr_st.mining.select import Selection

__all__ = ["HARD_NEGATIVE", "HARD_POSITIVE", "MINED_SCHEMA", "RefinementSet", "merge_rounds", "mined_table"]

HARD_NEGATIVE = "hard negative"
HARD_POSITIVE = "hard positive"

MINED_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("item_id", pa.string()),
        ("grade", pa.int8()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("confidence", pa.float32()),
        ("annotator", pa.string()),
        ("reason", pa.string()),
        ("found_by", pa.string()),
        ("round", pa.int16()),
    ]
)

_TABLE_FILE = "mined.parquet"
_ABOUT_FILE = "refinement.json"


@dataclass(frozen=True, eq=False)
class RefinementSet:
    """Judgments and mined pairs, ready for stage 2.

    Args:
        dataset: What was mined over; its judgments stay as they are.
        table: The mined pairs of all rounds so far: query_id, item_id, grade int8, rank int32 (from 1, among all that
            the model retrieved for the query; null where only another source found the pair), score float32 (cosine
            under the model), confidence float32, annotator, reason ("hard negative" or "hard positive"), found_by
            ("model", "bm25", "model+bm25", ...), round int16; in the order of round, query and rank.
        report: Settings and counts of the last round, JSON-ready; those of the rounds before it stand in its
            ``earlier_rounds``, first round first.
        split: The split that was mined, and that the mined judgments join.
        round: Number of the last round, from 1.
    """

    dataset: GradedDataset
    table: pa.Table
    report: dict[str, Any]
    split: str = "train"
    round: int = 1

    def __len__(self) -> int:
        return self.table.num_rows

    def mined_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Query rows and item rows (int64 (n,) each) of all mined pairs: a later round treats them as judged."""
        rows = []
        for name, table in (("query_id", self.dataset.queries), ("item_id", self.dataset.items)):
            known = arrow_table(table)[name].combine_chunks()
            rows.append(pc.index_in(self.table[name], value_set=known).to_numpy().astype(np.int64))
        return rows[0], rows[1]

    def extend(self, later: RefinementSet) -> RefinementSet:
        """These rounds and a later one, mined over the same dataset by a model that was refined meanwhile.

        Args:
            later: Only what the later round found, its number above this set's.

        Raises:
            UsageError: another dataset or split, a round that is not later, or a pair that was mined before.
        """
        if (self.dataset.fingerprint, self.split) != (later.dataset.fingerprint, later.split):
            raise UsageError(
                f"rounds over different data: {self.dataset.fingerprint} ({self.split}) and "
                f"{later.dataset.fingerprint} ({later.split}); mine all rounds over one dataset and split"
            )
        first = pc.min(later.table["round"]).as_py() or later.round
        if first <= self.round:
            raise UsageError(f"round {first} cannot follow round {self.round}; give the next round a higher number")
        again = is_judged(*later.mined_rows(), *self.mined_rows())
        if again.any():
            pair = later.table.slice(int(np.argmax(again)), 1).to_pylist()[0]
            raise UsageError(
                f"round {later.round} mined {int(again.sum()):,} pairs again, e.g. query {pair['query_id']!r}, item "
                f"{pair['item_id']!r}; mine it with the earlier rounds' pairs as judged"
            )
        earlier = {key: value for key, value in self.report.items() if key != "earlier_rounds"}
        reports = [*self.report.get("earlier_rounds", []), earlier, *later.report.get("earlier_rounds", [])]
        table = pa.concat_tables([self.table, later.table]).combine_chunks()
        return replace(later, table=table, report={**later.report, "earlier_rounds": reports})

    def to_dataset(self, keep_original_negatives: bool = True, allow_forgetting: bool = False) -> GradedDataset:
        """The dataset with the mined pairs among its judgments, their source ``mined:<annotator identity>``.

        Args:
            keep_original_negatives: False leaves the original judgments of grade 0 out of the mined split.
            allow_forgetting: Needed for that, since it makes the model forget.

        Raises:
            UsageError: the original negatives shall go, and nobody allowed it.

        Source: arXiv 2602.17654, section 4.4.
        """
        judgments = arrow_table(self.dataset.judgments)
        if not keep_original_negatives:
            if not allow_forgetting:
                raise UsageError(
                    "without the original negatives the model forgets what stage 1 taught it (catastrophic "
                    "forgetting; paper, section 4.4); keep them, or pass allow_forgetting=True"
                )
            here, negative = pc.equal(judgments["split"], self.split), pc.equal(judgments["grade"], 0)
            judgments = judgments.filter(pc.invert(pc.and_(here, negative)))
        n = self.table.num_rows
        mined = pa.table(
            {
                "query_id": self.table["query_id"],
                "item_id": self.table["item_id"],
                "grade": self.table["grade"],
                "split": pa.array([self.split] * n, pa.string()),
                "source": pc.binary_join_element_wise("mined", self.table["annotator"], ":"),
                "confidence": self.table["confidence"],
            },
            schema=arrow_schema("judgments"),
        )
        return replace(self.dataset, judgments=to_dataset(pa.concat_tables([judgments, mined]).combine_chunks()))

    def save(self, folder: str | Path) -> Path:
        """Write the mined pairs and the report, whole or not at all; the dataset itself is not copied.

        Raises:
            UsageError: the folder holds something else.
            MrStError: it cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and not (
            folder.is_dir() and ((folder / _ABOUT_FILE).exists() or not any(folder.iterdir()))
        ):
            raise UsageError(f"{folder}: holds something else than a refinement set; choose another folder")
        about = {
            "dataset": self.dataset.fingerprint, "split": self.split, "round": self.round, "report": self.report,
        }  # fmt: skip
        with atomic_folder(folder) as temporary:
            pq.write_table(self.table, temporary / _TABLE_FILE)
            write_json(temporary / _ABOUT_FILE, about)
        return folder

    @classmethod
    def load(cls, folder: str | Path, dataset: GradedDataset) -> RefinementSet:
        """Read what :meth:`save` wrote.

        Args:
            folder: Where it lies.
            dataset: The dataset that was mined.

        Raises:
            MrStError: nothing there, damaged files, what an earlier version mined, or another dataset than the one
                that was mined.
        """
        folder = Path(folder)
        if not (folder / _ABOUT_FILE).is_file():
            raise MrStError(f"{folder}: no refinement set ({_ABOUT_FILE} is missing); mine first")
        about = read_json(folder / _ABOUT_FILE)
        if about.get("dataset") != dataset.fingerprint:
            raise MrStError(
                f"{folder}: mined over another dataset (fingerprint {about.get('dataset')}, this one is "
                f"{dataset.fingerprint}); load that dataset, or mine again"
            )
        path = folder / _TABLE_FILE
        try:
            missing = [name for name in MINED_SCHEMA.names if name not in pq.read_schema(path).names]
            if missing:
                raise MrStError(f"{path}: mined by an earlier version (no column {', '.join(missing)}); mine again")
            table = pq.read_table(path, schema=MINED_SCHEMA)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise MrStError(f"{path}: cannot be read ({reason}); mine again") from error
        return cls(dataset, table, about["report"], about["split"], about["round"])


def merge_rounds(rounds: Sequence[RefinementSet]) -> RefinementSet:
    """Several rounds over the same dataset as one set, see :meth:`RefinementSet.extend`; the first round first.

    Raises:
        UsageError: no round, or rounds that do not follow each other.
    """
    if not rounds:
        raise UsageError("no mining round to merge; give at least one")
    return reduce(RefinementSet.extend, rounds)


def mined_table(
    dataset: GradedDataset,
    candidates: Candidates,
    annotations: Annotations,
    selection: Selection,
    annotator: str,
    source_names: Sequence[str] = ("model",),
    round: int = 1,
) -> pa.Table:
    """The taken pairs of a round as a table, see :class:`RefinementSet`.

    Args:
        dataset: What was mined over.
        candidates: The n annotated pairs.
        annotations: Of those n pairs.
        selection: What became of them.
        annotator: Who graded them: its identity.
        source_names: What to call the S candidate sources, without "+".
        round: Number of the round, from 1.
    """
    taken = np.flatnonzero(selection.taken)
    pairs, annotations = candidates.take(taken), annotations.take(taken)
    reasons = np.where(selection.hard_negatives[taken], HARD_NEGATIVE, HARD_POSITIVE)
    return pa.table(
        {
            "query_id": arrow_table(dataset.queries)["query_id"].take(pa.array(pairs.query_rows)),
            "item_id": arrow_table(dataset.items)["item_id"].take(pa.array(pairs.item_rows)),
            "grade": annotations.grades,
            "rank": pa.array(pairs.source_ranks, pa.int32(), mask=pairs.source_ranks == 0),
            "score": pairs.scores,
            "confidence": annotations.confidence,
            "annotator": pa.array([annotator] * len(taken), pa.string()),
            "reason": pa.array(reasons.tolist(), pa.string()),
            "found_by": pa.array(found_by(pairs.ranks, source_names), pa.string()),
            "round": pa.array(np.full(len(taken), round, dtype=np.int16)),
        },
        schema=MINED_SCHEMA,
    ).combine_chunks()
