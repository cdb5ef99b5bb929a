"""Whether a task says what a reader of its figures must know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from mr_st.data.validation_locales import language_of
from mr_st.evaluation.evaluate import language_codes
from mr_st.evaluation.finding import Finding

if TYPE_CHECKING:
    from mr_st.tasks.base import TaskMetadata

__all__ = ["DECIDE", "find_metadata_findings"]

DECIDE = "DECIDE"
"""What the template writes where a contributor must decide."""

# what mteb's is_filled does not ask for; and the licence, which has a rule of its own
_OPTIONAL = ("prompt", "adapted_from", "contributed_by", "superseded_by", "license")
_NO_LICENCE = (None, "not specified")
_MAIN = re.compile(r"(ndcg|recall|precision|map|mrr)_at_[1-9]\d*")


def find_metadata_findings(
    metadata: TaskMetadata, locales: Iterable[Any], data_license: str, judged_pool: bool
) -> Iterator[Finding]:
    """Fields that are missing or left undecided, the licence, the dates, the citation, languages, the main score.

    Args:
        metadata: Of the task, with its data's languages.
        locales: BCP-47 tags of the queries that are evaluated.
        data_license: What the dataset itself says.
        judged_pool: Whether the task ranks judged pools.
    """
    fields = {name: getattr(metadata, name) for name in type(metadata).model_fields}
    missing = [name for name, value in fields.items() if value is None and name not in _OPTIONAL]
    if missing:
        yield Finding("must", "metadata not filled", "fields without a value", "fill them in", tuple(missing))
    undecided = [name for name, value in fields.items() if DECIDE in str(value)]
    if undecided:
        yield Finding("must", "metadata not decided", f"still says {DECIDE}", "say what is true of your data",
                      tuple(undecided))  # fmt: skip
    yield from _licence(metadata.license, data_license)
    yield from _dates(metadata.date)
    yield from _citation(metadata.bibtex_citation, metadata.reference)
    yield from _languages(metadata.bcp47_codes, locales)
    if not _MAIN.fullmatch(metadata.main_score):
        yield Finding("must", "unknown main score", f"{metadata.main_score!r} is no figure of a graded task",
                      "write ndcg_at_10")  # fmt: skip
    expected = "Reranking" if judged_pool else "Retrieval"
    if metadata.type != expected:
        yield Finding("must", "wrong type", f"type is {metadata.type!r}, expected {expected!r}", "mend it")
    if "train" in metadata.eval_splits:
        yield Finding("should", "evaluates on train", "eval_splits has train", "evaluate on test")
    if len(metadata.description) < 30:
        yield Finding("should", "short description", f"{metadata.description!r}",
                      "say what is searched for what, and what each grade means")  # fmt: skip


def _licence(licence: Any, data_license: str) -> Iterator[Finding]:
    if licence in _NO_LICENCE:
        yield Finding("must", "licence unknown", f"license is {licence!r}",
                      "ask who owns the data, and write its licence as mteb spells it, or its address")  # fmt: skip
    elif data_license not in ("unknown", "") and data_license.lower() != str(licence).lower():
        yield Finding("should", "two licences", f"the task says {licence!r}, its data {data_license!r}",
                      "write the data's own")  # fmt: skip


def _dates(dates: Any) -> Iterator[Finding]:
    if dates is None:
        return
    try:
        first, last = (date.fromisoformat(text) for text in dates)
    except ValueError as error:
        yield Finding("must", "dates not readable", f"{dates}: {error}", "write YYYY-MM-DD")
        return
    if first > last:
        yield Finding(
            "must", "dates out of order", f"{first} is after {last}", "write when collecting began and ended"
        )
    elif first > date.today():
        yield Finding("must", "dates in the future", f"{first} is yet to come", "write when collecting began")


def _citation(citation: str | None, reference: Any) -> Iterator[Finding]:
    if citation is None:
        return  # not filled: said already
    if not citation.strip():
        yield Finding("note", "no citation", "fine where nothing is published; else its BibTeX belongs here")
    elif not re.match(r"\s*@\w+\s*\{", citation) or citation.count("{") != citation.count("}"):
        yield Finding("must", "broken citation", "bibtex_citation is no whole BibTeX entry",
                      "write @article{...} with its braces closed, or an empty text")  # fmt: skip
    if reference is not None and not re.match(r"https?://", str(reference)):
        yield Finding("must", "broken reference", f"{reference!r} is no address", "write where the data is described")


def _languages(named: Iterable[str], locales: Iterable[Any]) -> Iterator[Finding]:
    tags = {str(locale) for locale in locales}
    codes, named = set(language_codes(tags)), set(named)
    unknown = sorted(tag for tag in tags if language_of(tag) is None)
    if unknown:
        yield Finding("should", "locale unknown", "queries without a language", "give queries a locale such as en-US",
                      tuple(unknown))  # fmt: skip
    others = sorted(tag for tag in tags if language_of(tag) is not None and not language_codes([tag]))
    if others:
        yield Finding("note", "language not compared", "locales whose language this check does not know", "",
                      tuple(others))  # fmt: skip
    if codes - named:
        yield Finding("must", "language not named", "the queries have languages that eval_langs has not",
                      "add them", tuple(sorted(codes - named)))  # fmt: skip
    if named - codes and not unknown and not others:
        yield Finding("should", "language not there", "eval_langs names languages that no query has",
                      "leave them out", tuple(sorted(named - codes)))  # fmt: skip
