"""The safe mends of a dataset: exact duplicate rows, surrounding blanks and Unicode normal form C, each counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.schema import TABLES, arrow_table, to_dataset
from mr_st.data.validation_ids import clean_forms, whole_rows
from mr_st.data.validation_texts import clean, needs_nfc

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["Mend", "mend"]

_BATCH_ROWS = 50_000
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
    tables = {name: arrow_table(value) for name in TABLES if (value := getattr(dataset, name)) is not None}
    safe = {home: clean_forms(pl.Series(tables[home][key])) for key, home in _KEYS.items()}
    counts: list[Mend] = []
    changed = {}
    for name, table in tables.items():
        columns = []
        for column in TABLES[name]:
            if column.holds_ids:
                mended, found = _mend_ids(table[column.name], safe[_HOMES[column.name]])
            elif pa.types.is_string(column.type) or pa.types.is_list(column.type):
                mended, found = _mend_texts(table[column.name])
            else:
                mended, found = table[column.name], {}
            columns.append(mended)
            counts += [Mend(name, column.name, rule, n) for rule, n in found.items() if n]
        after = pa.table(columns, schema=table.schema)
        keep = _first_of_equal_rows(name, after)
        if keep is not None:
            counts.append(Mend(name, None, "duplicate row", after.num_rows - int(keep.sum())))
            after = after.filter(pa.array(keep))
        if any(count.table == name for count in counts):
            changed[name] = to_dataset(after)
    return (replace(dataset, **changed) if changed else dataset), counts


def _mend_ids(column: pa.ChunkedArray, safe: pl.Series) -> tuple[pa.ChunkedArray, dict[str, int]]:
    """Ids, and references to them: those that differ from their clean form, where that is in ``safe``."""
    counts = {"blanks around an id": 0, "id not in NFC": 0}

    def change(ids: pl.Series) -> pl.Series:
        at = np.flatnonzero(_differs(ids.str.strip_chars(), ids) | needs_nfc(ids).to_numpy())
        if len(at):
            at = at[clean(ids.gather(at)).is_in(safe.implode()).to_numpy()]
        if not len(at):
            return ids
        some = ids.gather(at)
        counts["blanks around an id"] += int(_differs(some.str.strip_chars(), some).sum())
        counts["id not in NFC"] += int(needs_nfc(some.str.strip_chars()).sum())
        return ids.clone().scatter(at, clean(some))

    return _map_batches(column, change), counts


def _mend_texts(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, dict[str, int]]:
    counts = {"blanks around a text": 0, "text not in NFC": 0}

    def change(texts: pl.Series) -> pl.Series:
        stripped = texts.str.strip_chars()
        n_blank, wrong_form = int(_differs(stripped, texts).sum()), needs_nfc(stripped).to_numpy()
        counts["blanks around a text"] += n_blank
        counts["text not in NFC"] += int(wrong_form.sum())
        if not n_blank and not wrong_form.any():
            return texts
        at = np.flatnonzero(wrong_form)
        return stripped.scatter(at, stripped.gather(at).str.normalize("NFC")) if len(at) else stripped

    return _map_batches(column, change), counts


def _differs(some: pl.Series, other: pl.Series) -> np.ndarray:
    return (some != other).fill_null(False).to_numpy()


def _map_batches(column: pa.ChunkedArray, change) -> pa.ChunkedArray:  # type: ignore[no-untyped-def]
    """The column with ``change`` applied to its texts, batch by batch; an unchanged batch is not copied."""
    parts: list[pa.Array] = []
    for part in _batches(column):
        values = part.flatten() if pa.types.is_list(part.type) else part
        before = pl.Series(values)
        after = change(before)
        if after is before:
            parts.append(part)
            continue
        texts = after.to_arrow().cast(pa.string())
        parts.append(_relisted(part, texts) if pa.types.is_list(part.type) else texts)
    return pa.chunked_array(parts, type=column.type)


def _relisted(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """The same lists with other values in them."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=lists.type, mask=pc.is_null(lists))


def _batches(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in column.chunks:
        for start in range(0, len(chunk), _BATCH_ROWS):
            yield chunk.slice(start, _BATCH_ROWS)


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
