"""``mr-st leaderboard``: build the static site, or serve it on loopback."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption, one_line
from mr_st.errors import UsageError

if TYPE_CHECKING:
    from mr_st.leaderboard import BuiltSite

__all__ = ["add_to"]

_BAR_AFTER = 2.0  # seconds
_MOST_LEFT_OUT = 5  # lines; the page names all


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Compare models on a local, static site.", no_args_is_help=True)
    group.command(epilog="Example: mr-st leaderboard build --results runs/demo/results --out runs/board")(build)
    group.command(epilog="Example: mr-st leaderboard serve runs/board")(serve)
    app.add_typer(group, name="leaderboard")


def build(
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", help="A results folder; may be given several times. Default: results, if there."),
    ] = None,
    cards: Annotated[
        Path | None,
        typer.Option("--cards", help="Folder of model cards, or one model's. Default: model_cards, if there."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the site.")] = Path("leaderboard-site"),
    title: Annotated[str, typer.Option("--title", help="The site's heading.")] = "Graded relevance leaderboard",
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="A dataset (name or folder) whose texts to show; may be given several times."),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build the leaderboard from result folders: a site that a browser opens from disk."""
    from mr_st.leaderboard import build_site

    if results is None and cards is None:
        results = [folder for folder in [Path("results")] if folder.is_dir()]
        cards = next((folder for folder in [Path("model_cards")] if folder.is_dir()), None)
        if not results and cards is None:
            raise UsageError("no folder results/ or model_cards/ here; name one with --results or --cards")
    printed = Out(quiet, as_json)
    with closing(_Bar(printed.show_progress)) as bar:
        site = build_site(results or [], out, cards, title, data or [], bar.show)
    _remark(printed, site)
    printed.result(
        {
            "page": str(site.page),
            "models": site.n_models,
            "tasks": site.n_tasks,
            "cells": site.cells,
            "left_out": [{"file": item.file, "reason": item.reason} for item in site.left_out],
        },
        str(site.page),
    )


def serve(
    folder: Annotated[Path, typer.Argument(help="The built site.")] = Path("leaderboard-site"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks one.")] = 8000,
) -> None:
    """Serve the built site on this machine only, until interrupted."""
    from mr_st.leaderboard import serve_leaderboard

    serve_leaderboard(folder, port)


class _Bar:
    """A bar for each thing that takes more than two seconds."""

    def __init__(self, is_shown: bool):
        self.is_shown = is_shown
        self.what = ""
        self.bar: Any = None

    def show(self, what: str, done: int, of: int) -> None:
        """Say how much of something is done."""
        from tqdm.auto import tqdm

        if what != self.what:
            self.close()
            self.what = what
            hidden = not self.is_shown
            self.bar = tqdm(total=of, desc=what, delay=_BAR_AFTER, leave=False, file=sys.stderr, disable=hidden)
        self.bar.total = of
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


def _remark(printed: Out, site: BuiltSite) -> None:
    counts = ", ".join(f"{n:,} {status}" for status, n in sorted(site.cells.items(), key=lambda pair: -pair[1]))
    models, tasks = "model" if site.n_models == 1 else "models", "task" if site.n_tasks == 1 else "tasks"
    printed.remark(f"{site.n_models} {models} on {site.n_tasks} {tasks}" + (f": {counts}" if counts else ""))
    for item in site.left_out[:_MOST_LEFT_OUT]:
        printed.remark(f"left out: {one_line(item.file)}: {one_line(item.reason)}")
    if len(site.left_out) > _MOST_LEFT_OUT:
        printed.remark(f"left out: {len(site.left_out) - _MOST_LEFT_OUT:,} more; the page names all")
