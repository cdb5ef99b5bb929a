"""``mr-st mine``: one mining round."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.annotator import STORE_FILE, AnnotatorOption, keeping_labels, resolve_annotator
from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption

__all__ = ["add_to"]

ModelArgument = Annotated[str, typer.Argument(help="A model folder, a Hub id, or minilm.")]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: mr-st mine runs/demo/stage1/model marketplace --annotator policy --out mined/")(mine)


def mine(
    model: ModelArgument,
    data: SourceArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the refinement set.")],
    annotator: AnnotatorOption = "policy",
    k: Annotated[int, typer.Option("--k", min=2, help="How many items to retrieve for each query.")] = 100,
    boundary: Annotated[
        float, typer.Option(help="Hard negatives stand above this share of k, hard positives below.")
    ] = 0.5,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Drop labels whose probability is lower.")
    ] = None,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """One mining round: retrieve, grade what nobody judged, keep the hard pairs. Run again to resume."""
    import mr_st
    from mr_st.models import load_sentence_transformer

    console = Out(quiet, as_json)
    dataset = mr_st.GradedDataset.load(data, **parse_options(option))
    refinement = mr_st.mine(
        load_sentence_transformer(model),
        dataset,
        keeping_labels(resolve_annotator(annotator, dataset), out / STORE_FILE),
        k,
        boundary=boundary,
        min_confidence=min_confidence,
        work_dir=out / "work",
        show_progress=console.show_progress,
    )
    refinement.save(out / "refinement")
    report = refinement.report
    console.result(report, "\n".join(f"{key}: {value}" for key, value in report.items()))
