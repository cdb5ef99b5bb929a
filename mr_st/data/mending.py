"""The safe mends of a dataset: exact duplicate rows, surrounding blanks and Unicode normal form C, each counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from mr_st.data.schema import TABLES, arrow_table
from mr_st.data.spool import spool_table, table_batches
from mr_st.data.validation_ids import clean_forms, whole_rows
from mr_st.data.validation_texts import clean, needs_nfc

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["Mend", "mend"]

_KEYS = {"query_id": "queries", "item_id": "items"}
_HOMES = {**_KEYS, "source_query_id": "queries"}


@dataclass(frozen=True)
class Mend:
    """How often one rule was mended in one column.

    Args:
        table: queries, items, judgments or engagement.
        column: The column; None for whole rows.
        rule: ``duplicate row``, ``blanks around an id``, ``id not in NFC``, ``blanks around a text`` or ``text not in
            NFC``, as in :data:`mr_st.data.validation.RULES`.
        n_mended: How many values were changed, or rows dropped.
    """

    table: str
    column: str | None
    rule: str
    n_mended: int

    def __str__(self) -> str:
        place = self.table if self.column is None else f"{self.table}, column {self.column}"
        return f"{place}: {self.rule}: {self.n_mended:,} {'dropped' if self.column is None else 'mended'}"


def mend(dataset: GradedDataset) -> tuple[GradedDataset, list[Mend]]:
    """Mend what can be mended without a decision; everything else stays as it is, for ``find_problems`` to report.

    Surrounding blanks are removed and texts are brought into normal form C; then rows that equal an earlier row are
    dropped. Ids are mended too, together with all that refer to them, unless two ids would become one: such ids stay.
    Mending twice gives what mending once gives.

    Args:
        dataset: The dataset, with faults or without. It is not changed.

    Returns:
        The mended dataset (``dataset`` itself where nothing was to be mended), and how often each rule was mended.

    Example:
        >>> from mr_st.data import GradedDataset
        >>> dataset = GradedDataset.from_tables(
        ...     queries=[{"query_id": "q1", "text": " red mug"}],
        ...     items=[{"item_id": "a", "title": "Red mug"}],
        ...     judgments=[{"query_id": "q1", "item_id": "a ", "grade": 2}] * 2,
        ... )
        >>> mended, counts = mend(dataset)
        >>> [str(count) for count in counts]  # doctest: +NORMALIZE_WHITESPACE
        ['queries, column text: blanks around a text: 1 mended',
         'judgments, column item_id: blanks around an id: 2 mended',
         'judgments: duplicate row: 1 dropped']
        >>> mended.problems()
        []
    """
    tables: dict[str, Dataset] = {name: value for name in TABLES if (value := getattr(dataset, name)) is not None}
    safe = {home: clean_forms(pl.Series(arrow_table(tables[home])[key])) for key, home in _KEYS.items()}
    counts: list[Mend] = []
    for name in tables:
        found = _count(name, tables[name], safe)
        if found:
            mended = (_mend_batch(name, batch, safe, Counter()) for batch in table_batches(tables[name]))
            tables[name] = spool_table(name, mended)
        keep = _first_of_equal_rows(name, arrow_table(tables[name]))
        if keep is not None:
            found.append(Mend(name, None, "duplicate row", int((~keep).sum())))
            tables[name] = spool_table(name, _filtered(tables[name], keep))
        counts += found
    return (replace(dataset, **tables) if counts else dataset), counts


def _count(name: str, dataset: Dataset, safe: dict[str, pl.Series]) -> list[Mend]:
    """What there is to mend in the texts and ids of a table."""
    found: Counter[tuple[str, str]] = Counter()
    columns = [c.name for c in TABLES[name] if pa.types.is_string(c.type) or pa.types.is_list(c.type)]
    for batch in table_batches(dataset, columns):
        _mend_batch(name, batch, safe, found)
    rules = ("blanks around an id", "id not in NFC", "blanks around a text", "text not in NFC")
    return [Mend(name, c, rule, found[c, rule]) for c in columns for rule in rules if found[c, rule]]


def _mend_batch(
    name: str, batch: pa.RecordBatch, safe: dict[str, pl.Series], found: Counter[tuple[str, str]]
) -> pa.RecordBatch:
    """The batch with its texts and ids mended; what is mended is added to ``found``, by column and rule."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for column in (column for column in TABLES[name] if column.name in columns):
        part = columns[column.name]
        if pa.types.is_list(part.type):
            before = pl.Series(part.flatten())
        elif pa.types.is_string(part.type):
            before = pl.Series(part)
        else:
            continue
        home = safe[_HOMES[column.name]] if column.holds_ids else None
        kind = "text" if home is None else "id"
        stripped = before.str.strip_chars()
        is_blank, wrong_form = _differs(stripped, before), needs_nfc(stripped).to_numpy()
        at = np.flatnonzero(is_blank | wrong_form)
        if len(at) and home is not None:
            at = at[clean(before.gather(at)).is_in(home.implode()).to_numpy()]
        if not len(at):
            continue
        found[column.name, f"blanks around {'an id' if kind == 'id' else 'a text'}"] += int(is_blank[at].sum())
        found[column.name, f"{kind} not in NFC"] += int(wrong_form[at].sum())
        after = before.clone().scatter(at, clean(before.gather(at))).to_arrow().cast(pa.string())
        columns[column.name] = _relisted(part, after) if pa.types.is_list(part.type) else after
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def _filtered(dataset: Dataset, keep: np.ndarray) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in table_batches(dataset):
        yield batch.filter(pa.array(keep[start : start + batch.num_rows]))
        start += batch.num_rows


def _differs(some: pl.Series, other: pl.Series) -> np.ndarray:
    return (some != other).fill_null(False).to_numpy()


def _relisted(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """The same lists with other values in them."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=lists.type, mask=pc.is_null(lists))


def _first_of_equal_rows(name: str, table: pa.Table) -> np.ndarray | None:
    """bool (n,): all rows but those that equal an earlier one; None where no rows are equal."""
    keys = [column.name for column in TABLES[name] if column.required and column.holds_ids]
    repeated = np.flatnonzero(pl.DataFrame(table.select(keys)).is_duplicated().to_numpy())  # few: only these are read
    again = repeated[whole_rows(table.take(pa.array(repeated))).to_numpy()] if len(repeated) else repeated
    if not len(again):
        return None
    keep = np.ones(table.num_rows, dtype=bool)
    keep[again] = False
    return keep
