from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
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


def sized(*epochs: list[int]) -> Dataset:
    """Epochs of instances with so many items each."""
    rows = [(epoch, [0] * size) for epoch, sizes in enumerate(epochs) for size in sizes]
    return Dataset.from_dict({"epoch": [epoch for epoch, _ in rows], "labels": [labels for _, labels in rows]})


def test_items_are_bounded_and_batches_about_equal() -> None:
    sampler = EpochBatchSampler(sized([6, 5, 4, 3, 2, 2, 2]), 7, max_items=8)
    sizes = np.array([6, 5, 4, 3, 2, 2, 2])
    batches = served(sampler, 0)
    # largest first to the least filled: 6 | 5 | 4, then 4+3, 5+2, 6+2, and the last 2 has no room in three batches
    assert len(batches) == len(sampler) == 4
    assert sorted(sizes[batch].sum() for batch in batches) == [5, 6, 6, 7]
    assert sorted(flat(batches)) == list(range(7))


def test_equal_instances_fill_the_bound() -> None:
    sampler = EpochBatchSampler(sized([4] * 12), 16, max_items=12)
    assert [len(batch) for batch in served(sampler, 0)] == [3, 3, 3, 3]
    assert [len(batch) for batch in served(EpochBatchSampler(sized([4] * 12), 2, max_items=12), 0)] == [2] * 6


@settings(deadline=None, max_examples=60)
@given(
    epochs=st.lists(st.lists(st.integers(2, 12), min_size=1, max_size=25), min_size=1, max_size=3),
    batch_size=st.integers(1, 9),
    max_items=st.integers(12, 40),
    epoch=st.integers(0, 6),
    seed=st.integers(0, 3),
)
def test_bounds_hold_and_every_row_is_served_each_epoch(epochs, batch_size, max_items, epoch, seed) -> None:
    dataset = sized(*epochs)
    sampler = EpochBatchSampler(dataset, batch_size, seed=seed, max_items=max_items)
    batches = served(sampler, epoch)
    sizes = np.array([size for of_epoch in epochs for size in of_epoch])
    assert len(batches) == len(sampler)
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert all(sizes[batch].sum() <= max_items for batch in batches)
    at = epoch % len(epochs)
    first = sum(map(len, epochs[:at]))
    counts = Counter(flat(batches))
    assert set(counts) == set(range(first, first + len(epochs[at])))
    if len(epochs[at]) >= len(sampler):
        assert set(counts.values()) == {1}  # only an epoch of fewer rows than batches has to repeat some
    assert served(EpochBatchSampler(dataset, batch_size, seed=seed, max_items=max_items), epoch) == batches


def test_bounded_batches_are_shuffled_by_seed_and_epoch() -> None:
    dataset = sized([3, 4, 5, 6] * 10)
    sampler = EpochBatchSampler(dataset, 8, seed=1, max_items=20)
    together = [{frozenset(batch) for batch in served(sampler, epoch)} for epoch in (0, 1)]
    assert together[0] != together[1]
    assert served(EpochBatchSampler(dataset, 8, seed=2, max_items=20), 0) != served(sampler, 0)


@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_share_the_bounded_batches_and_lose_none(n_processes: int) -> None:
    dataset = sized([3, 4, 5, 6, 7] * 5)
    shards = []
    for index in range(n_processes):
        sampler = EpochBatchSampler(dataset, 8, max_items=16)
        sampler.set_epoch(1)
        shards.append(list(BatchSamplerShard(sampler, n_processes, index)))
    assert len({len(shard) for shard in shards}) == 1
    assert {row for shard in shards for row in flat(shard)} == set(range(25))
    whole = served(EpochBatchSampler(dataset, 8, max_items=16), 1)
    assert [batch for step in zip(*shards, strict=True) for batch in step][: len(whole)] == whole


def test_instances_that_no_batch_can_hold_are_refused() -> None:
    with pytest.raises(UsageError, match="row 2 has 9 items where a batch may have 8; raise max_items_per_batch"):
        EpochBatchSampler(sized([3, 9]), 4, max_items=8)
    with pytest.raises(UsageError, match="needs a column labels; found query"):
        EpochBatchSampler(Dataset.from_dict({"query": ["q"]}), 4, max_items=8)


def test_sizes_are_read_through_a_transform() -> None:
    dataset = sized([2, 8, 4]).select([1, 2])
    dataset.set_transform(lambda batch: {"text": ["x"] * len(next(iter(batch.values())))})
    assert len(EpochBatchSampler(dataset, 4, max_items=8)) == 2


