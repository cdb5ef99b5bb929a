"""How a command finds the report that its user names: a system's name in the results folder, or a result JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mr_st.evaluation import GradedReport

__all__ = ["ResultsOption", "find_report"]

ResultsOption = Annotated[Path, typer.Option("--results", help="The results folder.")]


def find_report(
    name: str, task: str | None, results: Path, split: str | None = None, subset: str = "default"
) -> GradedReport:
    """The report of a system on a task.

    Args:
        name: The name that its results are filed under (``org/name``, or ``name`` where one organisation has it), what
            ``mr-st evaluate`` was given for it (``bm25``, a model's folder, a YAML file), or a result JSON's path.
        task: The task; not needed for a path.
        results: The results folder; not looked at for a path.
        split: Which split; None when the file holds one.
        subset: Which part of it, ``default`` for the whole.

    Raises:
        UsageError: no result, several revisions, a name with no task, or a file of another task than the one named.
        MrStError: the file cannot be read.
    """
    from mr_st.errors import UsageError
    from mr_st.evaluation import GradedReport

    if name.endswith(".json"):
        report = GradedReport.load(name, split, subset)
        if task is not None and report.task_name != task:
            raise UsageError(f"{name}: a result on {report.task_name}, not on {task}; leave --task out or change it")
        return report
    if task is None:
        raise UsageError(f"{name}: --task is needed to find its result below {results}")
    folders = {path.parents[1].name for path in results.glob(f"*/*/{task}.json")}
    filed = _filed_under(name, folders)
    found = sorted((results / filed).glob(f"*/{task}.json")) if filed else []
    if not found:
        there = ", ".join(sorted(folder.replace("__", "/", 1) for folder in folders))
        has = f"; it has {there}" if there else ""
        raise UsageError(f"{results}: no result of {name} on {task}; run: mr-st evaluate {name} --task {task}{has}")
    if len(found) > 1:
        raise UsageError(f"{results}: {len(found)} revisions of {name}; name one file: {', '.join(map(str, found))}")
    return GradedReport.load(found[0], split, subset)


def _filed_under(name: str, folders: set[str]) -> str | None:
    """The folder that holds the results of what a user calls ``name``; None where none does."""
    from mr_st.errors import MrStError
    from mr_st.evaluation.systems import read_spec

    filed = name.replace("/", "__")
    if filed in folders:
        return filed
    alike = [folder for folder in folders if folder.split("__", 1)[-1] == name]
    if len(alike) == 1:
        return alike[0]
    try:
        called = read_spec(name).called()
    except MrStError:  # it is no system here, and need not be
        return None
    filed = (called or "").replace("/", "__")
    return filed if filed in folders else None
