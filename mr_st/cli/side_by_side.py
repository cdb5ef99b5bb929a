"""``mr-st side-by-side``: two whole systems with one component swapped, over queries as shoppers type them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.data import OptionsOption, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption, one_line
from mr_st.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Group

    from mr_st.evaluation import GradedReport, System
    from mr_st.evaluation.side_by_side import SideBySide
    from mr_st.evaluation.swapped import Swap
    from mr_st.tasks.base import GradedRetrievalTask

__all__ = ["add_to"]

_SYSTEM = "a model's folder or Hub id, minilm, bm25, a YAML file of a hybrid or reranker, a run file, a result JSON"
_KEPT = (10, 50, 100)  # cut-offs of reports that go to a results folder
_CHANGED_MOST = 5


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        "side-by-side",
        epilog="Examples: mr-st side-by-side bm25 hybrid.yaml --task MarketplaceRetrieval -o size=small "
        "--page side.html    "
        "mr-st side-by-side hybrid-old.yaml hybrid-new.yaml --task MarketplaceRetrieval --store vectors/",
    )(side_by_side)


def side_by_side(
    control: Annotated[str, typer.Argument(help=f"The system as it is: {_SYSTEM}.")],
    treatment: Annotated[str, typer.Argument(help="The same with one component swapped.")],
    task: Annotated[str, typer.Option("--task", "-t", help="The task.")],
    option: OptionsOption = None,
    split: Annotated[str | None, typer.Option(help="The split; the task's first if none is given.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries drawn by frequency, with replacement.")] = 12_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of the permutation test.")] = 0,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Cut-off of NDCG, judged share and overlap.")] = 10,
    page: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with both lists of each query, those that moved most first."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Also keep the reports of both arms in this results folder.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Keep the vectors here, so that a rerun is quick.")] = None,
    allow_many: Annotated[
        bool, typer.Option("--allow-many", help="Go on where the arms differ in more than one component.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate two whole systems side by side, as the paper's production replica: one component swapped.

    NDCG@k over queries drawn by their frequency, so that it speaks of searches; every query once stands beside it.
    """
    from mr_st.evaluation.side_by_side import run_side_by_side, swaps_between
    from mr_st.evaluation.side_by_side import side_by_side as hold_side_by_side
    from mr_st.evaluation.swapped import swapped
    from mr_st.tasks import get_task

    console = Out(quiet, as_json)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--page {page}: the file must end in .html")
    if control.endswith(".json") != treatment.endswith(".json"):
        raise UsageError("one arm is a result JSON and the other a system; give both as results, or both as systems")
    made = get_task(task, **parse_options(option))
    if control.endswith(".json"):
        if results is not None:
            raise UsageError("--results keeps the reports of systems; result JSONs are kept already")
        first, second = (_loaded(path, made, split) for path in (control, treatment))
        _check_swapped(swaps_between(first, second), allow_many, console)
        found = hold_side_by_side(first, second, n_draws=queries, k=k, seed=seed)
    else:
        old, new = _systems(control, treatment, store, console)
        _check_swapped(swapped(old.settings, new.settings), allow_many, console)
        ks = (k,) if results is None else (*_KEPT, k)
        found, first, second = run_side_by_side(
            old, new, made.collection(split), task_name=made.metadata.name, n_draws=queries, k=k, seed=seed, ks=ks
        )
        if results is not None:
            _keep(found, [first, second], results, console)
    texts = dict(zip(made.graded.queries["query_id"], made.graded.query_texts(), strict=True))
    if page is not None:
        from mr_st.evaluation.side_by_side_page import write_side_by_side_page

        titles = dict(zip(made.graded.items["item_id"], made.graded.items["title"], strict=True))
        write_side_by_side_page(page, found, first, second, query_texts=texts, titles=titles)
        console.remark(f"page: {page}")
    rows = found.most_moved()[:_CHANGED_MOST].tolist()
    moved = [
        {"query_id": (q := found.query_ids[row]), "query": texts.get(q, q), "draws": int(found.sample.draws[row]),
         "control": float(found.a[row]), "treatment": float(found.b[row]), "overlap": float(found.overlaps[row])}
        for row in rows
    ]  # fmt: skip
    console.result({**found.to_dict(), "most_moved": moved}, None if as_json else _shown(found, moved))


