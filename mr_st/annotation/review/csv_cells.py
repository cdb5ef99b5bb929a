"""CSV cells that a spreadsheet shows as text: none is taken for a formula, and each reads back as it was."""

from __future__ import annotations

__all__ = ["RISKY_STARTS", "guarded", "unguarded"]

RISKY_STARTS = "=+-@\t\r\n＝＋－＠'"
"""What a cell may not start with: a formula's first characters (also full-width), and the guard itself."""


def guarded(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet might take it for a formula.

    Source: OWASP, CSV Injection.

    Example:
        >>> guarded("=1+1"), guarded("mug"), guarded("'tis")
        ("'=1+1", 'mug', "''tis")
    """
    return f"'{text}" if text.startswith(tuple(RISKY_STARTS)) else text


def unguarded(cell: str) -> str:
    """The inverse of :func:`guarded`; a cell that needed no guard, as a person types it, stays as it is.

    Example:
        >>> unguarded("'=1+1"), unguarded("'tis")
        ('=1+1', "'tis")
    """
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(tuple(RISKY_STARTS)) else cell
