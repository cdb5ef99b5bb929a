"""The page of a side-by-side evaluation: its figures, and for each query both lists with their grades."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from pathlib import Path

from mr_st.evaluation.report import GradedReport
from mr_st.evaluation.side_by_side import Arms, SideBySide
from mr_st.measures import Interval

__all__ = ["MOST_QUERIES", "summary_rows", "write_side_by_side_page"]

MOST_QUERIES = 1000
"""How many queries a page holds: those that moved most."""


def write_side_by_side_page(
    path: str | Path,
    found: SideBySide,
    control: GradedReport,
    treatment: GradedReport,
    *,
    query_texts: Mapping[str, str],
    titles: Mapping[str, str],
    most: int = MOST_QUERIES,
) -> Path:
    """Write one HTML file that loads nothing: the summary, and the drawn queries with both lists.

    Args:
        path: The file.
        found: The evaluation.
        control, treatment: The reports that it is of.
        query_texts: Query id to text; what is missing shows as its id.
        titles: Item id to title; what is missing shows as its id.
        most: Queries shown at most, those that moved most.

    Raises:
        MrStError: the file cannot be written.
    """
    from mr_st.annotation.pages import write_page

    rows = found.most_moved()[:most].tolist()
    items: dict[str, int] = {}
    shown = {found.query_ids[row] for row in rows}
    lists = [_lists(report, shown, found.k, items) for report in (control, treatment)]
    queries = [
        {
            "id": (query_id := found.query_ids[row]),
            "text": query_texts.get(query_id, query_id),
            "draws": int(found.sample.draws[row]),
            "a": round(float(found.a[row]), 6),
            "b": round(float(found.b[row]), 6),
            "overlap": round(float(found.overlaps[row]), 3),
            "lists": [of.get(query_id, []) for of in lists],
        }
        for row in rows
    ]
    return write_page(
        path,
        "side_by_side",
        {
            "grades": list(control.protocol["grades"]),
            "items": [[item_id, titles.get(item_id, item_id)] for item_id in items],
            "queries": queries,
            "byFrequency": found.sample.by_frequency,
            "metric": f"NDCG@{found.k}",
        },
        package="mr_st.evaluation",
        title=f"Side by side: {found.task_name}",
        found=found,
        lede=_lede(found),
        columns=[name for name, _ in _ways(found)],
        rows=summary_rows(found),
        n_shown=len(rows),
        n_drawn=int((found.sample.draws > 0).sum()),
        facts=_facts(found, control),
    )


def summary_rows(found: SideBySide) -> list[tuple[str, list[str]]]:
    """The figures as texts: what is measured, and its value for each way of counting the queries."""
    k = found.k
    ways = [arms for _, arms in _ways(found)]
    return [
        (f"NDCG@{k}, control", [f"{arms.control:.4f}" for arms in ways]),
        (f"NDCG@{k}, treatment", [f"{arms.treatment:.4f}" for arms in ways]),
        ("difference", [_with_interval(arms.difference, "{:+.4f}") for arms in ways]),
        ("relative", [_with_interval(arms.relative, "{:+.2%}") for arms in ways]),
        ("p (paired permutation)", [f"{arms.p_value:.4f}" for arms in ways]),
        ("won, lost, equal", [f"{arms.won:.1%}, {arms.lost:.1%}, {arms.equal:.1%}" for arms in ways]),
        (f"judged@{k}, control and treatment", [f"{a.judged_control:.1%}, {a.judged_treatment:.1%}" for a in ways]),
        (f"overlap of the lists at {k}", [f"{arms.overlap:.1%}" for arms in ways]),
        ("distinct queries (effective number)", [f"{a.difference.n:,} ({a.n_effective:,.0f})" for a in ways]),
    ]


def _ways(found: SideBySide) -> list[tuple[str, Arms]]:
    """How the queries are counted: as drawn, where frequencies are known, and each once."""
    ways = [("drawn by frequency", found.traffic)] if found.sample.by_frequency else []
    return [*ways, ("every query once", found.uniform)]


def _with_interval(interval: Interval, form: str) -> str:
    if isnan(interval.low):
        return f"{form.format(interval.value)} (too few queries for an interval)"
    return f"{form.format(interval.value)} [{form.format(interval.low)}, {form.format(interval.high)}]"


def _lists(
    report: GradedReport, query_ids: set[str], k: int, items: dict[str, int]
) -> dict[str, list[tuple[int, int | None]]]:
    """Query id to its first k items, as (place among the items, grade or None); new items get a place."""
    found: dict[str, list[tuple[int, int, int | None]]] = {}
    for row in report.run.select(["query_id", "rank", "item_id", "grade"]).to_pylist():
        if row["rank"] <= k and row["query_id"] in query_ids:
            place = items.setdefault(row["item_id"], len(items))
            found.setdefault(row["query_id"], []).append((row["rank"], place, row["grade"]))
    return {query_id: [(place, grade) for _, place, grade in sorted(of)] for query_id, of in found.items()}


def _lede(found: SideBySide) -> str:
    arms = found.traffic if found.sample.by_frequency else found.uniform
    what = "over searches" if found.sample.by_frequency else "over queries"
    verdict = "no difference is shown" if arms.p_value >= 0.05 else (
        "the treatment is better" if arms.difference.value > 0 else "the treatment is worse"
    )  # fmt: skip
    return f"{found.treatment} against {found.control}: {arms.relative.value:+.2%} NDCG@{found.k} {what}; {verdict}."


def _facts(found: SideBySide, control: GradedReport) -> list[tuple[str, str]]:
    sample, protocol = found.sample, control.protocol
    drawn = (
        f"{found.n_draws:,} drawn with replacement, by frequency, from {sample.n_pool:,} queries (seed {sample.seed})"
        if sample.by_frequency
        else f"each once, {found.n_draws:,} of {sample.n_pool:,}: the data gives no frequency"
    )
    unknown = f"; {sample.n_unknown:,} have no frequency and are never drawn" if sample.n_unknown else ""
    return [
        ("Data", f"{protocol['dataset']['name']} ({protocol['dataset']['fingerprint']}), split {found.split}"),
        ("Corpus", f"{protocol['corpus']}, {protocol['n_items']:,} items"),
        ("Queries", drawn + (unknown if sample.by_frequency else "")),
        (
            "Gains",
            ", ".join(f"{name} {gain:g}" for name, gain in zip(protocol["grades"], protocol["gains"], strict=True)),
        ),
        ("Intervals", "95 %, over queries: a query that is drawn often is one observation"),
        ("Unjudged items", "count as grade 0; judged@k tells how many there are"),
        ("Control", f"{found.control} ({found.revisions[0]})"),
        ("Treatment", f"{found.treatment} ({found.revisions[1]})"),
        *(("Note", note) for note in found.notes),
    ]
