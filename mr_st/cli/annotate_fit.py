"""``mr-st annotate fit``: an annotator from human judgments, with a report on queries that it never saw."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.data import OptionsOption, SourceArgument, parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["add_to"]


class Kind(StrEnum):
    """What is fitted."""

    CROSS_ENCODER = "cross-encoder"
    LLM = "llm"


class Weights(StrEnum):
    """How the grades weigh in the loss."""

    NONE = "none"
    SQRT = "sqrt"
    BALANCED = "balanced"


_ONLY_CROSS_ENCODER = ("label_smoothing", "label_noise", "random_negatives")
_ONLY_LLM = ("guideline", "lora_rank")


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: mr-st annotate fit shop/ --out fitted/    "
        "mr-st annotate fit shop/ --out fitted-llm/ --kind llm --base org/small-llm --guideline brief    "
        "mr-st annotate fit shop/ --export-chat chat/"
    )(fit)


def fit(
    data: SourceArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for model/, report.json and report.png; rerun to resume.")
    ] = None,
    kind: Annotated[Kind, typer.Option("--kind", help="A cross-encoder, or a causal language model.")] = (
        Kind.CROSS_ENCODER
    ),
    base: Annotated[
        str | None,
        typer.Option("--base", help="What to start from: a folder or a Hub id [cross-encoder: minilm]."),
    ] = None,
    guideline: Annotated[
        str | None,
        typer.Option("--guideline", help="llm: three_grades, brief, or a Markdown file \\[default: three_grades]."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Whose judgments to learn from.")] = "train",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the pairs.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="The highest.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Pairs in a step.")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", min=8, help="Tokens of a pair or prompt.")] = None,
    holdout: Annotated[
        float | None, typer.Option("--holdout", help="Share of the queries that is held out \\[default: 0.15].")
    ] = None,
    class_weights: Annotated[
        Weights | None, typer.Option("--class-weights", help="By a grade's frequency \\[default: sqrt].")
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option("--label-smoothing", help="cross-encoder: share of a label spread over the grades.")
    ] = None,
    label_noise: Annotated[
        float | None,
        typer.Option("--label-noise", help="cross-encoder: share of the labels believed to be wrong, by one grade."),
    ] = None,
    random_negatives: Annotated[
        float | None,
        typer.Option("--random-negatives", help="cross-encoder: random items a judged pair, as the lowest grade."),
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option("--lora-rank", min=0, help="llm: rank of the adapters; 0 trains all weights.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", min=1, help="Evaluations without a better loss before it stops.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the held-out choice and the training.")] = 0,
    item_text_levels: Annotated[
        int, typer.Option("--item-text-levels", min=0, help="Category levels in an item's text.")
    ] = 2,
    max_chars: Annotated[int, typer.Option("--max-chars", min=16, help="Where an item's text is cut.")] = 400,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda \\[default: what is there].")] = None,
    export_chat: Annotated[
        Path | None,
        typer.Option("--export-chat", help="Folder: also (without --out, only) write the pairs as chat JSONL."),
    ] = None,
    option: OptionsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit an annotator on human judgments; its report is on held-out queries. Killed, run it again to go on."""
    from transformers.utils import logging

    from mr_st.data import GradedDataset
    from mr_st.errors import UsageError
    from mr_st.files import read_json

    console = Out(quiet, as_json)
    if out is None and export_chat is None:
        raise UsageError("nothing to do: give --out FOLDER to fit, --export-chat FOLDER to export, or both")
    wanted = {
        "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "max_length": max_length,
        "holdout_share": holdout, "class_weights": class_weights and class_weights.value, "patience": patience,
        "label_smoothing": label_smoothing, "label_noise": label_noise, "random_negatives": random_negatives,
        "lora_rank": lora_rank, "guideline": guideline,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    _check(kind, base, options, is_fit=out is not None, exports=export_chat is not None)
    texts: dict[str, Any] = {
        "seed": seed,
        "split": split,
        "item_text_levels": item_text_levels,
        "max_chars": max_chars,
    }
    logging.disable_progress_bar()  # of loading and saving weights; the training's own is another
    dataset = GradedDataset.load(data, **parse_options(option))
    facts: dict[str, Any] = {}
    exported = ""
    if export_chat is not None:
        facts["exported"], exported = _export(dataset, export_chat, guideline or "three_grades", holdout, texts)
    if out is None:
        console.result(facts, exported)
        return
    if exported:
        console.remark(exported)
    fitted: Any
    if kind is Kind.LLM:
        from mr_st.training import fit_llm_annotator

        if "lora_rank" in options:
            options["lora_rank"] = options["lora_rank"] or None
        fitted = fit_llm_annotator(
            dataset, str(base), out, **options, **texts, device=device, show_progress=console.show_progress
        )
    else:
        from mr_st.training import fit_cross_encoder

        fitted = fit_cross_encoder(
            dataset, base or "minilm", out, **options, **texts, device=device, show_progress=console.show_progress
        )
    report = read_json(out / "report.json")
    facts = {"annotator": fitted.identity, "folder": str(out / "model"), **report, **facts}
    console.result(facts, _text(facts, dataset.scale.names))


def _check(kind: Kind, base: str | None, options: dict[str, Any], is_fit: bool, exports: bool) -> None:
    """Refuse options that the kind does not take."""
    from mr_st.errors import UsageError

    others = _ONLY_LLM if kind is Kind.CROSS_ENCODER else _ONLY_CROSS_ENCODER
    allowed = {"guideline"} if exports else set()
    wrong = [f"--{name.replace('_', '-')}" for name in others if name in options and name not in allowed]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: not for --kind {kind.value}; leave out or choose the other kind")
    if is_fit and kind is Kind.LLM and base is None:
        raise UsageError("--kind llm needs --base: a folder or a Hub id of a causal language model")
    if is_fit and kind is Kind.CROSS_ENCODER:
        options.pop("guideline", None)  # it was for the export


def _text(facts: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The report as tables."""
    from rich.console import Group
    from rich.text import Text

    held, learned = facts["held_out"], facts["learned_from"]
    lines = [
        f"{facts['annotator']} in {facts['folder']}",
        f"learned from {learned['n_pairs']:,} pairs of {learned['n_queries']:,} queries "
        f"({facts['training']['seconds']:,.0f} s); judged on {held['n_pairs']:,} pairs of {held['n_queries']:,} "
        f"held-out queries; temperature {facts['temperature']:.2f}",
    ]
    random_items = facts.get("random_items")
    after = []
    if random_items and random_items["n_pairs"]:
        after.append(
            f"random items: {random_items['share_above_lowest']:.1%} of {random_items['n_pairs']:,} graded above "
            f"{names[0]} (nobody judged them; few can be)"
        )
    return Group(
        Text("\n".join(lines)), _figures_table(held), _confusion_table(held, names), Text("\n".join(after), end="")
    )


def _figures_table(held: dict[str, Any]) -> Any:
    import numpy as np
    from rich.table import Table

    from mr_st.annotation.agreement.confusion import confusion_figures

    confusion = np.array(held["confusion"])
    always = np.zeros_like(confusion)
    always[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    majority = confusion_figures(always)
    table = Table("held-out queries", "annotator", "95 % interval", "majority class")
    names = {
        "accuracy": "accuracy", "within_one": "within one grade", "kappa": "Cohen's kappa", "macro_f1": "macro-F1",
        "expected_calibration_error": "calibration error",
    }  # fmt: skip
    for name, title in names.items():
        interval = held["intervals"][name]
        ends = "" if interval["low"] is None else f"{interval['low']:.3f} to {interval['high']:.3f}"
        theirs = f"{float(majority[name]):.3f}" if name in majority else ""
        table.add_row(title, _number(held[name]), ends, theirs.replace("nan", "undefined"))
    return table


def _confusion_table(held: dict[str, Any], names: tuple[str, ...]) -> Any:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table("true grade", *(f"given {escape(name)}" for name in names), "precision", "recall")
    for grade, (name, row) in enumerate(zip(names, held["confusion"], strict=True)):
        figures = held["by_grade"][str(grade)]
        table.add_row(
            Text(f"{grade} {name}"), *(f"{count:,}" for count in row),
            _number(figures["precision"]), _number(figures["recall"]),
        )  # fmt: skip
    return table


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _export(
    dataset: GradedDataset, folder: Path, guideline: str, holdout: float | None, texts: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The pairs as chat fine-tuning JSONL; what was written, for machines and for people."""
    from dataclasses import asdict

    from mr_st.training import write_chat_jsonl

    shares: dict[str, Any] = {} if holdout is None else {"holdout_share": holdout}
    done = write_chat_jsonl(dataset, folder, guideline=guideline, **shares, **texts)
    said = [
        f"{folder / file.name}: {file.n_pairs:,} pairs of {file.n_queries:,} queries, about {file.n_tokens:,} tokens"
        for file in (done.train, done.validation)
    ]
    return {**asdict(done), "folder": str(done.folder)}, "\n".join(said)
