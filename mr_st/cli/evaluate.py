"""``mr-st evaluate``: systems on tasks, to a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.data import parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption
from mr_st.cli.reports import ResultsOption
from mr_st.errors import UsageError

if TYPE_CHECKING:
    from mr_st.cli.evaluate_jobs import Job
    from mr_st.evaluation import System

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: mr-st evaluate bm25 minilm runs/my/model --task MarketplaceRetrieval -o size=tiny    "
        "mr-st evaluate hybrid.yaml --task ESCIRetrieval -o path=esci/ --twin    "
        "mr-st evaluate theirs.run --name them/their-system --task WANDSRetrieval -o path=wands/"
    )(evaluate)


def evaluate(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="SYSTEM...",
            help="A model's folder, a Hub id or minilm; bm25; random; a TREC run (.trec, .run); or a YAML file: kind "
            "(bi-encoder, bm25, hybrid, rerank, run, random) and what it is made of.",
        ),
    ],
    task: Annotated[list[str], typer.Option("--task", "-t", help="A task (mr-st tasks list); repeatable.")],
    results: ResultsOption = Path("results"),
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", metavar="KEY=VALUE",
            help="What the tasks take, e.g. size=tiny; TASK.KEY=VALUE for one of them; repeatable.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="org/name to file a system under, in the order of the systems.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Keep the vectors (and paid labels) here, so that a rerun is quick.")
    ] = None,
    k: Annotated[str, typer.Option("--k", metavar="K,K,...", help="Cut-offs.")] = "10,50,100",
    gains: Annotated[
        str | None,
        typer.Option(help="Gains of the grades: linear, exponential, or numbers, lowest grade first, e.g. 0,1,3; "
                          "else the dataset's own."),
    ] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(help="A part of the queries to report, e.g. head, or default for the whole alone; repeatable. "
                          "Else every part is, in the files and by --json."),
    ] = None,
    twin: Annotated[bool, typer.Option("--twin", help="Also evaluate each task's judged-pool twin.")] = False,
    judged_pool: Annotated[
        bool, typer.Option("--judged-pool", help="Evaluate the judged-pool twins, and not the catalogues.")
    ] = False,
    split: Annotated[str | None, typer.Option(help="The split; else the task's first.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="A metric to show, e.g. recall@50/2; repeatable.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Evaluate also what the results folder holds.")] = False,
    trec: Annotated[
        Path | None, typer.Option(help="Also write each run and the qrels in TREC's form to this folder.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in one forward pass.")] = 64,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Evaluate systems on tasks: metrics with 95 % intervals, written to the results folder in MTEB's form.

    What the folder holds of the same system, data and protocol is not evaluated again: run the same command to resume.
    """
    from mr_st.cli.evaluate_jobs import jobs_of, run_job, task_options, write_trec
    from mr_st.cli.evaluate_print import as_json as reports_as_json
    from mr_st.cli.evaluate_print import comparison_hints, progress_line, tables
    from mr_st.evaluation.systems.spec import Loading, load_system, read_spec
    from mr_st.files import ensure_writable
    from mr_st.tasks import get_task

    console = Out(quiet, as_json)
    if name and len(name) != len(systems):
        raise UsageError(f"--name was given {len(name)} times for {len(systems)} systems; name each or none")
    specs = [read_spec(system) for system in systems]  # all that can be refused, before anything is loaded
    task_names = list(dict.fromkeys(task))
    options = task_options(parse_options(option), task_names)
    jobs = jobs_of(
        [get_task(task_name, **options[task_name]) for task_name in task_names],
        split=split, subsets=subset or [], gains=gains, ks=_cutoffs(k),
        twins=twin or judged_pool, catalogues=not judged_pool,
    )  # fmt: skip
    ensure_writable(results)
    how = Loading(store=store, batch_size=batch_size, show_progress=console.show_progress)
    found: list[Any] = []
    for number, spec in enumerate(specs):
        system = load_system(spec, name=name[number] if name else None, how=how)
        for job in jobs:
            done = run_job(job, system, results, again=again)
            found.append(done)
            console.remark(progress_line(len(found), len(specs) * len(jobs), done))
            _tell_coverage(system, job, console)
            if trec is not None:
                console.remark(f"run: {write_trec(job, system, done, trec)}")
    _check_metrics(metric or [], found)
    console.result(reports_as_json(found), None if as_json else tables(found, metric or [], bool(subset)))
    if not as_json:
        console.remark(f"results: {results}")
        for hint in comparison_hints(found, str(results)):
            console.remark(hint)


def _cutoffs(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--k is {text!r}; expected cut-offs such as 10,50,100") from None


def _tell_coverage(system: System, job: Job, console: Out) -> None:
    """How a run file's ids fit the task, where they do not wholly."""
    from mr_st.evaluation.systems import RunFile

    if isinstance(system, RunFile):
        coverage = system.coverage(job.task.collection(job.split, job.gains))
        console.remark(f"{system.path}: {coverage}")


def _check_metrics(metrics: list[str], found: list[Any]) -> None:
    known = {metric for done in found for metric in done.whole.metrics}
    for metric in metrics:
        if metric not in known:
            raise UsageError(f"--metric {metric}: there is no such figure here; there are {', '.join(sorted(known))}")
