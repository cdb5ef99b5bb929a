"""Whether the texts that are searched and asked for can tell one thing from another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mr_st.evaluation.finding import Finding, Level
from mr_st.text import normalise, tokens

if TYPE_CHECKING:
    from mr_st.evaluation import Collection

__all__ = ["find_text_findings"]

_MANY = 0.05
_SHORT_ITEM = 5


def find_text_findings(collection: Collection) -> Iterator[Finding]:
    """Empty and short texts, texts that stand twice, and items of one text that one query grades differently."""
    for what, ids, texts in (
        ("query", collection.query_ids, collection.query_texts),
        ("item", collection.item_ids, collection.item_texts),
    ):
        yield from _empty_and_short(what, ids, texts)
        yield from _repeated(what, ids, texts)
    yield from _contradicting(collection)


def _empty_and_short(what: str, ids: Sequence[str], texts: Sequence[str]) -> Iterator[Finding]:
    empty = [one for one, text in zip(ids, texts, strict=True) if not tokens(text)]
    if empty:
        level: Level = "must" if what == "query" or len(empty) > _MANY * len(ids) else "should"
        yield Finding(level, f"empty {what} text", f"{len(empty):,} have no letter and no digit",
                      "give them a text, or leave them out", tuple(empty))  # fmt: skip
    least = 2 if what == "query" else _SHORT_ITEM
    short = [one for one, text in zip(ids, texts, strict=True) if tokens(text) and len(text.strip()) < least]
    if short:
        level = "should" if len(short) > _MANY * len(ids) else "note"
        yield Finding(level, f"short {what} text", f"{len(short):,} have fewer than {least} characters",
                      "look whether they were cut", tuple(short))  # fmt: skip


def _repeated(what: str, ids: Sequence[str], texts: Sequence[str]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    again = []
    for one, text in zip(ids, texts, strict=True):
        kept = first.setdefault(_plain(text), one)
        if kept != one:
            again.append(f"{one} like {kept}")
    if again:
        level: Level = "should" if len(again) > _MANY * len(ids) else "note"
        why = "equal queries weigh double" if what == "query" else "no text can tell equal items apart"
        yield Finding(level, f"repeated {what} text", f"{len(again):,} of {len(ids):,} repeat another's text; {why}",
                      "keep one of each" if level == "should" else "", tuple(again))  # fmt: skip


def _contradicting(collection: Collection) -> Iterator[Finding]:
    """One query, two items of one text, two grades: no system can get both right."""
    judged = collection.judged
    texts = [_plain(text) for text in collection.item_texts]
    grades: dict[tuple[int, str], tuple[int, int]] = {}
    wrong = []
    for query, item, grade in zip(
        judged.query_of_pair.tolist(), judged.items.tolist(), judged.grades.tolist(), strict=True
    ):
        other, its_grade = grades.setdefault((query, texts[item]), (item, grade))
        if its_grade != grade:
            names = collection.query_ids[query], collection.item_ids[item], collection.item_ids[other]
            wrong.append(f"{names[0]}: {names[1]} and {names[2]}")
    if wrong:
        level: Level = "should" if len(wrong) > 0.01 * judged.n_pairs else "note"
        yield Finding(level, "one text, two grades", f"{len(wrong):,} pairs of items of one text have two grades for "
                      "one query", "grade them alike, or give the items texts that tell them apart",
                      tuple(wrong))  # fmt: skip


def _plain(text: str) -> str:
    return " ".join(normalise(text).split())
