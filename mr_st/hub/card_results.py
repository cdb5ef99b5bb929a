"""The results of a card: each task's arms with their intervals, every K, slices, paired comparisons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.parts import query_parts
from mr_st.hub.card_words import interval_cell
from mr_st.text.markdown import Markdown, escape, p_value, signed, table
from mr_st.text.wording import metric_label, protocol_line

if TYPE_CHECKING:
    from mr_st.evaluation import Comparison, GradedReport

__all__ = ["arm_title", "comparison_table", "headline", "result_tables", "short_arm"]

_ARMS = {
    "base": "Base, not trained",
    "stage1": "Stage 1: the judgments",
    "control": "Control: stage 1 trained on for as many steps",
    "stage2": "Stage 2: mined and refined",
    "average": "Average of several stage 2",
}
_FIRST = ("ndcg", "recall", "precision", "judged")
_COMPARED = re.compile(r"(ndcg|recall)@10|margin_(average|worst)_2_0")
_MOST_COMPARED = 8  # metrics of a comparison that a card shows where it has none of these
_PARTS = {
    "head": "head: the most frequent queries",
    "tail": "tail: rare queries",
    "misspelt": "misspelt queries",
    "seen": "queries seen in training",
    "unseen": "queries not seen in training",
}


def arm_title(arm: str) -> str:
    """What an arm is called in a table."""
    return _ARMS.get(arm, arm)


def short_arm(arm: str) -> str:
    """What an arm is called in a sentence."""
    return {
        "base": "base",
        "stage1": "stage 1",
        "stage2": "stage 2",
        "control": "control arm",
        "average": "average",
    }.get(arm, arm)


def headline(
    arms: Mapping[str, Sequence[GradedReport]],
    primary: str | None,
    comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]],
) -> Markdown | None:
    """The main metric on the first task, beside the base's where it was measured."""
    if primary is None or not arms.get(primary):
        return None
    report = arms[primary][0]
    metric = report.main_metric
    cell = interval_cell(report.metrics.get(metric))
    text = f"{escape(metric_label(metric))} {cell} on {escape(report.task_name)}"
    base = next((r for r in arms.get("base", []) if r.task_name == report.task_name), None)
    found = comparisons.get((primary, "base"), {}).get(metric)
    if primary != "base" and base is not None:
        text += f"; its base {interval_cell(base.metrics.get(metric))}"
        if found is not None:
            text += f", difference {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
    return Markdown(text)


def result_tables(arms: Mapping[str, Sequence[GradedReport]], primary: str | None, title: str) -> list[dict[str, Any]]:
    """One entry a task: its protocol, the arms' main metrics, every K of the primary arm, and slices.

    Args:
        arms: Reports by arm.
        primary: The arm that is the card's model.
        title: What the card calls the model.
    """
    tasks: dict[str, dict[str, GradedReport]] = {}
    for arm, reports in arms.items():
        for report in reports:
            tasks.setdefault(report.task_name, {})[arm] = report
    tables = []
    for task, by_arm in tasks.items():
        main = by_arm.get(primary or "") or next(iter(by_arm.values()))
        columns = _main_metrics(main)
        rows = [[arm_title(arm), *(_cell(report, name) for name in columns)] for arm, report in by_arm.items()]
        how = main.protocol.get("interval")
        tables.append(
            {
                "task": task,
                "protocol": protocol_line(main.protocol),
                "interval": how.get("method", "bootstrap over queries") if isinstance(how, Mapping) else "bootstrap",
                "arms": table(["", *map(metric_label, columns)], rows),
                "by_k": _by_k(main),
                "title": title,
                "slices": _slices(main, by_arm.get("base") if primary != "base" else None),
            }
        )
    return tables


def comparison_table(
    comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]], primary: str | None
) -> Markdown | None:
    """One row a comparison and metric, those of the primary arm first; the main metrics only."""
    rows: list[list[Any]] = []
    order = sorted(comparisons, key=lambda pair: (pair[0] != primary, pair[1] != "base"))
    for treatment, control in order:
        by_metric = comparisons[treatment, control]
        first = [name for name in by_metric if _COMPARED.fullmatch(name)]
        for name in (first or list(by_metric))[:_MOST_COMPARED]:
            c = by_metric[name]
            rows.append(
                [
                    f"{short_arm(treatment)} against {short_arm(control)}",
                    metric_label(name),
                    Markdown(f"{signed(c.difference)} [{signed(c.low)}, {signed(c.high)}]"),
                    p_value(c.p_value),
                    f"{c.wins:,} / {c.losses:,} / {c.ties:,}",
                ]
            )
    if not rows:
        return None
    return table(["Comparison", "Metric", "Difference", "p", "Queries won / lost / tied"], rows)


def _main_metrics(report: GradedReport) -> list[str]:
    ks = _ks(report)
    wanted = [f"{family}@{ks[0]}" for family in _FIRST] if ks else []
    return [name for name in wanted if name in report.metrics] or list(report.metrics)[:4]


def _ks(report: GradedReport) -> list[int]:
    return sorted({int(m[1]) for name in report.metrics if (m := re.fullmatch(r"ndcg@(\d+)", name))})


def _by_k(report: GradedReport) -> Markdown | None:
    ks = _ks(report)
    families: dict[str, tuple[str, str]] = {}
    for name in report.metrics:
        if match := re.fullmatch(r"(ndcg|recall|precision|judged)@\d+(/\d+)?", name):
            families.setdefault(match[1] + (match[2] or ""), (match[1], match[2] or ""))
    if len(ks) < 2:
        return None
    rows = [
        [metric_label(f"{family}@1{end}", with_k=False), *(_cell(report, f"{family}@{k}{end}") for k in ks)]
        for family, end in families.values()
    ]
    return table(["", *(f"K = {k}" for k in ks)], rows)


def _slices(report: GradedReport, base: GradedReport | None) -> Markdown | None:
    """One row a part of the queries: how many, the main metrics there, the base's first of them."""
    columns = _main_metrics(report)[:3]
    parts = query_parts(report)
    if not parts or not columns:
        return None
    of_base = query_parts(base) if base is not None else {}
    head = ["Queries", "n", *map(metric_label, columns)]
    rows: list[list[Any]] = []
    for name, part in parts.items():
        language = f"language {name}"
        row: list[Any] = [_PARTS.get(name, language), f"{part.protocol['n_queries']:,}"]
        row += [_cell(part, column) for column in columns]
        if of_base:
            row.append(_cell(of_base[name], columns[0]) if name in of_base else Markdown("–"))
        rows.append(row)
    return table([*head, f"{metric_label(columns[0])} of the base"] if of_base else head, rows)


def _cell(report: GradedReport, name: str) -> Markdown:
    return interval_cell(report.metrics.get(name))
