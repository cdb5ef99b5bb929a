"""Amazon's Shopping Queries Dataset (ESCI), from its original Parquet files or from a Hub dataset.

Source: arXiv 2206.06588. Every judgment and every title of the chosen locales is kept. Product texts are read batch by
batch, so that the whole of it (1.8 million products) needs no more memory than its judgments and ids.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import MAX_PROBLEMS, arrow_schema
from mr_st.data.sources.esci_files import (
    BULLET_POINTS,
    CATEGORIES,
    EXAMPLES,
    PRODUCTS,
    EsciTables,
    read_folder,
    read_hub,
)
from mr_st.data.sources.splits import lowest_by_hash
from mr_st.data.spool import spool_table
from mr_st.errors import DataError, Problem, UsageError
from mr_st.grades import ESCI_FOUR_GRADES, ESCI_FOUR_LABELS, ESCI_LABELS, THREE_GRADES

__all__ = ["ESCI_LOCALES", "is_esci_folder", "load_esci"]

logger = logging.getLogger(__name__)

ESCI_LOCALES = {"us": "en-US", "es": "es-ES", "jp": "ja-JP"}
"""ESCI's product_locale -> BCP-47."""

_FULL_NAMES = {"Exact": "E", "Substitute": "S", "Complement": "C", "Irrelevant": "I"}  # as one Hub copy spells them


def is_esci_folder(folder: str | Path) -> bool:
    """Whether a folder holds ESCI's examples or products under their original file names."""
    return any((Path(folder) / name).is_file() for name in (EXAMPLES, PRODUCTS))


def load_esci(
    path_or_hub_id: str | Path,
    locale: str | Sequence[str] = "us",
    small_only_eval: bool = True,
    dev_share: float = 0.15,
    seed: int = 0,
    grades: int = 3,
    revision: str | None = None,
    validate: bool = True,
    version: str | None = None,
    bullet_points: bool = True,
) -> GradedDataset:
    """Load ESCI: all products of its locales as items, their judgments, and a dev split carved from train.

    ESCI has no dev split: whole queries are moved from train to dev, so that the two share no pair (``dev_share=0``
    leaves the splits as the source has them). The test split stays as it is.

    Args:
        path_or_hub_id: A folder with the original Parquet files (``product_categories.parquet`` may be there too), or
            the id of a Hub dataset with these files or with one table of joined columns.
        locale: us, es or jp; several, as a list or as ``"us,es"``; or ``"all"`` that the files have. An item's id is
            ``locale:product_id``, so that it is unique over the locales.
        small_only_eval: Take dev queries only from those with ``small_version`` 1, which have full judgment lists;
            False: from all train queries.
        dev_share: Share of those queries that becomes dev, in [0, 1).
        seed: Which queries they are, together with the query's id.
        grades: 3 (E 2, S and C 1, I 0) or 4 (E 3, S 2, C 1, I 0, with ESCI's own gains).
        revision: Revision of the Hub dataset.
        validate: Also check the values of the finished tables.
        version: "small" (judgments with ``small_version`` 1: ESCI's ranking task) or "large" (``large_version`` 1: its
            classification tasks); None for all. The items are all products of the locales in any case.
        bullet_points: An item's description is ``product_description``, a blank line, and ``product_bullet_point``
            (whichever there is); False leaves the bullet points out.

    Raises:
        UsageError: an argument has no meaning, or the folder or Hub dataset is not there.
        DataError: a file or column is missing, or rows have an unknown label, split or product.
    """
    locales = _locales(locale)
    if grades not in (3, 4):
        raise UsageError(f"esci: grades={grades!r}; choose 3 (E, S or C, I) or 4 (E, S, C, I)")
    if not 0.0 <= dev_share < 1.0:
        raise UsageError(f"esci: dev_share={dev_share!r} is outside 0 <= share < 1")
    if version not in (None, "small", "large"):
        raise UsageError(f"esci: version={version!r}; choose small, large, or none for all judgments")
    folder = Path(path_or_hub_id).expanduser()
    source: dict[str, Any] = {
        "name": "esci", "locale": locales[0] if len(locales) == 1 else list(locales), "version": version,
        "grades": grades, "dev_share": dev_share, "seed": seed, "small_only_eval": small_only_eval,
        "bullet_points": bullet_points,
    }  # fmt: skip
    if folder.is_dir():
        tables = read_folder(folder, locales, version)
    else:
        tables = read_hub(str(path_or_hub_id), locales, version, revision)
        source |= {"hub_id": str(path_or_hub_id), "revision": revision}
    examples = tables.examples.with_columns(pl.col("esci_label").replace(_FULL_NAMES))
    _check(examples, tables, locales)
    dev = _dev_queries(examples, small_only_eval, dev_share, seed)
    labels = ESCI_LABELS if grades == 3 else ESCI_FOUR_LABELS
    split = pl.when(pl.col("query_id").is_in(dev) & (pl.col("split") == "train")).then(pl.lit("dev"))
    dataset = GradedDataset.from_tables(
        queries=examples.unique("query_id", keep="first", maintain_order=True).select(
            "query_id",
            pl.col("query").alias("text"),
            pl.col("product_locale").replace(ESCI_LOCALES).alias("locale"),
        ),
        items=spool_table("items", _item_batches(tables, bullet_points)),
        judgments=examples.select(
            "query_id",
            (pl.col("product_locale") + ":" + pl.col("product_id")).alias("item_id"),
            pl.col("esci_label").replace_strict(labels, return_dtype=pl.Int8).alias("grade"),
            split.otherwise(pl.col("split")).alias("split"),
        ),
        scale=THREE_GRADES if grades == 3 else ESCI_FOUR_GRADES,
        name="esci" if len(locales) == len(ESCI_LOCALES) else f"esci-{'-'.join(locales)}",
        license="Apache-2.0",
        source=source,
    )
    del tables, examples
    if validate:
        dataset.validate()
    return dataset


