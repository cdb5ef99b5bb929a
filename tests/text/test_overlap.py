from __future__ import annotations

import numpy as np
import pytest

from mr_st.text import normalise, pair_overlaps, token_overlap, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Men's T-Shirt, 100% Cotton", ["mens", "t", "shirt", "100", "cotton"]),
        ("ＬＥＤ　ﬁlter", ["led", "filter"]),  # full-width letters and space, the fi ligature
        ("STRASSE straße", ["strasse", "strasse"]),
        ("café cafe\u0301", ["café", "café"]),  # composed and decomposed
        ("हिन्दी", ["हिन्दी"]),  # vowel signs belong to the word
        ("under_score", ["under", "score"]),
        ("größe_xl", ["grösse", "xl"]),
        ("  ,.! ", []),
        ("", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_normalise_is_idempotent() -> None:
    for text in ["İstanbul", "ΣΊΣΥΦΟΣ", "Ⅷ ½", "ﬃ", "abc"]:
        assert normalise(normalise(text)) == normalise(text)


def test_overlap_is_containment_of_distinct_query_tokens() -> None:
    assert token_overlap("red red shoes", "shoes, RED and more") == 1.0
    assert token_overlap("red shoes", "red red red") == 0.5
    assert token_overlap("a b c d", "x") == 0.0
    assert token_overlap("!!!", "anything") == 0.0


def test_pair_overlaps_equal_single_ones() -> None:
    queries = ["red shoes", "usb cable 2 m", "?"]
    items = ["Red cable", "USB-C cable, 2m", "shoes red"]
    query_rows = np.array([0, 1, 2, 0, 1], dtype=np.int32)
    item_rows = np.array([2, 1, 0, 0, 0], dtype=np.int32)
    expected = [token_overlap(queries[q], items[i]) for q, i in zip(query_rows, item_rows, strict=True)]
    assert pair_overlaps(queries, items, query_rows, item_rows).tolist() == expected
    assert expected == [1.0, 0.5, 0.0, 0.5, 0.25]
