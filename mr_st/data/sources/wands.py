"""WANDS, Wayfair's annotated searches: its own three tab-separated files, product.csv, query.csv and label.csv.

Source: Chen, Liu, Liu, Sun, Baltrunas and Schroeder, "WANDS: Dataset for Product Search Relevance Assessment", ECIR
2022; github.com/wayfair/WANDS (MIT). 42,994 products, 480 queries, 233,448 labels.

The files are called .csv, are cut by tabs, and quote as CSV does: the query of 391, a desk of 48 inches, stands there
in double quotes with its inch mark doubled. Some pairs are labelled more than once, and not always alike: two public
users of the data report 231,873 distinct pairs.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mr_st.data.dataset import GradedDataset
from mr_st.data.sources.drafts import assemble
from mr_st.data.sources.problem_list import ProblemList
from mr_st.data.sources.splits import check_shares
from mr_st.data.sources.table_columns import Draft, Reading, convert
from mr_st.data.sources.tables import drawn
from mr_st.data.sources.text_files import MAX_FIELD, RawTable, read_table
from mr_st.errors import DataError, UsageError
from mr_st.grades import THREE_GRADES, WANDS_LABELS

__all__ = ["is_wands_folder", "load_wands"]

logger = logging.getLogger(__name__)

_FILES = {"queries": "query.csv", "items": "product.csv", "judgments": "label.csv"}
_NAMES = {
    "queries": {"query_id": "query_id", "text": "query"},
    "items": {
        "item_id": "product_id", "title": "product_name", "category_path": "category hierarchy",
        "description": "product_description",
    },
    "judgments": {"query_id": "query_id", "item_id": "product_id", "grade": "label"},
}  # fmt: skip
_REPEATED = ("highest", "lowest", "error")


def is_wands_folder(path: str | Path) -> bool:
    """Whether a folder, or its subfolder ``dataset`` as in a clone of the repository, holds WANDS' label.csv and one
    of its other two files."""
    return _folder(Path(path)) is not None


def load_wands(
    path: str | Path,
    dev_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    repeated: str = "highest",
    quoting: bool = True,
    max_field: int = MAX_FIELD,
    validate: bool = True,
) -> GradedDataset:
    """Load WANDS: every product as an item, every labelled pair, and splits drawn by query, for it has none.

    Exact is 2, Partial 1, Irrelevant 0. The category path is the category hierarchy, cut at each `` / `` (empty where
    there is none). Classes, features and ratings are not used.

    Args:
        path: The folder with product.csv, query.csv and label.csv, or a clone of the repository.
        dev_share: Share of the queries that becomes dev, in [0, 1).
        test_share: Share that becomes test.
        seed: Which queries they are, together with their ids.
        repeated: What becomes of a pair that is labelled more than once: ``highest`` (ours) or ``lowest`` keeps the
            row of that grade, the first where several have it; how many rows were left out, and how many pairs were
            labelled in two ways, is logged and stands in the dataset's ``source``. ``error``: each is a fault.
        quoting: False if the files do not quote as CSV does: a double quote is then a plain character.
        max_field: Most characters in one field.
        validate: Also check what the values say.

    Raises:
        UsageError: an option has no meaning, or the folder is not there.
        DataError: a file or column is missing or damaged, or rows have an unknown label, query or product.
    """
    if repeated not in _REPEATED:
        raise UsageError(f"wands: repeated={repeated!r} is not one of {', '.join(_REPEATED)}")
    check_shares(dev_share, test_share)
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UsageError(f"wands: {path} is no folder; give the folder with {', '.join(_FILES.values())}")
    folder = _folder(folder) or folder
    reading = Reading(WANDS_LABELS, THREE_GRADES, " / ", drop_empty_levels=True, locale="en-US")
    found = ProblemList()
    drafts: dict[str, Draft] = {}
    for table, file in _FILES.items():
        try:
            raw = read_table(folder / file, delimiter="tab", quoting=quoting, max_field=max_field)
        except DataError as error:
            found.extend(error.problems)
            continue
        drafts[table] = convert(table, raw, _names(table, raw), reading, found)
    source: dict[str, Any] = {
        "name": "wands", "dev_share": dev_share, "test_share": test_share, "seed": seed, "repeated": repeated,
    }  # fmt: skip
    if "judgments" in drafts:
        judgments = drafts["judgments"]
        if repeated != "error" and not judgments.broken:
            judgments, counts = _one_row_a_pair(judgments, repeated)
            source |= counts
        drafts["judgments"] = drawn(judgments, dev_share, test_share, seed)
    return assemble(drafts, found, THREE_GRADES, "wands", "MIT", source, validate)


def _folder(path: Path) -> Path | None:
    for folder in (path, path / "dataset"):
        others = (folder / "product.csv", folder / "query.csv")
        if (folder / "label.csv").is_file() and any(file.is_file() for file in others):
            return folder
    return None


def _names(table: str, raw: RawTable) -> dict[str, str]:
    """The files' column names; the hierarchy is spelt with a blank in the file and with a _ in its README."""
    names = dict(_NAMES[table])
    if "category_path" in names and names["category_path"] not in raw.columns and "category_hierarchy" in raw.columns:
        names["category_path"] = "category_hierarchy"
    return names


def _one_row_a_pair(draft: Draft, repeated: str) -> tuple[Draft, dict[str, int]]:
    """Keep one label of each pair; returns the draft with the rows that are kept, and the counts."""
    frame = pl.DataFrame(draft.table.select(["query_id", "item_id", "grade"])).with_row_index("row")
    pair = ["query_id", "item_id"]
    ranked = frame.sort(["grade", "row"], descending=[repeated == "highest", False], nulls_last=True)
    kept = ranked.filter(pl.struct(pair).is_first_distinct())["row"].sort()
    n_left_out = frame.height - len(kept)
    contradicting = (
        frame.group_by(pair).agg(pl.col("grade").drop_nulls().n_unique()).filter(pl.col("grade") > 1).height
    )
    if n_left_out:
        logger.warning(
            "label.csv: %d rows label a pair again and are left out, %d pairs have different labels; of each the %s "
            "is kept", n_left_out, contradicting, repeated,
        )  # fmt: skip
    rows = kept.to_numpy().astype(np.int64)
    counts = {"rows_left_out": n_left_out, "contradicting_pairs": contradicting}
    table = draft.table.take(rows)
    return Draft(draft.where, table, draft.names, draft.broken, draft.lost, rows + 1), counts
