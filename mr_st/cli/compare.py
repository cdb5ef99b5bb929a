"""``mr-st compare``: two models query by query, from their results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.io import JsonOption, Out
from mr_st.cli.reports import find_report

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: mr-st compare org/model-a org/model-b --task MarketplaceRetrieval")(compare)


def compare(
    a: Annotated[str, typer.Argument(help="The baseline: its name in the results folder, or a result JSON.")],
    b: Annotated[str, typer.Argument(help="What is compared with it.")],
    task: Annotated[str | None, typer.Option("--task", "-t", help="The task, where names are given.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", "-m", help="A metric [default: the main one].")] = None,
    results: Annotated[Path, typer.Option("--results", help="The results folder.")] = Path("results"),
    top: Annotated[int, typer.Option(min=0, help="How many of the queries that moved most to show.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare two models query by query: difference, 95 % interval, p-value, queries won and lost."""
    from mr_st.evaluation import compare as compare_reports

    first, second = find_report(a, task, results), find_report(b, task, results)
    found = compare_reports(first, second, metric)
    moved = found.most_moved(top)
    lines = [f"{found.model_b} against {found.model_a}", str(found), *found.notes]
    lines += [f"  {difference:+.4f}  {query}" for query, difference in moved]
    Out(as_json=as_json).result({**found.to_dict(), "most_moved": moved}, "\n".join(lines))
