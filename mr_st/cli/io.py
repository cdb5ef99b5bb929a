"""What every command shares: options, printing, and the quieting of libraries."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Annotated, Any

import typer

__all__ = ["JsonOption", "Out", "QuietOption", "one_line", "quiet_libraries"]

_TABLE_WIDTH = 160  # the main table needs this much; a narrower terminal wraps its lines itself

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only: no progress, no remarks.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class Out:
    """Results go to standard output, remarks and progress to standard error.

    Args:
        quiet: Drop the remarks.
        as_json: Results are printed as JSON only.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False):
        self.quiet, self.as_json = quiet, as_json
        quiet_libraries()

    @property
    def show_progress(self) -> bool:
        """Whether progress bars may be drawn."""
        return not self.quiet

    def remark(self, line: str) -> None:
        """One line about what is going on."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def result(self, value: Any, text: Any = None) -> None:
        """Print a result: ``value`` as JSON where asked, else ``text`` (a string or a rich renderable)."""
        if self.as_json:
            print(json.dumps(value, indent=2, ensure_ascii=False))
            return
        if isinstance(text, str):
            print(text)
            return
        from rich.console import Console

        Console(width=max(Console().width, _TABLE_WIDTH)).print(text)


def one_line(text: str) -> str:
    """Text out of data as one line that a terminal only shows: nothing in it moves the cursor or sets a colour."""
    return "".join(c if c.isprintable() else " " if c.isspace() else f"\\u{ord(c):04x}" for c in text)


def quiet_libraries() -> None:
    """Silence the loading bars and advice of the libraries below us; their errors still show."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    for name in ("sentence_transformers", "transformers", "datasets", "mteb", "huggingface_hub", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
