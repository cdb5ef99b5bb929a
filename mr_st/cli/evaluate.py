"""``mr-st evaluate``: models on tasks, to a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.data import OptionsOption, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["add_to"]

ResultsOption = Annotated[Path, typer.Option("--results", help="The results folder.")]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Example: mr-st evaluate minilm runs/demo/stage2/model --task MarketplaceRetrieval -o size=tiny"
    )(evaluate)


def evaluate(
    models: Annotated[list[str], typer.Argument(help="Model folders, Hub ids, or minilm.")],
    task: Annotated[list[str], typer.Option("--task", "-t", help="A task; may be given several times.")],
    results: ResultsOption = Path("results"),
    option: OptionsOption = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="org/name to file a model under, in the order of the models.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Keep the vectors here, so that a rerun is quick.")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate models on tasks: metrics with 95 % intervals, written to the results folder in MTEB's form."""
    from rich.table import Table

    from mr_st.errors import UsageError
    from mr_st.models import load_sentence_transformer
    from mr_st.tasks import get_task

    console = Out(quiet, as_json)
    options = parse_options(option)
    if name and len(name) != len(models):
        raise UsageError(f"--name was given {len(name)} times for {len(models)} models; name each or none")
    names = name or [_name_of(model) for model in models]
    found = []
    table = Table("model", "task", "metric", "value", "95 % interval", "queries")
    for task_name in task:
        made = get_task(task_name, **options)
        for model, model_name in zip(models, names, strict=True):
            report = made.report(
                load_sentence_transformer(model),
                model_name=model_name,
                store=store,
                show_progress=console.show_progress,
            )
            path = report.save(results)
            metrics = {metric: interval.to_dict() for metric, interval in report.metrics.items()}
            found.append(
                {"model": report.model_name, "revision": report.revision, "task": report.task_name, "file": str(path)}
                | {"metrics": metrics, "protocol": report.protocol}
            )
            for metric in (m for m in report.metrics if "/" not in m and "overlap" not in m):
                value = report[metric]
                table.add_row(
                    report.model_name,
                    report.task_name,
                    metric,
                    f"{value.value:.4f}",
                    f"{value.low:.4f} .. {value.high:.4f}",
                    str(value.n),
                )
    console.result(found, table)
    if not as_json:
        console.remark(f"results: {results}")


def _name_of(model: str) -> str:
    """What results of a model are filed under: its Hub id, or ``local/`` and the folder that tells it apart."""
    from mr_st.models import resolve_base

    where, hub_id = resolve_base(model)
    if hub_id is not None:
        return hub_id if "/" in hub_id else f"sentence-transformers/{hub_id}"
    folder = Path(where).resolve()
    return f"local/{folder.parent.name if folder.name == 'model' else folder.name}"
