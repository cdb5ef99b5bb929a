"""LLMAnnotator: scoring of labels, folders, identity and faults, on tiny random models."""

from __future__ import annotations

import json
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_causal import build_tiny_causal
from transformers import AutoModelForCausalLM, AutoTokenizer

from mr_st.annotation import Annotator, GradePrompt, Guideline, LLMAnnotator, PairTable
from mr_st.annotation.llm.folder import write_about
from mr_st.errors import DataError, MrStError, UsageError

PAIRS = PairTable(
    [f"q{n % 5}" for n in range(12)], [f"i{n}" for n in range(12)],
    ["red shirt", "mug", "usb mouse for work", "靴", "lamp 2", "mug"] * 2,
    [f"Blue Shirt {n} in cotton. " * (1 + n % 4) for n in range(12)], ["en-US"] * 12,
)  # fmt: skip
BRIEF = GradePrompt(Guideline.load("brief"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama whose logits are far apart, so that grades are not decided by rounding."""
    folder = build_tiny_causal(tmp_path_factory.mktemp("llm") / "llama", arch="llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(3)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def annotator(folder) -> LLMAnnotator:
    return LLMAnnotator(folder, guideline="brief", batch_size=7, device="cpu")


def next_logits(annotator: LLMAnnotator, pairs: PairTable) -> np.ndarray:
    """Of the whole vocabulary, one prompt at a time, as the server's tokenizer renders it."""
    rows = []
    for query, item in zip(pairs.query_texts, pairs.item_texts, strict=True):
        given = annotator.tokenizer.apply_chat_template(
            annotator.prompts.prompt.messages(query, item), add_generation_prompt=True, return_tensors="pt"
        )
        with torch.no_grad():
            rows.append(annotator.model(**given).logits[0, -1].double().numpy())
    return np.stack(rows)


# ---- scoring -------------------------------------------------------------------------------------------------------


def test_logits_are_the_labels_highest_at_the_answers_place(annotator):
    assert isinstance(annotator, Annotator)
    every = next_logits(annotator, PAIRS)
    tokenizer = annotator.tokenizer
    said = [tokenizer.decode([token]).strip() for token in range(len(tokenizer))]
    columns = [np.flatnonzero(np.array(said) == label) for label in "012"]
    expected = np.stack([every[:, tokens].max(axis=1) for tokens in columns], axis=1)
    logits = annotator.logits(PAIRS)
    assert logits.dtype == np.float64
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert len(set(expected.argmax(axis=1))) > 1  # the pairs matter
    np.testing.assert_array_equal(annotator.grade(PAIRS).grades, expected.argmax(axis=1))
    np.testing.assert_array_equal(
        annotator.answers_parse(PAIRS), np.isin(every.argmax(axis=1), np.concatenate(columns))
    )


def test_probabilities_are_the_softmax_of_logits_over_temperature(folder, annotator):
    logits = annotator.logits(PAIRS)
    for temperature in (0.5, 3.0):
        expected = np.exp(logits / temperature)
        expected /= expected.sum(axis=1, keepdims=True)
        given = LLMAnnotator(annotator.model, annotator.tokenizer, "brief", temperature=temperature).grade(PAIRS)
        np.testing.assert_allclose(given.probabilities, expected, atol=1e-5)
        np.testing.assert_array_equal(given.grades, logits.argmax(axis=1))


def test_company_batches_and_the_shared_prefix_change_nothing(annotator):
    logits = annotator.logits(PAIRS)
    for options in ({"batch_size": 1}, {"batch_size": 64}, {"share_prefix": False}):
        other = LLMAnnotator(annotator.model, annotator.tokenizer, "brief", **options)
        np.testing.assert_allclose(other.logits(PAIRS), logits, atol=1e-4)
        assert other.prefix_note is None
        assert other.identity == annotator.identity
    alone = np.concatenate([annotator.logits(PAIRS.take([n])) for n in range(5)])
    np.testing.assert_allclose(alone, logits[:5], atol=1e-4)


def test_equal_texts_are_read_once(annotator, monkeypatch):
    seen = []
    ids = annotator.prompts.ids
    monkeypatch.setattr(annotator.prompts, "ids", lambda q, i: seen.append((q, i)) or ids(q, i))
    annotator.grade(PAIRS.take([0, 1, 0, 0]))
    assert sorted(seen) == sorted((PAIRS.query_texts[n], PAIRS.item_texts[n]) for n in (0, 1))


def test_no_pairs(annotator):
    assert annotator.grade(PAIRS.take([])).probabilities.shape == (0, 3)


@pytest.mark.parametrize(("token", "parses"), [("2", True), ("1", True), ("a", False), ("<|im_end|>", False)])
def test_the_models_own_first_choice(folder, token, parses):
    annotator = LLMAnnotator(folder, guideline="brief", device="cpu")
    head = annotator.model.lm_head
    head.bias = torch.nn.Parameter(torch.zeros(head.out_features))
    head.bias.data[annotator.tokenizer.convert_tokens_to_ids(token)] = 100.0
    assert annotator.answers_parse(PAIRS).tolist() == [parses] * 12
    if parses:
        assert annotator.grade(PAIRS).grades.tolist() == [int(token)] * 12


def test_an_answer_that_begins_with_white_space_is_read_where_it_goes_on(folder, monkeypatch):
    annotator = LLMAnnotator(folder, guideline="brief", device="cpu")
    space = annotator.tokenizer.convert_tokens_to_ids("Ġ")
    one = annotator.tokenizer.convert_tokens_to_ids("1")
    forward = annotator.model.forward

    @wraps(forward)
    def a_space_and_then_one(input_ids, **options):
        given = forward(input_ids=input_ids, **options)
        if given.logits.shape[:2] == (len(input_ids), 1) and isinstance(options["logits_to_keep"], torch.Tensor):
            after_space = torch.take_along_dim(input_ids, options["logits_to_keep"], dim=1)[:, 0] == space
            given.logits[~after_space, 0, space] += 100
            given.logits[after_space, 0, one] += 100
        return given

    monkeypatch.setattr(annotator.model, "forward", a_space_and_then_one)
    assert annotator.grade(PAIRS).grades.tolist() == [1] * 12
    assert annotator.answers_parse(PAIRS).all()


# ---- folders and identity ------------------------------------------------------------------------------------------


def test_a_fitted_folder_needs_nothing_else(folder, annotator, tmp_path):
    annotator.model.save_pretrained(tmp_path)
    annotator.tokenizer.save_pretrained(tmp_path)
    write_about(tmp_path, BRIEF, 2.5, max_length=400, n_pairs=12)
    loaded = LLMAnnotator(tmp_path, device="cpu")
    assert loaded.temperature == 2.5
    assert loaded.prompts.prompt.guideline.text == BRIEF.guideline.text
    assert loaded.prompts.max_length == 400
    np.testing.assert_allclose(loaded.logits(PAIRS), annotator.logits(PAIRS), atol=1e-5)
    here = LLMAnnotator(annotator.model, annotator.tokenizer, "brief", temperature=2.5, max_length=400)
    assert here.identity == loaded.identity
    other = LLMAnnotator(tmp_path, guideline="three_grades", defended=False, temperature=1.0, device="cpu")
    assert other.temperature == 1.0
    assert other.prompts.prompt.guideline.name == "three_grades"
    assert not other.prompts.prompt.defended
    assert json.loads((tmp_path / "annotator.json").read_text())["n_pairs"] == 12


def test_an_undefended_fit_is_asked_undefended(annotator, tmp_path):
    annotator.model.save_pretrained(tmp_path)
    annotator.tokenizer.save_pretrained(tmp_path)
    write_about(tmp_path, GradePrompt(BRIEF.guideline, defended=False), 1.0)
    assert not LLMAnnotator(tmp_path, device="cpu").prompts.prompt.defended
    assert LLMAnnotator(tmp_path, defended=True, device="cpu").prompts.prompt.defended


def test_identity_covers_what_may_change_a_grade_and_nothing_else(folder, annotator):
    def identity(**options):
        return LLMAnnotator(annotator.model, annotator.tokenizer, **{"guideline": "brief", **options}).identity

    one = identity()
    assert one.startswith("llm-")
    assert one == annotator.identity == identity(batch_size=1, share_prefix=False)
    changed = [
        identity(guideline="three_grades"), identity(defended=False), identity(temperature=2.0),
        identity(max_length=300),
    ]  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template += " "
    changed.append(LLMAnnotator(annotator.model, tokenizer, "brief").identity)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data[0, 0] += 1e-3
    changed.append(LLMAnnotator(model, tokenizer := AutoTokenizer.from_pretrained(folder), "brief").identity)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.rms_norm_eps = 1e-3  # no weight, yet another answer
    changed.append(LLMAnnotator(model, tokenizer, "brief").identity)
    assert len({one, *changed}) == 8


def test_a_used_tokenizer_is_the_same_tokenizer(folder, annotator):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = LLMAnnotator(annotator.model, tokenizer, "brief").identity
    tokenizer(["a", "a b c"], padding=True, truncation=True, max_length=2)
    assert LLMAnnotator(annotator.model, tokenizer, "brief").identity == before


# ---- faults --------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(MrStError, match="no tokenizer could be loaded") as error:
        LLMAnnotator(tmp_path / "nothing")
    assert "\n" not in str(error.value)
    with pytest.raises(MrStError, match="no causal language model could be loaded"):
        LLMAnnotator(tmp_path / "nothing", tokenizer=AutoTokenizer)


def test_a_model_that_is_no_causal_one(tiny_base):
    with pytest.raises(MrStError, match="no causal language model, its answers would be random"):
        LLMAnnotator(tiny_base)


def test_pickled_weights_are_not_read(folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MrStError, match=r"no causal language model could be loaded.*safetensors"):
        LLMAnnotator(tmp_path)


def test_outputs_that_are_not_finite_name_the_pair(folder):
    annotator = LLMAnnotator(folder, guideline="brief", device="cpu")
    annotator.model.lm_head.weight.data[:] = float("nan")
    with pytest.raises(MrStError, match=r"pair 1 \(query 'q0', item 'i0'\).*not finite"):
        annotator.grade(PAIRS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "above 0"), ({"temperature": float("nan")}, "above 0"),
        ({"n_grades": 4}, "3 grades and 4"), ({"dtype": "int4"}, "expected one of float32"),
        ({"batch_size": 0}, "1 or more"), ({"max_length": 0}, "1 or more"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_mean_anything(folder, options, message):
    with pytest.raises(UsageError, match=message):
        LLMAnnotator(folder, guideline="brief", **options)


def test_a_loaded_model_needs_its_tokenizer(annotator):
    with pytest.raises(UsageError, match="pass tokenizer="):
        LLMAnnotator(annotator.model)


def test_a_guideline_that_is_not_there(folder, tmp_path):
    with pytest.raises(DataError, match="cannot read the guideline"):
        LLMAnnotator(folder, guideline=tmp_path / "none.md")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected"), ('{"kind": "llm", "temperature": 1.0}', "expected"),
        ('{"kind": "llm", "temperature": 0, "prompt": {}}', "temperature is 0"),
        ('{"kind": "llm", "temperature": true, "prompt": {}}', "temperature is True"),
        ('{"kind": "llm", "temperature": 1, "prompt": {}, "max_length": "x"}', "max_length is 'x'"),
        ('{"kind": "llm", "temperature": 1, "prompt": {}, "template_options": 3}', "template_options is 3"),
        ("{", "not valid JSON"),
    ],
)  # fmt: skip
def test_a_damaged_annotator_file(tmp_path, content, message):
    (tmp_path / "annotator.json").write_text(content)
    with pytest.raises(MrStError, match=rf"annotator\.json.*{message}"):
        LLMAnnotator(tmp_path, guideline="brief")


def test_a_guideline_that_was_changed_after_the_fit(annotator, tmp_path):
    write_about(tmp_path, BRIEF, 1.0)
    (tmp_path / "guideline.md").write_text(BRIEF.guideline.text + "\nMore.\n")
    with pytest.raises(MrStError, match="not the guideline that the model was fitted with"):
        LLMAnnotator(tmp_path)


def test_a_fit_with_an_older_wording_says_so(annotator, tmp_path, caplog):
    annotator.model.save_pretrained(tmp_path)
    annotator.tokenizer.save_pretrained(tmp_path)
    write_about(tmp_path, BRIEF, 1.0)
    about = json.loads((tmp_path / "annotator.json").read_text())
    about["prompt"]["prompt"] = 0
    (tmp_path / "annotator.json").write_text(json.dumps(about))
    LLMAnnotator(tmp_path, device="cpu")
    assert "fitted with wording 0" in caplog.text
