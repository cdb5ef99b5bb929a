"""Reading ESCI's files into three frames with known columns, each row with its number in the original file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mr_st.data.storage import read_parquet
from mr_st.errors import DataError, MrStError, Problem, UsageError

__all__ = ["CATEGORIES", "EXAMPLES", "PRODUCTS", "EsciTables", "read_folder", "read_hub"]

EXAMPLES = "shopping_queries_dataset_examples.parquet"
PRODUCTS = "shopping_queries_dataset_products.parquet"
CATEGORIES = "product_categories.parquet"

_ID, _TEXT, _NUMBER = "text or a whole number", "text", "a whole number"
_EXAMPLE_COLUMNS = {
    "query_id": _ID, "query": _TEXT, "product_id": _TEXT, "product_locale": _TEXT, "esci_label": _TEXT,
    "small_version": _NUMBER, "split": _TEXT,
}  # fmt: skip
_PRODUCT_COLUMNS = dict.fromkeys(
    ["product_id", "product_title", "product_description", "product_brand", "product_color", "product_locale"], _TEXT
)
_CATEGORY_COLUMNS = {"product_id": _TEXT, "product_locale": _TEXT, "category": "a list of texts"}


@dataclass(frozen=True)
class EsciTables:
    """The rows of one locale; column ``row`` is the row in the file, counted from 1.

    Args:
        examples: row, query_id (text), query, product_id, product_locale, esci_label, small_version, split.
        products: row, product_id, product_title, product_description, product_brand, product_color, product_locale.
        categories: row, product_id, product_locale, category (list of texts); or None.
        locales: The locales that the examples have, for a message.
        examples_name: What a message calls the examples.
        products_name: What a message calls the products.
    """

    examples: pl.DataFrame
    products: pl.DataFrame
    categories: pl.DataFrame | None
    locales: str
    examples_name: str = EXAMPLES
    products_name: str = PRODUCTS


def read_folder(folder: Path, locale: str) -> EsciTables:
    """Read the original files of one locale; the category file may be absent.

    Raises:
        DataError: a file or column is missing, damaged or of a wrong type; it lists all.
    """
    return _read_files(folder / EXAMPLES, folder / PRODUCTS, folder / CATEGORIES, locale)


def _read_files(examples: Path, products: Path, categories: Path | None, locale: str) -> EsciTables:
    problems: list[Problem] = []
    frames: list[pl.DataFrame] = []
    wanted = [(examples, _EXAMPLE_COLUMNS), (products, _PRODUCT_COLUMNS)]
    if categories is not None and categories.is_file():
        wanted.append((categories, _CATEGORY_COLUMNS))
    for path, columns in wanted:
        try:
            frame = pl.DataFrame(read_parquet(path, list(columns)))
            faults = _column_problems(frame, columns, path.name)
        except DataError as error:
            faults = error.problems
        if faults:
            problems += faults
        else:
            frames.append(frame)
    if problems:
        raise DataError(problems)
    return _of_locale(frames[0], frames[1], frames[2] if len(frames) > 2 else None, locale)


def read_hub(hub_id: str, locale: str, revision: str | None = None) -> EsciTables:
    """Read a Hub dataset: ESCI's original files wherever they lie in it, or one table of joined columns.

    Raises:
        UsageError: the text is neither a folder nor the id of a Hub dataset.
        MrStError: the Hub cannot be reached.
        DataError: a column is missing or of a wrong type.
    """
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download, list_repo_files
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    accepted = "give a folder with ESCI's original Parquet files, or the id of a Hub dataset that can be read"
    if hub_id.count("/") > 1 or hub_id.startswith(("/", ".", "~")):
        raise UsageError(f"esci: {hub_id} is no folder; {accepted}")
    try:
        names = list_repo_files(hub_id, repo_type="dataset", revision=revision)
        found = {Path(name).name: name for name in names}
        if EXAMPLES in found and PRODUCTS in found:
            paths = {
                name: Path(hf_hub_download(hub_id, found[name], repo_type="dataset", revision=revision))
                for name in (EXAMPLES, PRODUCTS, CATEGORIES)
                if name in found
            }
            return _read_files(paths[EXAMPLES], paths[PRODUCTS], paths.get(CATEGORIES), locale)
        parts = load_dataset(hub_id, revision=revision)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UsageError(f"esci: {hub_id} is neither a folder nor a Hub dataset; {accepted}") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MrStError(f"esci: {hub_id} cannot be read from the Hub ({reason}); {accepted}") from error
    return split_joined({name: pl.DataFrame(part.data.table) for name, part in parts.items()}, hub_id, locale)


def split_joined(parts: dict[str, pl.DataFrame], name: str, locale: str) -> EsciTables:
    """Take joined tables (one for each split) apart into examples and products.

    Args:
        parts: Name of the split -> rows with the columns of both files; the split stands in for the column ``split``.
        name: What a message calls the table.
        locale: ESCI's product_locale.

    Raises:
        DataError: a column is missing or of a wrong type.
    """
    frames = [
        part if "split" in part.columns else part.with_columns(pl.lit(split).alias("split"))
        for split, part in parts.items()
    ]
    needed = _EXAMPLE_COLUMNS | _PRODUCT_COLUMNS
    for frame in frames:
        problems = _column_problems(frame, needed, name)
        if problems:
            raise DataError(problems)
    joined = pl.concat([frame.select(list(needed)) for frame in frames], how="vertical_relaxed")
    products = joined.select(list(_PRODUCT_COLUMNS)).unique(
        ["product_id", "product_locale"], keep="first", maintain_order=True
    )
    return _of_locale(joined.select(list(_EXAMPLE_COLUMNS)), products, None, locale, name)


def _of_locale(
    examples: pl.DataFrame,
    products: pl.DataFrame,
    categories: pl.DataFrame | None,
    locale: str,
    name: str | None = None,
) -> EsciTables:
    locales = ", ".join(sorted(examples["product_locale"].drop_nulls().unique().to_list()))
    here = pl.col("product_locale") == locale
    examples, products = (
        frame.with_row_index("row", offset=1).filter(here).cast({"product_id": pl.String})
        for frame in (examples, products)
    )
    if categories is not None:
        categories = categories.with_row_index("row", offset=1).filter(here)
    examples = examples.cast({"query_id": pl.String})
    return EsciTables(examples, products, categories, locales, name or EXAMPLES, name or PRODUCTS)


def _column_problems(frame: pl.DataFrame, columns: dict[str, str], where: str) -> list[Problem]:
    problems = []
    for column, expected in columns.items():
        if column not in frame.columns:
            problems.append(Problem(where, "missing", "use ESCI's original file or rename the column", column=column))
            continue
        found = frame.schema[column]
        is_text = found in (pl.String, pl.Categorical, pl.Null)
        fits = {
            _TEXT: is_text,
            _ID: is_text or found.is_integer(),
            _NUMBER: found.is_integer() or found == pl.Boolean,
        }.get(expected, found == pl.List(pl.String) or found == pl.List(pl.Null))
        if not fits:
            what = f"type {found} where {expected} is expected"
            problems.append(Problem(where, what, "use ESCI's original file or convert the column", column=column))
    return problems
