"""``mr-st models``: the registry of recipes, cards and results; pulling and averaging models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mr_st.cli.io import JsonOption, Out, QuietOption, one_line

if TYPE_CHECKING:
    from rich.table import Table

    from mr_st.hub.registry import RegisteredModel

__all__ = ["add_to"]

CardsOption = Annotated[
    Path | None,
    typer.Option("--cards", help="The registry: one folder a model \\[default: model_cards here, or the checkout's]."),
]
NameArgument = Annotated[str, typer.Argument(help="A name that `mr-st models list` prints.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="The registry of recipes, cards and results.", no_args_is_help=True)
    group.command("list", epilog="Example: mr-st models list")(list_models)
    group.command("show", epilog="Example: mr-st models show mr-minilm-marketplace")(show)
    group.command("pull", epilog="Example: mr-st models pull mr-st/mr-minilm-marketplace --out models/minilm")(pull)
    group.command("check", epilog="Example: mr-st models check")(check)
    group.command("average", epilog="Example: mr-st models average run1/model run2/model --out models/mean")(average)
    app.add_typer(group, name="models")


def list_models(cards: CardsOption = None, as_json: JsonOption = False) -> None:
    """List the models: those with card and results, and recipes that nobody has trained yet."""
    from mr_st.hub.registry import find_registry, registered_models

    found = registered_models(find_registry(cards))
    Out(as_json=as_json).result([model.to_dict() for model in found], _table(found) if found else "no models here")


def show(name: NameArgument, cards: CardsOption = None, as_json: JsonOption = False) -> None:
    """Print a model's card; of a recipe that nobody has trained, the recipe and what training should need."""
    from mr_st.hub.registry import find_registry, read_registered

    folder = find_registry(cards)
    model = read_registered(folder, name)
    texts = {
        key: (folder / name / file).read_text(encoding="utf-8") if (folder / name / file).is_file() else None
        for key, file in (("card", "README.md"), ("recipe", "recipe.yaml"), ("estimate_file", "estimate.yaml"))
    }
    value = {**model.to_dict(), "card": texts["card"], "recipe": texts["recipe"]}
    if texts["card"] is not None:
        text = texts["card"]
    else:
        text = (
            f"{name}: a recipe, not trained yet, so there is no card\n\n{texts['recipe']}\n"
            f"What training it should need, estimated, not measured:\n\n{texts['estimate_file'] or '(no estimate)'}"
        )
    Out(as_json=as_json).result(value, "\n".join(one_line(line) for line in text.rstrip().splitlines()))


def pull(
    name: Annotated[str, typer.Argument(help="A name that `mr-st models list` prints, or organisation/name.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit \\[default: main].")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder \\[default: the model's name].")] = None,
    cards: CardsOption = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds without a byte before the Hub is given up.")] = 120,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a published model with its card, results and recipe from the Hub into a folder."""
    from mr_st.hub.pull import pull as fetch

    console = Out(quiet, as_json)
    done = fetch(
        name if "/" in name else _repo_id(name, cards),
        out or Path(name.rsplit("/", 1)[-1]),
        revision=revision,
        timeout=timeout,
        announce=lambda line: console.remark(one_line(line)),
        show_progress=console.show_progress,
    )
    value = {
        "repo_id": done.repo_id, "revision": done.revision, "folder": str(done.folder), "bytes": done.n_bytes,
        "files": list(done.files),
    }  # fmt: skip
    console.result(value, f"{done.repo_id} at {done.revision[:12]}: {len(done.files)} files in {done.folder}")


def check(cards: CardsOption = None, as_json: JsonOption = False) -> None:
    """Check that recipe, card and results of every model agree; one line a fault, exit 1 where there is one."""
    from mr_st.hub.registry import find_registry
    from mr_st.hub.registry_check import check_registry
    from mr_st.recipes import Recipe

    folder = find_registry(cards)
    found = check_registry(folder, Recipe.from_yaml)
    n_faults = sum(map(len, found.values()))
    lines = [f"{one_line(name)}: {fault}" for name, faults in found.items() for fault in faults]
    last = f"{len(found)} models, {n_faults} fault{'s' * (n_faults != 1)}"
    Out(as_json=as_json).result({"models": found, "faults": n_faults}, "\n".join([*lines, last]))
    if n_faults:
        raise typer.Exit(1)


def average(
    models: Annotated[list[Path], typer.Argument(help="Two or more model folders, fine-tuned from the same base.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    as_json: JsonOption = False,
) -> None:
    """Write the uniform average of several fine-tuned models of one architecture."""
    from mr_st.training import average_models

    average_models(models, out)
    value = {"folder": str(out), "of": [str(model) for model in models]}
    Out(as_json=as_json).result(value, f"{out}: the average of {len(models)} models")


def _repo_id(name: str, cards: Path | None) -> str:
    """What a model of the registry is published as."""
    from mr_st.errors import UsageError
    from mr_st.hub.registry import find_registry, read_registered

    model = read_registered(find_registry(cards), name)
    if model.repo_id is None:
        raise UsageError(f"{name}: its recipe has no publish.repo_id; give organisation/name")
    return model.repo_id


def _table(models: list[RegisteredModel]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_CAPTION, caption_justify="left")
    for head in ("name", "status", "base model", "data", "main figure", "weights", "dims", "licence"):
        is_number = head in ("weights", "dims")
        no_wrap = is_number or head in ("name", "base model")
        table.add_column(head, justify="right" if is_number else "left", overflow="fold", no_wrap=no_wrap)
    for model in models:
        row = [
            model.name, model.status, model.base_model, model.data, _figure(model), _millions(model.n_parameters),
            model.dim, model.license,
        ]  # fmt: skip
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    return table


_CAPTION = (
    "The main figure is on the task's test split, with its 95 % interval. Of a recipe that nobody has trained, "
    "weights and licence are the base's."
)


def _figure(model: RegisteredModel) -> str | None:
    if model.value is None or model.metric is None:
        return None
    return f"{model.metric} {model.value:.3f} [{model.low:.3f} {model.high:.3f}] {model.task}"


def _millions(n: Any) -> str | None:
    return f"{n / 1e6:,.0f} M" if isinstance(n, int) else None
