"""``mr-st models``: the registry of recipes, cards and results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mr_st.cli.io import JsonOption, Out

__all__ = ["add_to"]

CardsOption = Annotated[Path, typer.Option("--cards", help="The registry: one folder for each model.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="The registry of recipes, cards and results.", no_args_is_help=True)
    group.command("list", epilog="Example: mr-st models list")(list_models)
    group.command("show", epilog="Example: mr-st models show mr-minilm-marketplace")(show)
    app.add_typer(group, name="models")


def list_models(cards: CardsOption = Path("model_cards"), as_json: JsonOption = False) -> None:
    """List the models that have a recipe and a card."""
    names = sorted(path.parent.name for path in cards.glob("*/recipe.yaml"))
    Out(as_json=as_json).result(names, "\n".join(names) or f"{cards}: no model cards here")


def show(
    name: Annotated[str, typer.Argument(help="A name that `mr-st models list` prints.")],
    cards: CardsOption = Path("model_cards"),
    as_json: JsonOption = False,
) -> None:
    """Print a model's card."""
    from mr_st.errors import UsageError

    known = sorted(path.parent.name for path in cards.glob("*/recipe.yaml"))
    if name not in known:
        raise UsageError(f"{cards}: no model named {name}; there are: {', '.join(known) or 'none'}")
    card = (cards / name / "README.md").read_text(encoding="utf-8")
    recipe = (cards / name / "recipe.yaml").read_text(encoding="utf-8")
    Out(as_json=as_json).result({"name": name, "card": card, "recipe": recipe}, card.rstrip())
