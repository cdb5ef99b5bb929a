"""``mr-st tasks``: the benchmark tasks there are, and the way of a new one: new, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.data import OptionsOption, parse_options, working
from mr_st.cli.io import JsonOption, Out, QuietOption, one_line

if TYPE_CHECKING:
    from mr_st.tasks.checking import TaskCheck
    from mr_st.tasks.new_task import NewTask

__all__ = ["add_to"]

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A name that `mr-st tasks list` prints, or a task's file.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Benchmark tasks: list, show, write a new one, check it.", no_args_is_help=True)
    group.command("list", epilog="Example: mr-st tasks list")(list_all)
    group.command(epilog="Example: mr-st tasks show MarketplaceRetrieval -o size=tiny")(show)
    group.command(
        epilog="Examples: mr-st tasks new KitchenRetrieval --package --data my-judgments/    "
        "mr-st tasks new KitchenRetrieval    mr-st tasks new KitchenRetrieval --dir drafts/"
    )(new)
    group.command(
        epilog="Examples: mr-st tasks check KitchenRetrieval    mr-st tasks check drafts/kitchen.py --quick    "
        "mr-st tasks check ESCIRetrieval -o path=esci-download/ --json"
    )(check)
    app.add_typer(group, name="tasks")


def list_all(
    names: Annotated[bool, typer.Option("--names", help="Names only, which takes no second.")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the tasks, ours and those that installed packages add. One that cannot be imported says why."""
    from rich.table import Table

    from mr_st.tasks import list_tasks

    console = Out(quiet, as_json)
    if names:
        found = list_tasks()
        console.result(found, "\n".join(found))
        return
    with working(console, "Reading the tasks"):
        rows = [_row(name) for name in list_tasks()]
    table = Table("task", "type", "languages", "licence", "queries", "items", "main score", "from")
    for row in rows:
        if row["error"]:
            table.add_row(one_line(row["name"]), "cannot be imported", "", "", "", "", "", one_line(row["from"]))
            console.remark(one_line(row["error"]))
            continue
        sizes = ["" if row[key] is None else f"{row[key]:,}" for key in ("n_queries", "n_items")]
        table.add_row(
            row["name"], row["type"], " ".join(row["languages"]), one_line(str(row["license"])), *sizes,
            row["main_score"], one_line(row["from"]),
        )  # fmt: skip
    console.result(rows, table)


