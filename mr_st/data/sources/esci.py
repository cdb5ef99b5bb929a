"""Amazon's Shopping Queries Dataset (ESCI), from its original Parquet files or from a Hub dataset.

Source: arXiv 2206.06588. Every judgment and every title of the chosen locale is kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import MAX_PROBLEMS
from mr_st.data.sources.esci_files import CATEGORIES, EXAMPLES, PRODUCTS, EsciTables, read_folder, read_hub
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
    locale: str = "us",
    small_only_eval: bool = True,
    dev_share: float = 0.15,
    seed: int = 0,
    grades: int = 3,
    revision: str | None = None,
    validate: bool = True,
) -> GradedDataset:
    """Load ESCI: all products of a locale as items, all its judgments, and a dev split carved from train.

    ESCI has no dev split: whole queries are moved from train to dev, so that the two share no pair. The test split
    stays as the source has it.

    Args:
        path_or_hub_id: A folder with the original Parquet files (``product_categories.parquet`` may be there too), or
            the id of a Hub dataset with these files or with one table of joined columns.
        locale: us, es or jp. An item's id is ``locale:product_id``, so that it is unique over the locales.
        small_only_eval: Take dev queries only from those with ``small_version`` 1, which have full judgment lists;
            False: from all train queries.
        dev_share: Share of those queries that becomes dev, in [0, 1).
        seed: Which queries they are, together with the query's id.
        grades: 3 (E 2, S and C 1, I 0) or 4 (E 3, S 2, C 1, I 0, with ESCI's own gains).
        revision: Revision of the Hub dataset.
        validate: Also check the values of the finished tables.

    Raises:
        UsageError: an argument has no meaning, or the folder or Hub dataset is not there.
        DataError: a file or column is missing, or rows have an unknown label, split or product.
    """
    if locale not in ESCI_LOCALES:
        raise UsageError(f"esci: locale {locale!r} is not one of {', '.join(ESCI_LOCALES)}")
    if grades not in (3, 4):
        raise UsageError(f"esci: grades={grades!r}; choose 3 (E, S or C, I) or 4 (E, S, C, I)")
    if not 0.0 <= dev_share < 1.0:
        raise UsageError(f"esci: dev_share={dev_share!r} is outside 0 <= share < 1")
    folder = Path(path_or_hub_id).expanduser()
    source: dict[str, Any] = {
        "name": "esci", "locale": locale, "grades": grades, "dev_share": dev_share, "seed": seed,
        "small_only_eval": small_only_eval,
    }  # fmt: skip
    if folder.is_dir():
        tables = read_folder(folder, locale)
    else:
        tables = read_hub(str(path_or_hub_id), locale, revision)
        source |= {"hub_id": str(path_or_hub_id), "revision": revision}
    examples = tables.examples.with_columns(pl.col("esci_label").replace(_FULL_NAMES))
    _check(examples, tables, locale)
    dev = _dev_queries(examples, small_only_eval, dev_share, seed)
    labels = ESCI_LABELS if grades == 3 else ESCI_FOUR_LABELS
    item_id = locale + ":" + pl.col("product_id")
    language = pl.lit(ESCI_LOCALES[locale]).alias("locale")
    split = pl.when(pl.col("query_id").is_in(dev) & (pl.col("split") == "train")).then(pl.lit("dev"))
    dataset = GradedDataset.from_tables(
        queries=examples.unique("query_id", keep="first", maintain_order=True).select(
            "query_id", pl.col("query").alias("text"), language
        ),
        items=_with_categories(tables).select(
            item_id.alias("item_id"),
            pl.col("product_title").fill_null("").alias("title"),
            "category_path",
            pl.col("product_description").alias("description"),
            pl.col("product_brand").alias("brand"),
            pl.col("product_color").alias("color"),
            language,
        ),
        judgments=examples.select(
            "query_id",
            item_id.alias("item_id"),
            pl.col("esci_label").replace_strict(labels, return_dtype=pl.Int8).alias("grade"),
            split.otherwise(pl.col("split")).alias("split"),
        ),
        scale=THREE_GRADES if grades == 3 else ESCI_FOUR_GRADES,
        name=f"esci-{locale}",
        license="Apache-2.0",
        source=source,
    )
    if validate:
        dataset.validate()
    return dataset


def _with_categories(tables: EsciTables) -> pl.DataFrame:
    untitled = tables.products["product_title"].null_count()
    if untitled:
        logger.warning("esci: %d products have no title; it is kept as an empty text", untitled)
    if tables.categories is None:
        return tables.products.with_columns(pl.lit([], dtype=pl.List(pl.String)).alias("category_path"))
    categories = tables.categories.select("product_id", pl.col("category").alias("category_path"))
    return tables.products.join(categories, on="product_id", how="left", maintain_order="left").with_columns(
        pl.col("category_path").fill_null(pl.lit([], dtype=pl.List(pl.String)))
    )


def _dev_queries(examples: pl.DataFrame, small_only: bool, share: float, seed: int) -> list[str]:
    """The ``share`` of the train queries whose hash is lowest: the same ones on every machine, in any row order."""
    train = examples.filter(pl.col("split") == "train")
    if small_only:
        train = train.filter(pl.col("small_version") == 1)
    queries = train["query_id"].unique().to_list()
    ranked = sorted(queries, key=lambda q: hashlib.sha256(f"{seed}:{q}".encode()).digest())
    return ranked[: round(share * len(ranked))]


def _check(examples: pl.DataFrame, tables: EsciTables, locale: str) -> None:
    """Refuse what cannot be turned into judgments, naming the row of the original file."""
    if examples.is_empty():
        what = f"no judgment has product_locale {locale!r}; the file has {tables.locales or 'none'}"
        raise DataError(Problem(tables.examples_name, what, "choose another locale", column="product_locale"))
    problems: list[Problem] = []
    labels = "E, S, C, I (or Exact, Substitute, Complement, Irrelevant)"
    rules: list[tuple[str, pl.Expr, str, str]] = [
        ("esci_label", ~pl.col("esci_label").is_in(list(ESCI_LABELS)), "is none of " + labels, "correct the label"),
        ("split", ~pl.col("split").is_in(["train", "test"]), "is neither train nor test", "correct the split"),
    ]
    for column, is_wrong, what, mend in rules:
        wrong = examples.filter(is_wrong | pl.col(column).is_null()).select("row", column)
        problems += _problems(tables.examples_name, column, wrong.iter_rows(), what, mend)
    lost = examples.join(tables.products, on="product_id", how="anti").select("row", "product_id")
    what = f"is no product of locale {locale} in {tables.products_name}"
    problems += _problems(
        tables.examples_name, "product_id", lost.iter_rows(), what, "add the product or drop the judgment"
    )
    first = pl.col("query").first().over("query_id")
    other = examples.filter(pl.col("query") != first).select("row", "query")
    what = "is another text than the first row of the same query_id has"
    problems += _problems(tables.examples_name, "query", other.iter_rows(), what, "give each query its own query_id")
    for name, table in ((tables.products_name, tables.products), (CATEGORIES, tables.categories)):
        if table is not None:
            again = table.filter(~pl.col("product_id").is_first_distinct()).select("row", "product_id")
            what = f"stands twice in locale {locale}"
            problems += _problems(name, "product_id", again.iter_rows(), what, "keep one of the rows")
    if problems:
        raise DataError(problems)


def _problems(where: str, column: str, rows: Iterable[tuple[Any, ...]], what: str, mend: str) -> list[Problem]:
    found = list(rows)
    listed = [Problem(where, f"{value!r} {what}", mend, row, column) for row, value in found[:MAX_PROBLEMS]]
    if len(found) > MAX_PROBLEMS:
        listed.append(Problem(where, f"{len(found) - MAX_PROBLEMS:,} more values like these", mend, column=column))
    return listed
