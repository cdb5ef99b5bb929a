"""``mr-st publish``: a model with its card, results and recipe to the Hub, or to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: mr-st publish runs/demo/published/model my-org/mr-minilm --private")(publish)


def publish(
    model: Annotated[Path, typer.Argument(help="A published folder of mr-st run, or any model folder with a card.")],
    repo_id: Annotated[str, typer.Argument(help="organisation/name on the Hub, or a folder (./...).")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of committing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send model, card, results and recipe in one commit. The token is the Hub client's own (hf auth login)."""
    from mr_st.hub import publish as send

    where = send(model, repo_id, private=private, revision=revision, create_pr=create_pr, dry_run=dry_run)
    Out(quiet, as_json).result({"published": str(where), "dry_run": dry_run}, str(where))
