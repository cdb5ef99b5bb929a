"""Metrics and protocols in words, as cards, tables and pages show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["metric_family", "metric_label", "protocol_line"]

_RANKING = re.compile(r"([a-z_]+)@(\d+)(?:/(\d+))?")
_MARGIN = re.compile(r"margin_(average|worst)_(\d+)_(\d+)(?:_overlap(\d+))?")
_FAMILIES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "judged": "Judged share"}


def metric_family(name: str) -> tuple[str, int | None]:
    """A metric's name without its cut-off, and the cut-off.

    Example:
        >>> metric_family("recall@10/2"), metric_family("margin_worst_2_0")
        (('recall/2', 10), ('margin_worst_2_0', None))
    """
    if match := _RANKING.fullmatch(name):
        return match[1] + (f"/{match[3]}" if match[3] else ""), int(match[2])
    return name, None


def metric_label(name: str, *, with_k: bool = True) -> str:
    """What a person calls a metric, with or without its cut-off.

    Example:
        >>> metric_label("recall@10/2"), metric_label("recall@10/2", with_k=False)
        ('Recall@10, grade ≥ 2', 'Recall, grade ≥ 2')
        >>> metric_label("margin_worst_2_0")
        'Margin 2 over 0, worst case'
    """
    if match := _RANKING.fullmatch(name):
        family = _FAMILIES.get(match[1], match[1].replace("_", " ").capitalize())
        return family + (f"@{match[2]}" if with_k else "") + (f", grade ≥ {match[3]}" if match[3] else "")
    if match := _MARGIN.fullmatch(name):
        kind = "worst case" if match[1] == "worst" else "average"
        hard = f", pairs with ≥ {match[4]} % token overlap" if match[4] else ""
        return f"Margin {match[2]} over {match[3]}, {kind}{hard}"
    return name.replace("_", " ").capitalize()


def protocol_line(protocol: Mapping[str, Any]) -> str:
    """One sentence that says how a report's figures were made; what the protocol does not say is left out.

    Example:
        >>> print(protocol_line({"corpus": "full catalogue", "n_items": 6764, "split": "test", "n_queries": 40,
        ...                      "grades": ["irrelevant", "relevant"], "gains": [0.0, 1.0]}))
        Full catalogue, 6,764 items · test split, 40 queries · gains irrelevant 0, relevant 1
    """
    parts = []
    if corpus := protocol.get("corpus"):
        of = protocol.get("n_items_in_catalogue")
        n_items = _count(protocol.get("n_items"), "item")
        part = f" of {of:,}" if isinstance(of, int) and of != protocol.get("n_items") else ""
        parts.append(f"{str(corpus)[:1].upper()}{str(corpus)[1:]}" + (f", {n_items}{part}" if n_items else ""))
    if split := protocol.get("split"):
        n_queries = _count(protocol.get("n_queries"), "query")
        left_out = protocol.get("n_queries_left_out")
        note = f" ({left_out:,} with nothing relevant left out)" if isinstance(left_out, int) and left_out else ""
        parts.append(f"{split} split" + (f", {n_queries}{note}" if n_queries else ""))
    if n_pairs := _count(protocol.get("n_judged_pairs"), "judged pair"):
        parts.append(n_pairs)
    grades, gains = protocol.get("grades"), protocol.get("gains")
    if isinstance(grades, list) and isinstance(gains, list) and len(grades) == len(gains):
        parts.append("gains " + ", ".join(f"{name} {gain:g}" for name, gain in zip(grades, gains, strict=True)))
    text = protocol.get("item_text")
    if isinstance(text, Mapping):
        levels = text.get("levels", 0)
        path = " and whole category path" if levels is None else f" and {levels} category levels" if levels else ""
        cut = f", {text['max_chars']} characters" if text.get("max_chars") else ""
        parts.append(f"item text: title{path}{cut}")
    return " · ".join(parts)


def _count(n: Any, one: str) -> str:
    if not isinstance(n, int):
        return ""
    many = one[:-1] + "ies" if one.endswith("y") else one + "s"
    return f"{n:,} {one if n == 1 else many}"
