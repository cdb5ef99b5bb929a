"""What a check of a task or of a result found: how grave, what, where, and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["LEVELS", "Finding", "Level", "by_gravity"]

Level = Literal["must", "should", "note"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""``must``: to be mended, the check fails; ``should``: seldom meant; ``note``: worth knowing. Gravest first."""

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        level: One of :data:`LEVELS`.
        rule: A short name, by which findings are told apart: ``same pair in train and test``.
        what: What was found and what was expected.
        mend: What to do about it; empty where nothing is to be done.
        where: Where: ids, columns, names of files; empty for the whole.

    Example:
        >>> str(Finding("must", "unknown query", "2 ids are no query of the task", "evaluate again", ("q7", "q9")))
        'unknown query: 2 ids are no query of the task (q7, q9); evaluate again'
    """

    level: Level
    rule: str
    what: str
    mend: str = ""
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level {self.level!r} is none of {', '.join(LEVELS)}")

    def __str__(self) -> str:
        more = len(self.where) - _SHOWN
        named = ", ".join(self.where[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        place = f" ({named})" if named else ""
        return f"{self.rule}: {self.what}{place}" + (f"; {self.mend}" if self.mend else "")

    def to_dict(self) -> dict[str, Any]:
        """The finding ready for JSON."""
        return {**vars(self), "where": list(self.where)}


def by_gravity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings, gravest first, otherwise in the order found."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
