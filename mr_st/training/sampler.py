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
from mr_st.training import ranks
from mr_st.training.lengths import longest_items

__all__ = ["EpochBatchSampler", "tell_epoch"]


def tell_epoch(dataloader: Any, epoch: int) -> None:
    """Set the epoch of the batch sampler behind a dataloader, however many samplers accelerate has put before it.

    Under several processes the trainer does not reach it when it resumes within an epoch, and would go on with the
    batches of epoch 0.
    """
    sampler = getattr(dataloader, "batch_sampler", None)
    while sampler is not None and not hasattr(sampler, "set_epoch"):
        sampler = getattr(sampler, "batch_sampler", None)
    if sampler is not None:
        sampler.set_epoch(epoch)


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

    With ``length_aware``, instances whose longest items are of like length stand together, so that a column padded to
    its longest text holds less padding. The batches come in random order; under several processes, those of a step
    are of like length. The number of batches, the bounds and every row once an epoch are as without. A length is that
    of :func:`longest_items`, varied by up to 5 % from epoch to epoch, so that not always the same rows meet. A loss
    that looks across instances meets other neighbours. docs/losses.md says what it saves, and where it does not.

    Args:
        dataset: The instances; only the columns ``epoch``, with ``max_items`` ``labels``, and with ``length_aware``
            the items are read.
        batch_size: Rows (queries) a batch; with ``max_items``, at most.
        drop_last: Leave out an incomplete last batch. With ``max_items`` or several processes no batch is incomplete,
            and none is left out.
        valid_label_columns: Not used.
        generator: Not used: its state would not survive a resume.
        seed: The trainer's seed.
        max_items: Items a batch, at most; None for no bound. An instance that is larger than that is refused: a batch
            of its own would break the bound that keeps a step in memory.
        length_aware: Put instances of like length together. The dataset comes from ``build_instances`` or has a
            column ``items`` of lists of texts.
        n_ranks: How many processes share the batches; None: those of ``torch.distributed``.

    Raises:
        UsageError: no row, a gap in the numbering of the epochs, ``drop_last`` that leaves no batch, an instance of
            more than ``max_items`` items, ``max_items`` without a column ``labels``, or ``length_aware`` without
            items.

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
        length_aware: bool = False,
        n_ranks: int | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        if len(dataset) == 0:
            raise UsageError("there is no training row; judge some queries with two grades or more")
        self.rows_of_epoch = _rows_of_epochs(dataset)
        self.max_items = max_items
        self.lengths = longest_items(dataset) if length_aware else None
        self.n_ranks = ranks.n_ranks() if n_ranks is None else n_ranks
        largest = max(len(rows) for rows in self.rows_of_epoch)
        if max_items is None:
            is_cut = drop_last and self.n_ranks == 1
            self.n_batches = largest // batch_size if is_cut else self._for_all_ranks(-(-largest // batch_size))
            if self.n_batches == 0:
                raise UsageError(f"{largest} training rows an epoch do not fill one batch of {batch_size}")
            self.n_rows = self.n_batches * batch_size
            if self.n_ranks == 1:
                self.n_rows = min(self.n_rows, largest)
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
        served = self._shuffled(rows, self.n_rows)
        starts = np.arange(self.n_batches) * self.batch_size
        if self.lengths is not None:
            # Each pass over the rows is sorted by itself: a row and its repetition are not neighbours.
            passes = np.split(served, range(len(rows), len(served), len(rows)))
            served = np.concatenate([of_pass[self._longest_first(of_pass)] for of_pass in passes])
            n_whole = self.n_rows // self.batch_size  # an incomplete batch stays the last: accelerate expects it there
            starts[:n_whole] = starts[self._order_by_steps(n_whole)]
        for start in starts.tolist():
            yield served[start : start + self.batch_size].tolist()

    def _shuffled(self, rows: np.ndarray, n_rows: int) -> np.ndarray:
        """``n_rows`` of the rows, each at most once more than another."""
        passes = -(-n_rows // len(rows))
        order = [np.random.default_rng((self.seed, self.epoch, turn)).permutation(rows) for turn in range(passes)]
        return np.concatenate(order)[:n_rows]

    def _order_of_batches(self, n_batches: int) -> np.ndarray:
        return np.random.default_rng((self.seed, self.epoch, 0, 1)).permutation(n_batches)

    def _order_by_steps(self, n_batches: int) -> np.ndarray:
        """A random order of batches sorted by length in which the ranks of a step get neighbours, and wait little."""
        steps = self._order_of_batches(-(-n_batches // self.n_ranks))
        order = (steps[:, None] * self.n_ranks + np.arange(self.n_ranks)).ravel()
        return order[order < n_batches]

    def _longest_first(self, rows: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
        """The order of ``rows`` by falling length, each varied a little; within falling ``classes`` if given."""
        assert self.lengths is not None
        varied = np.random.default_rng((self.seed, self.epoch, 0, 2)).uniform(0.95, 1.05, len(rows))
        keys = -self.lengths[rows] * varied
        return np.argsort(keys, kind="stable") if classes is None else np.lexsort((keys, -classes))

    def _bounded(self, rows: np.ndarray) -> Iterator[list[int]]:
        order = self._shuffled(rows, max(len(rows), self.n_batches))
        order = order[np.argsort(-self.sizes[order], kind="stable")]
        batch_of = self._deal(self.sizes[order], self.n_batches, self.queries_per_batch)
        assert batch_of is not None, "the number of batches was found with these sizes"
        turns = self._order_of_batches(self.n_batches)
        if self.lengths is not None:
            # Which of the rows of one size goes to which of the batches that get one is free: each batch draws a
            # place among short and long, and rows and batches of a size are matched in that order.
            sizes = self.sizes[order]
            places = np.random.default_rng((self.seed, self.epoch, 0, 3)).permutation(self.n_batches)
            taking = np.lexsort((places[batch_of], -sizes))
            batch_of = batch_of[taking]
            order = order[self._longest_first(order, sizes)]
            turns = np.argsort(places)[self._order_by_steps(self.n_batches)]
        batches = np.split(order[np.argsort(batch_of, kind="stable")], np.cumsum(np.bincount(batch_of))[:-1])
        for at in turns:
            yield batches[at].tolist()

    def _fewest_batches(self, batch_size: int) -> int:
        """The smallest number of batches (within half a percent) that the rule can fill in every epoch."""
        assert self.max_items is not None
        of_epochs = [-np.sort(-self.sizes[rows]) for rows in self.rows_of_epoch]
        n = max(max(-(-int(sizes.sum()) // self.max_items), -(-len(sizes) // batch_size)) for sizes in of_epochs)
        n = self._for_all_ranks(n)
        # an epoch with fewer rows than batches has a row in each of them, whichever rows those are
        while any(len(sizes) > n and self._deal(sizes, n, batch_size) is None for sizes in of_epochs):
            n = self._for_all_ranks(n + max(1, n // 200))
        return n

    def _for_all_ranks(self, n_batches: int) -> int:
        return -(-n_batches // self.n_ranks) * self.n_ranks

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
