"""Names of pairs by what an annotator is shown of them, so that a label is found again wherever the pair stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from mr_st.data.dataset import GradedDataset
from mr_st.data.item_text import format_item
from mr_st.data.schema import arrow_table

__all__ = ["find_keys", "pair_keys"]

_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)


def pair_keys(
    dataset: GradedDataset,
    query_rows: np.ndarray,
    item_rows: np.ndarray,
    item_text_levels: int | None,
    max_chars: int | None,
) -> np.ndarray:
    """128-bit names of pairs: of ids, texts and locale, all that a PairTable shows.

    Args:
        dataset: Whose rows these are.
        query_rows: int (n,).
        item_rows: int (n,).
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.

    Returns:
        uint64 (n, 2).
    """
    wanted_queries, query_at = np.unique(query_rows, return_inverse=True)
    wanted_items, item_at = np.unique(item_rows, return_inverse=True)
    queries = arrow_table(dataset.queries).select(["query_id", "text", "locale"]).take(wanted_queries)
    items = arrow_table(dataset.items).select(["item_id", "title", "category_path"]).take(wanted_items)
    shown_queries = zip(*(queries[name].to_pylist() for name in ("query_id", "text", "locale")), strict=True)
    titles_and_paths = zip(items["title"].to_pylist(), items["category_path"].to_pylist(), strict=True)
    texts = (format_item(title, path, item_text_levels, max_chars) for title, path in titles_and_paths)
    query_keys = _keys(shown_queries)
    item_keys = _keys(zip(items["item_id"].to_pylist(), texts, strict=True))
    # both halves are hashes already: a sum of one and an odd multiple of the other tells pairs apart as well
    return query_keys[query_at] + _ODD * item_keys[item_at]


def _keys(rows: Iterable[tuple[str | None, ...]]) -> np.ndarray:
    """uint64 (n, 2) hashes of rows of texts; boundaries count."""
    digests = bytearray()
    for row in rows:
        digest = hashlib.blake2b(digest_size=16)
        for text in row:
            data = (text or "").encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        digests += digest.digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64).reshape(-1, 2)


def find_keys(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where each key stands among known ones.

    Args:
        keys: uint64 (n, 2).
        known: uint64 (m, 2), none twice.

    Returns:
        int64 (n,), -1 where it is not known.

    Example:
        >>> find_keys(np.array([[1, 2], [3, 4]], np.uint64), np.array([[3, 4], [1, 3]], np.uint64)).tolist()
        [-1, 0]
    """
    if not len(known):
        return np.full(len(keys), -1, dtype=np.int64)
    order = np.argsort(known[:, 0], kind="stable")
    at = np.minimum(np.searchsorted(known[order, 0], keys[:, 0]), len(known) - 1)
    found = order[at]
    return np.where((known[found] == keys).all(axis=1), found, -1)
