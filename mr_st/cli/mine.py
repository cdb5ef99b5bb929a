"""``mr-st mine``: one mining round."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.annotator import STORE_FILE, AnnotatorOption, resolve_annotator
from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption

if TYPE_CHECKING:
    from mr_st.mining import RefinementSet

__all__ = ["add_to"]

ModelArgument = Annotated[str, typer.Argument(help="A model folder, a Hub id, or minilm.")]

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
          "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: mr-st mine runs/demo/stage1/model marketplace --annotator policy --out mined/")(mine)


def mine(
    model: ModelArgument,
    data: SourceArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the refinement set; run again to resume.")],
    annotator: AnnotatorOption = "policy",
    k: Annotated[int, typer.Option("--k", min=2, help="How many items to retrieve for each query.")] = 100,
    split: Annotated[str, typer.Option(help="Whose queries are mined.")] = "train",
    items: Annotated[str, typer.Option(help="judged (those that the split's judgments name) or all.")] = "judged",
    boundary: Annotated[
        float, typer.Option(help="Hard negatives stand above this share of k, hard positives below.")
    ] = 0.5,
    negative_ranks: Annotated[
        str | None, typer.Option(metavar="FIRST-LAST", help="Ranks of hard negatives, e.g. 11-50 or 11-.")
    ] = None,
    positive_ranks: Annotated[
        str | None, typer.Option(metavar="FIRST-LAST", help="Ranks of hard positives, e.g. 51-100.")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Drop labels whose probability is lower.")
    ] = None,
    min_judged: Annotated[int, typer.Option(min=1, help="Mine for queries with so many judged pairs.")] = 1,
    max_negatives: Annotated[int | None, typer.Option(min=0, help="Hard negatives kept for one query.")] = None,
    max_positives: Annotated[int | None, typer.Option(min=0, help="Hard positives kept for one query.")] = None,
    max_by_grade: Annotated[
        list[str] | None, typer.Option(metavar="GRADE=N", help="Pairs of a grade kept for one query; repeatable.")
    ] = None,
    near_duplicates: Annotated[
        float | None, typer.Option(min=0, max=1, help="Cosine from which two items count as one, e.g. 0.98.")
    ] = None,
    search: Annotated[str, typer.Option(help="auto (by the cost rule), exact or hnsw.")] = "auto",
    source: Annotated[
        list[str] | None, typer.Option(help="One more source of candidates: bm25, or a model; repeatable.")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=0, help="Annotate at most so many pairs.")] = None,
    strata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Shares of the budget: head, torso, tail, unknown; repeatable."),
    ] = None,
    previous: Annotated[
        Path | None, typer.Option(help="An earlier round's refinement set: its pairs count as judged.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray (a cluster).")] = "local",
    processes: Annotated[int | None, typer.Option(min=1, help="Processes of the local engine.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="An accelerator of the local engine, e.g. cuda:0; repeatable.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="The Ray cluster's address, or auto.")] = None,
    work_dir: Annotated[
        str | None, typer.Option(help="What is kept to resume: a folder or URL all nodes see. \\[default: OUT/work]")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What a search may hold in one process, e.g. 4GiB.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in one forward pass of the model.")] = 64,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """One mining round: retrieve, grade what nobody judged, keep the hard pairs. Run again to resume.

    Under `accelerate launch -m mr_st.cli.main mine ...` the processes share the work.
    """
    from mr_st.mining.engines.choose import engine_of
    from mr_st.mining.settings import MiningSettings

    settings: dict[str, Any] = {
        "split": split, "items": items, "boundary": boundary, "min_confidence": min_confidence,
        "min_judged": min_judged, "max_negatives": max_negatives, "max_positives": max_positives,
        "near_duplicates": near_duplicates, "search": search, "budget": budget,
        "negative_ranks": _window("--negative-ranks", negative_ranks),
        "positive_ranks": _window("--positive-ranks", positive_ranks),
        "max_by_grade": _numbers("--max-by-grade", max_by_grade, int, int),
        "strata": _numbers("--strata", strata, str, float),
    }  # fmt: skip
    MiningSettings.of(k, settings)  # refused before anything is loaded
    n_bytes = _bytes(memory)
    with _opened(engine_of(engine, processes=processes, devices=device or None, address=ray_address)) as workers:
        console = Out(quiet or not workers.is_main, as_json)
        from mr_st.annotation.loading import keeping_labels
        from mr_st.data import GradedDataset
        from mr_st.mining import RefinementSet
        from mr_st.mining.mine import mine as mine_round
        from mr_st.models import load_sentence_transformer

        dataset = GradedDataset.load(data, **parse_options(option))
        sources: list[Any] = [name if name == "bm25" else load_sentence_transformer(name) for name in source or []]
        refinement = mine_round(
            load_sentence_transformer(model),
            dataset,
            keeping_labels(resolve_annotator(annotator, dataset), out / STORE_FILE),
            k,
            sources=sources,
            previous=None if previous is None else RefinementSet.load(previous, dataset),
            engine=workers,
            work_dir=out / "work" if work_dir is None else work_dir,
            memory=n_bytes,
            batch_size=batch_size,
            show_progress=console.show_progress,
            **settings,
        )
        if workers.is_main:
            _finish(refinement, out, console)


def _finish(refinement: RefinementSet, out: Path, console: Out) -> None:
    """Write the refinement set and its figure, and print what the round did."""
    from mr_st.files import atomic_path
    from mr_st.mining.report_plot import plot_round
    from mr_st.mining.report_text import report_text

    names = refinement.dataset.scale.names
    refinement.save(out / "refinement")
    with atomic_path(out / "report.png") as temporary:
        plot_round(refinement.report, names).savefig(temporary, format="png", dpi=120)
    lines = [report_text(refinement.report, names), ""]
    for done in refinement.report["search"]:
        if "recall" in done:
            found, k, n = (done["recall"][name] for name in ("value", "k", "n"))
            lines.append(f"search          {done['kind']} found {found:.2%} of the top {k:,} (of {n:,} queries)")
    lines += [f"refinement set  {out / 'refinement'}", f"figure          {out / 'report.png'}"]
    console.result(refinement.report, "\n".join(lines))


def _opened(engine: Any) -> Any:
    """The engine as a context: a cluster that it started ends with the command."""
    from contextlib import nullcontext

    return engine if hasattr(engine, "__exit__") else nullcontext(engine)


def _window(name: str, text: str | None) -> tuple[int, int | None]:
    from mr_st.errors import UsageError

    if text is None:
        return 1, None
    found = re.fullmatch(r"(\d+)-(\d*)", text.strip())
    if found is None:
        raise UsageError(f"{name} is {text!r}; expected FIRST-LAST, e.g. 11-50, or 11- for no end")
    return int(found[1]), int(found[2]) if found[2] else None


def _numbers(name: str, texts: list[str] | None, key: Any, value: Any) -> dict[Any, Any] | None:
    from mr_st.errors import UsageError

    numbers = {}
    for text in texts or []:
        left, _, right = text.partition("=")
        try:
            numbers[key(left)] = value(right)
        except ValueError as error:
            raise UsageError(f"{name} is {text!r}; expected NAME=NUMBER, e.g. {name} 0=8") from error
    return numbers or None


def _bytes(text: str | None) -> int | None:
    from mr_st.errors import UsageError

    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise UsageError(f"--memory is {text!r}; expected a size such as 4GiB or 500MB")
    return int(float(found[1]) * _UNITS[found[2].lower()])
