"""Token overlap between a query and an item text: how much of the query can be read in the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mr_st.text.normalise import tokens

__all__ = ["pair_overlaps", "token_overlap"]


def token_overlap(query: str, item_text: str) -> float:
    """Share of the query's distinct tokens found in the item text (containment), 0 to 1; 0 for a query with no token.

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
    queries = {row: set(tokens(query_texts[row])) for row in np.unique(query_rows).tolist()}
    items = {row: set(tokens(item_texts[row])) for row in np.unique(item_rows).tolist()}
    overlaps = np.zeros(len(query_rows))
    for pair, (query_row, item_row) in enumerate(zip(query_rows.tolist(), item_rows.tolist(), strict=True)):
        wanted = queries[query_row]
        if wanted:
            overlaps[pair] = len(wanted & items[item_row]) / len(wanted)
    return overlaps
