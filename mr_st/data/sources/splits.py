"""Whole queries drawn for the dev and test splits by hash: the same ones on every machine, in any row order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mr_st.errors import UsageError

__all__ = ["check_shares", "draw_splits", "lowest_by_hash"]


def lowest_by_hash(query_ids: Iterable[str], share: float, seed: int) -> list[str]:
    """The ``share`` of the distinct ids whose SHA-256 with the seed is lowest, lowest first.

    Args:
        query_ids: Ids, in any order and number.
        share: In [0, 1]; the number drawn is rounded.
        seed: Which ones they are.
    """
    ranked = _ranked(query_ids, seed)
    return ranked[: round(share * len(ranked))]


def draw_splits(query_ids: Iterable[str], dev_share: float, test_share: float, seed: int) -> dict[str, str]:
    """Give each distinct query its one split.

    Args:
        query_ids: Ids, in any order and number.
        dev_share: Share of the queries that becomes dev, in [0, 1).
        test_share: Share that becomes test; the two together are below 1.
        seed: Which ones they are.

    Raises:
        UsageError: the shares leave nothing to train on.

    Example:
        >>> sorted(draw_splits(["a", "b", "c", "d"], dev_share=0.25, test_share=0.25, seed=0).values())
        ['dev', 'test', 'train', 'train']
    """
    check_shares(dev_share, test_share)
    ranked = _ranked(query_ids, seed)
    n_test, n_dev = round(test_share * len(ranked)), round(dev_share * len(ranked))
    names = ["test"] * n_test + ["dev"] * n_dev + ["train"] * (len(ranked) - n_test - n_dev)
    return dict(zip(ranked, names, strict=True))


def check_shares(dev_share: float, test_share: float) -> None:
    """Refuse shares that are none, or that leave no query for training.

    Raises:
        UsageError: a share is outside [0, 1), or both together reach 1.
    """
    for name, share in (("dev_share", dev_share), ("test_share", test_share)):
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 <= share < 1.0:
            raise UsageError(f"{name}={share!r} is outside 0 <= share < 1")
    if dev_share + test_share >= 1.0:
        raise UsageError(f"dev_share={dev_share} and test_share={test_share} leave no query for training")


def _ranked(query_ids: Iterable[str], seed: int) -> list[str]:
    return sorted(set(query_ids), key=lambda q: (hashlib.sha256(f"{seed}:{q}".encode()).digest(), q))
