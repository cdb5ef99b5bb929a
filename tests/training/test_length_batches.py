"""Batches of pairs of like length."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import PreTrainedTokenizerFast

from mr_st.training.length_batches import LengthBatchSampler, token_lengths


def rows(n: int, seed: int = 0) -> Dataset:
    lengths = np.random.default_rng(seed).integers(1, 200, n)
    return Dataset.from_dict({"query": ["q"] * n, "item": ["x" * int(length) for length in lengths]})


def batches(dataset: Dataset, epoch: int = 0, seed: int = 3, drop_last: bool = False) -> list[list[int]]:
    sampler = LengthBatchSampler(dataset, 8, drop_last, seed=seed)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


@pytest.mark.parametrize("n", [1, 7, 8, 9, 401, 1003])
def test_an_epoch_holds_every_row_once(n):
    found = batches(rows(n))
    assert sorted(row for batch in found for row in batch) == list(range(n))
    assert sorted(len(batch) for batch in found)[1:] == [8] * (len(found) - 1)


def test_drop_last_leaves_out_what_fills_no_batch():
    found = batches(rows(403), drop_last=True)
    assert [len(batch) for batch in found] == [8] * 50


def test_rows_of_a_batch_are_of_like_length():
    dataset = rows(8000)
    lengths = np.array([len(item) for item in dataset["item"]])
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches(dataset)])
    chance = np.mean([np.ptp(lengths[batch]) for batch in np.arange(8000).reshape(-1, 8)])
    assert spread < chance / 5


def test_tokens_pad_less_than_characters_where_scripts_differ():
    """A Japanese character is a token of its own, so a short text may have many."""
    rng = np.random.default_rng(0)
    items = ["鞋" * int(n) if n % 2 else "red shoe " * int(n) for n in rng.integers(1, 40, 4000)]
    dataset = Dataset.from_dict({"query": ["q"] * 4000, "item": items})
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    tokens = np.array(token_lengths(fast, 50, dataset["query"][:], items))
    assert tokens.max() == 50
    assert tokens[:3].tolist() == [min(50, 1 + (len(t) if t[0] == "鞋" else len(t.split()))) for t in items[:3]]
    padded = []
    for lengths in (None, partial(token_lengths, fast, 50)):
        sampler = LengthBatchSampler(dataset, 8, False, lengths=lengths)
        padded.append(sum(int(tokens[batch].max()) * len(batch) for batch in sampler))
    assert padded[1] < 1.05 * tokens.sum() < 1.08 * tokens.sum() < padded[0]


def test_few_rows_are_only_shuffled():
    """Of twenty batches none may hold one length only, where length goes with the grade."""
    dataset = Dataset.from_dict({"query": ["q"] * 160, "item": ["x" * (1 + 50 * (n % 2)) for n in range(160)]})
    assert all(len({row % 2 for row in batch}) == 2 for batch in batches(dataset))


def test_the_order_follows_from_seed_and_epoch():
    dataset = rows(200)
    assert batches(dataset, epoch=1) == batches(dataset, epoch=1)
    assert batches(dataset, epoch=1) != batches(dataset, epoch=2)
    assert batches(dataset, seed=4) != batches(dataset, seed=5)


def test_batches_come_in_no_order_of_length():
    dataset = rows(3200)
    lengths = np.array([len(item) for item in dataset["item"]])
    means = [lengths[batch].mean() for batch in batches(dataset)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2
