"""``mr-st publish``: a model with its card, results and recipe to the Hub, or to a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption, one_line

if TYPE_CHECKING:
    from mr_st.hub import Publication

__all__ = ["add_to"]

_CHANGES = {"new": "green", "changed": "yellow", "deleted": "red", "same": "dim"}
_BAR_AFTER = "2"  # seconds


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Example: mr-st publish runs/demo/published/mr-minilm-marketplace my-org/mr-minilm --private --dry-run"
    )(publish)


def publish(
    model: Annotated[Path, typer.Argument(help="A published folder of mr-st run, or any model folder with a card.")],
    repo_id: Annotated[str, typer.Argument(help="organisation/name on the Hub, or a folder (./...).")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private if it is new.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to \\[default: main].")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of committing.")] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", "--force", help="Replace whatever stands on the branch, somebody else's too."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the card and what would change there; send nothing.")
    ] = False,
    card_out: Annotated[
        Path | None, typer.Option("--card-out", help="Write the card to this file too; a name in .html gives a page.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds without a byte before the Hub is given up.")] = 120,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send model, card, results, recipe and plots in one commit; broken off, the same command completes it.

    The token is the Hub client's own (hf auth login, or HF_TOKEN). Another's repository, or a branch that has moved
    on since, is not overwritten.
    """
    _prepare_bars(is_shown=not quiet)
    console = Out(quiet, as_json)
    from mr_st.hub import publish as send

    done = send(
        model,
        repo_id,
        private=private,
        revision=revision,
        create_pr=create_pr,
        dry_run=dry_run,
        overwrite=overwrite,
        timeout=timeout,
        announce=lambda line: console.remark(one_line(line)),
        show_progress=console.show_progress,
    )
    if card_out is not None:
        _write_card(done.card, card_out)
        console.remark(f"The card is in {card_out}")
    if as_json:
        console.result(_facts(done))
    elif dry_run and not quiet:
        _preview(done)
    else:
        console.result(None, str(done))


def _prepare_bars(is_shown: bool) -> None:
    """The client's progress bars, for uploads that take longer; read when the client is first imported."""
    if is_shown and sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0")
        os.environ.setdefault("TQDM_DELAY", _BAR_AFTER)


def _facts(done: Publication) -> dict[str, Any]:
    return {
        "published": str(done),
        "dry_run": done.is_dry_run,
        "bytes": done.n_bytes,
        "files": [{"path": path, "bytes": size} for path, size in done.sizes.items()],
        "changes": None if done.changes is None else dict(done.changes),
        **({"card": done.card} if done.is_dry_run else {}),
    }


def _preview(done: Publication) -> None:
    """The card as it will look, the files and what becomes of them, and where they would go."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.rule import Rule
    from rich.syntax import Syntax

    console = Console()
    metadata, _, body = done.card.removeprefix("---\n").partition("\n---\n")
    console.print(Rule("The card"))
    console.print(Syntax(_lines(metadata), "yaml", word_wrap=True, background_color="default"))
    console.print(Markdown(_lines(body)))
    console.print(Rule("The files"))
    console.print(_table(done.sizes, done.changes))
    counts = ", ".join(
        f"{sum(change == kind for change in (done.changes or {}).values())} {kind}" for kind in _CHANGES
    )
    what = f"{len(done.sizes)} files, {_size(done.n_bytes)}" + (f": {counts}" if done.changes else "")
    print(what)
    print(f"Nothing was sent. It would go to {one_line(str(done))}")


def _table(sizes: Mapping[str, int], changes: Mapping[str, str] | None) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "size", "path", box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    table.columns[2].overflow = "fold"
    paths = sorted({*sizes, *(changes or {})})
    for path in paths:
        change = (changes or {}).get(path, "")
        size = _size(sizes[path]) if path in sizes else ""
        table.add_row(Text(change, _CHANGES.get(change, "")), size, Text(one_line(path)))
    return table


def _size(n_bytes: int) -> str:
    size, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"


def _lines(text: str) -> str:
    """Text out of a file for the terminal: line for line, nothing in it moves the cursor."""
    return "\n".join(one_line(line) for line in text.splitlines())


def _write_card(card: str, path: Path) -> None:
    from mr_st.files import write_text

    if path.suffix.lower() not in (".html", ".htm"):
        write_text(path, card)
        return
    from html import escape

    from markdown_it import MarkdownIt

    metadata, _, body = card.removeprefix("---\n").partition("\n---\n")
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Model card</title>\n'
        "<style>body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}"
        "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .5rem}"
        "pre{background:#f4f4f4;padding:.6rem;overflow:auto}img{max-width:100%}</style>\n"
        f"<body><details><summary>Metadata</summary><pre>{escape(metadata)}</pre></details>\n{page}</body></html>\n",
    )