def worded(*epochs: list[tuple[int, int]]) -> Dataset:
    """Epochs of instances given as (items, words of the longest item)."""
    rows = [(epoch, n_items, n_words) for epoch, of_epoch in enumerate(epochs) for n_items, n_words in of_epoch]
    return Dataset.from_dict(
        {
            "epoch": [epoch for epoch, _, _ in rows],
            "labels": [[0] * n_items for _, n_items, _ in rows],
            "items": [["a " * n_words] + ["a"] * (n_items - 1) for _, n_items, n_words in rows],
        }
    )


@pytest.mark.parametrize("max_items", [None, 6])
def test_instances_of_like_length_stand_together(max_items: int | None) -> None:
    dataset = worded([(2, 10), (2, 100)] * 6)
    sampler = EpochBatchSampler(dataset, 3, seed=1, max_items=max_items, length_aware=True)
    for epoch in range(4):
        batches = served(sampler, epoch)
        assert sorted(flat(batches)) == list(range(12))
        assert sorted([row % 2 for row in batch] for batch in batches) == [[0] * 3] * 2 + [[1] * 3] * 2
    mixed = served(EpochBatchSampler(dataset, 3, seed=1, max_items=max_items), 0)
    assert any(len({row % 2 for row in batch}) == 2 for batch in mixed)


def test_batches_of_like_length_come_in_random_order_and_the_incomplete_one_last() -> None:
    sampler = EpochBatchSampler(worded([(1, words) for words in range(10, 440, 10)]), 4, length_aware=True)
    orders = []
    for epoch in range(6):
        batches = served(sampler, epoch)
        assert [len(batch) for batch in batches] == [4] * 10 + [3]
        orders.append(tuple(np.argsort([max(batch) for batch in batches[:10]])))
    assert len(set(orders)) == 6


@pytest.mark.parametrize("max_items", [None, 4])
def test_the_processes_of_a_step_get_batches_of_like_length(max_items: int | None) -> None:
    dataset = worded([(1, words) for words in range(10, 330, 10)])
    sampler = EpochBatchSampler(dataset, 4, max_items=max_items, length_aware=True, n_ranks=2)
    for epoch in range(3):
        batches = served(sampler, epoch)
        assert len(batches) == 8
        assert sorted(flat(batches)) == list(range(32))
        middles = [float(np.mean(batch)) for batch in batches]
        steps = [sum(pair) / 2 for pair in zip(middles[::2], middles[1::2], strict=True)]
        assert all(abs(a - b) < 7 for a, b in zip(middles[::2], middles[1::2], strict=True))
        assert steps != sorted(steps)


def test_like_length_and_a_bound_leave_less_padding() -> None:
    generator = np.random.default_rng(0)
    sizes, widths = generator.integers(2, 9, 400), generator.lognormal(3, 0.5, 400).astype(int)
    shapes = list(zip(sizes.tolist(), widths.tolist(), strict=True))
    for max_items in (None, 64):
        cells = []
        for length_aware in (False, True):
            sampler = EpochBatchSampler(worded(shapes), 16, max_items=max_items, length_aware=length_aware)
            cells.append(sum(sizes[batch].sum() * widths[batch].max() for batch in served(sampler, 0)))
        assert cells[1] < 0.7 * cells[0]


@settings(deadline=None, max_examples=60)
@given(
    epochs=st.lists(
        st.lists(st.tuples(st.integers(2, 12), st.integers(1, 30)), min_size=1, max_size=25), min_size=1, max_size=3
    ),
    batch_size=st.integers(1, 9),
    max_items=st.none() | st.integers(12, 40),
    epoch=st.integers(0, 6),
    seed=st.integers(0, 3),
)
def test_like_length_changes_neither_bounds_nor_which_rows_are_served(epochs, batch_size, max_items, epoch, seed):
    dataset = worded(*epochs)
    sampler = EpochBatchSampler(dataset, batch_size, seed=seed, max_items=max_items, length_aware=True)
    plain = EpochBatchSampler(dataset, batch_size, seed=seed, max_items=max_items)
    batches, others = served(sampler, epoch), served(plain, epoch)
    assert Counter(flat(batches)) == Counter(flat(others))
    assert len(batches) == len(sampler) == len(plain)
    sizes = np.array([n_items for of_epoch in epochs for n_items, _ in of_epoch])
    if max_items is None:
        assert [len(batch) for batch in batches] == [len(batch) for batch in others]
    else:
        assert all(1 <= len(batch) <= batch_size and sizes[batch].sum() <= max_items for batch in batches)
        assert sorted(sizes[batch].sum() for batch in batches) == sorted(sizes[batch].sum() for batch in others)
    again = EpochBatchSampler(dataset, batch_size, seed=seed, max_items=max_items, length_aware=True)
    assert served(again, epoch) == batches


def test_like_length_needs_texts() -> None:
    with pytest.raises(UsageError, match="length_aware needs instances of build_instances"):
        EpochBatchSampler(sized([3, 4]), 2, length_aware=True)
