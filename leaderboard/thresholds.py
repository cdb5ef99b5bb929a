"""Separability and recommended thresholds of a result, as its model's page shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mr_st.leaderboard.page_parts import count_cell, number, row_head, score_cells, score_parts, score_rows
from mr_st.leaderboard.plain import short
from mr_st.leaderboard.results import Result, Score

__all__ = ["grade_name", "separability_table", "threshold_rows"]

_HEADS = ("AUC in a query", "AUC over all", "Overlap", "Margin, average", "Margin, worst")
_MARGIN = re.compile(r"margin_(?:average|worst)_(\d{1,3})_(\d{1,3})")
_MOST_LOST = 0.02  # F1; what one threshold for all costs a stratum, from where on it is worth a word


def grade_name(grades: Sequence[str], grade: int) -> str:
    """What a grade is called, its number where it has no name."""
    return short(grades[grade], 40) if 0 <= grade < len(grades) else f"grade {grade}"


def separability_table(result: Result | None, grades: Sequence[str]) -> dict[str, Any]:
    """A table with a row a pair of grades: AUC, overlap, margins, as text and interval; ``heads`` of what there is."""
    if result is None:
        return {"heads": [], "rows": []}
    known = {(pair["high"], pair["low"]): pair for pair in result.separability.get("pairs", [])}
    with_margins = {(int(m[1]), int(m[2])) for name in result.metrics if (m := _MARGIN.fullmatch(name))}
    rows: list[dict[str, Any]] = []
    for high, low in sorted({*known, *with_margins}, key=lambda pair: (pair[1] - pair[0], pair)):  # widest gap first
        pair = known.get((high, low), {})
        margins = [result.metrics.get(f"margin_{kind}_{high}_{low}") for kind in ("average", "worst")]
        figures = [pair.get("auc_per_query"), pair.get("auc_pooled"), pair.get("overlap"), *margins]
        rows.append(
            {
                "high": (high, grade_name(grades, high)),
                "low": (low, grade_name(grades, low)),
                "figures": figures,
            }
        )
    used = [i for i in range(len(_HEADS)) if any(row["figures"][i] is not None for row in rows)]
    for row in rows:
        figures = row.pop("figures")
        row["cells"] = score_cells(figures[i] for i in used)
    return {"heads": [_HEADS[i] for i in used], "rows": rows}


def threshold_rows(result: Result, grades: Sequence[str]) -> list[dict[str, Any]]:
    """One row a boundary between grades, the highest first: the threshold, what it gives, how stable it is."""
    return [_threshold(one, grades) for one in reversed(result.separability.get("boundaries", []))]


def _threshold(boundary: Mapping[str, Any], grades: Sequence[str]) -> dict[str, Any]:
    grade = boundary["boundary"]
    name = grade_name(grades, grade)
    own = ("f1_own", "f1_common", "f1_lost_cross_fitted")
    strata = [
        (
            row_head(stratum["name"], before=stratum["attribute"]) + count_cell(stratum["n_queries"]),
            [stratum["threshold"], *(_alone(stratum[key]) for key in own)],
        )
        for stratum in boundary["strata"]
    ]
    f1s = map(_alone, (boundary["f1_cross_fitted"], boundary["f1_of_all"]))
    return {
        "grade": grade,
        "name": name if grade >= len(grades) - 1 else f"at least {name}",
        "threshold": score_parts(boundary["threshold"]),
        "cells": score_cells([*(boundary[key] for key in ("precision", "recall", "f1")), *f1s]),
        "stability": _stability(boundary["strata"]),
        "strata": score_rows(strata),
    }


def _stability(strata: Sequence[Mapping[str, Any]]) -> str:
    """What one threshold for all costs where it costs most."""
    known = [s for s in strata if s["f1_lost_cross_fitted"] is not None]
    if not known:
        return ""
    worst = max(known, key=lambda s: s["f1_lost_cross_fitted"])
    lost = worst["f1_lost_cross_fitted"]
    if lost < _MOST_LOST:
        return f"Stable: no slice of the queries would gain {_MOST_LOST:g} F1 by a threshold of its own."
    return f"Costs {number(lost)} F1 for {worst['attribute']} {worst['name']}, which wants a threshold of its own."


def _alone(value: float | None) -> Score | None:
    """A figure without an interval."""
    return None if value is None else (value, None, None, None)
