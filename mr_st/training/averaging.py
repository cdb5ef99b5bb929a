"""Averages of models: of one before and after its training, and of several fine-tuned from the same base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder

__all__ = ["average_models", "average_with_start", "weights_of"]

_NOT_THE_MODEL = {"README.md", "loss.json", "loss_parameters.safetensors", "recipe.yaml", "mr_st.json"}
_NOT_THE_MODELS_FOLDERS = {"results", "plots"}
_VOLATILE = {"_name_or_path", "transformers_version", "__version__", "name_or_path"}  # say where, not what
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's weights by name, on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


@torch.no_grad()
def average_with_start(model: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Set the model's weights to ``share * start + (1 - share) * weights``, in place.

    Weights that are no floating-point numbers (positions, counts) stay as trained.

    Args:
        model: The trained model.
        start: Its weights before training, see :func:`weights_of`.
        share: In 0..1.

    Raises:
        ValueError: other names or shapes: ``start`` belongs to another model.

    Source: Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022 (arXiv 2109.01903).

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> average_with_start(layer, {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)}, share=1.0)
        >>> layer.weight.item()
        0.0
    """
    weights = model.state_dict()
    strange = weights.keys() ^ start.keys() or {n for n in weights if weights[n].shape != start[n].shape}
    if strange:
        raise ValueError(f"the starting weights are another model's: {sorted(strange)[0]} differs")
    for name, value in weights.items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value.device, value.dtype), share)


def average_models(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the uniform average of several saved models of one architecture: a model soup.

    Each weight is the mean of the models' own, summed in float32 and written in the first model's dtype; weights that
    are no floating-point numbers are the first model's. Tensors are read one by one, so memory holds the result and
    little more. Modules, configuration and tokenizer are the first model's, and must be the same in all. What belongs
    to a training and not to the model (its loss and learned temperature, its card, its results) is left behind.

    Args:
        folders: Two or more folders of saved SentenceTransformers, fine-tuned from the same base.
        out: A new folder.

    Returns:
        ``out``, a plain SentenceTransformer.

    Raises:
        UsageError: fewer than two folders, one of them twice, ``out`` is not new, or models that differ in modules,
            configuration, tokenizer, or the names or shapes of weights.
        MrStError: a folder without safetensors weights, or one that cannot be read.

    Source: Wortsman et al., Model soups, ICML 2022 (arXiv 2203.05482), the uniform soup.
    """
    models, out = [Path(folder) for folder in folders], Path(out)
    if len(models) < 2:
        raise UsageError(f"an average needs two models or more, {len(models)} given")
    if len({model.resolve() for model in models}) < len(models):
        raise UsageError(f"{', '.join(map(str, models))}: the same folder twice; name each model once")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: not a new folder; choose another for the average")
    files = [_model_files(model) for model in models]
    for other, found in zip(models[1:], files[1:], strict=True):
        _check_same(models[0], files[0], other, found)
    with atomic_folder(out) as temporary:
        for path in files[0]:
            target = temporary / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".safetensors"):
                _average_file([model / path for model in models], target)
            else:
                shutil.copyfile(models[0] / path, target)
    return out


def _model_files(model: Path) -> list[str]:
    """The files of a saved model that decide its vectors."""
    if not (model / "modules.json").is_file():
        raise MrStError(f"{model}: not a saved SentenceTransformer (no modules.json); give the model's own folder")
    found = []
    for path in sorted(model.rglob("*")):
        inside = path.relative_to(model)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or not path.is_file() or inside.parts[0] in _NOT_THE_MODELS_FOLDERS or inside.name in _NOT_THE_MODEL:
            continue
        if inside.suffix in _PICKLES:
            raise MrStError(f"{model}: {inside} may hold pickled code; save the model with safetensors")
        if inside.name == "adapter_config.json":
            raise MrStError(f"{model}: holds adapters that are not merged; merge_lora(model), then save it again")
        found.append(inside.as_posix())
    if not any(path.endswith(".safetensors") for path in found):
        raise MrStError(f"{model}: holds no .safetensors weights; save the model with SentenceTransformer.save")
    return found


def _check_same(first: Path, files: Sequence[str], other: Path, found: Sequence[str]) -> None:
    """Refuse models whose weights mean different things."""
    both = f"{first} and {other}"
    mend = "only models fine-tuned from the same base in the same form can be averaged"
    strange = sorted(set(files) ^ set(found))
    if strange:
        raise UsageError(f"{both}: only one of them has {strange[0]}; {mend}")
    for path in files:
        if not path.endswith(".safetensors") and _content(first / path) != _content(other / path):
            raise UsageError(f"{both}: they differ in {path}; {mend}")
    for path in files:
        if path.endswith(".safetensors"):
            shapes, others = _shapes(first / path), _shapes(other / path)
            names = sorted(n for n in shapes.keys() | others.keys() if shapes.get(n) != others.get(n))
            if names:
                a, b = (_said(of.get(names[0])) for of in (shapes, others))
                raise UsageError(f"{both}: the weight {names[0]} is {a} in one and {b} in the other; {mend}")


def _content(path: Path) -> Any:
    """A file's content; of JSON without what says only where the model was and what wrote it."""
    data = path.read_bytes()
    if path.suffix != ".json" or len(data) > 1_000_000:  # a tokenizer's vocabulary is compared as bytes
        return data
    try:
        return _lasting(json.loads(data))
    except ValueError:
        return data


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(inner) for key, inner in value.items() if key not in _VOLATILE}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with _opened(path) as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118


def _said(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise MrStError(f"{path}: cannot be read as safetensors ({error}); save the model again") from None


def _average_file(paths: Sequence[Path], target: Path) -> None:
    from safetensors.torch import save_file

    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(path)) for path in paths]
        mean: dict[str, Tensor] = {}
        for name in opened[0].keys():  # noqa: SIM118
            first = opened[0].get_tensor(name)
            if first.is_floating_point():
                total = first.to(torch.float32, copy=True)
                for other in opened[1:]:
                    total += other.get_tensor(name).float()
                first = (total / len(opened)).to(first.dtype)
            mean[name] = first.contiguous()
        save_file(mean, target, metadata=opened[0].metadata() or {"format": "pt"})
