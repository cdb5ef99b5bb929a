"""``mr-st annotate run``: label pairs with any annotator; nothing is asked or paid for twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.annotator import STORE_FILE, AnnotatorOption, resolve_annotator
from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption

if TYPE_CHECKING:
    import numpy as np

    from mr_st.annotation import PairTable
    from mr_st.annotation.running import AnnotationRun
    from mr_st.data import GradedDataset

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: mr-st annotate run shop/ --annotator fitted/ --out labels.parquet    "
        "mr-st annotate run shop/ --annotator hosted.yaml --pairs mined.csv --budget 5 --out labels.parquet"
    )(run)


def run(
    data: SourceArgument,
    annotator: AnnotatorOption,
    out: Annotated[Path, typer.Option("--out", help="The labels, as a Parquet file.")],
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="CSV, JSONL or Parquet with query_id, item_id \\[default: the judged pairs]."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Only the judged pairs of this split \\[default: of all].")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help=f"Where labels are kept \\[default: {STORE_FILE} beside --out].")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", min=0, help="Most to spend, in the currency of the annotator's prices.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="Ask for so many pairs at most; kept ones do not count.")
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option("--chunk", min=1, help="Pairs asked at once; processes share a store by chunks."),
    ] = None,
    item_text_levels: Annotated[
        int | None, typer.Option("--item-text-levels", min=0, help="Category levels in an item's text.")
    ] = 2,
    max_chars: Annotated[int, typer.Option("--max-chars", min=16, help="Where an item's text is cut.")] = 400,
    to_dataset: Annotated[
        Path | None, typer.Option("--to-dataset", help="Also save the dataset with these labels as its judgments.")
    ] = None,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label pairs. Every label is kept as it arrives: killed, out of budget or interrupted, run it again to go on."""
    from mr_st.annotation import LabelStore
    from mr_st.annotation.running import annotate
    from mr_st.data import GradedDataset
    from mr_st.errors import MrStError, UsageError
    from mr_st.files import ensure_writable

    console = Out(quiet, as_json)
    if pairs is not None and split is not None:
        raise UsageError("--pairs and --split exclude each other: the file names the pairs")
    if out.is_dir():
        raise UsageError(f"{out}: a folder; name the labels' file, e.g. {out / 'labels.parquet'}")
    ensure_writable(out.parent)  # before anything is paid for
    _check_dataset_folder(to_dataset, data)
    dataset = GradedDataset.load(data, **parse_options(option))
    query_rows, item_rows = _rows(dataset, pairs, split)
    table = dataset.pair_table(query_rows, item_rows, item_text_levels, max_chars)
    grader = resolve_annotator(annotator, dataset, budget)
    _check_scale(getattr(grader, "n_grades", None), dataset, grader.identity)
    keep = None if getattr(grader, "reads_ids", False) else LabelStore(store or out.parent / STORE_FILE)
    done = annotate(grader, table, keep, chunk=chunk, budget=budget, limit=limit, show_progress=console.show_progress)
    if len(done.annotations):
        _check_scale(done.annotations.n_grades, dataset, done.identity)
    _write(out, table, done)
    facts = {**done.to_dict(), **_summary(dataset, query_rows, item_rows, done), "file": str(out)}
    if keep is not None:
        facts["store"] = str(keep.path)
    if to_dataset is not None:
        labelled = _with_labels(dataset, table, done)
        labelled.save(to_dataset)
        facts["dataset"] = {"folder": str(to_dataset), "fingerprint": labelled.fingerprint}
    console.result(facts, _table(facts))
    if done.stopped_by == "budget":
        raise MrStError(done.advice)
    if done.advice:
        console.remark(done.advice)
    if done.stopped_by == "interrupt":
        raise KeyboardInterrupt


