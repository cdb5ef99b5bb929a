"""``mr-st compare``: models query by query, from their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.data import OptionsOption, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption, one_line
from mr_st.cli.reports import ResultsOption, find_report
from mr_st.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from mr_st.evaluation import Comparison, GradedReport
    from mr_st.evaluation.slices import Slices
    from mr_st.measures.forest import ForestRow

__all__ = ["add_to"]


class _By(StrEnum):
    traffic = "traffic"
    locale = "locale"
    kind = "kind"
    seen = "seen"


@dataclass(frozen=True)
class _Compared:
    """One model against the baseline on one metric."""

    whole: Comparison
    slices: list[Slices]
    moved: list[dict[str, Any]] = field(default_factory=list)


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: mr-st compare org/model-a org/model-b --task MarketplaceRetrieval    "
        "mr-st compare org/a org/b org/c --task WANDSRetrieval --by traffic --by seen --plot slices.png    "
        "mr-st compare org/a org/b --task MarketplaceRetrieval --data marketplace -o size=small"
    )(compare)


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B",
            help="The baseline, then what is compared with it: names in the results folder, or result JSONs.",
        ),
    ],
    task: Annotated[str | None, typer.Option("--task", "-t", help="The task, where names are given.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="A metric, repeatable; the main one if none is given.")
    ] = None,
    results: ResultsOption = Path("results"),
    split: Annotated[str | None, typer.Option(help="The split, where a result holds several.")] = None,
    subset: Annotated[str, typer.Option(help="Which part of the split.")] = "default",
    by: Annotated[list[_By] | None, typer.Option(help="Also slice by this; repeatable.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the queries that moved most to show.")] = 5,
    data: Annotated[
        str | None,
        typer.Option(help="The dataset of the results, as mr-st data takes it: then queries show with their texts."),
    ] = None,
    option: OptionsOption = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the differences and slices: a PNG, SVG or PDF.")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare models query by query: difference, 95 % interval, p-value, queries won, lost and moved most."""
    if len(models) < 2:
        raise UsageError(f"{models[0]} stands alone; give a baseline and at least one model to compare with it")
    if option and data is None:
        raise UsageError("--option says how to load --data; give --data too")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {plot}: the file must end in .png, .svg or .pdf")
    console = Out(quiet, as_json)
    baseline, *others = [find_report(name, task, results, split, subset) for name in models]
    texts = {} if data is None else _query_texts(baseline, data, option)
    found = _compare_all(baseline, others, metric or [baseline.main_metric], [name.value for name in by or []])
    found = [_with_moved(one, top, texts) for one in found]
    if plot is not None:
        from mr_st.measures import save_figure
        from mr_st.measures.forest import plot_forest

        first = found[0].whole
        figure = plot_forest(
            _forest_rows(found, n_models=len(others)),
            title=f"{_short(first.model_b) if len(others) == 1 else 'Models'} against {_short(first.model_a)}",
            axis="difference of the mean" if metric and len(metric) > 1 else f"difference of {first.metric}",
            p_label="p (Holm)" if any(c.p_holm is not None for one in found for c in _all(one)) else "p",
        )
        console.remark(f"plot: {save_figure(figure, plot)}")
    value = {
        "task": baseline.task_name,
        "split": baseline.split,
        "subset": baseline.subset,
        "baseline": {"model": baseline.model_name, "revision": baseline.revision},
        "comparisons": [
            one.whole.to_dict() | {"slices": [s.to_dict() for s in one.slices], "most_moved": one.moved}
            for one in found
        ],
    }
    console.result(value, None if as_json else _shown(baseline, found))


def _compare_all(
    baseline: GradedReport, others: Sequence[GradedReport], metrics: Sequence[str], attributes: Sequence[str]
) -> list[_Compared]:
    from mr_st.evaluation.compare import compare_several
    from mr_st.evaluation.slices import compare_slices

    found = []
    for name in dict.fromkeys(metrics):
        for other, whole in zip(others, compare_several(baseline, others, name), strict=True):
            slices = [compare_slices(baseline, other, by, name) for by in dict.fromkeys(attributes)]
            found.append(_Compared(whole, slices))
    return found


def _query_texts(report: GradedReport, source: str, option: list[str] | None) -> dict[str, str]:
    """Query id to text, of the very data that the report is of."""
    from mr_st.data import GradedDataset

    dataset = GradedDataset.load(source, **parse_options(option))
    if dataset.fingerprint != report.dataset_fingerprint:
        raise UsageError(
            f"--data {source} is other data (fingerprint {dataset.fingerprint}) than the results are of "
            f"({report.dataset_fingerprint}); give theirs, with its -o options, or leave --data out"
        )
    return dict(zip(dataset.queries["query_id"], dataset.query_texts(), strict=True))


