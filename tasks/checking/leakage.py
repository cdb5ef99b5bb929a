"""Whether what is tested was trained on: pairs, and the texts of queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mr_st.evaluation.finding import Finding, Level
from mr_st.tasks.checking.near_texts import near_texts
from mr_st.text import normalise

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["find_leakage"]

_MOST_SEEN = 0.95
_MOST_NEAR = 200_000  # training texts that are compared letter by letter


def find_leakage(dataset: GradedDataset, split: str, query_rows: np.ndarray) -> Iterator[Finding]:
    """What the split and the training split share.

    A judged pair that stands in both, by ids or by texts, is a fault: its grade was given to whoever trained. Query
    texts may be shared (a golden set shares most of its queries with training), but how many are is worth knowing, and
    where next to none is new nothing is said of new queries.

    Args:
        dataset: All splits.
        split: The one that is tested.
        query_rows: int64 (n,), rows of the queries that are evaluated.
    """
    if split == "train" or "train" not in dataset.splits:
        return
    tested, trained = dataset.judged_pairs(split), dataset.judged_pairs("train")
    stride = len(dataset.items)
    both = np.intersect1d(
        tested.query_rows * stride + tested.item_rows, trained.query_rows * stride + trained.item_rows
    )
    query_ids, item_ids = list(dataset.queries["query_id"]), list(dataset.items["item_id"])
    if len(both):
        where = tuple(f"{query_ids[pair // stride]} {item_ids[pair % stride]}" for pair in both.tolist())
        yield Finding("must", "same pair in train and test", f"{len(both):,} judged pairs stand in both splits",
                      f"take them out of train or out of {split}", where)  # fmt: skip
    query_texts = [_plain(text) for text in dataset.query_texts()]
    item_texts = [_plain(text) for text in dataset.item_texts(None, None)]
    known = {(query_texts[q], item_texts[i]) for q, i in zip(trained.query_rows, trained.item_rows, strict=True)}
    shared = set(both.tolist())
    twice = [
        f"{query_ids[q]} {item_ids[i]}"
        for q, i in zip(tested.query_rows.tolist(), tested.item_rows.tolist(), strict=True)
        if q * stride + i not in shared and (query_texts[q], item_texts[i]) in known
    ]
    if twice:
        level: Level = "must" if len(twice) > 0.01 * len(tested.query_rows) else "should"
        yield Finding(level, "same pair by its texts", f"{len(twice):,} pairs of {split} stand in train under other "
                      "ids", "take them out of one of the two, or give queries and items of one text one id",
                      tuple(twice))  # fmt: skip
    yield from _shared_queries(dataset, split, query_rows, query_texts, query_ids)


def _shared_queries(
    dataset: GradedDataset, split: str, query_rows: np.ndarray, texts: list[str], ids: list[str]
) -> Iterator[Finding]:
    in_training = {texts[row]: row for row in np.unique(dataset.judged_pairs("train").query_rows).tolist()}
    rows = query_rows.tolist()
    seen = [row for row in rows if texts[row] in in_training]
    share = len(seen) / max(len(rows), 1)
    if seen:
        yield Finding(
            "should" if share > _MOST_SEEN else "note",
            "query text in train and test",
            f"{len(seen):,} of {len(rows):,} queries of {split} ({share:.0%}) have a text that train has too",
            "add queries that training never saw" if share > _MOST_SEEN else "",
            tuple(ids[row] for row in seen),
        )
    new = [row for row in rows if texts[row] not in in_training]
    if len(in_training) > _MOST_NEAR:
        yield Finding("note", "near texts not looked for", f"train has more than {_MOST_NEAR:,} query texts")
        return
    others = list(in_training)
    near = near_texts([texts[row] for row in new], others)
    if near:
        where = tuple(f"{ids[new[a]]} like {ids[in_training[others[b]]]}" for a, b in near.items())
        share = (len(seen) + len(near)) / len(rows)
        yield Finding(
            "should" if share > _MOST_SEEN else "note",
            "near-duplicate query in train",
            f"{len(near):,} queries of {split} are a letter or the order of words away from one of train",
            "add queries that training never saw" if share > _MOST_SEEN else "",
            where,
        )


def _plain(text: str) -> str:
    return " ".join(normalise(text).split())