def _rows(dataset: GradedDataset, pairs: Path | None, split: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the queries and items that are to be labelled."""
    if pairs is None:
        judged = dataset.judged_pairs(split)
        return judged.query_rows, judged.item_rows
    from mr_st.data.pairs_file import read_pairs

    return read_pairs(pairs, dataset)


def _check_dataset_folder(folder: Path | None, source: str) -> None:
    from mr_st.data.storage import SETTINGS_FILE, check_target
    from mr_st.errors import UsageError

    if folder is not None and check_target(folder, SETTINGS_FILE) == Path(source).resolve():
        raise UsageError(f"{folder}: the labelled dataset would take the place of its source; name another folder")


def _check_scale(n_grades: Any, dataset: GradedDataset, identity: str) -> None:
    from mr_st.errors import UsageError

    if isinstance(n_grades, int) and n_grades != dataset.scale.n_grades:
        raise UsageError(
            f"{identity}: grades 0..{n_grades - 1}, but the dataset's scale is {dataset.scale}; use an annotator of "
            "the same scale"
        )


def _write(path: Path, pairs: PairTable, done: AnnotationRun) -> None:
    """The labelled pairs as Parquet, in the order asked."""
    import numpy as np
    import pyarrow as pa

    from mr_st.data.parquet import write_parquet
    from mr_st.files import atomic_path

    labelled = pairs.take(np.flatnonzero(done.is_labelled))
    annotations = done.annotations
    table = pa.table(
        {
            "query_id": pa.array(labelled.query_ids, pa.string()),
            "item_id": pa.array(labelled.item_ids, pa.string()),
            "grade": annotations.grades,
            "probabilities": pa.array(list(annotations.probabilities), pa.list_(pa.float32())),
            "confidence": pa.array(annotations.confidence, pa.float32()),
            "annotator": pa.array([done.identity] * len(labelled), pa.string()),
        }
    )
    with atomic_path(path) as temporary:
        write_parquet(temporary, table.to_batches(), table.schema)


def _summary(
    dataset: GradedDataset, query_rows: np.ndarray, item_rows: np.ndarray, done: AnnotationRun
) -> dict[str, Any]:
    """Labels by grade, confidence, and agreement with the judgments there are."""
    import numpy as np

    from mr_st.annotation.agreement import agreement

    annotations = done.annotations
    counts = np.bincount(annotations.grades, minlength=dataset.scale.n_grades).tolist()
    judged = dataset.judged_pairs()
    grade_of = dict(
        zip(zip(judged.query_rows.tolist(), judged.item_rows.tolist(), strict=True), judged.grades, strict=True)
    )
    asked = zip(query_rows[done.is_labelled].tolist(), item_rows[done.is_labelled].tolist(), strict=True)
    truth = np.array([grade_of.get(pair, -1) for pair in asked], dtype=np.int64)
    is_judged = truth >= 0
    figures = None
    if is_judged.any():
        figures = agreement(truth[is_judged], annotations.take(np.flatnonzero(is_judged)))
    return {
        "by_grade": dict(zip(dataset.scale.names, counts, strict=True)),
        "mean_confidence": float(annotations.confidence.mean()) if len(annotations) else None,
        "agreement_with_judgments": figures,
    }


def _with_labels(dataset: GradedDataset, pairs: PairTable, done: AnnotationRun) -> GradedDataset:
    """The dataset with the labels for judgments; a pair that was judged stays in its split, others are training."""
    from dataclasses import replace

    import numpy as np
    import pyarrow as pa

    from mr_st.data.schema import arrow_schema, arrow_table, to_dataset

    judgments = arrow_table(dataset.judgments).select(["query_id", "item_id", "split"]).to_pydict()
    split_of = dict(
        zip(zip(judgments["query_id"], judgments["item_id"], strict=True), judgments["split"], strict=True)
    )
    labelled = pairs.take(np.flatnonzero(done.is_labelled))
    keys = zip(labelled.query_ids, labelled.item_ids, strict=True)
    is_model = done.identity.startswith(("llm-", "endpoint-"))
    source = f"llm:{done.identity}" if is_model else done.identity
    table = pa.table(
        {
            "query_id": labelled.query_ids,
            "item_id": labelled.item_ids,
            "grade": done.annotations.grades,
            "split": [split_of.get(key, "train") for key in keys],
            "source": [source] * len(labelled),
            "confidence": done.annotations.confidence,
        },
        schema=arrow_schema("judgments"),
    )
    return replace(dataset, judgments=to_dataset(table))


def _table(facts: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    n_labels = facts["known_before"] + facts["newly_labelled"]
    grades = ", ".join(f"{n:,} {name}" for name, n in facts["by_grade"].items())
    rows = [
        ("annotator", facts["annotator"]),
        ("pairs", f"{facts['n_pairs']:,}"),
        ("labels", f"{n_labels:,} ({facts['known_before']:,} kept before, {facts['newly_labelled']:,} new)"),
        ("by grade", grades),
    ]
    if facts["mean_confidence"] is not None:
        rows.append(("mean confidence", f"{facts['mean_confidence']:.3f}"))
    rows.append(("without a usable answer", f"{facts['unanswered']:,}"))
    rows.append(("spend", f"{facts['spend']:.6g}"))
    rows.append(("labels a second", f"{facts['labels_per_second']:.1f} ({facts['seconds']:.1f} s)"))
    figures = facts["agreement_with_judgments"]
    if figures is not None:
        kappa = "undefined" if figures["kappa"] is None else f"{figures['kappa']:.3f}"
        rows.append(
            (
                f"agreement with {figures['n_pairs']:,} judgments",
                f"accuracy {figures['accuracy']:.3f}, within one {figures['within_one']:.3f}, Cohen's kappa {kappa}",
            )
        )
    rows += [(name, facts[name]) for name in ("file", "store") if name in facts]
    if "dataset" in facts:
        rows.append(("dataset", f"{facts['dataset']['folder']}, {facts['dataset']['fingerprint']}"))
    table = Table("labels", "")
    for name, value in rows:
        table.add_row(name, Text(value))  # Text: what data says is no markup
    return table
