"""``mr-st annotate audit``: find wrong labels with the help of engagement, stronger judges and experts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.annotator import resolve_annotator
from mr_st.cli.data import OptionsOption, SourceArgument, parse_options, working
from mr_st.cli.io import JsonOption, Out, QuietOption

if TYPE_CHECKING:
    import polars as pl

    from mr_st.annotation import Guideline
    from mr_st.annotation.audit import Audit, AuditState
    from mr_st.annotation.review import ReviewSheet
    from mr_st.data import GradedDataset

__all__ = ["add_to"]

_SHEET, _DATASET, _HISTORY = "review", "dataset", "history.parquet"
_LISTED = 20


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: mr-st annotate audit shop/ --judge fitted/ --out audit/    "
        "mr-st annotate audit shop/ --judge fitted/ --out audit/ --answers answers-ann.csv --answers answers-ben.csv"
    )(audit)


def audit(
    data: SourceArgument,
    out: Annotated[Path, typer.Option("--out", help="The audit's folder: sheet, history, report, audited dataset.")],
    judge: Annotated[
        list[str],
        typer.Option("--judge", help="Who judges the flagged pairs anew, as --annotator takes it; repeatable."),
    ],
    share: Annotated[float, typer.Option("--share", help="Share of the labelled pairs to look at, 0 to 1.")] = 0.3,
    guideline: Annotated[
        str, typer.Option("--guideline", help="Shown to the experts: three_grades, brief or a Markdown file.")
    ] = "three_grades",
    answers: Annotated[
        list[Path] | None,
        typer.Option("--answers", help="What an expert sent back (the form's file or the sheet's CSV); repeatable."),
    ] = None,
    accept_above: Annotated[
        float | None,
        typer.Option("--accept-above", help="Take the judges' grade from this confidence on where no expert answers."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="Audit the labels of this split only; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample and of the sheet's order.")] = 0,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Audit labels. The first call writes a sheet for experts; run it again with their answers to decide."""
    from mr_st.annotation import Guideline
    from mr_st.annotation.audit import Audit
    from mr_st.annotation.audit.page import audit_summary, audited_pairs, write_audit_report
    from mr_st.data import GradedDataset

    console = Out(quiet, as_json)
    with working(console, f"Reading {data}"):
        dataset = GradedDataset.load(data, **parse_options(option))
    _check_engagement(dataset, data)
    shown = Guideline.load(guideline)
    _check_guideline(shown, dataset)
    judges = [resolve_annotator(name, dataset) for name in judge]
    work = Audit(
        dataset, judges, out, share=share, seed=seed, splits=split or None, accept_without_experts=accept_above,
        show_progress=console.show_progress,
    )  # fmt: skip
    state = work.run()
    sheet = _sheet(work, shown) if state.differing else None
    given = _read_answers(answers, sheet, console)
    if given is None and state.open and not (out / _HISTORY).is_file() and accept_above is None:
        facts = {**_facts(state, sheet), "report": None, "dataset": None}
        console.result(facts, _first_lines(state, sheet, data, judge, out))
        return
    result = work.decide(given, _truth(dataset))
    pairs, others = audited_pairs(work)
    page = write_audit_report(
        out, result.report, pairs, others, grade_names=dataset.scale.names,
        about={"Guideline": f"{shown.name}, version {shown.version}"},
    )  # fmt: skip
    facts = {**_facts(result.state, sheet), "report": str(page), "dataset": str(out / _DATASET)}
    console.result({**facts, "figures": result.report}, audit_summary(result.report))
    console.remark(f"\nreport: {page}\nhistory: {out / _HISTORY}\naudited dataset: {out / _DATASET}")
    if result.state.open:
        console.remark(f"{_count(result.state.open)} not decided yet and keep their label; {_advice(sheet)}")


def _check_engagement(dataset: GradedDataset, data: str) -> None:
    from mr_st.errors import UsageError

    if dataset.engagement is None:
        mend = "add the table engagement (query_id, item_id, impressions, clicks, add_to_carts, purchases) to the data"
        if dataset.source.get("name") == "marketplace":
            mend = "build the marketplace with -o engagement=true"
        raise UsageError(f"{data}: no engagement, and the audit compares labels with it; {mend}")


