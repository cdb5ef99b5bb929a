"""``mr-st annotate``: fit an annotator, label pairs with one, audit labels. Each command stands in its own file."""

from __future__ import annotations

import typer

from mr_st.cli import annotate_audit, annotate_fit, annotate_run

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(help="Labels: fit an annotator, run it over pairs, audit what it says.", no_args_is_help=True)
    annotate_fit.add_to(group)
    annotate_run.add_to(group)
    annotate_audit.add_to(group)
    app.add_typer(group, name="annotate")
