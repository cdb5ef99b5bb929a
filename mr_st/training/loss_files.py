"""A loss beside its model on disk: its settings with what it learned, from which it can be built anew."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn

from mr_st import __version__
from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_path, read_json, write_text
from mr_st.losses import LOSSES, GradedLoss

__all__ = [
    "LOSS_FILE",
    "LOSS_PARAMETERS_FILE",
    "Losses",
    "describe_loss",
    "graded_losses",
    "learned_parameters",
    "load_loss",
    "load_loss_parameters",
    "loss_parameters",
    "save_loss",
    "save_loss_parameters",
]

LOSS_FILE = "loss.json"
LOSS_PARAMETERS_FILE = "loss_parameters.safetensors"

Losses = nn.Module | dict[str, nn.Module]
"""What the stock trainer takes as ``loss=``: one loss, or one for each dataset."""


def graded_losses(loss: Losses) -> dict[str, GradedLoss]:
    """The graded losses in what the trainer is given, also those inside a wrapper such as MatryoshkaLoss.

    Returns:
        By name: ``""`` for a single one; the dataset's name where the trainer has a loss for each (those that share
        one are joined by "+"); with the path inside the wrapper where that holds more than one.
    """
    names: dict[GradedLoss, list[str]] = {}
    for dataset, root in _entries(loss).items():
        inside = {path: module for path, module in root.named_modules() if isinstance(module, GradedLoss)}
        for path, module in inside.items():
            parts = [dataset, path if len(inside) > 1 else ""]
            names.setdefault(module, []).append(".".join(part for part in parts if part))
    return {"+".join(found): module for module, found in names.items()}


def loss_parameters(loss: Losses) -> dict[str, nn.Parameter]:
    """The parameters that belong to the loss and not to its model, by name, e.g. ``{"log_tau": ...}``.

    Args:
        loss: A loss, a loss that wraps another one, or the trainer's dict of losses. The names are those that the
            trainer matches with ``args.learning_rate_mapping``.
    """
    root = nn.Sequential(OrderedDict(loss)) if isinstance(loss, dict) else loss
    models = [m for m in root.modules() if isinstance(m, SentenceTransformer)]
    of_models = {id(p) for model in models for p in model.parameters()}
    return {name: p for name, p in root.named_parameters() if id(p) not in of_models}


def learned_parameters(loss: Losses) -> dict[str, nn.Parameter]:
    """Those of :func:`loss_parameters` that a graded loss learns: its temperature."""
    return {name: p for name, p in _graded_parameters(loss).items() if p.requires_grad}


def save_loss_parameters(loss: Losses, folder: str | Path) -> None:
    """Write the loss's own parameters to ``loss_parameters.safetensors``, atomically; an empty file if none."""
    tensors = {name: p.detach().cpu().clone() for name, p in loss_parameters(loss).items()}
    with atomic_path(Path(folder) / LOSS_PARAMETERS_FILE) as temporary:
        temporary.write_bytes(save(tensors))


def load_loss_parameters(loss: Losses, source: str | Path | Mapping[str, Any]) -> None:
    """Set the loss's own parameters from a checkpoint folder, or from values by name.

    Raises:
        MrStError: the folder has none, or their names do not fit this loss. Going on from the initial values instead
            would be silently wrong.
    """
    own = loss_parameters(loss)
    if isinstance(source, Mapping):
        values = {name: torch.as_tensor(value) for name, value in source.items()}
        where = "the given loss state"
    else:
        path = Path(source) / LOSS_PARAMETERS_FILE
        where = str(path)
        if not path.is_file():
            if not own:
                return
            raise MrStError(f"{path} is missing, so {', '.join(own)} cannot be restored; delete this checkpoint")
        values = load_file(path)
    if values.keys() != own.keys():
        raise MrStError(f"{where} holds {sorted(values)}, the loss has {sorted(own)}; use the same loss as before")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(values[name].reshape(parameter.shape))


def describe_loss(loss: nn.Module) -> dict[str, Any]:
    """A loss's settings as they are now: a learned value is the learned one, a wrapper shows the loss inside.

    Returns:
        ``{"class": its name, setting: value, ...}``, JSON-ready; the entry of a wrapped graded loss is such a dict.
    """
    get: Any = getattr(loss, "get_config_dict", dict)
    settings = json.loads(json.dumps(get(), default=_as_text))
    for name, part in loss.named_children():
        if not isinstance(part, SentenceTransformer) and graded_losses(part):
            settings[name] = describe_loss(part)
    return {"class": type(loss).__name__, **settings}


