"""``mr-st data``: build, check, describe and convert graded datasets; ``golden`` stands in its own file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption

if TYPE_CHECKING:
    from mr_st.data import GradedDataset
    from mr_st.data.mending import Mend
    from mr_st.errors import Problem

__all__ = ["OptionsOption", "SourceArgument", "add_to", "parse_options", "working"]

SOURCES_HELP = (
    "A folder or file, whose form is recognised (our saved form, an ESCI or WANDS download, MTEB's or BEIR's form, "
    "tables as CSV, TSV, JSONL or Parquet); the id of a Hub dataset (org/name); marketplace; or, with its path as an "
    "option, esci, wands, mteb, table or hub."
)
SourceArgument = Annotated[str, typer.Argument(help=SOURCES_HELP)]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="KEY=VALUE", help="What the source takes, e.g. size=tiny; repeatable."),
]
FixOption = Annotated[
    bool,
    typer.Option("--fix", help="Mend what needs no decision (exact duplicate rows, surrounding blanks, Unicode NFC)."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    from mr_st.cli.golden import EXAMPLE, golden  # it takes its options from here

    group = typer.Typer(
        help="Build, check, describe and convert graded datasets; build golden sets.", no_args_is_help=True
    )
    group.command(epilog="Example: mr-st data build marketplace shop/ -o size=small -o seed=0")(build)
    group.command(
        epilog="Examples: mr-st data check my-judgments/    mr-st data check my-judgments/ --fix    "
        "mr-st data check judgments.csv --fix --out mended/"
    )(check)
    group.command(
        epilog="Examples: mr-st data describe marketplace -o size=tiny    "
        "mr-st data describe shop/ --plot shop.png    mr-st data describe shop/ --samples 20 --locale all"
    )(describe)
    group.command(
        epilog="Examples: mr-st data convert esci-download/ esci-us/ -o locale=us    "
        "mr-st data convert shop/ shop-mteb/ --mteb    mr-st data convert shop/ --push org/shop --private"
    )(convert)
    group.command(epilog=EXAMPLE)(golden)
    app.add_typer(group, name="data")


def parse_options(pairs: list[str] | None) -> dict[str, object]:
    """``["size=tiny", "seed=1"]`` as a mapping; values are read as YAML scalars.

    Raises:
        UsageError: a pair without ``=``, or a value that is no YAML.
    """
    import yaml

    from mr_st.errors import UsageError
    from mr_st.files import parse_yaml

    options: dict[str, object] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {pair}: expected KEY=VALUE, e.g. --option size=tiny")
        try:
            options[key] = parse_yaml(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--option {pair}: the value cannot be read as YAML; put it in quotes") from error
    return options


@contextmanager
def working(console: Out, what: str) -> Iterator[None]:
    """Say on a terminal what is going on until it is done; elsewhere nothing is printed."""
    if not console.show_progress:
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        if not progress.console.is_terminal:
            progress.disable = True
        progress.add_task(what, total=None)
        yield


def build(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a dataset and save it as Parquet tables with a dataset.yaml."""
    convert(source, out, option, quiet=quiet, as_json=as_json)