def _with_moved(compared: _Compared, top: int, texts: dict[str, str]) -> _Compared:
    whole = compared.whole
    value_a = dict(zip(whole.query_ids, whole.values_a.tolist(), strict=True))
    moved = [
        {"query_id": query, "query": texts.get(query), "a": value_a[query], "b": value_a[query] + difference,
         "difference": difference}
        for query, difference in whole.most_moved(top)
    ]  # fmt: skip
    return _Compared(whole, compared.slices, moved)


def _shown(baseline: GradedReport, found: Sequence[_Compared]) -> Group:
    """Tables and lines for a terminal. What results and data say is no markup and moves no cursor."""
    from rich.console import Group
    from rich.text import Text

    first = found[0].whole
    part = "" if baseline.subset == "default" else f", {baseline.subset}"
    head = f"{baseline.task_name}, {baseline.split}{part}: {first.n:,} queries; baseline {baseline.model_name}"
    table = _table("model", has_metric=True)
    for one in found:
        _add_row(table, one.whole.model_b, one.whole, has_metric=True)
    parts: list[Any] = [Text(one_line(head), style="bold"), table]
    parts += [Text(f"note: {one_line(note)}") for note in dict.fromkeys(n for one in found for n in one.whole.notes)]
    n_models = len({one.whole.model_b for one in found})
    for one in found:
        name = f"{one.whole.metric} of {one.whole.model_b}" if n_models > 1 else one.whole.metric
        for slices in one.slices:
            if slices.note:
                parts.append(Text(f"note: {slices.note}"))
                continue
            parts.append(Text(""))
            parts.append(Text(one_line(f"{name} by {slices.attribute}"), style="bold"))
            table = _table(slices.attribute)
            for value, comparison in slices.parts.items():
                _add_row(table, value, comparison)
            parts.append(table)
            if slices.n_unknown:
                parts.append(Text(f"{slices.n_unknown:,} queries of unknown {slices.attribute} are in none"))
        if one.moved:
            parts.append(Text(""))
            parts.append(Text(one_line(f"{name}: queries that moved most"), style="bold"))
            for moved in one.moved:
                line = f"  {moved['difference']:+.4f}  {moved['a']:.4f} to {moved['b']:.4f}  {moved['query_id']}"
                parts.append(Text(one_line(line + (f"  {moved['query']}" if moved["query"] is not None else ""))))
    return Group(*parts)


def _table(first: str, has_metric: bool = False) -> Table:
    from rich.table import Table

    table = Table(first, *(["metric"] if has_metric else []))
    for name in ("baseline", "value", "difference", "95 % interval", "p", "p (Holm)", "won", "lost", "equal", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    return table


def _add_row(table: Table, name: str, one: Comparison, has_metric: bool = False) -> None:
    from math import isnan

    from rich.text import Text

    table.add_row(
        Text(one_line(name)),
        *([one.metric] if has_metric else []),
        f"{one.value_a:.4f}",
        f"{one.value_b:.4f}",
        f"{one.difference:+.4f}",
        "–" if isnan(one.low) else f"{one.low:+.4f} .. {one.high:+.4f}",
        "–" if isnan(one.p_value) else f"{one.p_value:.4f}",
        "–" if one.p_holm is None else f"{one.p_holm:.4f}",
        *map(str, (one.wins, one.losses, one.ties, one.n)),
        one.verdict,
    )


def _forest_rows(found: Sequence[_Compared], n_models: int) -> list[ForestRow]:
    """A line for each whole comparison and each of its slices, grouped by model, metric and attribute."""
    from mr_st.measures.forest import ForestRow

    has_metrics = len({one.whole.metric for one in found}) > 1
    rows = []
    for one in found:
        about = [one.whole.metric] if has_metrics else []
        about += [_short(one.whole.model_b)] if n_models > 1 else []
        if not any(slices.parts for slices in one.slices):
            group = one.whole.metric if has_metrics and n_models > 1 else ""
            label = _short(one.whole.model_b) if n_models > 1 else one.whole.metric if has_metrics else "all queries"
            rows.append(ForestRow(label, one.whole.interval, one.whole.p, group))
            continue
        rows.append(ForestRow("all queries", one.whole.interval, one.whole.p, ", ".join(about)))
        for slices in one.slices:
            group = ", ".join([*about, slices.attribute])
            rows += [ForestRow(value, part.interval, part.p, group) for value, part in slices.parts.items()]
    return rows


def _all(compared: _Compared) -> list[Comparison]:
    """The whole comparison and its parts."""
    return [compared.whole, *(part for slices in compared.slices for part in slices.parts.values())]


def _short(model: str) -> str:
    return model.rsplit("/", 1)[-1]
