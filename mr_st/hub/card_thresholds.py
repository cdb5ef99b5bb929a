"""Separability on a card: how well similarities keep the grades apart, and from where on to accept a pair."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mr_st.hub.card_words import as_interval, interval_cell
from mr_st.text.markdown import Markdown, number, table

if TYPE_CHECKING:
    from mr_st.evaluation import GradedReport

__all__ = ["separability_tables", "threshold_tables"]

_MOST_LOST = 0.02  # F1; what one threshold for all costs a slice, from where on it is worth a row
_MOST_SLICES = 8
_MARGIN = re.compile(r"margin_(?:average|worst)_(\d{1,3})_(\d{1,3})")
_ATTRIBUTES = {"kind": "kind", "locale": "locale", "traffic": "traffic", "seen": "seen in training"}


def threshold_tables(reports: Sequence[GradedReport]) -> list[dict[str, Any]]:
    """One entry a task whose similarities were measured: thresholds, what they give, and who needs another.

    Args:
        reports: Of the card's model.

    Returns:
        ``task``, ``split``, ``n_pairs``, ``rows`` (a table), ``slices`` (a table or None) and ``example``: the
        highest threshold that is worth having, as the table prints it, and what it stands for; None where none is.
    """
    tables = []
    for report in reports:
        boundaries = (report.separability or {}).get("boundaries") or []
        known = [one for one in reversed(boundaries) if as_interval(one.get("threshold")) is not None]
        if not known:
            continue
        grades = _grades(report)
        head = ["Grade", "Similarity", "Precision", "Recall", "F1", "F1, new queries", "F1, all accepted"]
        rows = [
            [
                _accepted(grades, one["boundary"]),
                *(interval_cell(one.get(key)) for key in ("threshold", "precision", "recall", "f1")),
                number(one.get("f1_cross_fitted")),
                number(one.get("f1_of_all")),
            ]
            for one in known
        ]
        useless = [_accepted(grades, one["boundary"]) for one in known if not _is_useful(one)]
        useful = next((one for one in known if _is_useful(one)), None)
        tables.append(
            {
                "task": report.task_name,
                "split": report.split,
                "n_pairs": f"{known[0]['n_pairs']:,}",
                "rows": table(head, rows),
                "useless": ", ".join(f"“{name}”" for name in useless),
                "slices": _slices(known, grades),
                "example": None if useful is None else _example(useful, grades),
            }
        )
    return tables


def separability_tables(reports: Sequence[GradedReport]) -> list[dict[str, Any]]:
    """One entry a task: a row a pair of grades, widest gap first, with AUC, overlap and margins."""
    tables = []
    for report in reports:
        pairs = {(one["high"], one["low"]): one for one in (report.separability or {}).get("pairs") or []}
        margins = {(int(m[1]), int(m[2])) for name in report.metrics if (m := _MARGIN.fullmatch(name))}
        grades = _grades(report)
        heads = ["AUC in a query", "AUC over all pairs", "Overlap", "Margin, average", "Margin, worst case"]
        rows: list[list[Any]] = []
        for high, low in sorted({*pairs, *margins}, key=lambda pair: (pair[1] - pair[0], pair)):
            of_pair = pairs.get((high, low), {})
            found = [of_pair.get(key) for key in ("auc_per_query", "auc_pooled", "overlap")]
            found += [report.metrics.get(f"margin_{kind}_{high}_{low}") for kind in ("average", "worst")]
            rows.append([f"{_name(grades, high)} over {_name(grades, low)}", *map(interval_cell, found)])
        if rows:
            tables.append({"task": report.task_name, "rows": table(["Grades", *heads], rows)})
    return tables


def _slices(boundaries: Sequence[Mapping[str, Any]], grades: Sequence[str]) -> Markdown | None:
    """The slices that a threshold of their own would serve better, the most to win first."""
    found: list[tuple[float, list[Any]]] = []
    for one in boundaries:
        for part in one.get("strata") or []:
            lost = part.get("f1_lost_cross_fitted")
            if lost is not None and lost >= _MOST_LOST:
                row = [
                    f"{_ATTRIBUTES.get(part['attribute'], part['attribute'])}: {part['name']}",
                    f"{part['n_queries']:,}",
                    _accepted(grades, one["boundary"]),
                    interval_cell(part["threshold"]),
                    number(lost),
                ]
                found.append((-lost, row))
    if not found:
        return None
    found.sort(key=lambda entry: entry[0])
    head = ["Queries", "n", "Grade", "Similarity", "F1 won, new queries"]
    return table(head, [row for _, row in found[:_MOST_SLICES]])


def _is_useful(boundary: Mapping[str, Any]) -> bool:
    expected, of_all = boundary.get("f1_cross_fitted"), boundary.get("f1_of_all")
    return expected is None or of_all is None or expected > of_all


def _example(boundary: Mapping[str, Any], grades: Sequence[str]) -> dict[str, Any]:
    threshold = as_interval(boundary["threshold"])
    assert threshold is not None
    return {"threshold": Markdown(f"{threshold.value:.3f}"), "name": _accepted(grades, boundary["boundary"])}


def _grades(report: GradedReport) -> list[str]:
    found = report.protocol.get("grades")
    return [str(name) for name in found] if isinstance(found, list) else []


def _name(grades: Sequence[str], grade: int) -> str:
    return grades[grade] if 0 <= grade < len(grades) else f"grade {grade}"


def _accepted(grades: Sequence[str], boundary: int) -> str:
    """What a pair from this boundary on is: the highest grade by its name, a lower one as "at least"."""
    name = _name(grades, boundary)
    return name if boundary >= len(grades) - 1 else f"at least {name}"
