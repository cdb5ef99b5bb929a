"""GradedDataset: queries, items and graded judgments; the one type that every part of the project speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from mr_st.data.item_text import format_item, format_items
from mr_st.data.pairs import JudgedPairs, PairTable
from mr_st.data.schema import SPLITS, TABLES, arrow_schema, arrow_table, to_dataset, to_table
from mr_st.errors import DataError, Problem, UsageError
from mr_st.grades import THREE_GRADES, GradeScale
from mr_st.identity import settings_hash

__all__ = ["GradedDataset"]


@dataclass(eq=False)
class GradedDataset:
    """Queries, items, and judgments that grade pairs of them. Treat it as immutable: change a table by making anew.

    Args:
        queries: query_id, text, locale (BCP-47), frequency (float64 or null), kind, source_query_id (or null).
        items: item_id, title, category_path (list of texts), description, brand, color (each or null), locale.
        judgments: query_id, item_id, grade (int8), split (train/dev/test), source, confidence (float32 or null).
        engagement: query_id, item_id, impressions, clicks, add_to_carts, purchases (int64); or None.
        scale: What the grades mean.
        name: What to call the dataset in reports and cards.
        license: An SPDX id or a name.
        source: How the dataset was made, YAML-ready.

    Raises:
        DataError: a required column is missing or a column has a wrong type.

    Example:
        >>> dataset = GradedDataset.from_tables(
        ...     queries=[{"query_id": "q1", "text": "red mug"}],
        ...     items=[{"item_id": "a", "title": "Red mug"}, {"item_id": "b", "title": "Blue hat"}],
        ...     judgments=[
        ...         {"query_id": "q1", "item_id": "a", "grade": 2},
        ...         {"query_id": "q1", "item_id": "b", "grade": 0},
        ...     ],
        ... )
        >>> dataset.splits, dataset.judged_pairs("train").grades.tolist()
        (['train'], [2, 0])
    """

    queries: Dataset
    items: Dataset
    judgments: Dataset
    engagement: Dataset | None = None
    scale: GradeScale = THREE_GRADES
    name: str = "dataset"
    license: str = "unknown"
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for table in TABLES:
            value = getattr(self, table)
            if value is None and table == "engagement":
                continue
            if _is_in_form(value, table):
                continue
            cast, faults = to_table(table, value)
            problems += faults
            setattr(self, table, to_dataset(cast))
        if problems:
            raise DataError(problems)

    def __repr__(self) -> str:
        engagement = "" if self.engagement is None else f", {len(self.engagement):,} engagement rows"
        return (
            f"GradedDataset({self.name!r}: {len(self.queries):,} queries, {len(self.items):,} items, "
            f"{len(self.judgments):,} judgments{engagement}, grades {self.scale})"
        )

    # ---- ways in and out -------------------------------------------------------------------------------------------

    @classmethod
    def from_tables(
        cls,
        queries: Any,
        items: Any,
        judgments: Any,
        engagement: Any = None,
        *,
        scale: GradeScale = THREE_GRADES,
        name: str = "dataset",
        license: str = "unknown",
        source: dict[str, Any] | None = None,
    ) -> GradedDataset:
        """Make a dataset from plain tables; optional columns may be absent, ids may be whole numbers.

        Args:
            queries: A polars or pandas frame, an Arrow table, a ``datasets.Dataset``, a list of dicts or a dict of
                lists; query_id and text are required.
            items: The same; item_id and title are required.
            judgments: The same; query_id, item_id and grade are required; split is "train" where absent.
            engagement: The same, or None; query_id, item_id, impressions and clicks are required.
            scale: What the grades mean.
            name: What to call the dataset.
            license: An SPDX id or a name.
            source: How the dataset was made, YAML-ready.

        Raises:
            DataError: a required column is missing or values have a wrong type; it lists every such fault. What the
                values say is checked by :meth:`validate`.
            UsageError: an argument is no table.
        """
        return cls(queries, items, judgments, engagement, scale, name, license, dict(source or {}))

    @classmethod
    def load(cls, name_or_path: str | Path, **options: Any) -> GradedDataset:
        """Load a dataset by name, from a path or from the Hub, and check it.

        Args:
            name_or_path: A source's name (``marketplace``, ``esci``, ``wands``, ``table``, ``mteb``, ``hub``); a
                folder that :meth:`save` or :meth:`to_mteb` wrote; a folder with ESCI's or WANDS' original files,
                in MTEB's or BEIR's form, or with tables; or, where there is no such path, the id of a Hub dataset
                (``org/name``).
            options: What the source takes, e.g. ``size="small", seed=0`` for the marketplace, ``revision="main"``
                for the Hub.

        Raises:
            UsageError: none of these, or an unknown option.
            DataError: the data has faults; ``.problems`` lists them all.
            MrStError: the Hub refused, or cannot be reached.
        """
        from mr_st.data.sources import load_source

        return load_source(name_or_path, **options)

    def save(self, folder: str | Path) -> Path:
        """Write the tables as Parquet beside ``dataset.yaml``, whole or not at all; returns the folder.

        Raises:
            UsageError: ``folder`` holds something else than a saved dataset.
            MrStError: it cannot be written.
        """
        from mr_st.data.storage import save_folder

        return save_folder(self, folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Push the saved form and a dataset card to the Hub in one commit; returns the commit's address.

        Args:
            repo_id: Id of the Hub dataset, ``org/name``; created if it does not exist.
            private: Make it private if it is created now; an existing public one is then refused.
            token: A Hub token; None takes the one that huggingface_hub finds (``HF_TOKEN`` or ``hf auth login``).
            revision: Branch to commit to; created if needed. None is ``main``.
            commit_message: The commit's message.

        Raises:
            DataError: the dataset has faults.
            UsageError: ``repo_id`` is no id, or the repository holds something else than a pushed dataset.
            MrStError: the Hub refused, or cannot be reached. The token stands in no message.
        """
        from mr_st.data.hub_form import push_dataset

        return push_dataset(
            self, repo_id, private=private, token=token, revision=revision, commit_message=commit_message
        )

    def to_mteb(self, folder: str | Path, item_text_levels: int | None = 2, max_chars: int | None = 400) -> Path:
        """Write corpus, queries and qrels in MTEB's retrieval form; returns the folder.

        :meth:`load` gives the dataset back whole, wherever the texts were cut.

        Args:
            folder: Where; refused when it holds anything that this method did not write.
            item_text_levels: Taxonomy levels in an item's text.
            max_chars: Where an item's text is cut.

        Raises:
            DataError: the dataset has faults.
            UsageError: ``folder`` holds something else.
            MrStError: it cannot be written.
        """
        from mr_st.data.mteb_form import save_mteb

        return save_mteb(self, folder, item_text_levels, max_chars)

    # ---- checks and figures ----------------------------------------------------------------------------------------

    def problems(self) -> list[Problem]:
        """Every fault in the tables, found in one pass; empty when there is none."""
        from mr_st.data.validation import find_problems

        return find_problems(self)

    def validate(self) -> None:
        """Raise when the tables have any fault.

        Raises:
            DataError: with every problem in ``.problems``.
        """
        problems = self.problems()
        if problems:
            raise DataError(problems)

    def describe(self) -> dict[str, Any]:
        """Counts, label shares by split, judged items per query, text lengths and locales, ready for JSON."""
        from mr_st.data.describe import describe

        return describe(self)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of the tables and the scale; where the data lies, its name and its source do not count."""
        from mr_st.data.fingerprint import batches_hash
        from mr_st.data.spool import table_batches

        hashes: dict[str, str | None] = {}
        for name in TABLES:
            table = getattr(self, name)
            hashes[name] = None if table is None else batches_hash(arrow_schema(name), table_batches(table))
        return settings_hash({"tables": hashes, "scale": self.scale.to_dict()})

    # ---- splits and pairs ------------------------------------------------------------------------------------------

    @property
    def splits(self) -> list[str]:
        """The splits that have judgments: train, dev, test in this order, then any other."""
        present = set(pc.unique(arrow_table(self.judgments)["split"]).to_pylist()) - {None}
        return [s for s in SPLITS if s in present] + sorted(present - set(SPLITS))

    def split(self, name: str) -> GradedDataset:
        """The judgments of one split, the queries they name, and ALL items (shared, not copied).

        Raises:
            UsageError: there is no such split.
        """
        self._check_split(name)
        judgments = arrow_table(self.judgments)
        judgments = judgments.filter(pc.equal(judgments["split"], name))
        ids = pc.unique(judgments["query_id"])
        queries, engagement = arrow_table(self.queries), self.engagement
        if engagement is not None:
            table = arrow_table(engagement)
            engagement = to_dataset(table.filter(pc.is_in(table["query_id"], value_set=ids)))
        return GradedDataset(
            to_dataset(queries.filter(pc.is_in(queries["query_id"], value_set=ids))),
            self.items, to_dataset(judgments), engagement, self.scale, self.name, self.license, dict(self.source),
        )  # fmt: skip

    def judged_pairs(self, split: str | None = None) -> JudgedPairs:
        """The judged pairs of one split, or of all, as row numbers.

        Raises:
            UsageError: there is no such split.
            DataError: a judgment names an unknown query or item, or has no grade of the scale.
        """
        if split not in self._judged_pairs:
            table = arrow_table(self.judgments)
            if split is not None:
                self._check_split(split)
                table = table.filter(pc.equal(table["split"], split))
            query_rows = _rows_of(table["query_id"], self._query_ids)
            item_rows = _rows_of(table["item_id"], self._item_ids)
            grades = pc.fill_null(table["grade"], -1).to_numpy()
            is_known = (query_rows >= 0) & (item_rows >= 0) & (grades >= 0) & (grades < self.scale.n_grades)
            if not is_known.all():
                raise DataError(self.problems())
            self._judged_pairs[split] = JudgedPairs.from_rows(query_rows, item_rows, grades, len(self.queries))
        return self._judged_pairs[split]

    def pair_table(
        self,
        query_rows: Sequence[int] | np.ndarray,
        item_rows: Sequence[int] | np.ndarray,
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
    ) -> PairTable:
        """Ids and texts of pairs, for an annotator.

        Args:
            query_rows: (n,) rows of ``queries``.
            item_rows: (n,) rows of ``items``.
            item_text_levels: Taxonomy levels in an item's text.
            max_chars: Where an item's text is cut.
        """
        query_rows, item_rows = np.asarray(query_rows, dtype=np.int64), np.asarray(item_rows, dtype=np.int64)
        wanted_queries, query_at = np.unique(query_rows, return_inverse=True)
        wanted_items, item_at = np.unique(item_rows, return_inverse=True)
        queries = self.queries.select_columns(["query_id", "text", "locale"])[wanted_queries]
        items = self.items.select_columns(["item_id", "title", "category_path"])[wanted_items]
        titles_and_paths = zip(items["title"], items["category_path"], strict=True)
        texts = [format_item(title, path, item_text_levels, max_chars) for title, path in titles_and_paths]
        return PairTable(
            [queries["query_id"][i] for i in query_at],
            [items["item_id"][i] for i in item_at],
            [queries["text"][i] for i in query_at],
            [texts[i] for i in item_at],
            [queries["locale"][i] for i in query_at],
        )

    # ---- texts and rows --------------------------------------------------------------------------------------------

    def query_texts(self) -> list[str]:
        """The text of every query, in row order."""
        return arrow_table(self.queries)["text"].to_pylist()

    def item_texts(self, levels: int | None = 2, max_chars: int | None = 400) -> list[str]:
        """The text of every item, in row order.

        Args:
            levels: Taxonomy levels in the text; 0 for none, None for the whole path.
            max_chars: Where a text is cut; None for no cut.
        """
        items = arrow_table(self.items)
        return format_items(items["title"], items["category_path"], levels, max_chars)

    def query_rows(self, query_ids: Sequence[str]) -> np.ndarray:
        """int64 (n,) rows of the queries with these ids.

        Raises:
            UsageError: an id is unknown.
        """
        return _known_rows(query_ids, self._query_ids, "query")

    def item_rows(self, item_ids: Sequence[str]) -> np.ndarray:
        """int64 (n,) rows of the items with these ids.

        Raises:
            UsageError: an id is unknown.
        """
        return _known_rows(item_ids, self._item_ids, "item")

    # ---- what only this class sees ---------------------------------------------------------------------------------

    @cached_property
    def _judged_pairs(self) -> dict[str | None, JudgedPairs]:
        return {}

    @cached_property
    def _query_ids(self) -> pa.Array:
        return arrow_table(self.queries)["query_id"].combine_chunks()

    @cached_property
    def _item_ids(self) -> pa.Array:
        return arrow_table(self.items)["item_id"].combine_chunks()

    def _check_split(self, name: str) -> None:
        if name not in self.splits:
            there = ", ".join(self.splits) or "none"
            raise UsageError(f"{self.name}: no split {name!r}; the judgments have {there}; name one of these")


def _is_in_form(value: Any, table: str) -> bool:
    plain = isinstance(value, Dataset) and value._indices is None and value.format["type"] is None
    return plain and value.data.table.schema.equals(arrow_schema(table))


def _rows_of(ids: pa.ChunkedArray | pa.Array, known: pa.Array) -> np.ndarray:
    """int64 rows of ``ids`` in ``known``, -1 where unknown."""
    return pc.fill_null(pc.index_in(ids, value_set=known), -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _known_rows(ids: Sequence[str], known: pa.Array, what: str) -> np.ndarray:
    rows = _rows_of(pa.array(ids, type=pa.string()), known)
    if (rows < 0).any():
        unknown = ids[int(np.argmin(rows))]
        raise UsageError(f"no {what} has the id {unknown!r}; ids are those of the dataset's {what} table")
    return rows
