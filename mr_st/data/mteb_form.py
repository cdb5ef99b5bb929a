"""A dataset in the form that MTEB's retrieval loader reads: the configurations corpus, queries and qrels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mr_st.data.schema import arrow_table
from mr_st.data.storage import check_target
from mr_st.files import atomic_folder

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["save_mteb"]


def save_mteb(
    dataset: GradedDataset, folder: str | Path, item_text_levels: int | None = 2, max_chars: int | None = 400
) -> Path:
    """Write ``corpus`` and ``queries`` (``_id``, ``text``), ``qrels`` (a file a split), and a README that names them.

    The whole item text stands in ``text`` and there is no ``title``, because some MTEB wrappers join a title twice.

    Args:
        dataset: The dataset.
        folder: Where; new, empty, or from an earlier call.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.

    Raises:
        UsageError: the folder holds other files.
        MrStError: it cannot be written.
    """
    folder = check_target(folder, "README.md", "qrels")
    queries, items = arrow_table(dataset.queries), arrow_table(dataset.items)
    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    qrels = judgments.select(
        pl.col("query_id").alias("query-id"),
        pl.col("item_id").alias("corpus-id"),
        pl.col("grade").cast(pl.Int32).alias("score"),
        "split",
    )
    texts = dataset.item_texts(item_text_levels, max_chars)
    files: dict[str, pa.Table] = {
        "corpus/corpus.parquet": pa.table({"_id": items["item_id"], "text": pa.array(texts, pa.string())}),
        "queries/queries.parquet": pa.table({"_id": queries["query_id"], "text": queries["text"]}),
    }
    for split in dataset.splits:
        files[f"qrels/{split}.parquet"] = qrels.filter(pl.col("split") == split).drop("split").to_arrow()
    with atomic_folder(folder) as temporary:
        for name, table in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            pq.write_table(table, temporary / name, compression="zstd")
        (temporary / "README.md").write_text(_readme(dataset), encoding="utf-8")
    return folder


def _readme(dataset: GradedDataset) -> str:
    def config(name: str, files: list[dict[str, str]]) -> dict[str, Any]:
        return {"config_name": name, "data_files": files}

    settings = {
        "license": dataset.license.lower(),
        "configs": [
            config("corpus", [{"split": "corpus", "path": "corpus/*.parquet"}]),
            config("queries", [{"split": "queries", "path": "queries/*.parquet"}]),
            config("qrels", [{"split": split, "path": f"qrels/{split}.parquet"} for split in dataset.splits]),
        ],
    }
    head = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return (
        f"---\n{head}---\n# {dataset.name}\n\n{len(dataset.queries):,} queries, {len(dataset.items):,} items and "
        f"{len(dataset.judgments):,} graded judgments; grades {dataset.scale}.\n"
    )