def _check_guideline(guideline: Guideline, dataset: GradedDataset) -> None:
    from mr_st.errors import UsageError

    if guideline.n_grades != dataset.scale.n_grades:
        raise UsageError(
            f"--guideline {guideline.name}: it defines {guideline.n_grades} grades, but the dataset's scale is "
            f"{dataset.scale}; give a guideline for that scale"
        )


def _sheet(work: Audit, guideline: Guideline) -> ReviewSheet:
    """The sheet of an earlier run, which experts may be filling in, or a new one."""
    import polars as pl

    from mr_st.annotation.review import ReviewSheet, write_review_sheet
    from mr_st.data.parquet import read_parquet
    from mr_st.errors import UsageError

    folder = work.folder / _SHEET
    if (folder / "sheet.json").is_file():
        sheet = ReviewSheet.load(folder)
        if sheet.guideline != guideline.version:
            raise UsageError(
                f"{folder}: the sheet shows another guideline than {guideline.name} (version {guideline.version}); "
                "give the one it was written with, or delete the folder for a new sheet"
            )
        return sheet
    differing = pl.DataFrame(read_parquet(work.folder / "differing.parquet"))
    title = f"Relevance review: {work.dataset.name}"
    return write_review_sheet(folder, work.pairs(differing), guideline, title=title, shuffle_seed=work.seed)


def _read_answers(paths: list[Path] | None, sheet: ReviewSheet | None, console: Out) -> pl.DataFrame | None:
    """What the experts said; faults are listed before the command fails."""
    from mr_st.annotation.review import AnswersError, read_answers
    from mr_st.errors import UsageError

    if not paths:
        return None
    if sheet is None:
        raise UsageError("--answers: the judges share every label that was flagged, so nothing was asked")
    try:
        answers = read_answers(list(paths), sheet)
    except AnswersError as error:
        for problem in error.problems[1:_LISTED]:
            console.remark(str(problem))
        raise
    left = sheet.n_unanswered(answers)
    rest = f"; {_count(left)} without one" if left else ""
    console.remark(f"{len(answers):,} answers{rest}")
    return answers


def _truth(dataset: GradedDataset) -> pl.DataFrame | None:
    """The true grades, where a policy knows them: of the marketplace."""
    import polars as pl

    from mr_st.data.marketplace import MarketplacePolicy
    from mr_st.data.schema import arrow_table
    from mr_st.errors import DataError

    if dataset.source.get("name") != "marketplace":
        return None
    judgments: Any = pl.DataFrame(arrow_table(dataset.judgments)).select("query_id", "item_id")
    try:
        policy = MarketplacePolicy.for_dataset(dataset)
    except DataError:  # queries or items were added to the shop
        return None
    grades = policy.grades(judgments["query_id"].to_list(), judgments["item_id"].to_list())
    return judgments.with_columns(pl.Series("true_grade", grades, dtype=pl.Int8))


def _facts(state: AuditState, sheet: ReviewSheet | None) -> dict[str, Any]:
    return {"state": state.to_dict(), "sheet": None if sheet is None else str(sheet.html)}


def _first_lines(state: AuditState, sheet: ReviewSheet | None, data: str, judges: list[str], out: Path) -> str:
    import shlex

    assert sheet is not None  # pairs are open, so some differ
    words = [data, *(word for name in judges for word in ("--judge", name)), "--out", str(out)]
    again = " ".join(map(shlex.quote, words))
    return "\n".join(
        [
            f"annotated pairs      {state.annotated:,}",
            f"sampled              {state.sampled:,}",
            f"flagged              {state.flagged:,}",
            f"judged again         {state.rejudged:,}",
            f"judges differ        {state.differing:,}",
            "",
            f"Next: {_advice(sheet)} (the same other options, if you gave any):",
            f"  mr-st annotate audit {again} --answers answers.csv",
        ]
    )


def _advice(sheet: ReviewSheet | None) -> str:
    if sheet is None:
        return "nothing is left to ask"
    return f"give {sheet.html} (or sheet.csv beside it) to the experts, then run again with --answers"


def _count(n: int) -> str:
    return f"{n:,} {'pair is' if n == 1 else 'pairs are'}"
