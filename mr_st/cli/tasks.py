"""``mr-st tasks``: the benchmark tasks that can be run."""

from __future__ import annotations

import typer

from mr_st.cli.io import JsonOption, Out

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Benchmark tasks.", no_args_is_help=True)
    group.command("list", epilog="Example: mr-st tasks list")(list_all)
    app.add_typer(group, name="tasks")


def list_all(as_json: JsonOption = False) -> None:
    """List the tasks, ours and those that installed packages add."""
    from mr_st.tasks import list_tasks

    names = list_tasks()
    Out(as_json=as_json).result(names, "\n".join(names))
