"""The parts of a split that are looked at by themselves: frequent and rare queries, misspelt ones, languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mr_st.evaluation.attributes import language_of

if TYPE_CHECKING:
    from mr_st.evaluation.report import GradedReport

__all__ = ["query_parts"]

_PARTS: Mapping[str, Mapping[str, str]] = {
    "head": {"traffic": "head"},
    "tail": {"traffic": "tail"},
    "misspelt": {"kind": "spelling"},
    "seen": {"seen": "seen"},
    "unseen": {"seen": "unseen"},
}


def query_parts(report: GradedReport) -> dict[str, GradedReport]:
    """The report over each usual part of its queries, named as the tasks name their subsets.

    Args:
        report: Of a whole split.

    Returns:
        ``head``, ``tail``, ``misspelt``, ``seen`` and ``unseen``, then one part a language (``en``, ``de``, largest
        first); only those that hold some of the queries and not all of them.
    """
    columns = set(report.per_query.column_names)
    locales = report.per_query["locale"].to_pylist() if "locale" in columns else []
    languages = [language for locale in locales if (language := language_of(locale))]
    by_size = sorted(set(languages), key=lambda language: (-languages.count(language), language))
    wanted = {**_PARTS, **{language: {"locale": language} for language in by_size}}
    found = {}
    for name, where in wanted.items():
        (attribute, value), *_ = where.items()
        if attribute not in columns:
            continue
        values = report.per_query[attribute].to_pylist()
        n = sum(v == value or (attribute == "locale" and language_of(v) == value) for v in values)
        if 0 < n < len(values):
            found[name] = report.take(where, name)
    return found
