"""Text from elsewhere made safe inside Markdown: a template escapes whatever is not marked as Markdown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Markdown", "code", "escape", "flatten", "literal", "number", "p_value", "signed", "table"]


class Markdown(str):
    """Text that is Markdown on purpose; everything else is escaped on output."""


_SPECIAL = re.compile(r"([\\`*_\[\]<>|#&~$!{}^]|(?<!\w)@)")
_AUTOLINK = re.compile(r"(?i)\b(https?|ftp|mailto|javascript|data)(:)|(www)(\.)")
_LONGEST = 300


def escape(value: Any) -> str:
    """A value as inline Markdown that shows exactly its text, on one line.

    Example:
        >>> print(escape("a|b <script>\\n# x"))
        a\\|b \\<script\\> \\# x
    """
    if isinstance(value, Markdown):
        return value
    text = flatten(str(value))
    text = _SPECIAL.sub(r"\\\1", text)
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)  # no list item,
    text = re.sub(r"^([-+=])", r"\\\1", text)  # nor a rule or a heading's underline
    return _AUTOLINK.sub(lambda m: f"{m[1] or m[3]}&#{ord(m[2] or m[4])};", text)


def code(value: Any) -> Markdown:
    """A value as inline code, whatever back-ticks it holds; a bar is escaped for tables.

    A bar after a backslash cannot be written as code in a table: such a text is escaped instead.

    Example:
        >>> print(code("a`b"))
        `` a`b ``
    """
    text = flatten(str(value)) or " "
    if "\\|" in text:
        return Markdown(escape(text))
    text = text.replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return Markdown(f"{fence}{pad}{text}{pad}{fence}")


def literal(value: Any) -> Markdown:
    """A value as a Python string literal for a fenced code block: one line, quotes escaped."""
    return Markdown(json.dumps(flatten(str(value))))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Markdown:
    """A table, each cell escaped; the cells of a row are as many as the head's.

    Example:
        >>> print(table(["", "n"], [["a|b", 1]]))
        |  | n |
        |---|---|
        | a\\|b | 1 |
    """
    lines = [[escape(cell) for cell in row] for row in rows]
    if any(len(line) != len(head) for line in lines):
        raise ValueError(f"every row needs {len(head)} cells")
    texts = ["| " + " | ".join(line) + " |" for line in [[escape(cell) for cell in head], *lines]]
    return Markdown("\n".join([texts[0], "|" + "---|" * len(head), *texts[1:]]))


def number(value: float | None, digits: int = 3) -> Markdown:
    """A measured number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return Markdown("–")
    return Markdown(f"{value:.{digits}f}".replace("-", "−"))


def signed(value: float | None, digits: int = 3) -> Markdown:
    """A difference with its sign."""
    if value is None or not math.isfinite(value):
        return Markdown("–")
    return Markdown(f"{value:+.{digits}f}".replace("-", "−"))


def p_value(p: float | None) -> Markdown:
    """A p-value with three decimals, or that it is smaller."""
    if p is None or not math.isfinite(p):
        return Markdown("–")
    return Markdown("< 0.001" if p < 0.001 else f"{p:.3f}")


def flatten(text: str) -> str:
    """One line without control or direction marks, not endless."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