def show(
    name: NameArgument,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a task: its metadata, statistics of its splits, and the baselines that were measured on it."""
    import json

    from rich.table import Table

    from mr_st.tasks import get_task

    console = Out(quiet, as_json)
    with working(console, f"Loading {name}"):
        task = get_task(name, **parse_options(option))
        statistics = {split: task.statistics(split) for split in task.metadata.eval_splits}
    facts: dict[str, Any] = {
        "name": task.metadata.name,
        "metadata": task.metadata.model_dump(mode="json"),
        "subsets": {subset: dict(where) for subset, where in task.subsets.items()},
        "statistics": statistics,
        "baselines": type(task).baselines(),
    }
    table = Table("what", task.metadata.name)
    for key, value in facts["metadata"].items():
        if value not in (None, [], ""):
            table.add_row(key, one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    for split, of in statistics.items():
        for key, value in of.items():
            table.add_row(f"{split}: {key}", one_line(value if isinstance(value, str) else json.dumps(value)))
    for system, figure in _recorded(facts["baselines"], task.metadata.revision):
        table.add_row(f"baseline {system}", figure)
    console.result(facts, table)


def new(
    name: Annotated[str, typer.Argument(help="The task's class: CamelCase that ends in Retrieval.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="Folder for the file, or for the package's folder. \\[default: tasks/ of a checkout]"
        ),
    ] = None,
    package: Annotated[
        bool, typer.Option("--package", help="Write a package of your own, with the entry points, instead of a file.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Your judgments: a folder or file of any form that `mr-st data check` reads, or a "
            "Hub dataset (org/name). Without it a few judgments stand in the file.",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="The Hub dataset's commit, 40 hex digits.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", help="What is searched for what, and what each grade means.")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", help="The data's, as mteb spells it, or an address.")
    ] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Address of a description of the data.")] = None,
    date: Annotated[
        tuple[str, str] | None, typer.Option("--date", help="First and last day of collecting: 2024-01-01 2024-06-30.")
    ] = None,
    annotators: Annotated[
        str | None, typer.Option("--annotators", help="Who graded: human-annotated, LM-generated, algorithmic, ...")
    ] = None,
    creation: Annotated[
        str | None, typer.Option("--creation", help="How the texts came to be: found, created, ...")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a new task that runs at once: one file, or a package of your own around it."""
    from mr_st.tasks.new_task import check_name, checkout_tasks, new_task

    console = Out(quiet, as_json)
    decided = {
        "description": description, "license": license, "reference": reference, "date": date,
        "annotations_creators": annotators, "sample_creation": creation,
    }  # fmt: skip
    check_name(name)
    if folder is None:
        folder = Path() if package else checkout_tasks()
    with working(console, f"Writing {name}"):
        made = new_task(name, folder, package=package, data=data, revision=revision,
                        **{key: value for key, value in decided.items() if value is not None})  # fmt: skip
    facts = {
        "name": made.name, "file": str(made.file), "folder": None if made.folder is None else str(made.folder),
        "written": [str(path) for path in made.written], "undecided": list(made.undecided),
    }  # fmt: skip
    console.result(facts, "\n".join([*(str(path) for path in made.written), "", "Next:", *_next_steps(made)]))


def check(
    name: NameArgument,
    option: OptionsOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run no baselines.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The small model among the baselines. \\[default: MiniLM, if it is installed and the texts are few]",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for what should be mended, too.")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a task lacks, as CI would. Exit code 1 if anything must be mended.

    must: to be mended; should: seldom meant; note: worth knowing. Random order, BM25 and MiniLM are really run.
    """
    from mr_st.tasks import get_task
    from mr_st.tasks.checking import check_task
    from mr_st.tasks.registry import task_file

    console = Out(quiet, as_json)
    with working(console, f"Checking {name}"):
        task = get_task(name, **parse_options(option))
        found = check_task(task, file=task_file(name), baselines=not quick, model=model or "auto")
    console.result(found.to_dict(), "\n".join(_check_lines(found)))
    if not found.is_sound or (strict and any(finding.level == "should" for finding in found.findings)):
        raise typer.Exit(1)


def _row(name: str) -> dict[str, Any]:
    from mr_st.errors import MrStError
    from mr_st.tasks.registry import task_class, task_home

    row: dict[str, Any] = {"name": name, "from": task_home(name), "error": None}
    try:
        kind = task_class(name)
        metadata, baselines = kind.metadata, kind.baselines()
    except MrStError as error:
        return {**row, "error": str(error)}
    sizes: dict[str, Any] = next((entry.get("statistics", {}) for entry in baselines.get("entries", [])), {})
    return row | {
        "type": metadata.type,
        "languages": metadata.languages,
        "license": metadata.license,
        "n_queries": sizes.get("n_queries"),
        "n_items": sizes.get("n_items"),
        "main_score": metadata.main_score,
    }


def _recorded(baselines: dict[str, Any], revision: str) -> list[tuple[str, str]]:
    """NDCG@10 of the recorded baselines, those of the task's own data first."""
    found = []
    for entry in sorted(baselines.get("entries", []), key=lambda entry: entry["fingerprint"] != revision):
        data = "this data" if entry["fingerprint"] == revision else f"other data ({entry['data']})"
        for system in entry["systems"].values():
            value, low, high, n = system["metrics"]["ndcg@10"]
            found.append((system["name"], f"ndcg@10 {value:.4f} [{low:.4f}, {high:.4f}], {n} queries of {data}"))
    return found


def _next_steps(made: NewTask) -> list[str]:
    steps = []
    if made.undecided:
        steps.append(f"decide in {made.file}: {', '.join(made.undecided)}")
    if made.folder is not None:
        steps.append(f"pip install -e {made.folder}")
    what = made.name if made.folder is not None or made.file.parent.name == "tasks" else str(made.file)
    steps += [f"mr-st tasks check {what}", f"mr-st evaluate minilm bm25 --task {what}"]
    return [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]


def _check_lines(found: TaskCheck) -> list[str]:
    lines = [f"{finding.level:6}  {one_line(str(finding))}" for finding in found.findings]
    n_must = sum(finding.level == "must" for finding in found.findings)
    end = f"{n_must} to be mended" if n_must else "nothing must be mended"
    return [*lines, f"{found.name}: {end}"]
