"""A recipe's trial run: the same job in about a minute, with nothing downloaded; its figures mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mr_st.recipes.schema import Recipe

__all__ = ["SMOKE_NOTE", "cut_down", "prepare_smoke"]

SMOKE_NOTE = "Smoke run: it shows that the job runs; its figures mean nothing."
_FEW = {"epochs": None, "max_steps": 4, "evaluations": 1, "precision": "fp32", "gradient_accumulation_steps": 1}


def cut_down(recipe: Recipe) -> Recipe:
    """The same job with few steps and small sizes, on the same data and base."""
    options = {**recipe.data.options, "size": "tiny"} if recipe.data.source == "marketplace" else recipe.data.options

    def brief(stage: Any) -> Any:
        return stage.model_copy(update={**_FEW, "queries_per_batch": min(stage.queries_per_batch, 8)})

    changed: dict[str, Any] = {
        "data": recipe.data.model_copy(update={"options": options}),
        "stage1": brief(recipe.stage1),
        "stage2": brief(recipe.stage2),
        "mining": recipe.mining.model_copy(update={"k": min(recipe.mining.k, 20)}),
    }
    if recipe.annotator.kind in ("cross_encoder", "llm"):
        short = {"epochs": 1} if recipe.annotator.kind == "llm" else {"max_length": 32, "epochs": 1}
        options = {name: value for name, value in recipe.annotator.options.items() if name != "bf16"} | short
        changed["annotator"] = recipe.annotator.model_copy(update={"options": options})
    synthetic = recipe.augment.synthetic
    if synthetic is not None:
        few = synthetic.model_copy(update={"max_items": min(synthetic.max_items or 50, 50)})
        changed["augment"] = recipe.augment.model_copy(update={"synthetic": few})
    return recipe.model_copy(update=changed)


def prepare_smoke(
    recipe: Recipe,
    out: str | Path,
    data: str | Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> tuple[Recipe, str | Path | None]:
    """The trial run of a recipe: cut down, its bases on the Hub and ESCI replaced by tiny ones, built below ``out``.

    Args:
        recipe: As it would be run.
        out: The job's folder.
        data: The folder given in place of ``recipe.data.source``; it is used as it is.
        announce: Called with one line for each thing that is replaced.

    Returns:
        The recipe to run, and the data to give it.
    """
    announce(SMOKE_NOTE)
    small, place = cut_down(recipe), Path(out) / "smoke"
    if data is None and recipe.data.source == "esci":
        from mr_st.recipes.smoke_data import write_smoke_esci

        data = write_smoke_esci(place / "data")
        announce("Smoke run: a made-up shop in ESCI's form takes the place of ESCI")
    dims = recipe.model.matryoshka_dims
    width = max(dims) if dims and recipe.model.dim is None else 32
    model = small.model.model_copy(update={"base": _twin(recipe.model.base, place, width, announce)})
    changed: dict[str, Any] = {"model": model, "description": f"{SMOKE_NOTE} {recipe.description}".strip()}
    base = small.annotator.options.get("base")
    if small.annotator.kind == "cross_encoder" and isinstance(base, str):
        options = {**small.annotator.options, "base": _twin(base, place, 32, announce, plain=True)}
        changed["annotator"] = small.annotator.model_copy(update={"options": options})
    return small.model_copy(update=changed), data


def _twin(base: str, place: Path, width: int, announce: Callable[[str], None], plain: bool = False) -> str:
    """The folder of a base's twin; a base that has none, or that is a folder, stays."""
    from mr_st.models.twins import twin_of
    from mr_st.recipes.smoke_data import smoke_texts

    twin = None if Path(base).exists() else twin_of(base)
    if twin is None:
        return base
    announce(f"Smoke run: a tiny random {twin.architecture} takes the place of {base}")
    name = base.rsplit("/", 1)[-1].lower() + "-tiny-random"
    return str(twin.build(place / name, smoke_texts(), width, plain))
