"""encode: the right vectors in the right rows, each distinct text once, and nothing lost or repeated after a kill."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mr_st.encoding import encode, prompt_of
from mr_st.errors import MrStError, UsageError

TEXTS = ["red shirt", "blue shirt in cotton", "mug", "red shirt", "office chair with wooden desk and lamp", "kettle"]


class Counting:
    """Passes on to a model and records every text that it was asked to encode."""

    def __init__(self, model: SentenceTransformer, fail_after: int | None = None):
        self._model = model
        self._fail_after = fail_after
        self.asked: list[str] = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def encode_query(self, texts, **options):
        return self._run(self._model.encode_query, texts, options)

    def encode_document(self, texts, **options):
        return self._run(self._model.encode_document, texts, options)

    def _run(self, function, texts, options):
        if self._fail_after is not None and len(self.asked) >= self._fail_after:
            raise KeyboardInterrupt
        self.asked.extend(texts)
        return function(texts, **options)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_base), device="cpu")


def test_rows_are_the_models_own_vectors(model):
    ours = encode(model, TEXTS, "item", batch_size=2, shard_size=2)
    theirs = np.stack([model.encode_document([text])[0] for text in TEXTS])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-6)


def test_each_distinct_text_is_encoded_once_longest_first(model):
    counting = Counting(model)
    encode(counting, TEXTS, "query", batch_size=1)
    assert sorted(counting.asked) == sorted(set(TEXTS))
    assert [len(text) for text in counting.asked] == sorted((len(t) for t in set(TEXTS)), reverse=True)


@pytest.mark.parametrize(
    ("options", "prompts"),
    [
        ({"prompts": {"query": "red: ", "document": "blue: "}}, ("red: ", "blue: ")),
        ({"prompts": {"query": "red: "}}, ("red: ", "")),
        # sentence-transformers gives every model an empty "document" prompt, which goes before a "passage" one
        ({"prompts": {"query": "red: ", "passage": "blue: "}}, ("red: ", "")),
        ({"prompts": {"all": "red "}, "default_prompt_name": "all"}, ("", "")),
    ],
)
def test_prompts_of_each_side_are_the_ones_used(tiny_base, options, prompts):
    query, item = prompts
    model = SentenceTransformer(str(tiny_base), device="cpu", **options)
    plain = SentenceTransformer(str(tiny_base), device="cpu")
    assert (prompt_of(model, "query"), prompt_of(model, "item")) == (query, item)
    np.testing.assert_allclose(encode(model, ["mug"], "query"), encode(plain, [query + "mug"], "query"), atol=1e-5)
    np.testing.assert_allclose(encode(model, ["mug"], "item"), encode(plain, [item + "mug"], "item"), atol=1e-5)


def test_store_serves_any_order_and_other_sides_or_models_are_apart(model, tiny_base, tmp_path):
    first = encode(model, TEXTS, "item", store=tmp_path, shard_size=2)
    counting = Counting(model)
    again = encode(counting, TEXTS[::-1], "item", store=tmp_path, shard_size=2)
    assert counting.asked == []
    np.testing.assert_array_equal(again, first[::-1])

    encode(counting, TEXTS, "query", store=tmp_path)
    assert len(counting.asked) == len(set(TEXTS))

    other = SentenceTransformer(str(tiny_base), device="cpu")
    next(other.parameters()).data[:, ::2] += 0.5
    retrained = encode(other, TEXTS, "item", store=tmp_path, shard_size=2)
    assert np.abs(retrained - first).max() > 1e-3


def test_another_prompt_finds_no_old_vectors(tiny_base, tmp_path):
    before = SentenceTransformer(str(tiny_base), device="cpu")
    after = SentenceTransformer(str(tiny_base), device="cpu", prompts={"document": "cotton "})
    encode(before, TEXTS, "item", store=tmp_path)
    counting = Counting(after)
    encode(counting, TEXTS, "item", store=tmp_path)
    assert len(counting.asked) == len(set(TEXTS))


def test_interrupted_run_encodes_the_missing_shards_only(model, tmp_path):
    texts = [f"mug {n:02d}" for n in range(20)]
    with pytest.raises(KeyboardInterrupt):
        encode(Counting(model, fail_after=8), texts, "item", store=tmp_path, batch_size=4, shard_size=4)
    counting = Counting(model)
    vectors = encode(counting, texts, "item", store=tmp_path, batch_size=4, shard_size=4)
    assert len(counting.asked) == 12
    np.testing.assert_array_equal(vectors, encode(model, texts, "item", batch_size=4, shard_size=4))


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_shard_is_encoded_again(model, tmp_path, damage, caplog):
    texts = [f"lamp {n}" for n in range(6)]
    whole = encode(model, texts, "item", store=tmp_path, shard_size=2)
    shard = sorted(tmp_path.rglob("*.npz"))[1]
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    shard.write_bytes({"truncate": data[: len(data) // 2], "flip": data, "empty": b""}[damage])
    counting = Counting(model)
    again = encode(counting, texts, "item", store=tmp_path, shard_size=2)
    assert len(counting.asked) == 2
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(again, whole)


def test_shards_are_plain_npz_files(model, tmp_path):
    vectors = encode(model, ["mug", "lamp"], "item", store=tmp_path)
    (shard,) = tmp_path.rglob("*.npz")
    np.testing.assert_array_equal(np.load(shard)["vectors"], vectors[[1, 0]])  # longest first


def _encode_slowly(model: SentenceTransformer, texts: list[str], store: Path) -> None:
    torch.set_num_threads(1)
    fast = model.encode_document

    def slow(texts, **options):
        time.sleep(0.1)
        return fast(texts, **options)

    model.encode_document = slow
    encode(model, texts, "item", store=store, batch_size=2, shard_size=2)


def test_kill_9_loses_no_finished_shard(model, tmp_path):
    texts = [f"mug {n:02d}" for n in range(40)]
    process = multiprocessing.get_context("fork").Process(target=_encode_slowly, args=(model, texts, tmp_path))
    process.start()
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.rglob("*.npz"))) < 2:
            assert process.is_alive(), "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    finished = {path.name for path in tmp_path.rglob("*.npz")}
    assert 2 <= len(finished) < 20
    counting = Counting(model)
    vectors = encode(counting, texts, "item", store=tmp_path, batch_size=2, shard_size=2)
    assert len(counting.asked) == 40 - 2 * len(finished)
    np.testing.assert_allclose(vectors, encode(model, texts, "item"), atol=1e-5)


def test_texts_among_others_find_their_vectors(model, tmp_path):
    first = encode(model, TEXTS, "item", store=tmp_path, shard_size=2)
    counting = Counting(model)
    again = encode(counting, ["a new mug", *TEXTS], "item", store=tmp_path, shard_size=2)
    assert counting.asked == ["a new mug"]
    np.testing.assert_array_equal(again[1:], first)


def test_bad_vectors_are_refused_and_the_text_is_named(model, tiny_base, tmp_path):
    broken = SentenceTransformer(str(tiny_base), device="cpu")
    broken[0].auto_model.embeddings.word_embeddings.weight.data[:] = float("nan")
    with pytest.raises(MrStError, match=r"texts\[0\].*not finite"):
        encode(broken, ["mug"], "item", store=tmp_path)
    assert list(tmp_path.rglob("*.npz")) == []

    class Zero(Counting):
        def encode_document(self, texts, **options):
            vectors = self._model.encode_document(texts, **options)
            vectors[[text == "mug" for text in texts]] = 0
            return vectors

    with pytest.raises(MrStError, match=r"texts\[2\] \('mug'\).*zero"):
        encode(Zero(model), TEXTS, "item")


def test_no_texts(model):
    assert encode(model, [], "query").shape == (0, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["a"], "side": "document"}, "expected 'query' or 'item'"),
        ({"texts": "a mug", "side": "item"}, "one string"),
        ({"texts": ["a", None], "side": "item"}, r"texts\[1\] is NoneType"),
        ({"texts": ["a"], "side": "item", "batch_size": 0}, "1 or more"),
        ({"texts": ["a"], "side": "item", "shard_size": 0}, "1 or more"),
    ],
)
def test_wrong_use(model, arguments, message):
    with pytest.raises(UsageError, match=message):
        encode(model, **arguments)


def test_a_store_that_is_a_file(model, tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(MrStError, match="cannot write here"):
        encode(model, ["mug"], "item", store=tmp_path / "store")
