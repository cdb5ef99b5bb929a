from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

from mr_st.errors import UsageError
from mr_st.training import EpochBatchSampler


def served(sampler: EpochBatchSampler, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def epochs(*sizes: int) -> Dataset:
    return Dataset.from_dict({"epoch": np.repeat(np.arange(len(sizes)), sizes), "query": ["q"] * sum(sizes)})


def test_each_epoch_serves_its_own_rows_shuffled() -> None:
    sampler = EpochBatchSampler(epochs(10, 10), 4, seed=1)
    assert isinstance(sampler, DefaultBatchSampler)
    first, second = served(sampler, 0), served(sampler, 1)
    assert sorted(flat(first)) == list(range(10))
    assert sorted(flat(second)) == list(range(10, 20))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert flat(first) != list(range(10))
    assert [i + 10 for i in flat(first)] != flat(second)
    assert served(EpochBatchSampler(epochs(10, 10), 4, seed=1), 1) == second
    assert served(EpochBatchSampler(epochs(10, 10), 4, seed=2), 1) != second


def test_epochs_of_different_size_have_the_same_number_of_batches_and_lose_no_row() -> None:
    sampler = EpochBatchSampler(epochs(10, 3, 7), 4)
    for epoch, rows in enumerate([range(10), range(10, 13), range(13, 20)]):
        batches = served(sampler, epoch)
        assert len(batches) == len(sampler) == 3
        counts = Counter(flat(batches))
        assert set(counts) == set(rows)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert sum(counts.values()) == 10


def test_epochs_start_again_in_another_order_when_they_run_out() -> None:
    sampler = EpochBatchSampler(epochs(10, 10), 4)
    assert sorted(flat(served(sampler, 2))) == list(range(10))
    assert served(sampler, 2) != served(sampler, 0)


def test_a_dataset_without_the_column_is_one_epoch() -> None:
    sampler = EpochBatchSampler(Dataset.from_dict({"query": ["q"] * 5}), 2)
    assert sorted(flat(served(sampler, 0))) == list(range(5))
    assert served(sampler, 0) != served(sampler, 1)


def test_drop_last() -> None:
    sampler = EpochBatchSampler(epochs(10, 9), 4, drop_last=True)
    assert [len(batch) for batch in served(sampler, 1)] == [4, 4]
    assert len(sampler) == 2


def test_it_reads_the_column_through_a_transform_and_a_selection() -> None:
    dataset = epochs(4, 4).select([7, 0, 1, 6])
    dataset.set_transform(lambda batch: {"text": ["x"] * len(next(iter(batch.values())))})
    sampler = EpochBatchSampler(dataset, 2)
    assert sorted(flat(served(sampler, 0))) == [1, 2]
    assert sorted(flat(served(sampler, 1))) == [0, 3]


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="no training row"):
        EpochBatchSampler(epochs(4).select([]), 2)
    with pytest.raises(UsageError, match="no row for"):
        EpochBatchSampler(Dataset.from_dict({"epoch": [0, 2]}), 2)
    with pytest.raises(UsageError, match="do not fill one batch"):
        EpochBatchSampler(epochs(3), 4, drop_last=True)
