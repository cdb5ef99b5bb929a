"""A mining round's report as a few aligned lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["report_facts", "report_text"]

_DROPPED = {
    "dropped_by_confidence": "unsure",
    "dropped_near_positive": "near a judged positive",
    "dropped_as_twin": "twins of harder pairs",
    "dropped_by_cap": "over a cap",
}


def report_text(report: Mapping[str, Any], grade_names: Sequence[str] | None = None) -> str:
    """What the round retrieved, dropped, annotated and took, and the share of false negatives.

    Args:
        report: ``RefinementSet.report``.
        grade_names: What to call grade 0, 1, ...; None: "grade 0" and so on.

    Returns:
        Lines without a line end after the last.
    """
    pairs = report["pairs"]
    names = list(grade_names or (f"grade {grade}" for grade in pairs["annotated_by_grade"]))
    reasons = _between(pairs, "retrieved", "annotated")
    queries = f" of {report['queries']:,} queries" if "queries" in report else ""
    lines = [f"retrieved  {pairs['retrieved']:>13,} pairs{queries}, top {pairs['k']:,}"]
    lines += [f"           {-n:>13,} {reason.replace('_', ' ')}" for reason, n in reasons.items() if n]
    lines.append(f"annotated  {pairs['annotated']:>13,} {_grades(pairs['annotated_by_grade'], names)}".rstrip())
    lines.append(f"taken      {pairs['taken']:>13,}")
    for kind, of in pairs["taken_by_kind"].items():
        grades = f" ({_grades(of['by_grade'], names)})" if kind != "hard negative" and of["pairs"] else ""
        lines.append(f"           {of['pairs']:>13,} {kind}s{grades}")
    left = [f"{pairs[key]:,} {words}" for key, words in _DROPPED.items() if pairs[key]]
    if left:
        lines.append(f"left out   {', '.join(left)}")
    lines += ["", "false negatives: what a miner without an annotator takes for negatives, graded 1 or more"]
    naive = pairs["would_be_negatives"]
    lines.append(f"  to the boundary, rank {pairs['last_negative_rank']:>5,}: {_share(naive['to_boundary'])}")
    lines.append(f"  to k, rank            {pairs['k']:>5,}: {_share(naive['to_k'])}")
    deciles = {f"{of['first_rank']:,}-{of['last_rank']:,}": of for of in pairs["by_rank_decile"] if of["pairs"]}
    for title, groups in (("ranks", deciles), ("found by", pairs.get("by_source", {})),
                          ("traffic", pairs.get("by_stratum", {}))):  # fmt: skip
        if groups:
            lines += ["", *_table(title, groups, names)]
    return "\n".join(lines)


def report_facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """The same in a few named facts, as a model card shows them.

    Args:
        report: ``RefinementSet.report``.
    """
    pairs, naive = report["pairs"], report["pairs"]["would_be_negatives"]
    taken = ", ".join(f"{of['pairs']:,} {kind}s" for kind, of in pairs["taken_by_kind"].items())
    facts = {key: report[key] for key in ("model", "dataset", "annotator", "settings", "queries", "items")}
    return facts | {
        "search": ", ".join(f"{how['source']} ({how['kind']})" for how in report["search"]),
        "retrieved pairs": pairs["retrieved"],
        "annotated pairs": pairs["annotated"],
        "taken pairs": f"{pairs['taken']:,} ({taken})",
        "graded 1 or more by the annotator, where a miner without one sees a negative": (
            f"to rank {pairs['last_negative_rank']:,}: {_share(naive['to_boundary']).strip()}; "
            f"to rank {pairs['k']:,}: {_share(naive['to_k']).strip()}"
        ),
    }


def _between(mapping: Mapping[str, Any], first: str, last: str) -> dict[str, int]:
    """What stands between two keys: the reasons for which retrieved pairs were not annotated."""
    keys = list(mapping)
    return {key: mapping[key] for key in keys[keys.index(first) + 1 : keys.index(last)]}


def _grades(counts: Mapping[str, int], names: Sequence[str]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name} {n / total:.1%}" for name, n in zip(names, counts.values(), strict=True) if n)


def _share(of: Mapping[str, Any]) -> str:
    if not of["pairs"]:
        return "no such pair"
    between = "" if of["low"] is None else f"  (95 % interval {of['low']:.1%} to {of['high']:.1%})"
    return f"{of['share_positive']:6.1%} of {of['pairs']:,}{between}"


def _table(title: str, groups: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """One line a group: how many were annotated, the share of each grade, how many were taken."""
    rows = [[title, "annotated", *names, "taken"]]
    for name, of in groups.items():
        shares = [f"{n / of['pairs']:.1%}" for n in of["by_grade"].values()]
        rows.append([name, f"{of['pairs']:,}", *shares, f"{sum(of['taken_by_grade'].values()):,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
