"""Strict reading of what a chat endpoint answers: a label and nothing else, or nothing at all."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

__all__ = ["ChatAnswer", "Usage", "label_probabilities", "parse_grade", "parse_grades", "read_chat_answer"]

_HIGHEST_LOGPROB = 1e-3  # rounding lets a certain token stand a little above 0
_MOST_TOKENS = 1 << 40  # a usage figure beyond this is no figure


@dataclass(frozen=True)
class Usage:
    """Tokens of one request, as the server counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class ChatAnswer:
    """What a chat-completions response says.

    Args:
        text: The first choice's text; empty where it has none.
        logprobs: The first choice's ``logprobs`` as they came.
        usage: None where the server gave none that can be read.
    """

    text: str
    logprobs: Any
    usage: Usage | None


def read_chat_answer(body: bytes) -> ChatAnswer | None:
    """Read a chat-completions response; None where it is no JSON or has no choice."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    choices = value.get("choices") if isinstance(value, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return None
    text = message.get("content")
    return ChatAnswer(text if isinstance(text, str) else "", choice.get("logprobs"), _usage(value.get("usage")))


def parse_grade(text: object, labels: Sequence[str]) -> int | None:
    """The grade whose label ``text`` is, white space around it aside; None for anything else.

    Nothing is guessed: ``"2."``, ``"Grade: 2"`` and ``"2 because ..."`` are no labels.

    Example:
        >>> parse_grade(" 2\\n", ("0", "1", "2")), parse_grade("2.", ("0", "1", "2"))
        (2, None)
    """
    stripped = text.strip() if isinstance(text, str) else None
    return labels.index(stripped) if stripped in labels else None


def parse_grades(text: object, keys: Collection[str], labels: Sequence[str]) -> dict[str, int]:
    """The grades of a JSON object ``{key: grade}``: those that can be relied on.

    A key that was not asked for, that stands twice, or whose value is no label (``2`` and ``"2"`` both are) is left
    out; where the text is no JSON object, all are.

    Args:
        text: The whole answer; white space around the object is allowed, and nothing else.
        keys: What was asked for.
        labels: The label of each grade, lowest first.

    Example:
        >>> parse_grades('{"a": 2, "b": "1", "c": 7, "d": 0}', ["a", "b", "c"], ("0", "1", "2"))
        {'a': 2, 'b': 1}
    """
    try:
        members = json.loads(text, object_pairs_hook=_Members) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(members, _Members):
        return {}
    seen: dict[str, list[Any]] = {}
    for key, value in members:
        seen.setdefault(key, []).append(value)
    grades = {key: _grade(values[0], labels) for key, values in seen.items() if key in keys and len(values) == 1}
    return {key: grade for key, grade in grades.items() if grade is not None}


def label_probabilities(logprobs: object, labels: Sequence[str]) -> np.ndarray | None:
    """Probabilities of the labels, float64 (G,), from a chat choice's log-probabilities; None without usable ones.

    Those of all tokens that are a label but for white space are added up at the first token that is not blank, and
    scaled to sum 1. One token must be able to hold a label, so labels are single characters.

    Args:
        logprobs: ``{"content": [{"token": ..., "top_logprobs": [{"token": ..., "logprob": ...}, ...]}, ...]}``.
        labels: The label of each grade, lowest first.

    Example:
        >>> top = [{"token": token, "logprob": np.log(p)} for token, p in [("2", 0.6), (" 2", 0.1), ("0", 0.3)]]
        >>> label_probabilities({"content": [{"token": "2", "top_logprobs": top}]}, ("0", "1", "2")).round(3).tolist()
        [0.3, 0.0, 0.7]
    """
    if any(len(label) != 1 for label in labels):
        return None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    for position in content if isinstance(content, list) else ():
        token = position.get("token") if isinstance(position, dict) else None
        if not isinstance(token, str):
            return None
        if token.strip():
            return _sum_of_labels(position.get("top_logprobs"), labels)
    return None


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object, repeated keys included."""


def _grade(value: Any, labels: Sequence[str]) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return labels.index(str(value)) if abs(value) < 100 and str(value) in labels else None
    return labels.index(value) if isinstance(value, str) and value in labels else None


def _sum_of_labels(candidates: Any, labels: Sequence[str]) -> np.ndarray | None:
    if not isinstance(candidates, list) or len(candidates) < 2:  # one alone says nothing of the others
        return None
    mass = np.zeros(len(labels))
    for candidate in candidates:
        token = candidate.get("token") if isinstance(candidate, dict) else None
        value = candidate.get("logprob") if isinstance(candidate, dict) else None
        if not isinstance(token, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if not -math.inf <= value <= _HIGHEST_LOGPROB:
            return None
        grade = parse_grade(token, labels)
        if grade is not None:
            mass[grade] += math.exp(value)
    total = mass.sum()
    return mass / total if total > 0 else None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    given, made = value.get("prompt_tokens"), value.get("completion_tokens")
    return Usage(given, made) if _is_count(given) and _is_count(made) else None


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
