"""``mr-st results``: results that somebody else made, checked on the way in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mr_st.cli.data import OptionsOption, parse_options, working
from mr_st.cli.io import JsonOption, Out, QuietOption, one_line

if TYPE_CHECKING:
    from mr_st.evaluation.handed_in import CheckedResult

__all__ = ["add_to"]

FolderArgument = Annotated[
    Path, typer.Argument(help="What was handed in: a results folder, {org__name}/{revision}/{Task}.json.")
]
UnverifiedOption = Annotated[
    bool,
    typer.Option("--allow-unverified", help="Take a result whose task or data is not here, unchecked, and say so."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Take in results that somebody else made, checked.", no_args_is_help=True)
    group.command(
        epilog="Examples: mr-st results check handed-in/results    "
        "mr-st results check handed-in/results -o size=tiny --json"
    )(check)
    group.command(epilog="Example: mr-st results add handed-in/results --results results/")(add)
    app.add_typer(group, name="results")


def check(
    folder: FolderArgument,
    option: OptionsOption = None,
    allow_unverified: UnverifiedOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check results against our own tasks: figures worked out anew from run and judgments. Exit code 1 if any fails.

    Nothing is believed that can be worked out here; what could not be is listed.
    """
    from mr_st.evaluation.handed_in import check_handed_in
    from mr_st.tasks.named_collections import collections_by_name

    console = Out(quiet, as_json)
    options = parse_options(option)
    with working(console, f"Checking {folder}"):
        found = check_handed_in(folder, collections_by_name(**options), allow_unverified)
    _tell(console, found)


def add(
    folder: FolderArgument,
    results: Annotated[Path, typer.Option("--results", help="Our results folder.")] = Path("results"),
    option: OptionsOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a result of the same model, revision and task.")
    ] = False,
    allow_unverified: UnverifiedOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check results as `results check` does and, if all of them are sound, add them to a results folder."""
    from mr_st.evaluation.handed_in import add_handed_in
    from mr_st.tasks.named_collections import collections_by_name

    console = Out(quiet, as_json)
    options = parse_options(option)
    with working(console, f"Checking {folder}"):
        found = add_handed_in(
            folder, results, collections_by_name(**options), replace=replace, allow_unverified=allow_unverified
        )
    _tell(console, found)


def _tell(console: Out, found: Sequence[CheckedResult]) -> None:
    lines: list[str] = []
    for result in found:
        state = result.state or ("sound" if result.is_sound else "NOT SOUND")
        lines.append(one_line(f"{result.file}: {state}"))
        lines += [f"  {finding.level:6}  {one_line(str(finding))}" for finding in result.findings]
        if result.recomputed:
            lines.append(f"  worked out anew from run and judgments: {', '.join(result.recomputed)}")
        if result.believed:
            lines.append(one_line(f"  believed, since run and judgments do not tell: {', '.join(result.believed)}"))
    n_bad = sum(not result.is_sound for result in found)
    if n_bad:
        lines.append(f"{n_bad} of {len(found)} results must be mended; nothing was added")
    console.result([result.to_dict() for result in found], "\n".join(lines))
    if n_bad:
        raise typer.Exit(1)
