"""``mr-st separability``: how well similarities keep the grades apart, as tables and figures, from results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption, one_line
from mr_st.cli.reports import ResultsOption, find_report

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from mr_st.evaluation import GradedReport
    from mr_st.measures import Interval

__all__ = ["add_to"]


class _Format(StrEnum):
    png = "png"
    svg = "svg"
    pdf = "pdf"


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: mr-st separability org/stage1 org/stage2 --task MarketplaceRetrieval --out figures")(
        separability
    )


def separability(
    models: Annotated[
        list[str],
        typer.Argument(metavar="RESULT_OR_MODEL", help="Names in the results folder, or result JSONs, of one task."),
    ],
    task: Annotated[str | None, typer.Option("--task", "-t", help="The task, where names are given.")] = None,
    results: ResultsOption = Path("results"),
    split: Annotated[str | None, typer.Option(help="The split, where a result holds several.")] = None,
    out: Annotated[Path | None, typer.Option(help="Draw similarity, margins and thresholds into this folder.")] = None,
    file_format: Annotated[
        list[_Format] | None, typer.Option("--format", help="Of the figures, repeatable  \\[default: png svg]")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Margins, AUC, overlap and best thresholds of models' similarities, with intervals, and violin plots.

    Thresholds maximise F1 of "this grade or better". The last table says whether one threshold serves all queries: how
    much F1 each kind of query loses by the common one, the loss worked out on queries that chose neither threshold.
    """
    from mr_st.evaluation.separation import check_same_pairs, whole_separability

    console = Out(quiet, as_json)
    reports = [find_report(name, task, results, split) for name in models]
    check_same_pairs(reports)
    found = {
        name: whole_separability(report) for name, report in zip(_distinct_names(reports), reports, strict=True)
    }  # fmt: skip
    figures = []
    if out is not None:
        endings = list(dict.fromkeys(f.value for f in file_format or (_Format.png, _Format.svg)))
        figures = _draw(dict(zip(found, reports, strict=True)), found, out, endings)
        console.remark(f"figures: {', '.join(map(str, figures))}")
    first = reports[0]
    value = {
        "task": first.task_name,
        "split": first.split,
        "grades": first.protocol["grades"],
        "models": [
            {"model": report.model_name, "revision": report.revision, "separability": of_model}
            for report, of_model in zip(reports, found.values(), strict=True)
        ],
        "figures": [str(path) for path in figures],
    }
    console.result(value, None if as_json else _shown(first, found))


def _distinct_names(reports: Sequence[GradedReport]) -> list[str]:
    """Names of the models, with their revisions where a name stands there twice."""
    names = [one_line(report.model_name) for report in reports]
    doubled = {name for name in names if names.count(name) > 1}
    labels = [f"{n} ({one_line(r.revision)[:8]})" if n in doubled else n for n, r in zip(names, reports, strict=True)]
    return [f"{label} #{place}" if labels.count(label) > 1 else label for place, label in enumerate(labels, start=1)]


def _draw(
    reports: Mapping[str, GradedReport], found: Mapping[str, dict[str, Any]], out: Path, endings: Sequence[str]
) -> list[Path]:
    from mr_st.measures import plot_margins, plot_similarity_by_grade, plot_thresholds, save_figure

    names = [one_line(name) for name in next(iter(reports.values())).protocol["grades"]]
    histograms = {name: report.similarities for name, report in reports.items() if report.similarities is not None}
    thresholds = {
        name: [_read(boundary["threshold"]) for boundary in of_model["boundaries"]] for name, of_model in found.items()
    }
    values = {name: [interval.value for interval in of_model] for name, of_model in thresholds.items()}
    margins = {name: report.margin_values() for name, report in reports.items()}
    figures = {
        "similarity": plot_similarity_by_grade(histograms, names, values),
        "margins": plot_margins(margins, names),
        "thresholds": plot_thresholds(histograms, thresholds, names),
    }
    return [save_figure(figure, out / f"{name}.{end}") for name, figure in figures.items() for end in endings]


def _read(value: Mapping[str, Any]) -> Interval:
    from mr_st.measures import Interval

    figure, low, high = (float("nan") if value[key] is None else value[key] for key in ("value", "low", "high"))
    return Interval(figure, low, high, value["n"])


