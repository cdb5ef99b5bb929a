"""The rules that validation knows, by name, and the tally that turns what breaks one into problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from mr_st.data.schema import MAX_PROBLEMS
from mr_st.errors import Problem

__all__ = ["ROW", "RULES", "Rule", "Tally", "listed", "shown"]

ROW = "__row__"
"""Column of a frame that holds its row numbers, counted from 1."""

_SHOWN = 60


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        about: What is refused, or remarked upon.
        is_error: Whether it makes loading fail; else it is a notice, which only ``mr-st data check`` shows.
        is_mendable: Whether ``--fix`` mends it. (It also mends other faults that blanks cause, such as an unknown id.)
    """

    about: str
    is_error: bool = True
    is_mendable: bool = False


RULES: dict[str, Rule] = {
    "empty table": Rule("a table without rows (engagement may be empty)"),
    "null": Rule("a null in a column that must be filled, or among the levels of a category path"),
    "duplicate row": Rule("a row that stands twice, equal in every column", is_mendable=True),
    "repeated id": Rule("two queries or two items that differ but share an id"),
    "empty id": Rule("an id of blanks only"),
    "blanks around an id": Rule("an id that begins or ends with a blank", is_mendable=True),
    "id not in NFC": Rule("an id that is not in Unicode normal form C", is_mendable=True),
    "look-alike ids": Rule("ids that differ only by surrounding blanks or in Unicode normal form"),
    "broken id": Rule("a control character or U+FFFD in an id"),
    "NUL character": Rule("U+0000 in any text"),
    "huge field": Rule("a text above the limit in size, 1 MiB by default: mostly a quote that was never closed"),
    "empty query": Rule("a query of blanks only"),
    "ill-formed locale": Rule("a locale that has not the form of a BCP-47 tag"),
    "unknown locale": Rule("a locale whose language is no code of ISO 639"),
    "unknown source query": Rule("a source_query_id that is no query"),
    "circular source": Rule("a query that is derived from itself, straight or by way of others"),
    "frequency out of range": Rule("a frequency below 0, infinite or no number"),
    "grade outside the scale": Rule("a grade that the scale does not have"),
    "unknown split": Rule("a split that is none of train, dev and test"),
    "confidence out of range": Rule("a confidence outside 0..1"),
    "contradicting pair": Rule("a pair that stands twice, with two grades"),
    "pair in two splits": Rule("a pair that stands twice, in two splits"),
    "repeated pair": Rule("a pair that stands twice, with other values beside it"),
    "unknown id": Rule("a judgment or engagement of a query or item that is not there"),
    "count out of range": Rule("a count below 0"),
    "more clicks than impressions": Rule("more clicks than impressions"),
    "blanks around a text": Rule("a text that begins or ends with a blank", is_error=False, is_mendable=True),
    "text not in NFC": Rule("a text that is not in Unicode normal form C", is_error=False, is_mendable=True),
    "control character": Rule("a control character, a byte order mark or a noncharacter in a text", is_error=False),
    "replacement character": Rule("U+FFFD in a text: it was read in a wrong encoding", is_error=False),
    "empty title": Rule("an item without a title", is_error=False),
    "empty category level": Rule("a level of blanks only in a category path", is_error=False),
    "number-like ids": Rule("ids such as 1 and 1.0 in one table", is_error=False),
    "unknown kind": Rule("a query's kind that is none of organic, spelling and synthetic", is_error=False),
    "repeated query": Rule("two queries of one text and locale", is_error=False),
    "query text in two splits": Rule("two queries of one text and locale, judged in two splits", is_error=False),
    "unjudged query": Rule("a query without judgments", is_error=False),
    "pair of two languages": Rule("a judged pair whose query and item differ in language", is_error=False),
    "one grade only": Rule("a dataset, of more than one judgment, all of one grade", is_error=False),
    "engagement out of order": Rule("more carts than clicks, or more purchases than carts", is_error=False),
}
"""Name of a rule -> what it says. Each problem of :func:`mr_st.data.validation.find_problems` names its rule."""


def shown(value: Any) -> str:
    """A value as a message shows it: quoted, escaped, and of a long one the beginning and the end."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 16]}…{text[-15:]}"


@dataclass
class Tally:
    """Collects what breaks one rule in one column: the first 1,000 one by one, the rest by their number.

    Args:
        rule: A name of :data:`RULES`.
        where: File or table.
        column: The column, or None.
        mend: What to do about it.
    """

    rule: str
    where: str
    column: str | None
    mend: str
    n_faults: int = 0
    first: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"{self.rule!r} is no rule of RULES")

    @property
    def room(self) -> int:
        """How many more faults are listed one by one."""
        return MAX_PROBLEMS - len(self.first)

    def add(self, faults: Iterable[tuple[int | None, str]], n_faults: int) -> None:
        """Take in faults.

        Args:
            faults: (row, what was found) of the first ones; those beyond :attr:`room` are not looked at.
            n_faults: How many there are in all.
        """
        for row, what in faults:
            if self.room <= 0:
                break
            self.first.append(Problem(self.where, what, self.mend, row, self.column, self.rule))
        self.n_faults += n_faults

    def problems(self) -> Iterator[Problem]:
        """The problems, in the order found; after 1,000 of them one that counts the rest."""
        yield from self.first
        rest = self.n_faults - len(self.first)
        if rest > 0:
            what = f"{rest:,} more faults like these"
            yield Problem(self.where, what, "mend them in the same way", None, self.column, self.rule, rest)


def listed(
    rule: str, wrong: pl.DataFrame, where: str, column: str, what: Callable[..., str], mend: str, *values: str
) -> Iterator[Problem]:
    """One problem for each row of ``wrong``.

    Args:
        rule: A name of :data:`RULES`.
        wrong: Rows with their number in :data:`ROW`.
        where: File or table.
        column: The column at fault.
        what: Says it, from the values of ``values``, or from that of ``column`` where none is named.
        mend: What to do about it.
        values: Columns that ``what`` takes.
    """
    tally = Tally(rule, where, column, mend)
    rows = wrong.select(ROW, *(values or (column,))).head(MAX_PROBLEMS).iter_rows()
    tally.add(((row[0], what(*row[1:])) for row in rows), wrong.height)
    yield from tally.problems()
