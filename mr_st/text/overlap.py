"""Token overlap between a query and an item text: how much of the query can be read in the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mr_st.text.normalise import tokens

__all__ = ["pair_overlaps", "token_overlap"]


def token_overlap(query: str, item_text: str) -> float:
    """Share of the query's distinct tokens that ``item_text`` has (containment), 0 to 1; 0 for a query with no token.

    Source: the paper's "token overlap" of hard pairs (arXiv 2602.17654); containment is our reading.

    Example:
        >>> token_overlap("red running shoes", "Red shoes for men")
        0.6666666666666666
    """
    wanted = set(tokens(query))
    return len(wanted & set(tokens(item_text))) / len(wanted) if wanted else 0.0


def pair_overlaps(
    query_texts: Sequence[str], item_texts: Sequence[str], query_rows: np.ndarray, item_rows: np.ndarray
) -> np.ndarray:
    """:func:`token_overlap` of many pairs; each text is split once, and only if some pair names it.

    Args:
        query_texts, item_texts: The texts that the rows index.
        query_rows, item_rows: Integer arrays (m,), one entry a pair.

    Returns:
        float64 (m,).
    """
    queries = {row: frozenset(tokens(query_texts[row])) for row in np.unique(query_rows).tolist()}
    overlaps = np.zeros(len(query_rows))
    order = np.argsort(item_rows, kind="stable")  # pairs of an item side by side: its tokens need not be kept
    last, found = None, list[str]()
    rows = zip(order.tolist(), query_rows[order].tolist(), item_rows[order].tolist(), strict=True)
    for pair, query_row, item_row in rows:
        if item_row != last:
            last, found = item_row, tokens(item_texts[item_row])
        wanted = queries[query_row]
        if wanted:
            overlaps[pair] = len(wanted.intersection(found)) / len(wanted)
    return overlaps
