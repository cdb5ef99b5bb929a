"""Serves each epoch its own rows: the stock trainer has no hook for drawing fresh rows between epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

from mr_st.errors import UsageError

__all__ = ["EpochBatchSampler"]


class EpochBatchSampler(DefaultBatchSampler):
    """Batches of the rows whose column ``epoch`` equals the trainer's epoch, shuffled by (seed, epoch) alone.

    Give the class to the stock trainer as ``args.batch_sampler``. A dataset without the column has one epoch.

    The trainer counts the steps of an epoch once and then takes that many in every epoch. Epochs may differ a little
    in size, so each has as many batches as the largest one: a shorter epoch is filled up with a second, differently
    shuffled pass over its own rows, and no row is left out. When the trainer goes on beyond the last epoch laid out,
    the epochs start again from the first, shuffled anew.

    Since the order depends on (seed, epoch) only, a run resumed in the middle of an epoch continues with the batches
    it would have had.

    Args:
        dataset: The instances; only the column ``epoch`` is read.
        batch_size: Rows (queries) a batch.
        drop_last: Leave out an incomplete last batch.
        valid_label_columns: Not used.
        generator: Not used: its state would not survive a resume.
        seed: The trainer's seed.

    Raises:
        UsageError: no row, a gap in the numbering of the epochs, or ``drop_last`` that leaves no batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool = False,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        if len(dataset) == 0:
            raise UsageError("there is no training row; judge some queries with two grades or more")
        self.rows_of_epoch = _rows_of_epochs(dataset)
        largest = max(len(rows) for rows in self.rows_of_epoch)
        self.n_batches = largest // batch_size if drop_last else -(-largest // batch_size)
        if self.n_batches == 0:
            raise UsageError(f"{largest} training rows an epoch do not fill one batch of {batch_size}")
        self.n_rows = min(largest, self.n_batches * batch_size)

    def __len__(self) -> int:
        """Batches an epoch, the same for every epoch."""
        return self.n_batches

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows_of_epoch[self.epoch % len(self.rows_of_epoch)]
        passes = -(-self.n_rows // len(rows))
        order = [np.random.default_rng((self.seed, self.epoch, turn)).permutation(rows) for turn in range(passes)]
        served = np.concatenate(order)[: self.n_rows].tolist()
        for start in range(0, self.n_rows, self.batch_size):
            yield served[start : start + self.batch_size]


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
