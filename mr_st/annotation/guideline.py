"""A relevance guideline: one Markdown file that people and language models judge by, versioned by its content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from mr_st.errors import DataError, Problem
from mr_st.identity import texts_hash

__all__ = ["BUNDLED_GUIDELINES", "Guideline", "GuidelineExample"]

BUNDLED_GUIDELINES = ("three_grades", "brief")
"""Names of the guidelines that come with the package: the full one, and a short one for small fine-tuned models."""

_GRADE = re.compile(r"Grade\s+(\d+)\s*:\s*(\S.*)", re.IGNORECASE)
_COLUMNS = ["query", "item", "grade", "why"]
_MEND = "see the bundled three_grades.md for the form"


@dataclass(frozen=True)
class GuidelineExample:
    """One pair that the guideline grades, and the reason."""

    query: str
    item: str
    grade: int
    why: str


@dataclass(frozen=True)
class Guideline:
    """What each grade means, with examples.

    The file is plain Markdown: a first heading, a section ``Grade N: name`` for each grade ``0 .. G-1`` and a section
    ``Examples`` with a table of the columns query, item, grade, why. Anything else in it is shown as it stands.

    Args:
        name: The file's name without its ending.
        text: The whole Markdown text.
        grade_names: The name of each grade, lowest first.
        examples: The rows of the examples table.

    Example:
        >>> guideline = Guideline.load("three_grades")
        >>> guideline.grade_names
        ('irrelevant', 'partial', 'relevant')
    """

    name: str
    text: str
    grade_names: tuple[str, ...]
    examples: tuple[GuidelineExample, ...]

    @property
    def n_grades(self) -> int:
        """G, how many grades it defines."""
        return len(self.grade_names)

    @property
    def version(self) -> str:
        """Hash of the text (16 hexadecimal digits): any change of a word is another guideline."""
        return texts_hash([self.text])

    @classmethod
    def load(cls, name_or_path: str | Path) -> Guideline:
        """Read a bundled guideline by its name, or a Markdown file.

        Raises:
            DataError: no such file, a grade without its section, or an example that cannot be read; file and row are
                named.
        """
        if str(name_or_path) in BUNDLED_GUIDELINES:
            where = f"{name_or_path}.md"
            text = (files("mr_st.annotation") / "guidelines" / where).read_text(encoding="utf-8")
            return cls.parse(text, where)
        path = Path(name_or_path)
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            mend = f"give a Markdown file, or one of {', '.join(BUNDLED_GUIDELINES)}"
            raise DataError(Problem(str(path), f"cannot read the guideline ({reason})", mend)) from error

    @classmethod
    def parse(cls, text: str, where: str = "guideline.md") -> Guideline:
        """Read a guideline's text; ``where`` names it in errors.

        Raises:
            DataError: as :meth:`load`.
        """
        text = text.replace("\r\n", "\n")
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        names: dict[int, str] = {}
        for heading, line in _headings(tokens):
            found = _GRADE.fullmatch(heading)
            if not found:
                continue
            if int(found[1]) in names:
                raise DataError(Problem(where, f"grade {found[1]} has two sections", "leave one", row=line))
            names[int(found[1])] = found[2].strip()
        if len(names) < 2 or set(names) != set(range(len(names))):
            listed = ", ".join(map(str, sorted(names))) or "none"
            what = f"sections `Grade N: name` for 0, 1, ... are needed, two or more; found grades: {listed}"
            raise DataError(Problem(where, what, _MEND))
        examples = tuple(_examples(tokens, where, len(names)))
        return cls(Path(where).stem, text, tuple(names[grade] for grade in range(len(names))), examples)


def _headings(tokens: list[Token]) -> list[tuple[str, int]]:
    """Text and line (from 1) of every heading."""
    return [
        (tokens[n + 1].content.strip(), (token.map or [0])[0] + 1)
        for n, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def _examples(tokens: list[Token], where: str, n_grades: int) -> list[GuidelineExample]:
    """The rows of the table below the heading ``Examples``; none where there is no such heading."""
    starts = [line for heading, line in _headings(tokens) if heading.casefold() == "examples"]
    if not starts:
        return []
    examples: list[GuidelineExample] = []
    rows = next((table for table in _tables(tokens) if table[0][0] > starts[0]), [])
    if not rows or [cell.casefold() for cell in rows[0][1]] != _COLUMNS:
        what = f"the section Examples needs a table of the columns {', '.join(_COLUMNS)}"
        raise DataError(Problem(where, what, _MEND, row=starts[0]))
    for line, (query, item, grade, why) in rows[1:]:
        if grade not in {str(known) for known in range(n_grades)}:
            what = f"an example has grade {grade!r:.20}; the sections define 0..{n_grades - 1}"
            raise DataError(Problem(where, what, "mend the row", row=line))
        if not query or not item:
            raise DataError(Problem(where, "an example without a query or an item", "mend the row", row=line))
        examples.append(GuidelineExample(query, item, int(grade), why))
    return examples


def _tables(tokens: list[Token]) -> list[list[tuple[int, list[str]]]]:
    """Line (from 1) and cells of the rows of each table; short rows come filled up with empty cells."""
    tables: list[list[tuple[int, list[str]]]] = []
    for n, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append(((token.map or [0])[0] + 1, []))
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1][1].append(tokens[n + 1].content.strip())
    return tables
