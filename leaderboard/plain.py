"""What foreign files hold, made plain: text that can be written and shown, numbers that are numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = [
    "GREATEST",
    "LONGEST_NAME",
    "is_count",
    "is_number",
    "plain",
    "plain_name",
    "plain_names",
    "plain_text",
    "short",
]

LONGEST_NAME = 5_000
"""Characters; a longer name is cut, and a hash of the rest keeps it apart from others."""

GREATEST = 1e15
"""A number from here on, infinite or NaN, is no score and no size."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_DEEPEST, _MOST, _LONGEST = 6, 100, 500
_LABEL = 60  # characters of a name where there is little room


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number of a size that means something; a boolean is none."""
    of_type = type(value)
    return (of_type is float or of_type is int) and -GREATEST < value < GREATEST


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number from 0 on."""
    return type(value) is int and 0 <= value < GREATEST


def plain_text(text: str) -> str:
    """Text that UTF-8 and HTML can carry: lone surrogates and control characters become U+FFFD.

    Example:
        >>> plain_text("a\\x00b")
        'a\\ufffdb'
    """
    return _CONTROL.sub("\ufffd", text)


def plain_name(value: Any) -> str:
    """A name as plain text of at most :data:`LONGEST_NAME` characters; two names stay two.

    Anything but text and numbers is no name: the result is empty.
    """
    if not isinstance(value, str):
        value = str(value) if is_number(value) else ""
    text = plain_text(value)
    if text == value and len(text) <= LONGEST_NAME:
        return text
    mark = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[:LONGEST_NAME]}… ({mark})" if len(text) > LONGEST_NAME else f"{text} ({mark})"


def plain_names(names: list[str]) -> list[str]:
    """:func:`plain_name` of each, quick where all are plain already."""
    if _CONTROL.search("".join(names)) is None and max(map(len, names), default=0) <= LONGEST_NAME:
        return names
    return [plain_name(name) for name in names]


def plain(value: Any, depth: int = _DEEPEST) -> Any:
    """JSON without what is no text, boolean, null or finite number, cut where it is long or deep."""
    if value is None or isinstance(value, bool) or is_number(value):
        return value
    if isinstance(value, str):
        return plain_text(value[:_LONGEST])
    if depth and isinstance(value, Mapping):
        return {plain_text(str(k)[:_LONGEST]): plain(v, depth - 1) for k, v in list(value.items())[:_MOST]}
    if depth and isinstance(value, list):
        return [plain(v, depth - 1) for v in value[:_MOST]]
    return None


def short(text: str, limit: int = _LABEL) -> str:
    """A name on one line and cut where there is little room."""
    text = " ".join(text[: 20 * limit].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
