"""What a mining round gives: the original judgments, and the mined pairs with where each came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_schema, arrow_table, to_dataset
from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder, read_json, write_json

__all__ = ["HARD_NEGATIVE", "HARD_POSITIVE", "MINED_SCHEMA", "RefinementSet"]

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
    ]
)

_TABLE_FILE = "mined.parquet"
_ABOUT_FILE = "refinement.json"


@dataclass(frozen=True, eq=False)
class RefinementSet:
    """Judgments and mined pairs, ready for stage 2.

    Args:
        dataset: What was mined over; its judgments stay as they are.
        table: The mined pairs: query_id, item_id, grade int8, rank int32 (from 1, among all that the query
            retrieved), score float32 (cosine), confidence float32, annotator, reason ("hard negative" or
            "hard positive"); in the order of query and rank.
        report: Settings and counts of the round, JSON-ready.
        split: The split that was mined, and that the mined judgments join.
    """

    dataset: GradedDataset
    table: pa.Table
    report: dict[str, Any]
    split: str = "train"

    def __len__(self) -> int:
        return self.table.num_rows

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
        about = {"dataset": self.dataset.fingerprint, "split": self.split, "report": self.report}
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
            MrStError: nothing there, damaged files, or another dataset than the one that was mined.
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
        try:
            table = pq.read_table(folder / _TABLE_FILE, schema=MINED_SCHEMA)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise MrStError(f"{folder / _TABLE_FILE}: cannot be read ({reason}); mine again") from error
        return cls(dataset, table, about["report"], about["split"])
