"""How ``mr-st evaluate`` shows what it found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mr_st.cli.io import one_line

if TYPE_CHECKING:
    from rich.console import Group

    from mr_st.cli.evaluate_jobs import Done
    from mr_st.evaluation import GradedReport
    from mr_st.measures import Interval

__all__ = ["as_json", "columns_of", "comparison_hints", "progress_line", "tables"]


def columns_of(report: GradedReport) -> list[str]:
    """The metrics that a table shows: the main one, MRR, and recall at the largest cut-off or, in a judged pool, where
    that is 1, the margin of the best grade over the worst."""
    first = report.main_metric.partition("@")[2]
    wanted = [report.main_metric, f"mrr@{first}"]
    if report.protocol.get("corpus") == "judged pool":
        wanted.append(f"margin_average_{len(report.protocol['grades']) - 1}_0")
    else:
        wanted.append(f"recall@{max(report.protocol['ks'])}")
    return [metric for metric in wanted if metric in report.metrics]


def tables(found: Sequence[Done], metrics: Sequence[str], with_subsets: bool) -> Group:
    """A table for each task: a row for each system, each figure with its 95 % interval.

    Beside the figures of a full catalogue stands the share of the first places that somebody judged.

    Args:
        found: What was evaluated.
        metrics: The columns; none for those of :func:`columns_of`.
        with_subsets: A row for each subset too.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mr_st.text.wording import metric_label, protocol_line

    by_task: dict[str, list[Done]] = {}
    for done in found:
        by_task.setdefault(f"{done.whole.task_name} {done.whole.split}", []).append(done)
    parts: list[Any] = []
    for several in by_task.values():
        first = several[0].whole
        columns = list(metrics) or list(dict.fromkeys(m for done in several for m in columns_of(done.whole)))
        judged = _judged(first)
        headings = ["system", *(["subset"] if with_subsets else []), "queries", *map(metric_label, columns)]
        headings += [metric_label(judged)] if judged and judged not in columns else []
        title = Text.assemble((first.task_name, "bold"), f"  {protocol_line(first.protocol)}")
        table = Table(*headings, title=title, title_justify="left")
        for done in several:
            for subset, report in done.reports.items():
                is_first = subset == "default"
                if not (is_first or with_subsets):
                    continue
                cells = [Text(one_line(report.model_name) if is_first else "")]
                cells += [Text("all" if is_first else subset)] if with_subsets else []
                cells += [Text(f"{report.protocol['n_queries']:,}")]
                cells += [Text(_figure(report.metrics.get(metric))) for metric in columns]
                if judged and judged not in columns:
                    cells.append(Text(_share(report.metrics.get(judged))))
                table.add_row(*cells)
        parts.append(table)
    return Group(*parts)


def progress_line(number: int, total: int, done: Done) -> str:
    """One line about a job that is done."""
    report = done.whole
    text = f"[{number}/{total}] {one_line(report.model_name)} on {report.task_name}: "
    figure = f"{report.main_metric} {_figure(report[report.main_metric])}"
    if not done.is_new:
        return f"{text}already in {done.path} ({figure}); --again evaluates it anew"
    judged = _judged(report)
    share = f", {judged} {_share(report[judged])}" if judged else ""
    return f"{text}{figure}{share}, {report.evaluation_time:.1f} s" + (f"; {done.remark}" if done.remark else "")


def comparison_hints(found: Sequence[Done], results: str) -> list[str]:
    """How to compare the systems of each task that has two or more."""
    by_task: dict[str, dict[str, Done]] = {}
    for done in found:
        by_task.setdefault(done.whole.task_name, {})[str(done.path)] = done
    hints = []
    for task, several in by_task.items():
        if len(several) < 2:
            continue
        names = [done.whole.model_name for done in several.values()]
        where = "" if results == "results" else f" --results {results}"
        same = len(set(names)) < len(names)
        of = f"{' '.join(several)}" if same else f"{' '.join(names)} --task {task}{where}"
        hints.append(f"compare them query by query: mr-st compare {of}")
    return hints


def as_json(found: Sequence[Done]) -> list[dict[str, Any]]:
    """Every report with all its metrics, JSON-ready."""
    return [
        {
            "model": report.model_name,
            "revision": report.revision,
            "task": report.task_name,
            "split": report.split,
            "subset": subset,
            "file": str(done.path),
            "is_new": done.is_new,
            "metrics": {metric: interval.to_dict() for metric, interval in report.metrics.items()},
            "protocol": report.protocol,
        }
        for done in found
        for subset, report in done.reports.items()
    ]


def _judged(report: GradedReport) -> str | None:
    """The judged share that belongs beside the figures; None in a judged pool, where it says nothing."""
    name = f"judged@{report.main_metric.partition('@')[2]}"
    return name if name in report.metrics and report.protocol.get("corpus") != "judged pool" else None


def _figure(value: Interval | None) -> str:
    if value is None or math.isnan(value.value):
        return "-"
    interval = "" if math.isnan(value.low) else f" [{value.low:.4f}, {value.high:.4f}]"  # of one query there is none
    return f"{value.value:.4f}{interval}"


def _share(value: Interval | None) -> str:
    return "-" if value is None or math.isnan(value.value) else f"{value.value:.0%}"
