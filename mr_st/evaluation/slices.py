"""A comparison cut by what is known of the queries: head and tail, locales, kinds, seen and unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mr_st.data.traffic import SEGMENTS
from mr_st.errors import UsageError
from mr_st.evaluation.attributes import ATTRIBUTES
from mr_st.evaluation.compare import Comparison, Paired, compare_part, corrected, paired_values
from mr_st.evaluation.report import GradedReport

__all__ = ["FEWEST_QUERIES", "Slices", "compare_slices"]

FEWEST_QUERIES = 10
"""A slice of fewer queries is shown without interval, p-value and verdict."""

_ORDER = {value: place for place, value in enumerate((*SEGMENTS, "seen", "unseen"))}


@dataclass(frozen=True, eq=False)
class Slices:
    """A comparison cut by one attribute.

    Args:
        attribute: ``traffic``, ``locale``, ``kind`` or ``seen``.
        parts: Value of the attribute to the comparison over its queries; ``p_holm`` is over the parts that are tested.
        n_unknown: Queries of which the attribute is not known; they are in no part.
        note: Why there are no parts; empty where there are.
    """

    attribute: str
    parts: dict[str, Comparison]
    n_unknown: int = 0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The slices, ready for JSON."""
        parts = {value: found.to_dict() for value, found in self.parts.items()}
        for part in parts.values():
            del part["notes"]  # they stand at the whole
        return {"attribute": self.attribute, "parts": parts, "n_unknown": self.n_unknown, "note": self.note or None}


def compare_slices(
    report_a: GradedReport,
    report_b: GradedReport,
    by: str,
    metric: str | None = None,
    *,
    least: int = FEWEST_QUERIES,
    **options: Any,
) -> Slices:
    """Compare report B with report A on each part of the queries, with Holm's correction over the parts.

    Args:
        report_a: The baseline.
        report_b: What is compared with it.
        by: The attribute: one of :data:`~mr_st.evaluation.attributes.ATTRIBUTES`.
        metric: A metric of both; None for A's main metric.
        least: A part with fewer queries gets no interval and no p-value.
        options: Further arguments of :func:`~mr_st.evaluation.compare.compare`.

    Returns:
        The parts in their own order (head, torso, tail), else the largest first; no part, and a note, where neither
        report knows the attribute.

    Raises:
        UsageError: no such attribute, or as :func:`~mr_st.evaluation.compare.compare`.
    """
    if by not in ATTRIBUTES:
        raise UsageError(f"queries have no {by!r} to slice by; choose from {', '.join(ATTRIBUTES)}")
    pairs = paired_values(report_a, report_b, metric)
    values = _values(report_a, report_b, pairs, by)
    if values is None:
        return Slices(by, {}, len(pairs.a), f"no slices by {by}: an older mr-st wrote these results; evaluate again")
    known, counts = np.unique([value for value in values if value is not None], return_counts=True)
    if not len(known):
        return Slices(by, {}, len(pairs.a), f"no slices by {by}: the data does not tell it of any query")
    in_order = sorted(
        zip(known.tolist(), counts.tolist(), strict=True), key=lambda v: (_ORDER.get(v[0], 9), -v[1], v[0])
    )
    found = [
        compare_part(report_a, report_b, pairs, np.array([v == value for v in values]), least, **options)
        for value, _ in in_order
    ]
    parts = dict(zip([value for value, _ in in_order], corrected(found), strict=True))
    return Slices(by, parts, int(len(values) - counts.sum()))


def _values(report_a: GradedReport, report_b: GradedReport, pairs: Paired, by: str) -> list[str | None] | None:
    """The attribute of each paired query, from whichever report has it; None where neither does."""
    for report, rows in ((report_a, pairs.rows_a), (report_b, pairs.rows_b)):
        if by in report.per_query.column_names:
            return report.per_query[by].take(rows).to_pylist()
    return None
