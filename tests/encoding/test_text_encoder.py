"""TextEncoder: what encode_query and encode_document give, tokenised here or ahead, for every kind of model."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import SimpleQueue
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling

from mr_st.encoding.text_encoder import TextEncoder
from mr_st.encoding.tokenised import tokenised_batches
from mr_st.errors import MrStError, UsageError
from mr_st.models import build_two_tower

TEXTS = sorted(
    ["red shirt", "blue shirt in cotton", "mug", "steel kettle " * 40, "office chair with wooden desk", "lamp"],
    key=lambda text: -len(text),
)


def place(row: int) -> str:
    return f"texts[{row}]"


def siamese(base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(base), device="cpu")


def prompted(base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(base), device="cpu", prompts={"query": "red: ", "document": "blue: "})


def prompted_by_default(base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(base), device="cpu", prompts={"all": "small "}, default_prompt_name="all")


def without_its_prompt(base: Path) -> SentenceTransformer:
    model = prompted(base)
    model.set_pooling_include_prompt(False)
    return model


def two_heads(base: Path) -> SentenceTransformer:
    model = build_two_tower(str(base), dim=16, architecture="asymmetric")
    (head,) = (module for module in model[0].sub_modules["query"] if hasattr(module, "linear"))
    head.linear.weight.data *= torch.linspace(-1, 1, 16)[:, None]  # the heads start alike
    return model


def one_head(base: Path) -> SentenceTransformer:
    return build_two_tower(str(base), dim=16)


def cut_short(base: Path) -> SentenceTransformer:
    model = siamese(base)
    model.max_seq_length = 5
    return model


def truncated(base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(base), device="cpu", truncate_dim=8)


def unnormalised(base: Path) -> SentenceTransformer:
    model = siamese(base)
    return SentenceTransformer(modules=[model[0], Pooling(32, "cls")], device="cpu")


def half(base: Path) -> SentenceTransformer:
    return siamese(base).to(torch.bfloat16)


MODELS = [
    siamese, prompted, prompted_by_default, without_its_prompt, two_heads, one_head, cut_short, truncated,
    unnormalised, half,
]  # fmt: skip


@pytest.mark.parametrize("side", ["query", "item"])
@pytest.mark.parametrize("build", MODELS)
def test_vectors_are_the_models_own(tiny_base, build, side):
    model = build(tiny_base)
    encode = model.encode_query if side == "query" else model.encode_document
    theirs = encode(TEXTS, batch_size=4, convert_to_tensor=True).float().numpy()
    expected = (theirs / np.linalg.norm(theirs.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
    for n_workers in (0, 2):
        ours = TextEncoder(model, side, batch_size=4, token_workers=n_workers).unit_vectors(TEXTS, place)
        np.testing.assert_array_equal(ours, expected)


def test_the_sides_of_two_heads_differ(tiny_base):
    model = two_heads(tiny_base)
    query, item = (TextEncoder(model, side, token_workers=1).unit_vectors(TEXTS, place) for side in ("query", "item"))
    assert np.abs(query - item).max() > 0.01


def test_an_object_with_the_two_methods_is_enough(tiny_base):
    model = siamese(tiny_base)

    class Wrapped:
        def encode_query(self, texts, **options):
            return 2 * model.encode_query(texts, **options)

        def encode_document(self, texts, **options):
            return -3 * model.encode_document(texts, **options)

    expected = TextEncoder(model, "query").unit_vectors(TEXTS, place)
    for side, sign in (("query", 1), ("item", -1)):
        ours = TextEncoder(Wrapped(), side, device="cpu", token_workers=2).unit_vectors(TEXTS, place)
        np.testing.assert_allclose(ours, sign * expected, atol=1e-6)


def test_a_changed_method_is_called(tiny_base):
    class Own(SentenceTransformer):
        def encode_document(self, inputs, **options):
            return np.ones((len(inputs), 4))

    np.testing.assert_array_equal(
        TextEncoder(Own(str(tiny_base), device="cpu"), "item").unit_vectors(TEXTS, place), np.full((6, 4), 0.5)
    )
    model = siamese(tiny_base)
    model.encode_query = lambda inputs, **options: np.ones((len(inputs), 4))
    np.testing.assert_array_equal(TextEncoder(model, "query").unit_vectors(TEXTS, place), np.full((6, 4), 0.5))


def test_a_model_in_training_is_encoded_without_dropout(tiny_base):
    model = siamese(tiny_base)
    expected = TextEncoder(model, "item").unit_vectors(TEXTS, place)
    model.train()
    np.testing.assert_array_equal(TextEncoder(model, "item").unit_vectors(TEXTS, place), expected)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_random_numbers_of_others_stay(tiny_base, n_workers):
    before = torch.get_rng_state()
    TextEncoder(siamese(tiny_base), "item", 1, n_workers).unit_vectors(TEXTS, place)
    assert torch.equal(torch.get_rng_state(), before)


def test_float16_is_the_rounded_float32(tiny_base):
    encoder = TextEncoder(siamese(tiny_base), "item")
    whole, rounded = (encoder.unit_vectors(TEXTS, place, dtype) for dtype in ("float32", "float16"))
    assert rounded.dtype == np.float16
    np.testing.assert_array_equal(rounded, whole.astype(np.float16))


def test_progress_counts_every_text_once(tiny_base):
    steps: list[int] = []
    TextEncoder(siamese(tiny_base), "item", batch_size=1).unit_vectors(TEXTS * 5, place, advance=steps.append)
    assert sum(steps) == 30
    assert len(steps) > 1


@pytest.mark.parametrize(
    ("value", "what"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (0.0, "zero")]
)
def test_a_vector_that_cannot_be_compared_is_refused(tiny_base, value, what):
    class Broken:
        def encode_document(self, texts, **options):
            vectors = np.ones((len(texts), 3))
            vectors[[text == "mug" for text in texts]] = value
            return vectors

        encode_query = encode_document

    at = TEXTS.index("mug")
    with pytest.raises(MrStError, match=rf"texts\[{at}\] \('mug'\): its item vector is {what}"):
        TextEncoder(Broken(), "item", batch_size=1).unit_vectors(TEXTS, place)


def test_a_tiny_vector_is_none_of_these(tiny_base):
    class Small:
        def encode_document(self, texts, **options):
            return np.full((len(texts), 4), 1e-30, dtype=np.float32)

        encode_query = encode_document

    np.testing.assert_allclose(TextEncoder(Small(), "item").unit_vectors(["mug"], place), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": "document"}, "expected 'query' or 'item'"),
        ({"side": "item", "batch_size": 0}, "batch_size is 0"),
        ({"side": "item", "token_workers": -1}, "token_workers is -1"),
    ],
)
def test_wrong_use(arguments, message):
    with pytest.raises(UsageError, match=message):
        TextEncoder(None, **arguments)


def test_workers_tokenise(tiny_base):
    model = siamese(tiny_base)
    preprocess = model.preprocess
    model.preprocess = lambda batch, **options: {**preprocess(batch, **options), "pid": os.getpid()}
    batches = [[text] for text in TEXTS]
    pids = [features["pid"] for features in tokenised_batches(model, batches, "", "document", 2)]
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    chosen = [features["pid"] for features in tokenised_batches(model, batches, "", "document")]
    assert set(chosen) == {os.getpid()}


def _vectors_to(queue: SimpleQueue, model: SentenceTransformer) -> None:
    torch.set_num_threads(1)
    queue.put(TextEncoder(model, "item", 2, 2).unit_vectors(TEXTS, place))


def test_a_process_that_may_have_no_children_tokenises_itself(tiny_base):
    model = siamese(tiny_base)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_vectors_to, args=(queue, model), daemon=True)
    process.start()
    np.testing.assert_array_equal(queue.get(), TextEncoder(model, "item", 2, 0).unit_vectors(TEXTS, place))
    process.join()


def test_a_tokenising_process_that_dies_ends_the_run(tiny_base):
    model = siamese(tiny_base)
    model.preprocess = lambda batch, **options: os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(MrStError, match=r"a tokenising process died .*token_workers=0"):
        TextEncoder(model, "item", 2, 1).unit_vectors(TEXTS, place)


def test_a_fault_in_a_tokenising_process_is_seen(tiny_base):
    model = siamese(tiny_base)

    def faulty(batch, **options):
        raise KeyError("no such token")

    model.preprocess = faulty
    with pytest.raises(KeyError, match="no such token"):
        TextEncoder(model, "item", 2, 1).unit_vectors(TEXTS, place)


INTERRUPTED = """
import sys, time
from pathlib import Path
from sentence_transformers import SentenceTransformer
from mr_st.encoding.text_encoder import TextEncoder

model = SentenceTransformer(sys.argv[1], device="cpu")
preprocess = model.preprocess
def slow(batch, **options):
    Path(sys.argv[2]).touch()
    time.sleep(0.2)
    return preprocess(batch, **options)
model.preprocess = slow
TextEncoder(model, "item", 1, 2).unit_vectors([f"mug {n}" for n in range(2000)], str)
"""


def test_an_interrupt_leaves_no_process(tiny_base, tmp_path):
    begun = tmp_path / "begun"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tiny_base), str(begun)],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not begun.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        deadline = time.monotonic() + 240
        errors = None
        while errors is None:
            assert time.monotonic() < deadline
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # one that strikes in a finaliser is lost, as anywhere in Python
                _, errors = process.communicate(timeout=15)
        assert "KeyboardInterrupt" in errors
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        process.kill()
        process.wait()
