"""``mr-st leaderboard``: build the static site, or serve it on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Compare models on a local, static page.", no_args_is_help=True)
    group.command(epilog="Example: mr-st leaderboard build --results runs/demo/results --out runs/board")(build)
    group.command(epilog="Example: mr-st leaderboard serve runs/board")(serve)
    app.add_typer(group, name="leaderboard")


def build(
    results: Annotated[
        list[Path] | None, typer.Option("--results", help="A results folder; may be given several times.")
    ] = None,
    cards: Annotated[Path | None, typer.Option("--cards", help="Folder of model cards to link.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the site.")] = Path("leaderboard-site"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build the leaderboard from result folders: one page that a browser opens from disk."""
    from mr_st.leaderboard import build_leaderboard

    page = build_leaderboard(results or [Path("results")], out, cards_dir=cards)
    Out(quiet, as_json).result({"page": str(page)}, str(page))


def serve(
    folder: Annotated[Path, typer.Argument(help="The built site.")] = Path("leaderboard-site"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks one.")] = 8000,
) -> None:
    """Serve the built site on this machine only, until interrupted."""
    from mr_st.leaderboard import serve_leaderboard

    serve_leaderboard(folder, port)