def save_loss(loss: Losses, folder: str | Path) -> None:
    """Write ``loss.json`` into a model's folder or a checkpoint; ``SentenceTransformer(folder)`` does not mind it.

    It holds the class and settings of the loss (of each loss, where there is one for each dataset), the exact values
    of the graded losses' parameters (a learned temperature is one), and our version; :func:`load_loss` reads it.

    Example:
        model.save_pretrained(folder)
        save_loss(loss, folder)
    """
    described: Any = {name: describe_loss(part) for name, part in _entries(loss).items()}
    record = {
        "mr_st_version": __version__,
        **({"losses": described} if isinstance(loss, dict) else {"loss": described[""]}),
        "parameters": {name: p.detach().cpu().tolist() for name, p in _graded_parameters(loss).items()},
    }
    write_text(Path(folder) / LOSS_FILE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def load_loss(path: str | Path, model: SentenceTransformer | None, dataset: str | None = None) -> Any:
    """Build the loss that ``loss.json`` describes, with the temperature that it learned.

    Args:
        path: A model's folder, a checkpoint, or the file itself.
        model: The model that the loss is to train.
        dataset: Which one, where there is a loss for each dataset; None: all of them, as a dict.

    Returns:
        A graded loss, a MatryoshkaLoss around one, or the dict of losses that the trainer takes.

    Raises:
        MrStError: no such file, or one that does not describe losses that can be built: a class of another package is
            never imported because a file names it.
        UsageError: there is no loss for ``dataset``.
    """
    path = Path(path) / LOSS_FILE if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise MrStError(
            f"{path}: no such file; write it with save_loss(loss, folder), or train with SaveLossParameters"
        )
    record = read_json(path)
    several = record.get("losses") if isinstance(record, dict) else None
    parameters = record.get("parameters") if isinstance(record, dict) else None
    if not isinstance(parameters, dict) or not isinstance(several or record.get("loss"), dict):
        raise MrStError(f"{path}: expected a loss, or losses, and their parameters; write it anew with save_loss")
    if dataset is not None and (several is None or dataset not in several):
        known = ", ".join(several) if several else "one loss for all datasets"
        raise UsageError(f"{path}: has no loss for dataset {dataset!r}; it has {known}")
    loss: Any
    if several is None:
        loss = _build(record["loss"], model, path)
    elif dataset is not None:
        loss = _build(several[dataset], model, path)
        prefix = f"{dataset}."
        parameters = {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}
    else:
        loss = {name: _build(described, model, path) for name, described in several.items()}
    load_loss_parameters(loss, parameters)
    return loss


def _build(described: Any, model: SentenceTransformer | None, path: Path) -> nn.Module:
    settings = dict(described) if isinstance(described, dict) else {}
    name = settings.pop("class", None)
    classes: dict[Any, Any] = {loss.__name__: loss for loss in LOSSES.values()}
    try:
        if name in classes:
            return classes[name](model, **_inside_range(settings))
        if name == MatryoshkaLoss.__name__ and model is not None:
            return MatryoshkaLoss(model, _build(settings.pop("loss", None), model, path), **settings)
    except (TypeError, ValueError) as error:
        raise MrStError(f"{path}: {name}: {error}; was it written by another version of mr_st?") from error
    raise MrStError(
        f"{path}: cannot build {name!r} (only {', '.join(classes)}, and MatryoshkaLoss around one of them); build it "
        "yourself, then load_loss_parameters(loss, checkpoint)"
    )


def _inside_range(settings: dict[str, Any]) -> dict[str, Any]:
    """The temperature is written to six digits; at an end of its range that may lie a hair outside."""
    if "temperature" not in settings or "temperature_range" not in settings:
        return settings
    low, high = settings["temperature_range"]
    return {**settings, "temperature": min(max(settings["temperature"], low), high)}


def _graded_parameters(loss: Losses) -> dict[str, nn.Parameter]:
    of_graded = {id(p) for graded in graded_losses(loss).values() for p in loss_parameters(graded).values()}
    return {name: p for name, p in loss_parameters(loss).items() if id(p) in of_graded}


def _entries(loss: Losses) -> dict[str, nn.Module]:
    return loss if isinstance(loss, dict) else {"": loss}


def _as_text(value: Any) -> str:
    return type(value).__name__ if isinstance(value, nn.Module) else str(value)