def _shown(report: GradedReport, found: Mapping[str, dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.text import Text

    names = [one_line(name) for name in report.protocol["grades"]]
    scale = ", ".join(f"{grade} {name}" for grade, name in enumerate(names))
    confidence = 100 * next(iter(found.values()))["method"]["confidence"]
    hard = round(100 * report.protocol.get("hard_overlap", 0.7))
    parts: list[RenderableType] = [
        Text(f"{one_line(report.task_name)}, {one_line(report.split)}: {scale}"),
        _margins_table(found),
        Text(f"hard: pairs with {hard} % or more of the query's tokens in the item; [ ]: {confidence:g} % interval"),
        _auc_table(found),
        _thresholds_table(found, names),
        Text("cross-fitted: chosen on half of the queries, scored on the others; accept all: F1 with no threshold"),
    ]
    strata = _strata_table(found)
    if strata.row_count:
        parts += [
            strata,
            Text("lost: F1 that the common threshold costs these queries, cross-fitted; 0 or less: nothing"),
        ]
    return Group(*parts)


def _margins_table(found: Mapping[str, dict[str, Any]]) -> Table:
    table = _table("model", "grades", "*average margin", "*worst margin", "queries", "*average, hard", "*worst, hard",
                   "queries")  # fmt: skip
    for name, of_model in found.items():
        for row, pair in enumerate(of_model["pairs"]):
            table.add_row(
                name if row == 0 else "",
                f"{pair['high']} over {pair['low']}",
                *(_interval(pair.get(key)) for key in ("margin_average", "margin_worst")),
                _count(pair.get("margin_average")),
                *(_interval(pair.get(key)) for key in ("margin_average_hard", "margin_worst_hard")),
                _count(pair.get("margin_average_hard")),
            )
    return table


def _auc_table(found: Mapping[str, dict[str, Any]]) -> Table:
    table = _table("model", "grades", "*AUC in a query", "queries", "*AUC pooled", "*overlap pooled", "pairs")
    for name, of_model in found.items():
        for row, pair in enumerate(of_model["pairs"]):
            table.add_row(
                name if row == 0 else "",
                f"{pair['high']} over {pair['low']}",
                _interval(pair["auc_per_query"]),
                _count(pair["auc_per_query"]),
                *(_interval(pair[key]) for key in ("auc_pooled", "overlap")),
                f"{pair['n_high']:,} over {pair['n_low']:,}",
            )
    return table


def _thresholds_table(found: Mapping[str, dict[str, Any]], names: Sequence[str]) -> Table:
    table = _table(
        "model", "accept", "*threshold", "*precision", "*recall", "*F1", "cross-fitted", "accept all", "pairs"
    )  # fmt: skip
    for name, of_model in found.items():
        for row, boundary in enumerate(of_model["boundaries"]):
            grade = boundary["boundary"]
            table.add_row(
                name if row == 0 else "",
                f"\u2265 {grade} {names[grade]}",
                *(_interval(boundary[key]) for key in ("threshold", "precision", "recall", "f1")),
                *(_figure(boundary[key]) for key in ("f1_cross_fitted", "f1_of_all")),
                f"{boundary['n_positive']:,} of {boundary['n_pairs']:,}",
            )
    return table


def _strata_table(found: Mapping[str, dict[str, Any]]) -> Table:
    table = _table("model", "accept", "queries", "number", "*own threshold", "F1 with own", "F1 with common", "lost")
    for name, of_model in found.items():
        for boundary in of_model["boundaries"]:
            for row, stratum in enumerate(boundary["strata"]):
                first = row == 0
                table.add_row(
                    name if first and boundary is of_model["boundaries"][0] else "",
                    f"\u2265 {boundary['boundary']}" if first else "",
                    f"{stratum['attribute']}: {one_line(stratum['name'])}",
                    f"{stratum['n_queries']:,}",
                    _interval(stratum["threshold"]),
                    *(_figure(stratum[key]) for key in ("f1_own", "f1_common", "f1_lost_cross_fitted")),
                )
    return table


def _table(*columns: str) -> Table:
    """A table; columns with a star are never wrapped."""
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column.lstrip("*"), no_wrap=column.startswith("*"))
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(value: Mapping[str, Any] | None) -> str:
    if value is None or value["value"] is None:
        return "-"
    ends = "" if value["low"] is None else f" \\[{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['value']:.3f}{ends}"


def _count(value: Mapping[str, Any] | None) -> str:
    return "-" if value is None else f"{value['n']:,}"
