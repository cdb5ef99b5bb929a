"""Mining again after the catalogue changed: old rankings brought up to date, exactly, by searching the new items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mr_st.errors import UsageError
from mr_st.search.protocol import TopK

__all__ = ["CatalogueChanges", "changes_of", "update_top_k"]


@dataclass(frozen=True, eq=False)
class CatalogueChanges:
    """How a new catalogue differs from an old one.

    Args:
        row_map: int64 (old items,), each old item's row in the new catalogue; -1 where it is gone or changed.
        added: int64 (m,), ascending: rows of the new catalogue that are new or changed.
    """

    row_map: np.ndarray
    added: np.ndarray


def changes_of(old_keys: np.ndarray, new_keys: np.ndarray) -> CatalogueChanges:
    """Match the items of two catalogues by their content.

    Args:
        old_keys: (old items,), a key of all that the item's vector depends on: numbers or fixed-width text.
        new_keys: (new items,), of the same type. Of items with the same key, the first matches the first.

    Example:
        >>> changes = changes_of(np.array(["a", "b", "c"]), np.array(["a", "c", "d"]))
        >>> changes.row_map.tolist(), changes.added.tolist()
        ([0, -1, 1], [2])
    """
    old_keys, new_keys = np.asarray(old_keys), np.asarray(new_keys)
    n_old, n_new = len(old_keys), len(new_keys)
    row_map = np.full(n_old, -1, dtype=np.int64)
    if n_old and n_new:
        _, codes = np.unique(np.concatenate([old_keys, new_keys]), return_inverse=True)
        codes = codes.reshape(-1)
        old = _occurrences(codes[:n_old]) + codes[:n_old] * (n_old + n_new)
        new = _occurrences(codes[n_old:]) + codes[n_old:] * (n_old + n_new)
        order = np.argsort(new)
        at = np.minimum(np.searchsorted(new, old, sorter=order), n_new - 1)
        row_map = np.where(new[order[at]] == old, order[at], -1)
    is_new = np.ones(n_new, dtype=bool)
    is_new[row_map[row_map >= 0]] = False
    return CatalogueChanges(row_map, np.flatnonzero(is_new))


def _occurrences(codes: np.ndarray) -> np.ndarray:
    """Of each code, how many equal ones stand before it."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    counted = np.empty(len(codes), dtype=np.int64)
    counted[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return counted


def update_top_k(old: TopK, row_map: np.ndarray, added: TopK, k: int) -> tuple[TopK, np.ndarray]:
    """The top k of a changed catalogue from the old top k and a search of the new items, and who must search anew.

    An item that the old list does not hold scores no more than the list's last one. So a query's new list is exact,
    ties included, as long as its k-th item stands before all that the old list may have left out; removals make a
    query stale only where they, with the new items, leave fewer such items than k.

    Args:
        old: ids (q, k_old): rows of the old catalogue, from an exact search of all of it.
        row_map: int64 (old items,), see :class:`CatalogueChanges`.
        added: ids (q, at least k): rows of the NEW catalogue, from an exact search of the new and changed items only,
            by the same queries and the same scores.
        k: How many are wanted.

    Returns:
        The new top k, ids (q, k) of the new catalogue, and the stale queries (int64, ascending), whose list is only
        a best guess: search those in full. All others are what a full search gives.

    Raises:
        UsageError: the two searches have different queries, or the new items' has less than k places.
    """
    if len(old.ids) != len(added.ids):
        raise UsageError(f"old lists of {len(old.ids):,} queries, new ones of {len(added.ids):,}; search the same")
    if k < 1 or added.ids.shape[1] < k:
        raise UsageError(f"the new items were searched for the top {added.ids.shape[1]}; expected at least k = {k}")
    if not old.ids.shape[1]:
        raise UsageError("the old lists have no place at all; search in full")
    row_map = np.asarray(row_map, dtype=np.int64)
    was_there = old.ids >= 0
    if was_there.any() and int(old.ids.max()) >= len(row_map):
        raise UsageError(f"an old list holds row {int(old.ids.max()):,} of a catalogue of {len(row_map):,} items")
    survivors = np.where(was_there, row_map[np.where(was_there, old.ids, 0)] if len(row_map) else -1, -1)
    kept = survivors >= 0
    ids = np.concatenate([survivors, added.ids], axis=1)
    scores = np.concatenate([np.where(kept, old.scores, -np.inf), added.scores], axis=1).astype(np.float32)
    order = np.lexsort((np.where(ids >= 0, ids, np.iinfo(np.int64).max), -scores), axis=-1)[:, :k]
    ids, scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)

    # What the old list left out: at most its last score, and at that score an old row beyond its last.
    n_left_out = int((row_map >= 0).sum()) - kept.sum(axis=1)
    last_scores, last_rows = old.scores[:, -1], old.ids[:, -1]
    beyond = np.append(np.minimum.accumulate(_end_where_gone(row_map)[::-1])[::-1], np.iinfo(np.int64).max)
    least_row = beyond[np.where(last_rows >= 0, last_rows + 1, len(row_map))]  # lowest new row of what is beyond it
    kth_rows, kth_scores = ids[:, -1], scores[:, -1]
    is_ahead = (kth_scores > last_scores) | ((kth_scores == last_scores) & (kth_rows < least_row))
    is_exact = (n_left_out == 0) | ((kth_rows >= 0) & is_ahead)
    return TopK(ids, scores), np.flatnonzero(~is_exact)


def _end_where_gone(row_map: np.ndarray) -> np.ndarray:
    return np.where(row_map >= 0, row_map, np.iinfo(np.int64).max)
