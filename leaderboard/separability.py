"""The separability of a result as pages show it: the known figures, each of the type it should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mr_st.leaderboard.plain import is_count, is_number, plain_text

__all__ = ["read_separability"]

_MOST = 200  # pairs, boundaries or strata
_PAIR = {"counts": ("high", "low", "n_high", "n_low"), "figures": ("auc_per_query", "auc_pooled", "overlap")}
_BOUNDARY = {
    "counts": ("boundary", "n_pairs", "n_positive"),
    "figures": ("threshold", "precision", "recall", "f1"),
    "numbers": ("f1_cross_fitted", "f1_of_all"),
}
_STRATUM = {
    "counts": ("n_queries", "n_pairs", "n_positive"),
    "figures": ("threshold",),
    "numbers": ("f1_own", "f1_common", "f1_lost", "f1_lost_cross_fitted"),
}


def read_separability(value: Any) -> dict[str, Any]:
    """Keep what :attr:`mr_st.evaluation.GradedReport.separability` may hold, and nothing else.

    Args:
        value: What a result file holds there.

    Returns:
        ``pairs`` (of grades: high, low and figures), ``boundaries`` (boundary, figures, numbers, strata) and
        ``pairs_of_grade``. A figure is ``{"value", "low", "high", "n"}``; what is missing or of another type is None.
        A pair without its grades and a boundary without its grade are left out. Empty where nothing is left.
    """
    if not isinstance(value, Mapping):
        return {}
    pairs = [_known(p, _PAIR) for p in _mappings(value.get("pairs"))]
    pairs = [p for p in pairs if _is_grade(p["high"]) and _is_grade(p["low"])]
    boundaries = []
    for found in _mappings(value.get("boundaries")):
        boundary = _known(found, _BOUNDARY)
        if _is_grade(boundary["boundary"]):
            strata = [_stratum(s) for s in _mappings(found.get("strata"))]
            boundaries.append(boundary | {"strata": [s for s in strata if s["attribute"] and s["name"]]})
    counts = value.get("pairs_of_grade")
    of_grade = counts[:128] if isinstance(counts, list) and all(map(is_count, counts)) else []
    found_any = pairs or boundaries or of_grade
    return {"pairs": pairs, "boundaries": boundaries, "pairs_of_grade": of_grade} if found_any else {}


def _stratum(found: Mapping[str, Any]) -> dict[str, Any]:
    texts = {k: plain_text(v[:100]) if isinstance(v := found.get(k), str) else "" for k in ("attribute", "name")}
    return {**texts, **_known(found, _STRATUM)}


def _known(found: Mapping[str, Any], fields: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return (
        {k: found[k] if is_count(found.get(k)) else None for k in fields["counts"]}
        | {k: _figure(found.get(k)) for k in fields["figures"]}
        | {k: found[k] if is_number(found.get(k)) else None for k in fields.get("numbers", ())}
    )


def _figure(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping) or not is_number(value.get("value")):
        return None
    low, high, n = value.get("low"), value.get("high"), value.get("n")
    has_interval = is_number(low) and is_number(high) and low <= high
    return {
        "value": value["value"],
        "low": low if has_interval else None,
        "high": high if has_interval else None,
        "n": n if is_count(n) else None,
    }


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [entry for entry in value[:_MOST] if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _is_grade(value: Any) -> bool:
    return is_count(value) and value < 128
