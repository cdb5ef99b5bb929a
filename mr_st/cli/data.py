"""``mr-st data``: build, check, describe and convert graded datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["add_to", "parse_options"]

SourceArgument = Annotated[str, typer.Argument(help="marketplace, esci, or a folder (ours, or an ESCI download).")]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="KEY=VALUE", help="What the source takes, e.g. size=tiny."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    from mr_st.cli.golden import EXAMPLE, golden  # it takes its options from here

    group = typer.Typer(help="Build, check, describe and convert graded datasets.", no_args_is_help=True)
    group.command(epilog="Example: mr-st data build marketplace shop/ -o size=small -o seed=0")(build)
    group.command(epilog="Example: mr-st data check my-judgments/")(check)
    group.command(epilog="Example: mr-st data describe marketplace -o size=tiny")(describe)
    group.command(epilog="Example: mr-st data convert esci-download/ esci-us/ -o locale=us")(convert)
    group.command(epilog=EXAMPLE)(golden)
    app.add_typer(group, name="data")


def parse_options(pairs: list[str] | None) -> dict[str, object]:
    """``["size=tiny", "seed=1"]`` as a mapping; values are read as YAML scalars.

    Raises:
        UsageError: a pair without ``=``.
    """
    import yaml

    from mr_st.errors import UsageError

    options: dict[str, object] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {pair}: expected KEY=VALUE, e.g. --option size=tiny")
        options[key] = yaml.safe_load(value)
    return options


def build(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a dataset and save it as Parquet tables with a dataset.yaml."""
    from mr_st.data import GradedDataset

    console = Out(quiet, as_json)
    dataset = GradedDataset.load(source, **parse_options(option))
    dataset.save(out)
    facts = {"folder": str(out), "fingerprint": dataset.fingerprint, **_sizes(dataset)}
    console.result(facts, f"{out}: {_line(facts)}")


def convert(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    option: OptionsOption = None,
    mteb: Annotated[bool, typer.Option("--mteb", help="Write MTEB's form (corpus, queries, qrels) instead.")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a dataset to our saved form, or to MTEB's."""
    from mr_st.data import GradedDataset

    console = Out(quiet, as_json)
    dataset = GradedDataset.load(source, **parse_options(option))
    if mteb:
        dataset.to_mteb(out)
    else:
        dataset.save(out)
    facts = {"folder": str(out), "fingerprint": dataset.fingerprint, **_sizes(dataset)}
    console.result(facts, f"{out}: {_line(facts)}")


def check(source: SourceArgument, option: OptionsOption = None, as_json: JsonOption = False) -> None:
    """Validate a dataset; every problem is listed with its file, row and column. Exit code 1 if there are any."""
    from mr_st.data import GradedDataset
    from mr_st.errors import DataError

    console = Out(as_json=as_json)
    try:
        dataset = GradedDataset.load(source, **parse_options(option))
        problems = dataset.problems()
    except DataError as error:
        problems = error.problems
    lines = [str(problem) for problem in problems]
    console.result({"problems": lines}, "\n".join(lines) if lines else f"{source}: no problems found")
    raise typer.Exit(1 if lines else 0)


def describe(source: SourceArgument, option: OptionsOption = None, as_json: JsonOption = False) -> None:
    """Print what is in a dataset: sizes, label shares by split, judged items per query, text lengths, locales."""
    import yaml

    from mr_st.data import GradedDataset

    facts = GradedDataset.load(source, **parse_options(option)).describe()
    Out(as_json=as_json).result(facts, yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip())


def _sizes(dataset) -> dict[str, int]:  # type: ignore[no-untyped-def]
    return {name: len(getattr(dataset, name)) for name in ("queries", "items", "judgments")}


def _line(facts: dict[str, object]) -> str:
    return (
        f"{facts['queries']:,} queries, {facts['items']:,} items, {facts['judgments']:,} judgments, "
        f"fingerprint {facts['fingerprint']}"
    )
