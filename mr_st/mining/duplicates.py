"""Near-duplicates among a query's pairs: masks that say which pairs to leave out, and why.

Nothing here changes a grade: a near-duplicate is dropped from what is mined, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

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


@dataclass(frozen=True, eq=False)
class _Items:
    """Items with what they are compared by: int64 positions of their vectors (-1 for none), int64 text keys."""

    rows: np.ndarray
    at: np.ndarray | None
    keys: np.ndarray | None

    @classmethod
    def of(cls, item_rows: np.ndarray, likeness: ItemLikeness, allow_missing: bool = False) -> _Items:
        at = keys = None
        if likeness.vectors is not None:
            at = positions_of(item_rows, likeness.pool, len(likeness.vectors), "item", allow_missing)
        if likeness.text_keys is not None:
            keys = likeness.text_keys[item_rows]
        return cls(item_rows, at, keys)

    def take(self, where: slice | np.ndarray) -> _Items:
        columns = (self.rows, self.at, self.keys)
        return _Items(*(None if column is None else column[where] for column in columns))  # type: ignore[arg-type]

    def units(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors in float64, zeros for an item that has none."""
        at = np.asarray(self.at)
        units = vectors[np.maximum(at, 0)].astype(np.float64)
        units /= np.sqrt(np.einsum("nd,nd->n", units, units))[:, None]
        units[at < 0] = 0
        return units


def _alike(items: _Items, others: _Items, likeness: ItemLikeness) -> np.ndarray:
    """bool (len(items), len(others)): which are near-duplicates, or the same item."""
    alike = items.rows[:, None] == others.rows[None, :]
    if items.keys is not None and others.keys is not None:
        alike |= items.keys[:, None] == others.keys[None, :]
    if likeness.vectors is not None:
        units = items.units(likeness.vectors)
        other_units = units if others is items else others.units(likeness.vectors)
        # float64 rounded to float32: the same verdict whatever else is multiplied
        alike |= (units @ other_units.T).astype(np.float32) >= np.float32(likeness.threshold)
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
        positive_item_rows: int (m,); an item that was not searched, and so has no vector, is compared by its text.
        likeness: When two items are near-duplicates.

    Returns:
        bool (n,), a part of ``mask``.

    Raises:
        UsageError: the pairs are not sorted by query, or an item has no vector.
    """
    order = np.argsort(positive_query_rows, kind="stable")
    positive_queries = positive_query_rows[order]
    positives = _Items.of(positive_item_rows[order], likeness, allow_missing=True)
    asked = np.flatnonzero(mask)
    items = _Items.of(item_rows[asked], likeness)
    near = np.zeros(len(query_rows), dtype=bool)
    for query, span in _by_query(query_rows[asked]):
        start, stop = np.searchsorted(positive_queries, [query, query + 1])
        if start < stop:
            alike = _alike(items.take(span), positives.take(slice(start, stop)), likeness)
            near[asked[span]] = alike.any(axis=1)
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
    competing = np.flatnonzero(mask)
    _check_sorted(query_rows[competing])
    competing = competing[
        np.lexsort((priorities[competing], query_rows[competing]))
    ]  # stable: earlier of equals first
    items, of_grade = _Items.of(item_rows[competing], likeness), grades[competing]
    for _, span in _by_query(query_rows[competing]):
        some = items.take(span)
        alike = _alike(some, some, likeness) & (of_grade[span, None] == of_grade[None, span])
        twins[competing[span]] = _not_first(alike)
    return twins


def _not_first(alike: np.ndarray) -> np.ndarray:
    """bool (n,): rows that are like an earlier row that is itself none."""
    dropped = np.zeros(len(alike), dtype=bool)
    earlier = np.tril(alike, -1)
    for row in np.flatnonzero(earlier.any(axis=1)):
        dropped[row] = (earlier[row] & ~dropped).any()
    return dropped


def _check_sorted(query_rows: np.ndarray) -> None:
    if (query_rows[1:] < query_rows[:-1]).any():
        raise UsageError("the pairs are not in the order of their queries; sort them by query row")


def _by_query(query_rows: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Each query and where its pairs stand."""
    _check_sorted(query_rows)
    starts = np.flatnonzero(np.diff(query_rows, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(query_rows)]):
        yield int(query_rows[start]), slice(start, stop)
