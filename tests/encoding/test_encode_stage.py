"""EncodeStage: shards in row order, named by content; nothing is encoded twice, nothing old is taken for new."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import random
import signal
import time
from multiprocessing import SimpleQueue
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from mr_st.encoding import EncodeStage, ShardFolder
from mr_st.encoding.known import KnownVectors, text_keys
from mr_st.encoding.stage import Stage
from mr_st.errors import MrStError, UsageError

WORDS = "red blue steel coffee mug kettle office chair lamp cotton shirt kids toy car water pump".split()


def catalogue(n_texts: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) + f" {number}" for number in range(n_texts)]


TEXTS = catalogue(30)


class Counting:
    """Encodes with a model, and counts what it is asked; has the model's hash."""

    def __init__(self, model: SentenceTransformer):
        self._model = model
        self.asked: list[str] = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def encode_document(self, texts, **options):
        self.asked += texts
        return self._model.encode_document(texts, **options)

    def encode_query(self, texts, **options):
        self.asked += texts
        return self._model.encode_query(texts, **options)


class Toy:
    """A quick model of a hashed text: enough where only rows and shards count."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def state_dict(self):
        return {}

    def named_modules(self):
        return []

    def encode_document(self, texts, **options):
        self.asked += texts
        return text_keys(texts)[:, :8].astype(np.float32) + 1

    encode_query = encode_document


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_base), device="cpu")


def run(stage: EncodeStage) -> EncodeStage:
    for shard in range(len(stage.sizes)):
        if not stage.is_done(shard):
            stage.run(shard)
    return stage


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.npz")}


def test_it_is_a_stage(model, tmp_path):
    stage = EncodeStage(model, TEXTS, "query", ShardFolder(tmp_path), shard_size=8)
    assert isinstance(stage, Stage)
    assert (stage.name, stage.unit, stage.sizes) == ("encode query", "text", [8, 8, 8, 6])
    assert not any(stage.is_done(shard) for shard in range(4))
    stage.run(2)
    assert [stage.is_done(shard) for shard in range(4)] == [False, False, True, False]


@pytest.mark.parametrize("side", ["query", "item"])
@pytest.mark.parametrize("token_workers", [0, 2])
@pytest.mark.parametrize("url", ["{}", "memory://{}"])
def test_rows_are_the_texts_unit_vectors(model, tmp_path, side, token_workers, url):
    texts = [*TEXTS, TEXTS[3], TEXTS[0]]
    folder = ShardFolder(url.format(tmp_path / "work"))
    stage = run(
        EncodeStage(model, texts, side, folder, batch_size=3, shard_size=7, token_workers=token_workers, device="cpu")
    )
    encode = model.encode_query if side == "query" else model.encode_document
    vectors = stage.vectors()
    assert vectors.load().dtype == np.float16
    np.testing.assert_allclose(vectors.load(), encode(texts), atol=1e-3)
    np.testing.assert_array_equal(vectors.map(tmp_path), vectors.load())
    assert (len(vectors), vectors.dimension, vectors.names) == (32, 32, stage.shard_names)
    first = stage.folder.read(stage.shard_names[0])
    np.testing.assert_array_equal(first["keys"], text_keys(texts[:7]))
    assert first["keys"].shape == (7, 16)


def test_the_bytes_are_the_same_whoever_runs_which_shard_first(model, tmp_path):
    one = run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path / "a"), shard_size=8, token_workers=2))
    for shard in (2, 0, 3, 1, 1):
        stage = EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path / "b"), shard_size=8)
        pickle.loads(pickle.dumps(stage)).run(shard)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert sorted(files(tmp_path / "a")) == sorted(f"{name}.npz" for name in one.shard_names)


def test_within_a_shard_each_distinct_text_is_encoded_once_longest_first(model, tmp_path):
    counting = Counting(model)
    run(EncodeStage(counting, ["mug", "kettle", "mug", "lamp", "mug"], "item", ShardFolder(tmp_path), shard_size=4))
    assert counting.asked == ["kettle", "lamp", "mug", "mug"]


def test_a_finished_shard_is_not_run_again(model, tmp_path):
    first = run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path), shard_size=8))
    before = files(tmp_path)
    (tmp_path / first.key / f"{first.shard_names[1]}.npz").unlink()
    counting = Counting(model)
    run(EncodeStage(counting, TEXTS, "item", ShardFolder(tmp_path), shard_size=8))
    assert sorted(counting.asked) == sorted(TEXTS[8:16])
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "n_new"),
    [
        (lambda texts: [*texts[:7], "new mug", *texts[7:]], 1),
        (lambda texts: texts[1:], 0),
        (lambda texts: [*texts[:20], "another lamp", *texts[21:]], 1),
        (lambda texts: texts[::-1], 0),
        (lambda texts: [*texts, "new mug", "new mug"], 1),
    ],
    ids=["inserted", "removed", "changed", "reversed", "appended"],
)
def test_a_changed_catalogue_costs_what_changed(model, tmp_path, change, n_new):
    before = run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path), shard_size=8, dtype="float32"))
    old = dict(zip(TEXTS, before.vectors().load(), strict=True))
    texts, counting = change(TEXTS), Counting(model)
    after = run(EncodeStage(counting, texts, "item", ShardFolder(tmp_path), shard_size=8, dtype="float32"))
    assert len(counting.asked) == n_new
    for text, row in zip(texts, after.vectors().load(), strict=True):
        if text in old:
            np.testing.assert_array_equal(row, old[text])
    np.testing.assert_allclose(after.vectors().load(), model.encode_document(texts), atol=1e-5)


def test_another_shard_size_finds_what_is_there(model, tmp_path):
    before = run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path), shard_size=8))
    counting = Counting(model)
    after = run(EncodeStage(counting, TEXTS, "item", ShardFolder(tmp_path), shard_size=11))
    assert counting.asked == []
    np.testing.assert_array_equal(after.vectors().load(), before.vectors().load())
    assert after.vectors().identity != before.vectors().identity


def test_nothing_old_is_taken_for_another_model_side_prompt_or_dtype(model, tiny_base, tmp_path):
    folder = ShardFolder(tmp_path)
    first = run(EncodeStage(model, TEXTS, "item", folder, shard_size=8))
    retrained, shorter, other_case = (SentenceTransformer(str(tiny_base), device="cpu") for _ in range(3))
    next(retrained.parameters()).data[:, ::2] += 0.5
    shorter.max_seq_length = 4
    from tokenizers import normalizers

    other_case.tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    prompted = SentenceTransformer(str(tiny_base), device="cpu", prompts={"document": "cotton "})
    keys = {first.key}
    for changed, side, dtype in [
        (retrained, "item", "float16"),
        (shorter, "item", "float16"),
        (other_case, "item", "float16"),
        (prompted, "item", "float16"),
        (model, "query", "float16"),
        (model, "item", "float32"),
    ]:
        counting = Counting(changed)
        stage = run(EncodeStage(counting, TEXTS, side, folder, shard_size=8, dtype=dtype))
        assert len(counting.asked) == len(TEXTS)
        assert not set(stage.shard_names) & set(first.shard_names)
        keys.add(stage.key)
    assert len(keys) == 7
    formatted = [f"{text}. Category: Home" for text in TEXTS]
    counting = Counting(model)
    run(EncodeStage(counting, formatted, "item", folder, shard_size=8))
    assert len(counting.asked) == len(TEXTS)


def test_the_key_does_not_depend_on_what_the_model_encoded_before(tiny_base, tmp_path):
    model = SentenceTransformer(str(tiny_base), device="cpu")
    before = EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path)).key
    model.encode_query(["a longer text " * 20, "mug"])
    assert EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path)).key == before


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_older_shard_is_no_source(model, tmp_path, damage):
    before = run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path), shard_size=8))
    path = tmp_path / before.key / f"{before.shard_names[1]}.npz"
    data = path.read_bytes()
    vectors = before.vectors().load(1, 2).tobytes()
    path.write_bytes({"flip": data.replace(vectors, vectors[::-1]), "truncate": data[:50]}[damage])
    counting = Counting(model)
    after = run(EncodeStage(counting, ["new mug", *TEXTS], "item", ShardFolder(tmp_path), shard_size=8))
    assert sorted(counting.asked) == sorted(["new mug", *TEXTS[8:16]])
    np.testing.assert_allclose(after.vectors().load()[1:], model.encode_document(TEXTS), atol=1e-3)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_whatever_came_before_every_row_is_its_texts(tmp_path_factory, catalogues, shard_size):
    folder = tmp_path_factory.mktemp("work")
    seen: set[str] = set()
    for texts in catalogues:
        toy = Toy()
        stage = run(EncodeStage(toy, texts, "item", ShardFolder(folder), shard_size=shard_size, dtype="float32"))
        expected = text_keys(texts)[:, :8].astype(np.float64) + 1
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        if texts:
            np.testing.assert_allclose(stage.vectors().load(), expected, atol=1e-6)
        assert not seen & set(toy.asked)
        seen |= set(texts)


def test_known_vectors_come_from_the_first_shard_by_name(tmp_path):
    folder = ShardFolder(tmp_path)
    for name, value in (("b", 2), ("a", 1)):
        folder.write(name, keys=text_keys(["mug", "lamp"]), vectors=np.full((2, 3), value, dtype=np.float16))
    found, vectors = KnownVectors(folder, ["b", "a"]).take(text_keys(["kettle", "lamp"]))
    assert found.tolist() == [False, True]
    assert vectors[1].tolist() == [1, 1, 1]
    assert KnownVectors(folder, []).take(text_keys(["mug"]))[1] is None


def _run_in_process(model: SentenceTransformer, folder: Path, pause: float, queue: SimpleQueue) -> None:
    torch.set_num_threads(1)
    model[0].register_forward_pre_hook(lambda *_: time.sleep(pause))
    texts = [f"mug {number}" for number in range(60)]
    stage = EncodeStage(model, texts, "item", ShardFolder(folder), batch_size=2, shard_size=4, token_workers=1)
    todo = [shard for shard in range(15) if not stage.is_done(shard)]
    for shard in todo:
        stage.run(shard)
    queue.put(len(todo))


def test_kill_9_loses_no_finished_shard_and_changes_no_byte(model, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def start(folder: Path, pause: float) -> multiprocessing.Process:
        process = context.Process(target=_run_in_process, args=(model, folder, pause, queue))
        process.start()
        return process

    killed = start(tmp_path / "killed", 0.1)
    deadline = time.monotonic() + 120
    while len(files(tmp_path / "killed")) < 3:
        assert killed.is_alive(), "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    kept = files(tmp_path / "killed")
    assert 3 <= len(kept) < 15
    start(tmp_path / "killed", 0).join()
    assert queue.get() == 15 - len(kept)
    start(tmp_path / "whole", 0).join()
    assert queue.get() == 15
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_bad_vector_is_refused_by_id(tmp_path):
    class Broken(Toy):
        def encode_document(self, texts, **options):
            vectors = super().encode_document(texts)
            vectors[[text == "mug" for text in texts]] = np.nan
            return vectors

    texts = ["kettle", "lamp", "a long text", "mug", "mug"]
    for ids, place in ((None, r"texts\[3\]"), (["I1", "I2", "I3", "I4", "I5"], "I4")):
        stage = EncodeStage(Broken(), texts, "item", ShardFolder(tmp_path), shard_size=2, ids=ids)
        stage.run(0)
        with pytest.raises(MrStError, match=rf"^{place} \('mug'\): its item vector is not finite"):
            stage.run(1)
        assert not stage.is_done(1)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rounding_to_float16_moves_no_cosine_by_a_thousandth(model, tmp_path, dtype):
    texts = catalogue(400)
    rows = run(EncodeStage(model, texts, "item", ShardFolder(tmp_path), dtype=dtype)).vectors().load()
    rows = rows.astype(np.float64)
    exact = model.encode_document(texts).astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(rows @ rows.T, exact @ exact.T, atol=1e-3 if dtype == "float16" else 1e-5)
    assert (np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-3).all()
    found, expected = (np.argsort(-(v[:50] @ v.T), axis=1, kind="stable")[:, :10] for v in (rows, exact))
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, expected, strict=True)])
    assert overlap > 0.98


def test_a_folder_that_cannot_be_written_ends_before_anything_is_encoded(tmp_path):
    (tmp_path / "file").write_text("")
    toy = Toy()
    stage = EncodeStage(toy, ["mug"], "item", ShardFolder(tmp_path / "file"))
    with pytest.raises(MrStError, match=r"cannot write here \(Not a directory"):
        stage.run(0)
    assert toy.asked == []


def test_a_disk_that_fills_up_keeps_the_finished_shards(model, tmp_path, monkeypatch):
    from fsspec.implementations.local import LocalFileOpener

    stage = EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path / "work"), shard_size=8)
    stage.run(0)

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileOpener, "write", full, raising=False)
        with pytest.raises(MrStError, match=r"cannot write here \(No space left on device"):
            stage.run(1)
    assert [stage.is_done(shard) for shard in range(4)] == [True, False, False, False]
    run(stage)
    run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path / "whole"), shard_size=8))
    assert files(tmp_path / "work") == files(tmp_path / "whole")


def test_what_the_folder_holds_stands_beside_the_shards(model, tmp_path):
    stage = run(EncodeStage(model, TEXTS, "item", ShardFolder(tmp_path)))
    about = (tmp_path / stage.key / "about.json").read_text()
    assert '"side": "item"' in about
    assert '"dtype": "float16"' in about


def test_no_texts(model, tmp_path):
    stage = EncodeStage(model, [], "item", ShardFolder(tmp_path))
    assert (stage.sizes, stage.shard_names) == ([], [])
    assert stage.vectors().load().shape == (0, 32)


def test_vectors_of_a_model_that_does_not_tell_its_dimension(tmp_path):
    stage = EncodeStage(Toy(), ["mug"], "item", ShardFolder(tmp_path))
    with pytest.raises(MrStError, match="run the stage before its vectors"):
        stage.vectors()
    assert run(stage).vectors().load().shape == (1, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": "document"}, "expected 'query' or 'item'"),
        ({"texts": "a mug"}, "one string"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"shard_size": 0}, "1 or more"),
        ({"batch_size": 0}, "1 or more"),
        ({"token_workers": -1}, "0 or more"),
        ({"ids": ["a", "b"]}, "2 ids for 1 texts"),
    ],
)
def test_wrong_use(tmp_path, arguments, message):
    options = {"model": Toy(), "texts": ["mug"], "side": "item", "folder": ShardFolder(tmp_path), **arguments}
    with pytest.raises(UsageError, match=message):
        EncodeStage(**options)


def test_a_text_that_is_none(tmp_path):
    stage = EncodeStage(Toy(), ["mug", None], "item", ShardFolder(tmp_path), ids=["I1", "I2"])
    with pytest.raises(UsageError, match="I2 is NoneType; every text must be a string"):
        stage.is_done(0)
