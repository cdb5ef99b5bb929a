"""Near-duplicates among a query's pairs: masks that say which pairs to leave out, and why.

Nothing here changes a grade: a near-duplicate is dropped from what is mined, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from mr_st.errors import UsageError
from mr_st.mining.candidates import positions_of
from mr_st.text.normalise import tokens

__all__ = ["ItemLikeness", "near_positives", "text_keys_of", "twins_of_harder"]


@dataclass(frozen=True, eq=False)
class ItemLikeness:
    """When two items count as near-duplicates: their texts are equal, or their vectors' cosine reaches a threshold.

    Args:
        threshold: Cosine in (0, 1]; used where there are vectors.
        vectors: float (N, d), of any length but 0; may be a memory map. None compares texts only.
        pool: int (N,), the dataset's row of each vector; None: they are the dataset's rows.
        text_keys: int64 (items of the dataset,), from :func:`text_keys_of`. None compares vectors only.

    Raises:
        UsageError: neither vectors nor text keys, or a threshold outside its range.
    """

    threshold: float = 0.95
    vectors: np.ndarray | None = None
    pool: np.ndarray | None = None
    text_keys: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.vectors is None and self.text_keys is None:
            raise UsageError("near-duplicates are told by vectors, by texts or by both; give vectors or text_keys")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"the near-duplicate threshold is {self.threshold}; it is a cosine, above 0 and up to 1")

    def _units(self, item_rows: np.ndarray) -> np.ndarray | None:
        """Unit vectors of items in float64, so that a similarity does not depend on what else is multiplied."""
        if self.vectors is None:
            return None
        at = positions_of(item_rows, self.pool, len(self.vectors), "item")
        vectors = np.asarray(self.vectors[at], dtype=np.float64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _alike(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """bool (len(rows), len(others)): which of two lists of items are near-duplicates, or the same item."""
        alike = rows[:, None] == others[None, :]
        if self.text_keys is not None:
            alike |= self.text_keys[rows][:, None] == self.text_keys[others][None, :]
        units = self._units(rows)
        if units is not None:
            other_units = units if others is rows else self._units(others)
            alike |= (units @ other_units.T).astype(np.float32) >= np.float32(self.threshold)  # type: ignore[union-attr]
        return alike


def text_keys_of(texts: Iterable[str]) -> np.ndarray:
    """A number for each text: equal where the normalised tokens are, so case, spaces and punctuation do not count.

    Args:
        texts: Of the items; read once, one after another.

    Returns:
        int64 (n,): 64 bits of a hash, the same in every process.

    Example:
        >>> keys = text_keys_of(["Red mug!", "red  MUG", "blue mug"])
        >>> bool(keys[0] == keys[1]), bool(keys[0] == keys[2])
        (True, False)
    """
    digests = (
        int.from_bytes(blake2b(" ".join(tokens(text)).encode("utf-8", "surrogatepass"), digest_size=8).digest())
        for text in texts
    )
    return np.fromiter(digests, dtype=np.uint64).view(np.int64)


def near_positives(
    query_rows: np.ndarray,
    item_rows: np.ndarray,
    mask: np.ndarray,
    positive_query_rows: np.ndarray,
    positive_item_rows: np.ndarray,
    likeness: ItemLikeness,
) -> np.ndarray:
    """Which pairs are a near-duplicate of a positive of the same query: no trustworthy negatives, whatever the grade.

    Args:
        query_rows: int (n,), in ascending order.
        item_rows: int (n,), rows of the dataset's items.
        mask: bool (n,), the pairs that are asked about (the hard negatives).
        positive_query_rows: int (m,), of the judged pairs of grade 1 or more, in any order.
        positive_item_rows: int (m,).
        likeness: When two items are near-duplicates.

    Returns:
        bool (n,), a part of ``mask``.

    Raises:
        UsageError: the pairs are not sorted by query, or an item has no vector.
    """
    order = np.argsort(positive_query_rows, kind="stable")
    positive_queries, positive_items = positive_query_rows[order], positive_item_rows[order]
    near = np.zeros(len(query_rows), dtype=bool)
    for query, rows in _by_query(query_rows, mask):
        start, stop = np.searchsorted(positive_queries, [query, query + 1])
        if start < stop:
            near[rows] = likeness._alike(item_rows[rows], positive_items[start:stop]).any(axis=1)
    return near


def twins_of_harder(
    query_rows: np.ndarray,
    item_rows: np.ndarray,
    grades: np.ndarray,
    mask: np.ndarray,
    priorities: np.ndarray,
    likeness: ItemLikeness,
) -> np.ndarray:
    """Which pairs are a near-duplicate of a harder pair that stays, of the same query and grade: only the best-placed
    of several is worth training on.

    The hardest pair stays; each next one stays unless it is a near-duplicate of one that did. Pairs of different
    grades do not compete: that the annotator tells two similar items apart is what refinement teaches.

    Args:
        query_rows: int (n,), in ascending order.
        item_rows: int (n,), rows of the dataset's items.
        grades: int (n,).
        mask: bool (n,), the pairs that compete.
        priorities: (n,), smaller is harder, see :class:`mr_st.mining.select.HardPairs`; the earlier of equals is.
        likeness: When two items are near-duplicates.

    Returns:
        bool (n,), a part of ``mask``.

    Raises:
        UsageError: the pairs are not sorted by query, or an item has no vector.
    """
    twins = np.zeros(len(query_rows), dtype=bool)
    for _, rows in _by_query(query_rows, mask):
        if len(rows) > 1:
            rows = rows[np.argsort(priorities[rows], kind="stable")]
            items, of_grade = item_rows[rows], grades[rows]
            alike = likeness._alike(items, items) & (of_grade[:, None] == of_grade[None, :])
            twins[rows] = _not_first(alike)
    return twins


def _not_first(alike: np.ndarray) -> np.ndarray:
    """bool (n,): rows that are like an earlier row that is itself none."""
    dropped = np.zeros(len(alike), dtype=bool)
    earlier = np.tril(alike, -1)
    for row in np.flatnonzero(earlier.any(axis=1)):
        dropped[row] = (earlier[row] & ~dropped).any()
    return dropped


def _by_query(query_rows: np.ndarray, mask: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each query and the rows (int64, ascending) of its masked pairs."""
    if (query_rows[1:] < query_rows[:-1]).any():
        raise UsageError("the pairs are not in the order of their queries; sort them by query row")
    rows = np.flatnonzero(mask)
    if not len(rows):
        return
    queries = query_rows[rows]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(queries)) + 1, [len(rows)]])
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        yield int(queries[start]), rows[start:stop]