def _locales(locale: str | Sequence[str]) -> list[str]:
    given = [part.strip() for part in locale.split(",")] if isinstance(locale, str) else list(locale)
    if given == ["all"]:
        return list(ESCI_LOCALES)
    for one in given:
        if one not in ESCI_LOCALES:
            raise UsageError(f"esci: locale {one!r} is not one of {', '.join(ESCI_LOCALES)}; or give all")
    if not given:
        raise UsageError(f"esci: no locale; give some of {', '.join(ESCI_LOCALES)}, or all")
    return [one for one in ESCI_LOCALES if one in given]


def _item_batches(tables: EsciTables, bullet_points: bool) -> Iterator[pa.RecordBatch]:
    """The items of the wanted products, in the order of the file."""
    rows = tables.products["row"].to_numpy().astype(np.int64)
    paths, path_of = _category_paths(tables)
    bcp47 = pa.array([ESCI_LOCALES[locale] for locale in ESCI_LOCALES])
    start = done = n_untitled = 0
    for batch in tables.texts():
        stop = start + len(batch)
        end = int(np.searchsorted(rows, stop, side="right"))
        part = batch.take(pa.array(rows[done:end] - 1 - start))
        text = {name: part[name].cast(pa.string()) for name in part.schema.names}
        n_untitled += text["product_title"].null_count
        description = text["product_description"]
        if bullet_points and BULLET_POINTS in text:
            description = _joined(description, text[BULLET_POINTS])
        locale = text["product_locale"]
        columns = [
            pc.binary_join_element_wise(locale, text["product_id"], ":"),
            pc.fill_null(text["product_title"], ""),
            paths.take(pa.array(path_of[done:end])),
            description,
            text["product_brand"],
            text["product_color"],
            bcp47.take(pc.index_in(locale, value_set=pa.array(list(ESCI_LOCALES)))),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=arrow_schema("items"))
        start, done = stop, end
    if n_untitled:
        logger.warning("esci: %d products have no title; it is kept as an empty text", n_untitled)


def _category_paths(tables: EsciTables) -> tuple[pa.Array, np.ndarray]:
    """Category paths, the last of them empty, and the number of each product's path."""
    if tables.categories is None:
        return pa.array([[]], pa.list_(pa.string())), np.zeros(tables.products.height, dtype=np.int64)
    paths = tables.categories["category"].to_arrow().cast(pa.list_(pa.string())).fill_null([])
    numbers = tables.categories.select("product_id", "product_locale").with_row_index("path")
    key = ["product_id", "product_locale"]
    found = tables.products.select(key).join(numbers, on=key, how="left", maintain_order="left")
    path_of = found["path"].fill_null(len(paths)).to_numpy().astype(np.int64)
    return pa.concat_arrays([paths, pa.array([[]], paths.type)]), path_of


