"""Batches of pairs of like length: less padding, and so more pairs a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler

__all__ = ["LengthBatchSampler"]

_LARGEST_POOL = 50  # batches that are sorted by length together
_POOLS = 20  # of an epoch at least: where length goes with the grade, a batch must not hold one grade only


class LengthBatchSampler(DefaultBatchSampler):
    """Shuffle the rows anew each epoch, sort pools of batches by length, and serve the batches in random order.

    A pool is a twentieth of the rows, 50 batches at most: below 40 batches an epoch nothing is sorted. Give the class
    to the stock trainer as ``args.batch_sampler``. A row's length is the number of characters in its columns ``query``
    and ``item``. The order depends on the seed and the epoch alone, so a resumed run goes on in it.

    Args:
        dataset: Rows with columns of texts ``query`` and ``item``.
        batch_size: Rows in a batch.
        drop_last: Leave out the rows that fill no batch.
        valid_label_columns: Not used; the stock trainer passes it.
        generator: Not used; the stock trainer passes it.
        seed: Of the order.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ):
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        texts = zip(dataset["query"][:], dataset["item"][:], strict=True)
        self.lengths = np.array([len(query) + len(item) for query, item in texts], dtype=np.int64)

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