def _systems(control: str, treatment: str, store: Path | None, console: Out) -> list[System]:
    """Both arms; a model that is in both is loaded once."""
    from mr_st.evaluation.systems.spec import Loading, load_system

    how = Loading(store=store, show_progress=console.show_progress)
    found = [load_system(spec, how=how) for spec in (control, treatment)]
    if found[0].revision == found[1].revision:
        raise UsageError(f"{control} and {treatment} are the same system; swap one component of the treatment")
    return found


def _loaded(path: str, task: GradedRetrievalTask, split: str | None) -> GradedReport:
    """A report, which must be of the task's data."""
    from mr_st.evaluation import GradedReport

    report = GradedReport.load(path, split)
    if report.dataset_fingerprint != task.graded.fingerprint:
        raise UsageError(
            f"{path}: a result on other data (fingerprint {report.dataset_fingerprint}) than {task.metadata.name}'s "
            f"({task.graded.fingerprint}); give the task's options as they were"
        )
    return report


def _check_swapped(swaps: list[Swap], allow_many: bool, console: Out) -> None:
    """Say what was swapped; refuse more than one component unless that is asked for."""
    for swap in swaps:
        console.remark(f"swapped: {one_line(str(swap))}")
    if len(swaps) <= 1 and all(swap.is_one for swap in swaps):
        return
    if not allow_many:
        where = "; ".join(one_line(str(swap)) for swap in swaps)
        raise UsageError(
            f"the arms differ in more than one component ({where}), so a difference could not be put down to one of "
            "them; swap one, or give --allow-many"
        )
    console.remark(
        "warning: the arms differ in more than one component; a difference cannot be put down to one of them"
    )


def _keep(found: SideBySide, reports: list[GradedReport], results: Path, console: Out) -> None:
    """Save the reports, unless they are over a part of the queries only."""
    if reports[0].per_query.num_rows < found.sample.n_pool:
        console.remark(
            f"results: not kept, for only {reports[0].per_query.num_rows:,} of {found.sample.n_pool:,} queries were "
            "searched for; run with more --queries"
        )
        return
    for report in reports:
        console.remark(f"results: {report.save(results)}")


def _shown(found: SideBySide, moved: list[dict[str, Any]]) -> Group:
    """The figures on a terminal. What data says is no markup and moves no cursor."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mr_st.evaluation.side_by_side_page import summary_rows

    sample = found.sample
    head = f"{found.task_name}, {found.split}: {found.treatment} against {found.control}"
    parts: list[Any] = [Text(one_line(head), style="bold")]
    parts += [Text(f"swapped: {one_line(str(swap))}") for swap in found.swaps]
    table = Table("figure")
    for name in (["drawn by frequency"] if sample.by_frequency else []) + ["every query once"]:
        table.add_column(name, justify="right", no_wrap=True)
    for name, values in summary_rows(found):
        table.add_row(name, *map(Text, values))
    parts.append(table)
    if sample.by_frequency:
        unknown = f"; {sample.n_unknown:,} without a frequency are never drawn" if sample.n_unknown else ""
        parts.append(
            Text(
                f"{found.n_draws:,} queries drawn with replacement from {sample.n_pool:,}{unknown}. "
                "Intervals are over distinct queries, not over draws."
            )
        )
    else:
        parts.append(Text("The data gives no frequency: every query counts once."))
    parts += [Text(f"note: {one_line(note)}") for note in found.notes]
    if moved:
        parts += [Text(""), Text("queries that moved most", style="bold")]
    for one in moved:
        times = f"drawn {one['draws']:,} x  " if sample.by_frequency else ""
        line = f"  {one['treatment'] - one['control']:+.4f}  {one['control']:.4f} to {one['treatment']:.4f}  {times}"
        parts.append(Text(one_line(f"{line}{one['query_id']}  {one['query']}")))
    return Group(*parts)
