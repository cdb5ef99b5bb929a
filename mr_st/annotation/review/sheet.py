"""The sheet that experts fill in: a CSV file for spreadsheets, and a form in one HTML file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mr_st.annotation.guideline import Guideline
from mr_st.annotation.pages import write_page
from mr_st.annotation.protocol import PairTable
from mr_st.annotation.review.csv_cells import RISKY_STARTS, guarded
from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_path, ensure_writable, read_json, write_json
from mr_st.identity import settings_hash
from mr_st.text.html import markdown_html

__all__ = ["SHEET_COLUMNS", "ReviewSheet", "write_review_sheet"]

SHEET_COLUMNS = ("key", "query", "item", "locale", "grade", "note", "expert")
"""The columns of sheet.csv; an expert fills in the last three (of these only the grade is needed)."""

_FORMAT = 1
_HASH = 12


@dataclass(frozen=True)
class ReviewSheet:
    """A sheet in its folder: ``sheet.html``, ``sheet.csv``, and ``sheet.json``, the record of its pairs.

    Args:
        folder: Where the three files are.
        hash: Of the pairs, their order, their texts and the guideline (12 hexadecimal digits).
        pairs: The ids ``(query_id, item_id)`` in the sheet's order.
        grade_names: The name of each grade, lowest first.
        guideline: Version of the guideline that it shows.
    """

    folder: Path
    hash: str
    pairs: tuple[tuple[str, str], ...]
    grade_names: tuple[str, ...]
    guideline: str

    @property
    def html(self) -> Path:
        """The form."""
        return self.folder / "sheet.html"

    @property
    def csv(self) -> Path:
        """The table for spreadsheets."""
        return self.folder / "sheet.csv"

    def key(self, row: int) -> str:
        """What names the pair at ``row`` (from 0) in answers: the sheet's hash and the number from 1."""
        return f"s{self.hash}-{row + 1}"

    def n_unanswered(self, answers: pl.DataFrame) -> int:
        """How many of the pairs have no grade from anybody.

        Args:
            answers: As :func:`mr_st.annotation.read_answers` gives them.
        """
        return len(self.pairs) - answers.select("query_id", "item_id").n_unique()

    @classmethod
    def load(cls, folder: str | Path) -> ReviewSheet:
        """Read what :func:`write_review_sheet` wrote.

        Raises:
            MrStError: there is no sheet, or its sheet.json is damaged.
        """
        path = Path(folder) / "sheet.json"
        if not path.is_file():
            raise MrStError(f"{path}: no such file; give the folder that the review sheet was written to")
        about = read_json(path)
        try:
            if about["format"] != _FORMAT:
                raise ValueError
            pairs = tuple((str(query_id), str(item_id)) for query_id, item_id in about["pairs"])
            names = tuple(map(str, about["grade_names"]))
            return cls(Path(folder), str(about["hash"]), pairs, names, str(about["guideline"]["version"]))
        except (KeyError, TypeError, ValueError) as error:
            raise MrStError(f"{path}: not the record of a review sheet; write the sheet again") from error


