"""Serves each epoch its own rows: the stock trainer has no hook for drawing fresh rows between epochs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

from mr_st.errors import UsageError

__all__ = ["EpochBatchSampler"]


class EpochBatchSampler(DefaultBatchSampler):
    """Batches of the rows whose column ``epoch`` equals the trainer's epoch, shuffled by (seed, epoch) alone.

    Give the class to the stock trainer as ``args.batch_sampler``; with ``max_items``,
    ``functools.partial(EpochBatchSampler, max_items=...)``. A dataset without the column has one epoch.

    The trainer counts the steps of an epoch once and then takes that many in every epoch. Epochs may differ a little
    in size, so each has as many batches as the largest one: a shorter epoch is filled up with a second, differently
    shuffled pass over its own rows, and no row is left out. When the trainer goes on beyond the last epoch laid out,
    the epochs start again from the first, shuffled anew.

    Since the order depends on (seed, epoch) only, a run resumed in the middle of an epoch continues with the batches
    it would have had.

    Instances differ in size. With ``max_items``, no batch has more than that many items (rows of column ``labels``),
    nor more than ``batch_size`` queries. There are as few batches as the bound allows (within the rule's reach), and
    each row is served once an epoch: the rows, largest first and shuffled among equals, go one by one to the batch
    with the fewest items so far. So all batches of an epoch are about equally large, and large and small instances
    stand together. How many batches that makes depends on the sizes alone, never on the shuffle.

    Args:
        dataset: The instances; only the columns ``epoch`` and, with ``max_items``, ``labels`` are read.
        batch_size: Rows (queries) a batch; with ``max_items``, at most.
        drop_last: Leave out an incomplete last batch; with ``max_items`` no batch is incomplete, and none is left out.
        valid_label_columns: Not used.
        generator: Not used: its state would not survive a resume.
        seed: The trainer's seed.
        max_items: Items a batch, at most; None for no bound. An instance that is larger than that is refused: a batch
            of its own would break the bound that keeps a step in memory.

    Raises:
        UsageError: no row, a gap in the numbering of the epochs, ``drop_last`` that leaves no batch, an instance of
            more than ``max_items`` items, or ``max_items`` without a column ``labels``.

    Source:
        Largest first to the least filled: R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool = False,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        max_items: int | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        if len(dataset) == 0:
            raise UsageError("there is no training row; judge some queries with two grades or more")
        self.rows_of_epoch = _rows_of_epochs(dataset)
        self.max_items = max_items
        largest = max(len(rows) for rows in self.rows_of_epoch)
        if max_items is None:
            self.n_batches = largest // batch_size if drop_last else -(-largest // batch_size)
            if self.n_batches == 0:
                raise UsageError(f"{largest} training rows an epoch do not fill one batch of {batch_size}")
            self.n_rows = min(largest, self.n_batches * batch_size)
            return
        self.sizes = _sizes(dataset, max_items)
        self.n_rows = largest
        self._deals: dict[bytes, np.ndarray | None] = {}
        self.n_batches = self._fewest_batches(batch_size)
        self.queries_per_batch = batch_size
        # Batches differ in rows: a batch_size would make accelerate drop, under DDP, all that have fewer.
        self.batch_size = None  # type: ignore[assignment]

    def __len__(self) -> int:
        """Batches an epoch, the same for every epoch."""
        return self.n_batches

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows_of_epoch[self.epoch % len(self.rows_of_epoch)]
        if self.max_items is not None:
            yield from self._bounded(rows)
            return
        served = self._shuffled(rows, self.n_rows).tolist()
        for start in range(0, self.n_rows, self.batch_size):
            yield served[start : start + self.batch_size]

    def _shuffled(self, rows: np.ndarray, n_rows: int) -> np.ndarray:
        """``n_rows`` of the rows, each at most once more than another."""
        passes = -(-n_rows // len(rows))
        order = [np.random.default_rng((self.seed, self.epoch, turn)).permutation(rows) for turn in range(passes)]
        return np.concatenate(order)[:n_rows]

    def _bounded(self, rows: np.ndarray) -> Iterator[list[int]]:
        order = self._shuffled(rows, max(len(rows), self.n_batches))
        order = order[np.argsort(-self.sizes[order], kind="stable")]
        batch_of = self._deal(self.sizes[order], self.n_batches, self.queries_per_batch)
        assert batch_of is not None, "the number of batches was found with these sizes"
        batches = np.split(order[np.argsort(batch_of, kind="stable")], np.cumsum(np.bincount(batch_of))[:-1])
        for at in np.random.default_rng((self.seed, self.epoch, 0, 1)).permutation(len(batches)):
            yield batches[at].tolist()

    def _fewest_batches(self, batch_size: int) -> int:
        """The smallest number of batches (within half a percent) that the rule can fill in every epoch."""
        assert self.max_items is not None
        of_epochs = [-np.sort(-self.sizes[rows]) for rows in self.rows_of_epoch]
        n = max(max(-(-int(sizes.sum()) // self.max_items), -(-len(sizes) // batch_size)) for sizes in of_epochs)
        # an epoch with fewer rows than batches has a row in each of them, whichever rows those are
        while any(len(sizes) > n and self._deal(sizes, n, batch_size) is None for sizes in of_epochs):
            n += max(1, n // 200)
        return n

    def _deal(self, sizes: np.ndarray, n_batches: int, most_rows: int) -> np.ndarray | None:
        """int64 (n,): the batch of each row, given the sizes in falling order; None where that breaks a bound."""
        key = np.int64(n_batches).tobytes() + np.bincount(sizes).tobytes()
        if key not in self._deals:
            self._deals[key] = _deal(sizes, n_batches, most_rows, int(self.max_items or 0))
        return self._deals[key]


def _deal(sizes: np.ndarray, n_batches: int, most_rows: int, most_items: int) -> np.ndarray | None:
    open_batches = list(range(n_batches))  # a heap of items * n_batches + batch
    n_rows = [0] * n_batches
    dealt = np.empty(len(sizes), dtype=np.int64)
    for at, size in enumerate(sizes.tolist()):
        if not open_batches:
            return None
        n_items, batch = divmod(open_batches[0], n_batches)
        if n_items + size > most_items:
            return None
        dealt[at] = batch
        n_rows[batch] += 1
        if n_rows[batch] == most_rows:
            heapq.heappop(open_batches)
        else:
            heapq.heapreplace(open_batches, open_batches[0] + size * n_batches)
    return dealt


def _sizes(dataset: Dataset, max_items: int) -> np.ndarray:
    """int64 (n,): how many items each row has."""
    if "labels" not in dataset.column_names:
        raise UsageError(f"max_items={max_items} needs a column labels; found {', '.join(dataset.column_names)}")
    column: Any = dataset.with_format("arrow", columns=["labels"])[:]["labels"]
    sizes = pc.list_value_length(column).to_numpy().astype(np.int64)
    if sizes.max() > max_items:
        raise UsageError(
            f"training row {int(sizes.argmax()) + 1:,} has {sizes.max():,} items where a batch may have "
            f"{max_items:,}; raise max_items_per_batch, or lower the caps of the instances"
        )
    return sizes


def _rows_of_epochs(dataset: Dataset) -> list[np.ndarray]:
    if "epoch" not in dataset.column_names:
        return [np.arange(len(dataset))]
    column: Any = dataset.with_format("numpy", columns=["epoch"])["epoch"]
    epochs = np.asarray(column[:])
    n_epochs = int(epochs.max()) + 1
    rows = [np.flatnonzero(epochs == epoch) for epoch in range(n_epochs)]
    empty = [epoch for epoch, of_epoch in enumerate(rows) if len(of_epoch) == 0]
    if empty or epochs.min() < 0:
        raise UsageError(f"column epoch runs from {epochs.min()} to {n_epochs - 1} with no row for {empty or 'some'}")
    return rows
