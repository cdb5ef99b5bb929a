"""``mr-st shrink``: a model at several sizes, each measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mr_st.cli.data import parse_options
from mr_st.cli.io import JsonOption, Out, QuietOption
from mr_st.errors import UsageError

if TYPE_CHECKING:
    from mr_st.evaluation import BiEncoder, Collection
    from mr_st.tasks import GradedRetrievalTask

__all__ = ["add_to"]

_TASK = "MarketplaceRetrieval"


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: mr-st shrink runs/demo/stage2/model    "
        "mr-st shrink my/model --data my-judgments/ --dims 256,128    "
        "mr-st shrink my/model --setting float32-128 --save float32-128 --save-to my/model-128"
    )(shrink)


def shrink(
    model: Annotated[str, typer.Argument(help="A model folder, a Hub id, or minilm.")],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help=f"A task (mr-st tasks list) \\[default: {_TASK}].")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Judgments of your own, instead of a task.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="KEY=VALUE", help="What the task or the data takes; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for shrink.json, shrink.md, plots/ and the vectors.")] = Path(
        "shrink"
    ),
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting", "-s", metavar="NAME",
            help="float32, float16, int8, int8+rescore, int8+float32, binary, binary+rescore, binary+int8, "
            "binary+float32, each also as NAME-DIMS; float16-weights, onnx, onnx-int8. Repeatable; else the usual.",
        ),
    ] = None,
    dims: Annotated[
        str | None, typer.Option(metavar="D,D,...", help="Cut to these dimensions; else half, quarter and eighth.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder", metavar="NAME",
            help="Beside these settings: float16-weights, onnx or onnx-int8; each encodes all texts anew. Repeatable.",
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="How many of the best are scored again.")] = 200,
    split: Annotated[str | None, typer.Option(help="The split; else test.")] = None,
    name: Annotated[str | None, typer.Option(help="org/name of the model; else its folder's.")] = None,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also save the model at this setting, for SentenceTransformer.")
    ] = None,
    save_to: Annotated[Path | None, typer.Option(help="Where --save writes \\[default: OUT/model].")] = None,
    store: Annotated[Path | None, typer.Option(help="Keep the vectors here \\[default: OUT/vectors].")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in one forward pass.")] = 64,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Measure a model truncated, in float16, int8 and binary: quality, separability, size and speed, in one table.

    Texts are encoded once; a killed run goes on where it stopped.
    """
    from mr_st.evaluation.systems.spec import Loading, load_system, read_spec
    from mr_st.files import ensure_writable
    from mr_st.hub.shrink import shrink as measure
    from mr_st.hub.shrink_save import how_to_use, save_at
    from mr_st.hub.shrink_settings import ENCODERS, default_settings, parse_setting
    from mr_st.hub.shrink_table import table

    console = Out(quiet, as_json)
    if task is not None and data is not None:
        raise UsageError("--task and --data both say what to measure on; give one of them")
    if save_to is not None and save is None:
        raise UsageError("--save-to needs --save, the setting to save")
    spec = read_spec(model)
    if spec.kind != "bi-encoder":  # type: ignore[attr-defined]
        raise UsageError(f"{model}: only a bi-encoder has vectors to shrink; give a model folder, a Hub id or minilm")
    cut_to = _numbers(dims)
    ensure_writable(out)
    how = Loading(store=store or out / "vectors", batch_size=batch_size, show_progress=console.show_progress)
    system: BiEncoder = load_system(spec, name=name, how=how)  # type: ignore[assignment]
    width = int(system.model.get_embedding_dimension() or 0)
    names = setting or [one.name for one in default_settings(width, cut_to)]
    for one in encoder or []:
        if one not in ENCODERS:
            raise UsageError(f"--encoder {one!r:.60}: there is no such one; there are {', '.join(ENCODERS)}")
    names = [*names, *(encoder or [])]
    to_save = None if save is None else parse_setting(save, width)
    on = _what(task, data, parse_options(option), split)
    report = measure(
        system,
        on,
        names,
        split=split if data is None else None,
        n_candidates=candidates,
        announce=console.remark,
    )
    paths = report.save(out)
    found = report.to_dict()
    for left, why in found["left_out"].items():
        console.remark(f"{left} not measured: {why}")
    if to_save is not None:
        paths["model"] = save_at(system.model, to_save, save_to or out / "model")
    console.result({**found, "paths": {key: str(path) for key, path in paths.items()}}, table(found))
    chosen = to_save or report[found["recommendation"]["setting"]].setting
    for key, path in paths.items():
        console.remark(f"{key + ':':<7}{path}")
    console.remark(f"\nTo use {chosen.name}:\n\n{how_to_use(chosen, str(paths.get('model', model)))}")


def _what(
    task: str | None, data: str | None, options: dict[str, object], split: str | None
) -> GradedRetrievalTask | Collection:
    """What to measure on."""
    if data is None:
        from mr_st.tasks import get_task

        return get_task(task or _TASK, **options)
    from mr_st.data import GradedDataset
    from mr_st.evaluation import Collection

    return Collection.from_dataset(GradedDataset.load(data, **options), split or "test")


def _numbers(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--dims is {text!r:.60}; expected whole numbers such as 192,96") from None