def _joined(description: pa.Array, bullets: pa.Array) -> pa.Array:
    """Both with a blank line between, or the one that is there."""
    has_description, has_bullets = (
        pc.fill_null(pc.greater(pc.binary_length(texts), 0), False) for texts in (description, bullets)
    )
    both = pc.binary_join_element_wise(description, bullets, "\n\n")
    return pc.if_else(has_bullets, pc.if_else(has_description, both, bullets), description)


def _dev_queries(examples: pl.DataFrame, small_only: bool, share: float, seed: int) -> list[str]:
    """The ``share`` of the train queries whose hash is lowest: the same ones on every machine, in any row order."""
    train = examples.filter(pl.col("split") == "train")
    if small_only:
        train = train.filter(pl.col("small_version") == 1)
    return lowest_by_hash(train["query_id"].unique().to_list(), share, seed)


def _check(examples: pl.DataFrame, tables: EsciTables, locales: Sequence[str]) -> None:
    """Refuse what cannot be turned into judgments, naming the row of the original file."""
    judged = set(examples["product_locale"].unique().to_list())
    missing = [locale for locale in locales if locale not in judged]
    if missing and (not judged or len(locales) < len(ESCI_LOCALES)):
        what = f"no judgment has product_locale {missing[0]!r}; the file has {tables.locales or 'none'}"
        mend = "choose another locale or version"
        raise DataError(Problem(tables.examples_name, what, mend, column="product_locale"))
    if missing:
        logger.warning("esci: no judgment has product_locale %s", ", ".join(missing))
    problems: list[Problem] = []
    labels = "E, S, C, I (or Exact, Substitute, Complement, Irrelevant)"
    rules: list[tuple[str, pl.Expr, str, str]] = [
        ("esci_label", ~pl.col("esci_label").is_in(list(ESCI_LABELS)), "is none of " + labels, "correct the label"),
        ("split", ~pl.col("split").is_in(["train", "test"]), "is neither train nor test", "correct the split"),
    ]
    for column, is_wrong, what, mend in rules:
        wrong = examples.filter(is_wrong | pl.col(column).is_null()).select("row", column)
        problems += _problems(tables.examples_name, column, wrong.iter_rows(), what, mend)
    key = ["product_id", "product_locale"]
    lost = examples.join(tables.products, on=key, how="anti", maintain_order="left").select("row", *key)
    what = f"is no product of locale {{locale}} in {tables.products_name}"
    mend = "add the product or drop the judgment"
    problems += _problems(tables.examples_name, "product_id", lost.iter_rows(), what, mend)
    for column, what in (
        ("query", "is another text than the first row of the same query_id has"),
        ("product_locale", "is another locale than the first row of the same query_id has"),
    ):
        other = examples.filter(pl.col(column) != pl.col(column).first().over("query_id")).select("row", column)
        mend = "give each query its own query_id"
        problems += _problems(tables.examples_name, column, other.iter_rows(), what, mend)
    for name, table in ((tables.products_name, tables.products), (CATEGORIES, tables.categories)):
        if table is not None:
            again = table.filter(~pl.struct(key).is_first_distinct()).select("row", *key)
            what = "stands twice in locale {locale}"
            problems += _problems(name, "product_id", again.iter_rows(), what, "keep one of the rows")
    if problems:
        raise DataError(problems)


def _problems(where: str, column: str, rows: Iterable[tuple[Any, ...]], what: str, mend: str) -> list[Problem]:
    """One problem for each row: its number, the value, and what the message may name besides."""
    found = list(rows)
    listed = [
        Problem(where, f"{value!r:.60} {what.format(locale=more[0] if more else '')}", mend, row, column)
        for row, value, *more in found[:MAX_PROBLEMS]
    ]
    if len(found) > MAX_PROBLEMS:
        listed.append(Problem(where, f"{len(found) - MAX_PROBLEMS:,} more values like these", mend, column=column))
    return listed
