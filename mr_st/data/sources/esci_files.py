"""Reading ESCI's files: judgments as a frame, products batch by batch, each row with its number in its file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from mr_st.data.parquet import parquet_batches, parquet_schema
from mr_st.data.spool import table_batches
from mr_st.errors import DataError, MrStError, Problem, UsageError

__all__ = ["BULLET_POINTS", "CATEGORIES", "EXAMPLES", "PRODUCTS", "EsciTables", "read_folder", "read_hub"]

EXAMPLES = "shopping_queries_dataset_examples.parquet"
PRODUCTS = "shopping_queries_dataset_products.parquet"
CATEGORIES = "product_categories.parquet"
BULLET_POINTS = "product_bullet_point"

_ID, _TEXT, _NUMBER, _TEXTS = "text or a whole number", "text", "a whole number", "a list of texts"
_EXAMPLE_COLUMNS = {
    "query_id": _ID, "query": _TEXT, "product_id": _TEXT, "product_locale": _TEXT, "esci_label": _TEXT,
    "small_version": _NUMBER, "split": _TEXT,
}  # fmt: skip
_KEY = ["product_id", "product_locale"]
_PRODUCT_COLUMNS = dict.fromkeys(
    ["product_id", "product_title", "product_description", "product_brand", "product_color", "product_locale"], _TEXT
)
_CATEGORY_COLUMNS = {"product_id": _TEXT, "product_locale": _TEXT, "category": _TEXTS}


@dataclass(frozen=True)
class EsciTables:
    """The rows of the wanted locales; column ``row`` is the row in the file, counted from 1.

    Args:
        examples: row, query_id (text), query, product_id, product_locale, esci_label, small_version, split.
        products: row (ascending), product_id, product_locale.
        texts: Reads all rows of the product file once more, batch by batch, with all its columns of texts.
        categories: row, product_id, product_locale, category (list of texts); or None.
        locales: The locales that the examples have, for a message.
        examples_name: What a message calls the examples.
        products_name: What a message calls the products.
    """

    examples: pl.DataFrame
    products: pl.DataFrame
    texts: Callable[[], Iterator[pa.RecordBatch]]
    categories: pl.DataFrame | None
    locales: str
    examples_name: str = EXAMPLES
    products_name: str = PRODUCTS


def read_folder(folder: Path, locales: Sequence[str], version: str | None = None) -> EsciTables:
    """Read the original files; the category file may be absent.

    Args:
        folder: Where they lie.
        locales: Which of us, es, jp.
        version: "small" or "large": only judgments whose ``small_version`` or ``large_version`` is 1.

    Raises:
        DataError: a file or column is missing, damaged or of a wrong type; it lists all.
    """
    return _read_files(folder / EXAMPLES, folder / PRODUCTS, folder / CATEGORIES, locales, version)


def _read_files(
    examples: Path, products: Path, categories: Path | None, locales: Sequence[str], version: str | None
) -> EsciTables:
    wanted = {examples: _example_columns(version), products: _PRODUCT_COLUMNS}
    if categories is not None and categories.is_file():
        wanted[categories] = _CATEGORY_COLUMNS
    problems: list[Problem] = []
    frames: dict[Path, pl.DataFrame] = {}
    found: set[str] = set()
    for path, columns in wanted.items():
        try:
            schema = parquet_schema(path)
            faults = _column_problems(schema, columns | _bullet_points(schema, columns), path.name)
            if not faults:
                names = _KEY if path == products else list(columns)
                frames[path] = _frame(parquet_batches(path, names), schema, names, locales, found, version)
        except DataError as error:
            faults = error.problems
        problems += faults
    if problems:
        raise DataError(problems)
    return EsciTables(
        frames[examples].cast({"query_id": pl.String}),
        frames[products],
        partial(parquet_batches, products, [*_PRODUCT_COLUMNS, BULLET_POINTS]),
        frames.get(categories) if categories is not None else None,
        _listed(found),
    )


def read_hub(
    hub_id: str, locales: Sequence[str], version: str | None = None, revision: str | None = None
) -> EsciTables:
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
            return _read_files(paths[EXAMPLES], paths[PRODUCTS], paths.get(CATEGORIES), locales, version)
        parts = load_dataset(hub_id, revision=revision)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UsageError(f"esci: {hub_id} is neither a folder nor a Hub dataset; {accepted}") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MrStError(f"esci: {hub_id} cannot be read from the Hub ({reason}); {accepted}") from error
    return split_joined(parts, hub_id, locales, version)


def split_joined(
    parts: Mapping[str, Dataset], name: str, locales: Sequence[str], version: str | None = None
) -> EsciTables:
    """Take joined tables (one for each split) apart into examples and products.

    Args:
        parts: Name of the split -> rows with the columns of both files; the split stands in for the column ``split``.
        name: What a message calls the table.
        locales: Which of us, es, jp.
        version: As in :func:`read_folder`.

    Raises:
        DataError: a column is missing or of a wrong type.
    """
    columns = _example_columns(version)
    for part in parts.values():
        needed = columns | _PRODUCT_COLUMNS
        needed |= _bullet_points(part.data.table.schema, needed)
        if "split" not in part.column_names:
            del needed["split"]
        problems = _column_problems(part.data.table.schema, needed, name)
        if problems:
            raise DataError(problems)
    found: set[str] = set()
    frames, n_rows = [], 0
    for split, part in parts.items():
        names = [column for column in columns if column in part.column_names]
        frame = _frame(table_batches(part, names), part.data.table.schema, names, locales, found, version, n_rows)
        frames.append(frame if "split" in names else frame.with_columns(pl.lit(split).alias("split")))
        n_rows += len(part)
    examples = pl.concat(frames, how="diagonal_relaxed").cast({"query_id": pl.String})
    products, n_rows = [], 0
    for part in parts.values():
        products.append(_frame(table_batches(part, _KEY), part.data.table.schema, _KEY, locales, set(), None, n_rows))
        n_rows += len(part)

    def texts() -> Iterator[pa.RecordBatch]:
        for part in parts.values():
            yield from table_batches(part, [c for c in [*_PRODUCT_COLUMNS, BULLET_POINTS] if c in part.column_names])

    distinct = pl.concat(products).unique(_KEY, keep="first", maintain_order=True)
    return EsciTables(examples, distinct, texts, None, _listed(found), name, name)


def _frame(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    columns: Sequence[str],
    locales: Sequence[str],
    found: set[str],
    version: str | None = None,
    n_before: int = 0,
) -> pl.DataFrame:
    """The rows of the wanted locales and version, numbered; ``found`` gets every locale of the judgments' file."""
    kept = []
    for batch in batches:
        rows = pa.array(range(n_before + 1, n_before + 1 + len(batch)), pa.uint32())
        n_before += len(batch)
        numbered = pa.Table.from_arrays([rows, *batch.select(list(columns)).columns], names=["row", *columns])
        here = numbered["product_locale"].cast(pa.string())
        is_wanted = pc.is_in(here, value_set=pa.array(list(locales)))
        if "esci_label" in columns:
            found.update(locale for locale in pc.unique(here).to_pylist() if locale is not None)
            if version is not None:
                is_wanted = pc.and_(is_wanted, pc.equal(numbered[f"{version}_version"].cast(pa.int64()), 1))
        kept.append(numbered.filter(is_wanted))
    empty = pa.schema([("row", pa.uint32()), *(schema.field(column) for column in columns)]).empty_table()
    frame = pl.DataFrame(pa.concat_tables([empty.replace_schema_metadata(None), *kept]))
    texts = {name: pl.String for name, kind in frame.schema.items() if kind in (pl.Null, pl.Categorical)}
    return frame.cast({name: kind for name, kind in texts.items() if name != "small_version"})


def _example_columns(version: str | None) -> dict[str, str]:
    return _EXAMPLE_COLUMNS if version is None else _EXAMPLE_COLUMNS | {f"{version}_version": _NUMBER}


def _bullet_points(schema: pa.Schema, columns: Mapping[str, str]) -> dict[str, str]:
    """The column that product files may lack, where this one has it."""
    return {BULLET_POINTS: _TEXT} if "product_title" in columns and BULLET_POINTS in schema.names else {}


def _listed(found: set[str]) -> str:
    return ", ".join(sorted(found))


def _column_problems(schema: pa.Schema, columns: Mapping[str, str], where: str) -> list[Problem]:
    problems = []
    kinds = pl.DataFrame(schema.empty_table()).schema
    for column, expected in columns.items():
        if column not in kinds:
            problems.append(Problem(where, "missing", "use ESCI's original file or rename the column", column=column))
            continue
        found = kinds[column]
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
