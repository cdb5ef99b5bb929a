"""``mr-st``: the command line. Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import mr_st
from mr_st.cli import (
    annotate,
    compare,
    data,
    evaluate,
    job,
    leaderboard,
    mine,
    models,
    publish,
    results,
    search,
    separability,
    shrink,
    side_by_side,
    tasks,
)
from mr_st.errors import MrStError

__all__ = ["app", "main"]

app = typer.Typer(
    name="mr-st",
    help="Graded-relevance embedding models for e-commerce search: train, mine, refine, evaluate, publish.",
    epilog="Start with: mr-st demo    Your own data: mr-st run recipe.yaml --data DIR    "
    "Any command takes --debug for the full traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"mr-st {mr_st.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


job.add_to(app)
data.add_to(app)
mine.add_to(app)
search.add_to(app)
annotate.add_to(app)
evaluate.add_to(app)
compare.add_to(app)
separability.add_to(app)
shrink.add_to(app)
side_by_side.add_to(app)
publish.add_to(app)
models.add_to(app)
leaderboard.add_to(app)
tasks.add_to(app)
results.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error, with no traceback unless ``--debug``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        app(args=words, prog_name="mr-st")
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to go on", 130)
    except BrokenPipeError:
        sys.exit(1)
    except MrStError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except OSError as error:
        if debug:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}", 1)
    except Exception as error:
        if debug:
            raise
        first = (str(error).strip().splitlines() or [""])[0]
        _fail(f"unexpected {type(error).__name__}: {first:.300}; run again with --debug for the traceback", 1)


def _fail(line: str, code: int) -> None:
    print(f"mr-st: error: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
