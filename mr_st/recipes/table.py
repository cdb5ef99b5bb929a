"""The one table at the end of a job: every arm, every metric, intervals and paired p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mr_st.recipes.result import ARM_TITLES, RunResult

if TYPE_CHECKING:
    from rich.table import Table

    from mr_st.evaluation import Comparison, GradedReport
    from mr_st.measures import Interval

__all__ = ["results_markdown", "results_table", "table_rows"]

_TESTS = (("stage1", "base"), ("stage2", "stage1"), ("stage2", "control"), ("average", "stage2"))


def table_rows(result: RunResult) -> tuple[list[str], list[list[str]]]:
    """Head and rows as text: one row a metric, one column an arm with its interval, one a test with its p-value."""
    arms = list(result.reports)
    tests = [pair for pair in _TESTS if pair in result.comparisons]
    head = ["metric", *(ARM_TITLES[arm] for arm in arms)]
    head += [f"p, {ARM_TITLES[treatment]} against {ARM_TITLES[control]}" for treatment, control in tests]
    rows = []
    for metric in _metrics(result.reports[arms[-1]]):
        found = [result.reports[arm].metrics.get(metric) for arm in arms]
        row = [metric, *(_interval(interval) for interval in found)]
        row += [_p(result.comparisons[pair][metric]) if metric in result.comparisons[pair] else "-" for pair in tests]
        rows.append(row)
    return head, rows


def results_table(result: RunResult) -> Table:
    """The table for a terminal."""
    from rich import box
    from rich.table import Table

    head, rows = table_rows(result)
    table = Table(title=result.recipe.name, caption=protocol_line(result), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(head[0], no_wrap=True)
    for name in head[1:]:
        is_test = name.startswith("p,")
        table.add_column(name, justify="right", no_wrap=not is_test, min_width=10 if is_test else 19)
    for row, following in zip(rows, [*rows[1:], rows[-1]], strict=True):
        table.add_row(*row, end_section=row[0][:4] != following[0][:4])
    return table


def results_markdown(result: RunResult) -> str:
    """The table for a Markdown file, its protocol below."""
    head, rows = table_rows(result)
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", protocol_line(result), ""])


def protocol_line(result: RunResult) -> str:
    """What the figures are of."""
    report = next(iter(result.reports.values()))
    protocol = report.protocol
    gains = "/".join(f"{gain:g}" for gain in protocol["gains"])
    return (
        f"{report.task_name}: full catalogue of {protocol['n_items']:,} items, split {protocol['split']}, "
        f"{protocol['n_queries']:,} queries, gains {gains} for grades 0..{len(protocol['gains']) - 1}; recall and "
        "precision at grade >= 1; margins are differences of cosine similarity between grades 2 and 0; brackets are "
        "95 % bootstrap intervals over queries; p is of the two-sided paired permutation test, "
        "↓ where the first is lower."
    )


def _metrics(report: GradedReport) -> list[str]:
    ks = report.protocol["ks"]
    names = [f"{metric}@{k}" for metric in ("ndcg", "recall", "precision") for k in ks]
    names += ["margin_average_2_0", "margin_worst_2_0", f"judged@{ks[0]}"]
    return [name for name in names if name in report.metrics]


def _interval(interval: Interval | None) -> str:
    if interval is None or interval.n == 0:
        return "-"
    return f"{_number(interval.value)} [{_number(interval.low)} {_number(interval.high)}]"


def _p(comparison: Comparison) -> str:
    sign = "" if comparison.difference >= 0 else " ↓"
    return ("<.001" if comparison.p_value < 0.001 else _number(comparison.p_value)) + sign


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
