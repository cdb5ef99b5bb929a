"""``mr-st demo`` and ``mr-st run``: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["add_to"]

OutOption = Annotated[Path, typer.Option("--out", help="Folder for all results; run again with the same to resume.")]
SmokeOption = Annotated[
    bool,
    typer.Option(
        "--smoke",
        help="A minute-long trial run: few steps, tiny random models in place of the Hub's, a made-up shop in place "
        "of ESCI; its figures mean nothing.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: mr-st demo --out runs/demo")(demo)
    app.command(epilog="Example: mr-st run recipe.yaml --data my-judgments/ --out runs/first")(run)


def demo(
    out: OutOption = Path("runs/demo"),
    smoke: SmokeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """The whole job on the bundled marketplace: train, mine, refine, compare, publish to a folder, leaderboard."""
    from mr_st.recipes import bundled_recipe

    _run(bundled_recipe("marketplace"), out, None, smoke, Out(quiet, as_json))


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with the judgments; takes the place of data.source.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for all results \\[default: runs/NAME of the recipe].")
    ] = None,
    smoke: SmokeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """The whole job of a recipe, on its data or yours. Killed? Run it again: it goes on where it stopped."""
    from mr_st.recipes import Recipe

    loaded = Recipe.from_yaml(recipe)
    _run(loaded, out or Path("runs") / loaded.name, data, smoke, Out(quiet, as_json))


def _run(recipe, out: Path, data: str | Path | None, smoke: bool, console: Out) -> None:  # type: ignore[no-untyped-def]
    from mr_st.recipes import run_recipe
    from mr_st.recipes.table import results_table

    if smoke:
        from mr_st.recipes.smoke import SMOKE_NOTE, prepare_smoke

        recipe, data = prepare_smoke(recipe, out, data, console.remark)
    result = run_recipe(
        recipe,
        out,
        data=data,
        announce=console.remark,
        show_progress=console.show_progress,
    )
    console.result(result.to_dict(), results_table(result))
    if not console.as_json:
        for name, path in result.paths.items():
            print(f"{name:<12} {path}")
        if smoke:
            print(SMOKE_NOTE)