def convert(
    source: SourceArgument,
    out: Annotated[Path | None, typer.Argument(help="Folder for the tables; may be left out with --push.")] = None,
    option: OptionsOption = None,
    mteb: Annotated[bool, typer.Option("--mteb", help="Write MTEB's form (corpus, queries, qrels) instead.")] = False,
    fix: FixOption = False,
    push: Annotated[
        str | None, typer.Option("--push", metavar="REPO_ID", help="Also push it to the Hub as a dataset, org/name.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With --push: a repository that only you can see.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a dataset to our saved form, or to MTEB's; push it to the Hub. Faults that --fix leaves stop it."""
    from mr_st.data import GradedDataset
    from mr_st.errors import DataError, UsageError

    if out is None and push is None:
        raise UsageError("data convert: nowhere to write; give a folder, or --push REPO_ID")
    if mteb and out is None:
        raise UsageError("data convert: --mteb needs a folder to write to")
    console = Out(quiet, as_json)
    options = parse_options(option)
    facts: dict[str, Any] = {}
    lines: list[str] = []
    if fix:
        with working(console, f"Reading and mending {source}"):
            opened = _open(source, options)
            dataset, counts = _mended(opened)
            problems = dataset.problems()
        facts["mended"] = [_mend_dict(count) for count in counts]
        lines += [str(count) for count in counts]
        if problems:
            for line in lines:
                console.remark(line)
            raise DataError(problems)
    else:
        with working(console, f"Reading {source}"):
            dataset = GradedDataset.load(source, **options)
    if out is not None:
        with working(console, f"Writing {out}"):
            if mteb:
                dataset.to_mteb(out)
            else:
                dataset.save(out)
        facts["folder"] = str(out)
    if push is not None:
        with working(console, f"Pushing to {push}"):
            facts["commit"] = dataset.push_to_hub(push, private=private)
    with working(console, "Taking the fingerprint"):
        facts |= {"fingerprint": dataset.fingerprint, **_sizes(dataset)}
    lines.append(f"{out if out is not None else push}: {_line(facts)}")
    if push is not None:
        lines.append(f"pushed: {facts['commit']}")
    console.result(facts, "\n".join(lines))


def check(
    source: SourceArgument,
    option: OptionsOption = None,
    fix: FixOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="With --fix: folder for the mended dataset; our saved form needs none."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--all", help="List every problem, not only the first ones.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for notices too.")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Validate a dataset: all problems in one pass, grouped by table, rule and column. Exit code 1 if there are any.

    Notices are what is seldom meant (a blank around a title, a query without judgments); nothing fails by them.
    """
    from mr_st.cli.data_print import group_dicts, group_lines
    from mr_st.data.validation import find_notices, find_problems, group_problems
    from mr_st.errors import UsageError

    if out is not None and not fix:
        raise UsageError("data check: --out is for what --fix mends; add --fix, or use data convert")
    if fix and out is None and not _is_saved(source):
        raise UsageError(f"{source}: only a folder in our saved form is mended in place; add --out DIR")
    console = Out(quiet, as_json)
    with working(console, f"Checking {source}"):
        opened = _open(source, parse_options(option))
        dataset, problems, suffix = opened.dataset, opened.problems, opened.suffix
        counts: list[Mend] = []
        written = None
        if fix and dataset is not None:
            dataset, counts = _mended(opened)
            problems = find_problems(dataset, suffix)
            if out is not None or counts:
                written = dataset.save(out if out is not None else source)
        notices = find_notices(dataset, suffix) if dataset is not None else []
    faults, remarks = group_problems(problems), group_problems(notices)
    lines: list[str] = []
    if fix:
        nothing = "nothing that --fix mends" if dataset is not None else "--fix needs tables that can be read"
        lines += [str(count) for count in counts] or [nothing]
        lines += [f"written: {written}"] if written is not None else []
    if faults:
        n_faults = sum(group.n_faults for group in faults)
        lines += [
            f"{source}: {n_faults:,} {'problem' if n_faults == 1 else 'problems'}",
            *group_lines(faults, list_all),
        ]
    else:
        lines.append(f"{source}: no problems found")
    if remarks and not (quiet and not strict):
        lines += ["notices, by which nothing fails:", *group_lines(remarks, list_all)]
    mendable = sum(group.n_faults for group in faults + remarks if _is_mendable(group.rule))
    if mendable and not fix:
        place = "" if _is_saved(source) else " --out DIR"
        lines.append(f"--fix{place} mends {mendable:,} of these")
    facts = {
        "problems": [str(problem) for problem in problems],
        "groups": group_dicts(faults),
        "notices": group_dicts(remarks),
        **({"mended": [_mend_dict(count) for count in counts], "written": written and str(written)} if fix else {}),
    }
    console.result(facts, "\n".join(lines))
    raise typer.Exit(1 if faults or (strict and remarks) else 0)


def describe(
    source: SourceArgument,
    option: OptionsOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Also draw it: a .png, .svg or .pdf.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=0, metavar="N", help="Also print N random judged pairs of each grade.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which pairs --samples draws.")] = 0,
    locale: Annotated[
        str | None,
        typer.Option("--locale", help="Samples of this locale only; all: N of each grade for each locale \\[default: "
                     "N in all, spread over the locales]."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Samples of this split only.")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Show what is in a dataset: sizes, labels, lengths, locales, head and tail, unseen shares, overlap of splits."""
    from rich.console import Group
    from rich.text import Text

    from mr_st.cli.data_print import facts_tables, samples_tables
    from mr_st.data import GradedDataset
    from mr_st.errors import UsageError

    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {plot}: name a file that ends in .png, .svg or .pdf")
    console = Out(quiet, as_json)
    with working(console, f"Reading {source}"):
        dataset = GradedDataset.load(source, **parse_options(option))
        facts = dataset.describe()
    shown = [facts_tables(facts)]
    if plot is not None:
        from mr_st.data.describe_plot import plot_dataset
        from mr_st.files import ensure_writable
        from mr_st.measures.plots import save_figure

        with working(console, f"Drawing {plot}"):
            ensure_writable(plot.resolve().parent)
            save_figure(plot_dataset(dataset, facts), plot)
        facts["plot"] = str(plot)
        shown.append(Group(Text(""), Text(f"plot: {plot}")))
    if samples:
        from mr_st.data.describe_samples import draw_samples

        with working(console, "Drawing samples"):
            drawn = draw_samples(dataset, samples, seed, locale, split)
        facts["samples"] = [sample.to_dict() for sample in drawn]
        shown.append(Group(Text(""), samples_tables(drawn)))
    console.result(facts, Group(*shown))


class _Opened:
    """A dataset with the problems that were found while it was opened; None where it cannot be had at all."""

    def __init__(self, dataset: GradedDataset | None, problems: list[Problem], suffix: str):
        self.dataset, self.problems, self.suffix = dataset, problems, suffix


def _open(source: str, options: dict[str, object]) -> _Opened:
    """Load a dataset with all its problems; one with faults in its values only is there too, to be mended."""
    from mr_st.data import GradedDataset
    from mr_st.errors import DataError, UsageError

    if _is_saved(source):
        from mr_st.data.validation import find_problems

        try:  # read anew: what is remembered of an earlier check may be what is in doubt
            dataset = GradedDataset.load(source, **{"anew": True, **options, "validate": False})
        except DataError as error:
            return _Opened(None, error.problems, ".parquet")
        return _Opened(dataset, find_problems(dataset, ".parquet"), ".parquet")
    try:
        dataset = GradedDataset.load(source, **options)
        return _Opened(dataset, dataset.problems(), "")
    except DataError as error:
        problems = error.problems
    try:
        return _Opened(GradedDataset.load(source, **{**options, "validate": False}), problems, "")
    except (DataError, UsageError):  # a file that cannot be read, or a source that makes its tables itself
        return _Opened(None, problems, "")


def _mended(opened: _Opened) -> tuple[GradedDataset, list[Mend]]:
    from mr_st.data.mending import mend
    from mr_st.errors import DataError

    if opened.dataset is None:
        raise DataError(opened.problems)
    return mend(opened.dataset)


def _is_saved(source: str) -> bool:
    from mr_st.data.sources import SOURCES
    from mr_st.data.storage import is_saved_folder

    return source not in SOURCES and is_saved_folder(Path(source).expanduser())


def _is_mendable(rule: str) -> bool:
    from mr_st.data.validation import RULES

    return rule in RULES and RULES[rule].is_mendable


def _mend_dict(count: Mend) -> dict[str, Any]:
    return {"table": count.table, "column": count.column, "rule": count.rule, "count": count.n_mended}


def _sizes(dataset: GradedDataset) -> dict[str, int]:
    return {name: len(getattr(dataset, name)) for name in ("queries", "items", "judgments")}


def _line(facts: dict[str, Any]) -> str:
    return (
        f"{facts['queries']:,} queries, {facts['items']:,} items, {facts['judgments']:,} judgments, "
        f"fingerprint {facts['fingerprint']}"
    )
