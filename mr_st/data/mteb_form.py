"""A dataset in the form that MTEB's retrieval loader reads, with everything of ours beside it, so that none is lost.

``corpus`` and ``queries`` hold an id and a text and nothing else: MTEB's data loaders stop at a null in any further
column. Our other columns stand in configurations of their own (``item_details``, ``query_details``, ``engagement``),
row by row as the corpus and the queries; the qrels carry theirs, because MTEB picks its three columns there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from datasets import Dataset

from mr_st.data.item_text import format_item
from mr_st.data.parquet import write_parquet
from mr_st.data.schema import arrow_schema, arrow_table
from mr_st.data.spool import table_batches
from mr_st.data.storage import check_target, settings_text
from mr_st.files import atomic_folder
from mr_st.hub_client import license_terms
from mr_st.text.markdown import escape

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = [
    "CORPUS_FILE", "ENGAGEMENT_FILE", "EXPORT_SETTINGS", "ITEM_DETAILS_FILE", "QUERIES_FILE",
    "QUERY_DETAILS_FILE", "qrels_file", "save_mteb",
]  # fmt: skip

EXPORT_SETTINGS = "mr_st.yaml"
CORPUS_FILE = "corpus/corpus.parquet"
QUERIES_FILE = "queries/queries.parquet"
ITEM_DETAILS_FILE = "item_details/item_details.parquet"
QUERY_DETAILS_FILE = "query_details/query_details.parquet"
ENGAGEMENT_FILE = "engagement/engagement.parquet"

_TEXTS = pa.schema([("_id", pa.string()), ("text", pa.string())])


def qrels_file(split: str) -> str:
    """Where the judgments of a split stand in the folder."""
    return f"qrels/{split}.parquet"


def save_mteb(
    dataset: GradedDataset, folder: str | Path, item_text_levels: int | None = 2, max_chars: int | None = 400
) -> Path:
    """Write ``corpus``, ``queries`` and ``qrels`` as MTEB reads them, and beside them what only we read.

    The whole item text stands in the corpus' ``text`` and there is no ``title``, because some MTEB wrappers join a
    title twice. ``GradedDataset.load(folder)`` gives the dataset back whole (the same fingerprint, name, licence and
    source), wherever the texts were cut.

    Args:
        dataset: The dataset; one with faults is refused, because MTEB would drop or merge rows in silence.
        folder: Where; new, empty, or from an earlier call.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.

    Raises:
        DataError: the dataset has faults; ``.problems`` lists them.
        UsageError: the folder holds other files, or ``dataset.source`` is not plain YAML.
        MrStError: it cannot be written.
    """
    folder = check_target(folder, EXPORT_SETTINGS)
    dataset.validate()
    settings = settings_text(
        dataset,
        item_text={"levels": item_text_levels, "max_chars": max_chars},
        splits=dataset.splits,
        has_engagement=dataset.engagement is not None,
    )
    with atomic_folder(folder) as temporary:

        def write(name: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
            (temporary / name).parent.mkdir(exist_ok=True)
            write_parquet(temporary / name, batches, schema)

        write(CORPUS_FILE, _corpus(dataset.items, item_text_levels, max_chars), _TEXTS)
        texts = (_renamed(batch, _TEXTS) for batch in table_batches(dataset.queries, ["query_id", "text"]))
        write(QUERIES_FILE, texts, _TEXTS)
        write(ITEM_DETAILS_FILE, table_batches(dataset.items), arrow_schema("items"))
        others = arrow_schema("queries").remove(arrow_schema("queries").get_field_index("text"))
        write(QUERY_DETAILS_FILE, table_batches(dataset.queries, others.names), others)
        for split, table in _qrels(dataset):
            write(qrels_file(split), table.to_batches(), table.schema)
        if dataset.engagement is not None:
            write(ENGAGEMENT_FILE, table_batches(dataset.engagement), arrow_schema("engagement"))
        (temporary / EXPORT_SETTINGS).write_text(settings, encoding="utf-8")
        (temporary / "README.md").write_text(_readme(dataset), encoding="utf-8")
    return folder


def _corpus(items: Dataset, levels: int | None, max_chars: int | None) -> Iterator[pa.RecordBatch]:
    for batch in table_batches(items, ["item_id", "title", "category_path"]):
        titles, paths = batch.column(1).to_pylist(), batch.column(2).to_pylist()
        texts = [format_item(title, path, levels, max_chars) for title, path in zip(titles, paths, strict=True)]
        yield pa.record_batch([batch.column(0), pa.array(texts, pa.string())], schema=_TEXTS)


def _renamed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _qrels(dataset: GradedDataset) -> Iterator[tuple[str, pa.Table]]:
    """The judgments of each split; ``row`` is where each stood among all, counted from 0."""
    judgments = arrow_table(dataset.judgments)
    table = pa.table(
        {
            "query-id": judgments["query_id"],
            "corpus-id": judgments["item_id"],
            "score": judgments["grade"].cast(pa.int32()),
            "source": judgments["source"],
            "confidence": judgments["confidence"],
            "row": np.arange(len(judgments), dtype=np.int64),
        }
    )
    for split in dataset.splits:
        yield split, table.filter(pc.equal(judgments["split"], split))


def _readme(dataset: GradedDataset) -> str:
    def config(name: str, path: str) -> dict[str, Any]:
        return {"config_name": name, "data_files": [{"split": name, "path": path}]}

    qrels = [{"split": split, "path": qrels_file(split)} for split in dataset.splits]
    settings = {
        **license_terms(dataset.license),
        "configs": [
            config("corpus", CORPUS_FILE),
            config("queries", QUERIES_FILE),
            {"config_name": "qrels", "data_files": qrels},
            config("item_details", ITEM_DETAILS_FILE),
            config("query_details", QUERY_DETAILS_FILE),
            *([config("engagement", ENGAGEMENT_FILE)] if dataset.engagement is not None else []),
        ],
    }
    head = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return (
        f"---\n{head}---\n# {escape(dataset.name)}\n\n{len(dataset.queries):,} queries, {len(dataset.items):,} items "
        f"and {len(dataset.judgments):,} graded judgments; grades {escape(dataset.scale)}.\n\nMTEB reads `corpus`, "
        "`queries` and `qrels`; `GradedDataset.load(folder)` of mr-st reads all of it.\n"
    )
