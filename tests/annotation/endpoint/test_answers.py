"""Answers of chat endpoints: an exact label or nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation.endpoint.answers import Usage, label_probabilities, parse_grade, parse_grades, read_chat_answer

LABELS = ("0", "1", "2")
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["0", "2", " 1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("text", "grade"), [("2", 2), (" 0\n", 0), ("\t1 ", 1)])
def test_a_label_is_read(text, grade):
    assert parse_grade(text, LABELS) == grade


@pytest.mark.parametrize(
    "text",
    ["", " ", "3", "7", "-1", "+1", "01", "1.0", "2.", "2 because", "Grade: 2", "relevant", "0 1 2", "two", "²", "２",
     "\u0662", '"2"', "**2**", "2\n2", None, 2, True, ["2"], b"2"],
)  # fmt: skip
def test_anything_else_is_no_grade(text):
    assert parse_grade(text, LABELS) is None


@given(st.text() | st.sampled_from(LABELS).map(lambda label: f" {label}\n"))
def test_only_exact_labels_are_accepted(text):
    grade = parse_grade(text, LABELS)
    assert (grade is not None) == (text.strip() in LABELS)
    assert grade is None or text.strip() == str(grade)


def test_grades_of_several_pairs_in_any_order():
    assert parse_grades('\n{"b": 0, "a": "2", "c": 1} ', {"a", "b", "c"}, LABELS) == {"a": 2, "b": 0, "c": 1}


def test_only_the_good_ones_of_several_pairs_are_taken():
    text = '{"a": 1, "a": 1, "b": 7, "c": "two", "d": true, "e": 2.0, "f": null, "g": [2], "h": " 2", "i": 2, "z": 0}'
    assert parse_grades(text, set("abcdefghij"), LABELS) == {"i": 2}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "2", '"a"', '{"a": 2', '{"a": 2} done', 'Here: {"a": 2}', '```json\n{"a": 2}\n```', '[["a", 2]]',
     '{"a": {"a": 2}}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", None, {"a": 2}],
)  # fmt: skip
def test_what_is_no_object_of_grades(text):
    assert parse_grades(text, {"a"}, LABELS) == {}


@given(st.text() | ANY_JSON.map(json.dumps) | ANY_JSON)
def test_several_grades_never_raise_and_are_exact(text):
    found = parse_grades(text, {"0", "a", "", "2"}, LABELS)
    assert set(found) <= {"0", "a", "", "2"}
    if found:
        said = json.loads(text)
        assert all(str(said[key]) == str(grade) and not isinstance(said[key], bool) for key, grade in found.items())


def test_token_probabilities_are_added_up_and_scaled():
    top = [{"token": t, "logprob": float(np.log(p))} for t, p in (("2", 0.4), (" 2", 0.2), ("1\n", 0.2), ("The", 0.2))]
    # of .8 that is on labels, .6 is on 2 and .2 on 1
    found = label_probabilities({"content": [{"token": "2", "top_logprobs": top}]}, LABELS)
    np.testing.assert_allclose(found, [0, 0.25, 0.75])


def test_blank_tokens_before_the_label_are_passed_over():
    blank = {"token": "\n", "top_logprobs": [{"token": "0", "logprob": -0.1}, {"token": "\n", "logprob": -2.0}]}
    label = {"token": "1", "top_logprobs": [{"token": "1", "logprob": -0.1}, {"token": "x", "logprob": -3.0}]}
    np.testing.assert_allclose(label_probabilities({"content": [blank, label]}, LABELS), [0, 1, 0])


@pytest.mark.parametrize(
    "top",
    [None, [], "x", [{"token": "2", "logprob": -0.1}], [{"token": "2"}, {"token": "1"}],
     [{"token": "2", "logprob": float("nan")}, {"token": "1", "logprob": -1}],
     [{"token": "2", "logprob": 3.0}, {"token": "1", "logprob": -1}],
     [{"token": "2", "logprob": True}, {"token": "1", "logprob": -1}],
     [{"token": "The", "logprob": -0.1}, {"token": "a", "logprob": -3}], [None, None]],
)  # fmt: skip
def test_unusable_log_probabilities(top):
    assert label_probabilities({"content": [{"token": "2", "top_logprobs": top}]}, LABELS) is None


def test_labels_of_two_characters_have_no_token_of_their_own():
    top = [{"token": "1", "logprob": -0.1}, {"token": "0", "logprob": -3.0}]
    content = {"content": [{"token": "1", "top_logprobs": top}]}
    assert label_probabilities(content, [str(grade) for grade in range(11)]) is None
    assert label_probabilities(content, [str(grade) for grade in range(10)]) is not None


@given(ANY_JSON, st.lists(ANY_JSON, max_size=3))
def test_log_probabilities_never_raise(value, top):
    for logprobs in (value, {"content": value}, {"content": [{"token": "2", "top_logprobs": top}]}):
        found = label_probabilities(logprobs, LABELS)
        assert found is None or (abs(found.sum() - 1) < 1e-9 and (found >= 0).all())


def test_a_completion_is_read():
    choice = {"message": {"content": "2"}, "logprobs": {"content": []}}
    body = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    answer = read_chat_answer(json.dumps(body).encode())
    assert (answer.text, answer.logprobs, answer.usage) == ("2", {"content": []}, Usage(7, 1))


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 7},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1e9, "completion_tokens": 1},
    ],
)
def test_a_usage_that_is_none(usage):
    body = {"choices": [{"message": {"content": None}}], "usage": usage}
    answer = read_chat_answer(json.dumps(body).encode())
    assert (answer.text, answer.usage) == ("", None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"choices": []}', b'{"choices": [1]}', b"[" * 100_000,
     b'{"choices": [{"message": "2"}]}'],
)  # fmt: skip
def test_what_is_no_completion(body):
    assert read_chat_answer(body) is None


@given(ANY_JSON)
def test_reading_a_completion_never_raises(value):
    for body in (value, {"choices": value, "usage": value}, {"choices": [{"message": value}], "usage": value}):
        read_chat_answer(json.dumps(body).encode())


@given(st.binary())
def test_reading_bytes_never_raises(body):
    read_chat_answer(body)
