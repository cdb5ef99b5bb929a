"""The grades that are known for pairs across a batch: an item of one instance that is judged for another's query."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.errors import UsageError
from mr_st.identity import array_hash, settings_hash

__all__ = ["KnownGrades"]

_ITEMS_AT_ONCE = 50_000


@dataclass(frozen=True, eq=False)
class KnownGrades:
    """A split's judgments, looked up by the texts of query and item. Build it with :meth:`from_dataset`.

    It holds no text, only arrays (about 17 bytes a judgment and 8 a text): 2.6 million judgments take under 60 MB.
    Texts are known by 64 bits of their hash; that two of two million texts share one has a chance of 1e-7.

    Args:
        query_keys: uint64 (n_queries,), ascending: the hashes of the judged queries' texts.
        item_keys: uint64 (n_items,), ascending: those of the judged items' texts.
        offsets: int64 (n_queries + 1,): the pairs of query i stand at ``offsets[i]:offsets[i + 1]``.
        items: int32 (n_pairs,): positions in ``item_keys``, ascending within a query.
        grades: int8 (n_pairs,).

    Example:
        >>> dataset = GradedDataset.from_tables(
        ...     queries=[{"query_id": "q1", "text": "red mug"}, {"query_id": "q2", "text": "hat"}],
        ...     items=[{"item_id": "a", "title": "Red mug"}, {"item_id": "b", "title": "Blue hat"}],
        ...     judgments=[
        ...         {"query_id": "q1", "item_id": "a", "grade": 2},
        ...         {"query_id": "q1", "item_id": "b", "grade": 0},
        ...         {"query_id": "q2", "item_id": "b", "grade": 1},
        ...     ],
        ... )
        >>> KnownGrades.from_dataset(dataset).among(["hat", "red mug"], ["Blue hat", "Cup"]).tolist()
        [[0, 0, 1], [1, 0, 0]]
    """

    query_keys: np.ndarray
    item_keys: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    grades: np.ndarray

    @classmethod
    def from_dataset(
        cls,
        dataset: GradedDataset,
        split: str = "train",
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
    ) -> KnownGrades:
        """The judgments of one split.

        Queries with one text are one query here, and so are items. A pair of texts that is judged with more than one
        grade that way is left out: nobody could say which of them holds.

        Args:
            dataset: Where the judgments are.
            split: Whose judgments; those of other splits are never looked at, so that training cannot learn them.
            item_text_levels: Taxonomy levels in an item's text, as ``build_instances`` was given.
            max_chars: Where an item's text is cut, as ``build_instances`` was given.

        Raises:
            UsageError: there is no such split.
        """
        pairs = dataset.judged_pairs(split)
        query_rows, query_of_pair = np.unique(pairs.query_rows, return_inverse=True)
        item_rows, item_of_pair = np.unique(pairs.item_rows, return_inverse=True)
        texts = dataset.queries.select_columns(["text"])
        query_keys, query_at = np.unique(_keys(texts[query_rows]["text"]), return_inverse=True)
        table = dataset.items.select_columns(["title", "category_path"])
        of_items = np.empty(len(item_rows), dtype=np.uint64)
        for start in range(0, len(item_rows), _ITEMS_AT_ONCE):
            part = table[item_rows[start : start + _ITEMS_AT_ONCE]]
            titles_and_paths = zip(part["title"], part["category_path"], strict=True)
            of_items[start : start + _ITEMS_AT_ONCE] = _keys(
                format_item(title, path, item_text_levels, max_chars) for title, path in titles_and_paths
            )
        item_keys, item_at = np.unique(of_items, return_inverse=True)
        queries, items = query_at[query_of_pair], item_at[item_of_pair].astype(np.int32)
        order = np.lexsort((items, queries))
        queries, items, grades = queries[order], items[order], pairs.grades[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (queries[1:] != queries[:-1]) | (items[1:] != items[:-1])
        starts = np.flatnonzero(is_first)
        if len(starts):
            is_one_grade = np.minimum.reduceat(grades, starts) == np.maximum.reduceat(grades, starts)
            starts = starts[is_one_grade]
        offsets = np.searchsorted(queries[starts], np.arange(len(query_keys) + 1)).astype(np.int64)
        return cls(query_keys, item_keys, offsets, items[starts], grades[starts])

    def __len__(self) -> int:
        """How many pairs have a grade here."""
        return len(self.grades)

    @cached_property
    def identity(self) -> str:
        """Content hash: the same judgments of the same texts, whatever the order of the dataset's rows."""
        arrays = (self.query_keys, self.item_keys, self.offsets, self.items, self.grades)
        return settings_hash([array_hash(array) for array in arrays])

    def among(self, queries: Sequence[str], items: Sequence[str]) -> np.ndarray:
        """The known grades of all pairs of these queries and items.

        The cost goes with the judgments that the queries have, not with queries times items.

        Args:
            queries: Texts; one that stands there twice is answered twice.
            items: Distinct texts.

        Returns:
            int64 (n, 3): position of the query, position of the item, grade; sorted.
        """
        query_at, item_at = _positions(queries, self.query_keys), _positions(items, self.item_keys)
        there = np.flatnonzero(query_at >= 0)
        starts, stops = self.offsets[query_at[there]], self.offsets[query_at[there] + 1]
        sizes = stops - starts
        pair = np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        query = np.repeat(there, sizes)
        known_items = np.flatnonzero(item_at >= 0)
        known_items = known_items[np.argsort(item_at[known_items])]
        found = np.searchsorted(item_at[known_items], self.items[pair])
        is_here = found < len(known_items)
        is_here[is_here] = item_at[known_items[found[is_here]]] == self.items[pair[is_here]]
        rows = [query[is_here], known_items[found[is_here]], self.grades[pair[is_here]].astype(np.int64)]
        answer = np.stack(rows, axis=1)
        return answer[np.lexsort((answer[:, 1], answer[:, 0]))]

    def check(self, queries: Sequence[str], items: Sequence[str]) -> None:
        """Refuse texts of which none is known here, on either side.

        Raises:
            UsageError: the lookup was made of other texts.
        """
        for what, texts, keys in (("query", queries, self.query_keys), ("item", items, self.item_keys)):
            if (_positions(texts, keys) < 0).all():
                raise UsageError(
                    f"none of the {len(texts)} {what} texts of a batch, such as {texts[0]!r:.60}, is in the judgments "
                    "of known; build it with the dataset, item_text_levels and max_chars of the instances"
                )


def _positions(texts: Sequence[str], keys: np.ndarray) -> np.ndarray:
    """int64 (n,): where each text's key stands in the ascending ``keys``, -1 where it does not."""
    wanted = _keys(texts)
    at = np.searchsorted(keys, wanted)
    is_there = at < len(keys)
    is_there[is_there] = keys[at[is_there]] == wanted[is_there]
    return np.where(is_there, at, -1)


def _keys(texts: Iterable[str]) -> np.ndarray:
    """uint64 (n,): the first 64 bits of each text's hash."""
    digests = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8")
