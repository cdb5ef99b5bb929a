"""Batches of pairs of like length: less padding, and so more pairs a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler

__all__ = ["LengthBatchSampler", "token_lengths"]

_LARGEST_POOL = 50  # batches that are sorted by length together
_AT_ONCE = 8192  # pairs whose tokens are in memory
_POOLS = 20  # of an epoch at least: where length goes with the grade, a batch must not hold one grade only


class LengthBatchSampler(DefaultBatchSampler):
    """Shuffle the rows anew each epoch, sort pools of batches by length, and serve the batches in random order.

    A pool is a twentieth of the rows, 50 batches at most: below 40 batches an epoch nothing is sorted. Give the class
    to the stock trainer as ``args.batch_sampler``, or a ``functools.partial`` of it that says how long a row is. The
    order depends on the lengths, the seed and the epoch alone, so a resumed run goes on in it.

    Args:
        dataset: Rows with columns of texts ``query`` and ``item``.
        batch_size: Rows in a batch.
        drop_last: Leave out the rows that fill no batch.
        valid_label_columns: Not used; the stock trainer passes it.
        generator: Not used; the stock trainer passes it.
        seed: Of the order.
        lengths: Gives the lengths of the n rows from their columns ``query`` and ``item``; their characters when None.
            Tokens are better (:func:`token_lengths`): where scripts differ, characters say little about padding.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        lengths: Callable[[list[str], list[str]], Sequence[int]] | None = None,
    ):
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        self.lengths = np.array((lengths or _characters)(dataset["query"][:], dataset["item"][:]), dtype=np.int64)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        pool_size = self.batch_size * min(max(len(self) // _POOLS, 1), _LARGEST_POOL)
        pools = np.split(order, range(pool_size, len(order), pool_size))
        by_length = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = np.split(by_length, range(self.batch_size, len(by_length), self.batch_size))
        for number in rng.permutation(len(batches)).tolist():
            yield batches[number].tolist()


def token_lengths(tokenizer: Any, max_length: int, queries: list[str], items: list[str]) -> list[int]:
    """How many tokens each of n pairs has, cut to ``max_length``.

    Args:
        tokenizer: A transformers tokenizer that takes pairs.
        max_length: Where a pair is cut.
        queries, items: n texts each.
    """
    found: list[int] = []
    for start in range(0, len(queries), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows = tokenizer(queries[part], items[part], truncation=True, max_length=max_length)["input_ids"]
        found += map(len, rows)
    return found


def _characters(queries: list[str], items: list[str]) -> list[int]:
    return [len(query) + len(item) for query, item in zip(queries, items, strict=True)]