def write_review_sheet(
    folder: str | Path,
    pairs: PairTable,
    guideline: Guideline,
    *,
    title: str = "Relevance review",
    shuffle_seed: int = 0,
    labels: Sequence[int] | None = None,
) -> ReviewSheet:
    """Write the sheet for some pairs: each query stands once, with its pairs together, in an order drawn by the seed.

    An expert sees the guideline, the query and the item. Labels, other judges' grades and engagement would bias the
    answer and are not in the files, unless ``labels`` are given. The same arguments give the same files, whatever
    the order of the pairs.

    Args:
        folder: Where to; a sheet that is there is replaced.
        pairs: The n >= 1 pairs, none twice.
        guideline: What the grades mean.
        title: The form's heading.
        shuffle_seed: A whole number from 0 up.
        labels: The grade that each pair has now, shown beside it; None for a blind review.

    Raises:
        UsageError: no pairs, a pair twice, or another number of labels than of pairs.
        MrStError: the folder cannot be written.
    """
    if not len(pairs):
        raise UsageError("a review sheet needs at least one pair")
    ids = list(zip(pairs.query_ids, pairs.item_ids, strict=True))
    if len(set(ids)) < len(ids):
        twice = next(pair for at, pair in enumerate(ids) if pair in ids[:at])
        raise UsageError(f"the pair of query {twice[0]!r} and item {twice[1]!r} is given twice; give each pair once")
    if labels is not None and len(labels) != len(pairs):
        raise UsageError(f"{len(labels):,} labels for {len(pairs):,} pairs; give one for each, or none")
    order = _order(pairs, shuffle_seed)
    pairs = pairs.take(order)
    shown = None if labels is None else [int(labels[row]) for row in order]
    ids = list(zip(pairs.query_ids, pairs.item_ids, strict=True))
    content = [ids, pairs.query_texts, pairs.item_texts, guideline.version, shown]
    digest = settings_hash(content)[:_HASH]
    sheet = ReviewSheet(ensure_writable(folder), digest, tuple(ids), tuple(guideline.grade_names), guideline.version)
    _write_csv(sheet, pairs)
    _write_form(sheet, pairs, guideline, title, shown)
    about = {
        "format": _FORMAT,
        "hash": sheet.hash,
        "title": title,
        "guideline": {"name": guideline.name, "version": guideline.version},
        "grade_names": list(guideline.grade_names),
        "pairs": [list(pair) for pair in ids],
    }
    write_json(sheet.folder / "sheet.json", about)
    return sheet


def _order(pairs: PairTable, seed: int) -> list[int]:
    """Rows grouped by query; queries, and items within one, in an order that the seed and the ids decide alone."""
    generator = np.random.default_rng([seed, 7])
    rows_of: dict[str, list[int]] = {}
    for row in sorted(range(len(pairs)), key=lambda row: (pairs.query_ids[row], pairs.item_ids[row])):
        rows_of.setdefault(pairs.query_ids[row], []).append(row)
    groups = list(rows_of.values())
    return [
        groups[group][place]
        for group in generator.permutation(len(groups)).tolist()
        for place in generator.permutation(len(groups[group])).tolist()
    ]


def _write_csv(sheet: ReviewSheet, pairs: PairTable) -> None:
    """RFC 4180, with a byte order mark, without which spreadsheets take UTF-8 for something else."""
    rows = zip(pairs.query_texts, pairs.item_texts, pairs.locales, strict=True)
    with (
        atomic_path(sheet.csv) as temporary,
        open(temporary, "w", encoding="utf-8-sig", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\r\n")
        writer.writerow(SHEET_COLUMNS)
        for row, texts in enumerate(rows):
            writer.writerow([sheet.key(row), *(guarded(text.replace("\0", "")) for text in texts), "", "", ""])


def _write_form(
    sheet: ReviewSheet, pairs: PairTable, guideline: Guideline, title: str, labels: list[int] | None
) -> None:
    texts = zip(pairs.query_ids, pairs.query_texts, pairs.item_texts, pairs.locales, strict=True)
    number_of: dict[str, int] = {}
    queries: list[list[str]] = []
    items = []
    for query_id, query, item, locale in texts:
        if query_id not in number_of:
            number_of[query_id] = len(queries)
            queries.append([query, "" if locale == "und" else locale])
        items.append([number_of[query_id], item])
    data = {
        "hash": sheet.hash,
        "grades": list(sheet.grade_names),
        "queries": queries,
        "items": items,
        "labels": labels,
        "guard": RISKY_STARTS,
    }
    write_page(
        sheet.html,
        "review_sheet",
        data,
        title=title,
        guideline=markdown_html(guideline.text),
        guideline_name=f"{guideline.name}, version {guideline.version}",
        n_pairs=len(items),
        n_queries=len(queries),
        last_key=min(len(sheet.grade_names) - 1, 9),
    )
