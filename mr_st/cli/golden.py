"""``mr-st data golden``: a test set of stated make-up from any dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.annotator import STORE_FILE, AnnotatorOption, resolve_annotator
from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["EXAMPLE", "golden", "parse_shares"]

EXAMPLE = (
    "Example: mr-st data golden marketplace golden/ -o size=small --queries 200 --misspelt 0.1 --locale-share es=0.1"
)


def golden(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    annotator: AnnotatorOption = "policy",
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="How many; else as many as the split has, if shares allow.")
    ] = None,
    zero_share: Annotated[
        float, typer.Option(min=0, max=1, help="At least this share of each query's pairs has label 0.")
    ] = 0.65,
    unseen: Annotated[
        float, typer.Option("--unseen", min=0, max=1, help="Share of queries without training judgments.")
    ] = 0.30,
    head: Annotated[
        float | None,
        typer.Option("--head", min=0, max=1, help="Share of queries, of the frequent third of searches."),
    ] = None,
    tail: Annotated[
        float | None, typer.Option("--tail", min=0, max=1, help="Share of queries, of the rare third of searches.")
    ] = None,
    misspelt: Annotated[
        float | None, typer.Option("--misspelt", min=0, max=1, help="Share of misspelt queries; variants are made.")
    ] = None,
    locale_share: Annotated[
        list[str] | None,
        typer.Option("--locale-share", metavar="LOCALE=SHARE", help="Share of a locale or language, e.g. es=0.1."),
    ] = None,
    n_random: Annotated[int, typer.Option("--random", min=0, help="Random items that every query gets.")] = 10,
    split: Annotated[str, typer.Option(help="Where the set stands: test or dev.")] = "test",
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Drop random items whose label is less probable.")
    ] = None,
    allow_shortfall: Annotated[
        bool, typer.Option("--allow-shortfall", help="Report what cannot be had, rather than fail.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a golden test set: judged pairs and labelled random items, shares as asked; training loses those pairs."""
    from rich.table import Table
    from rich.text import Text

    from mr_st.annotation.loading import keeping_labels
    from mr_st.augment.golden import build_golden_set
    from mr_st.data import GradedDataset
    from mr_st.data.storage import SETTINGS_FILE, check_target
    from mr_st.errors import UsageError

    console = Out(quiet, as_json)
    if check_target(out, SETTINGS_FILE) == Path(source).resolve():  # before any label is paid for
        raise UsageError(f"{out}: the golden set would take the place of its source; name another folder")
    dataset = GradedDataset.load(source, **parse_options(option))
    made = build_golden_set(
        dataset,
        keeping_labels(resolve_annotator(annotator, dataset), out.parent / STORE_FILE),
        split=split,
        n_queries=queries,
        zero_share=zero_share,
        unseen_share=unseen,
        head_share=head,
        tail_share=tail,
        misspelt_share=misspelt,
        locale_shares=parse_shares(locale_share),
        n_random=n_random,
        min_confidence=min_confidence,
        allow_shortfall=allow_shortfall,
        seed=seed,
        show_progress=console.show_progress,
    )
    made.save(out)
    for line in made.report.shortfalls:
        console.remark(f"shortfall: {line}")
    table = Table("golden set", "as asked", "as reported")
    for row in made.report.table():
        table.add_row(*map(Text, row))  # Text: what data says is no markup
    table.add_row("folder, fingerprint", "", Text(f"{out}, {made.dataset.fingerprint}"))
    facts = {"folder": str(out), "fingerprint": made.dataset.fingerprint, **made.report.to_dict()}
    console.result(facts, table)


def parse_shares(pairs: list[str] | None) -> dict[str, float] | None:
    """``["es=0.1", "ja=0.2"]`` as a mapping; None where there are none.

    Raises:
        UsageError: a pair that is no LOCALE=SHARE, or a locale named twice.
    """
    from mr_st.errors import UsageError

    shares: dict[str, float] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        try:
            if not equals or not key.strip() or key in shares:
                raise ValueError
            shares[key.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--locale-share {pair}: expected LOCALE=SHARE once a locale, e.g. es=0.1") from None
    return shares or None
