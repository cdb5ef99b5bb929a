"""CrossEncoderAnnotator: temperature, identity, loading, and models that cannot grade."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from mr_st.annotation import CrossEncoderAnnotator, PairTable
from mr_st.annotation.cross_encoder import softmax, write_calibration
from mr_st.errors import MrStError, UsageError

PAIRS = PairTable(
    ["q1", "q1", "q2"], ["i1", "i2", "i1"], ["red shirt", "red shirt", "mug"],
    ["blue shirt in cotton", "lamp", "blue shirt in cotton"], ["en-US"] * 3,
)  # fmt: skip


@pytest.fixture
def encoder(tiny_base) -> CrossEncoder:
    torch.manual_seed(1)
    encoder = CrossEncoder(str(tiny_base), num_labels=3, device="cpu")
    encoder.model.classifier.weight.data.normal_(0, 2)
    return encoder


def test_probabilities_are_the_softmax_of_logits_over_temperature(encoder):
    texts = list(zip(PAIRS.query_texts, PAIRS.item_texts, strict=True))
    logits = encoder.predict(texts, activation_fn=torch.nn.Identity()).astype(float)
    for temperature in (0.5, 1.0, 3.0):
        expected = np.exp(logits / temperature)
        expected /= expected.sum(axis=1, keepdims=True)
        annotations = CrossEncoderAnnotator(encoder, temperature=temperature).grade(PAIRS)
        np.testing.assert_allclose(annotations.probabilities, expected, atol=1e-5)
        np.testing.assert_array_equal(annotations.grades, logits.argmax(axis=1))


def test_softmax_by_hand_and_without_overflow():
    np.testing.assert_allclose(softmax(np.log([[1.0, 3.0]])), [[0.25, 0.75]])
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4]])), [[0.5, 0.5]])


def test_equal_texts_are_read_once(encoder, monkeypatch):
    seen = []
    predict = encoder.predict
    monkeypatch.setattr(encoder, "predict", lambda texts, **options: seen.extend(texts) or predict(texts, **options))
    CrossEncoderAnnotator(encoder).grade(PAIRS.take([0, 1, 0, 0]))
    assert sorted(seen) == [("red shirt", "blue shirt in cotton"), ("red shirt", "lamp")]


def test_saved_model_brings_its_temperature_and_the_same_identity(encoder, tmp_path):
    encoder.save(str(tmp_path / "model"))
    write_calibration(tmp_path / "model", 2.5, n_pairs=10)
    loaded = CrossEncoderAnnotator(tmp_path / "model", device="cpu")
    assert loaded.temperature == 2.5
    here = CrossEncoderAnnotator(encoder, temperature=2.5)
    assert loaded.identity == here.identity
    np.testing.assert_allclose(loaded.grade(PAIRS).probabilities, here.grade(PAIRS).probabilities, atol=1e-6)
    assert CrossEncoderAnnotator(tmp_path / "model", temperature=1.0, device="cpu").temperature == 1.0


def test_identity_covers_weights_temperature_and_length_but_not_batch_size(encoder):
    one = CrossEncoderAnnotator(encoder, temperature=1.0).identity
    assert one == CrossEncoderAnnotator(encoder, temperature=1.0, batch_size=1).identity
    assert one != CrossEncoderAnnotator(encoder, temperature=1.1).identity
    shorter = CrossEncoderAnnotator(encoder, max_length=8)
    assert shorter.model.max_seq_length == 8
    assert one != shorter.identity
    again = CrossEncoderAnnotator(encoder, max_length=64)
    assert one == again.identity
    encoder.model.classifier.bias.data[0] += 1e-3
    assert one != CrossEncoderAnnotator(encoder).identity


def test_a_model_with_one_output_is_refused(tiny_base):
    with pytest.raises(UsageError, match="1 output"):
        CrossEncoderAnnotator(CrossEncoder(str(tiny_base), num_labels=1, device="cpu"))


def test_a_model_without_a_trained_classifier_is_refused(tiny_base):
    with pytest.raises(MrStError, match="no classifier"):
        CrossEncoderAnnotator(tiny_base)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(MrStError, match="no cross-encoder could be loaded") as error:
        CrossEncoderAnnotator(tmp_path / "nothing")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ['{"temperature": 0}', '{"temperature": "hot"}', "[]", '{"temperature": true}'])
def test_a_damaged_calibration(encoder, tmp_path, content):
    encoder.save(str(tmp_path))
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(MrStError, match=r"calibration\.json: temperature is"):
        CrossEncoderAnnotator(tmp_path)


def test_calibration_tells_what_it_rests_on(tmp_path):
    write_calibration(tmp_path, 1.25, n_pairs=10)
    assert json.loads((tmp_path / "calibration.json").read_text()) == {"temperature": 1.25, "n_pairs": 10}


def test_outputs_that_are_not_finite_are_refused(encoder):
    encoder.model.classifier.weight.data[:] = float("nan")
    with pytest.raises(MrStError, match=r"pair 1 \(query 'q1', item 'i1'\).*not finite"):
        CrossEncoderAnnotator(encoder).grade(PAIRS)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_above_zero(encoder, temperature):
    with pytest.raises(UsageError, match="above 0"):
        CrossEncoderAnnotator(encoder, temperature=temperature)


def test_the_shift_moves_every_answer_and_is_saved(encoder, tmp_path):
    plain, shifted = CrossEncoderAnnotator(encoder), CrossEncoderAnnotator(encoder, shift=[0.0, 0.5, 40.0])
    pairs = PairTable(["q1", "q2"], ["i1", "i2"], ["red shirt", "usb mouse"], ["mug", "lamp"], ["en-US"] * 2)
    np.testing.assert_allclose(shifted.logits(pairs) - plain.logits(pairs), [[0, 0.5, 40]] * 2, atol=1e-9)
    assert shifted.grade(pairs).grades.tolist() == [2, 2]
    assert shifted.identity != plain.identity
    encoder.save(str(tmp_path), create_model_card=False)
    write_calibration(tmp_path, 2.0, [0.0, 0.5, 40.0])
    loaded = CrossEncoderAnnotator(tmp_path, device="cpu")
    assert loaded.shift.tolist() == [0.0, 0.5, 40.0]
    assert loaded.temperature == 2.0


@pytest.mark.parametrize("shift", [[0.0, 1.0], [0.0, 1.0, float("nan")]])
def test_a_shift_that_does_not_fit_is_refused(encoder, shift):
    with pytest.raises(UsageError, match="shift"):
        CrossEncoderAnnotator(encoder, shift=shift)


def test_a_saved_shift_that_is_no_list_of_numbers_is_refused(encoder, tmp_path):
    encoder.save(str(tmp_path), create_model_card=False)
    (tmp_path / "calibration.json").write_text('{"temperature": 1.0, "shift": [0, "x", 1]}', encoding="utf-8")
    with pytest.raises(MrStError, match="shift"):
        CrossEncoderAnnotator(tmp_path, device="cpu")
