"""What of a model folder is published: its files by their path in the repository; the rest is refused by name."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_folder, read_json
from mr_st.hub_client import one_line

__all__ = ["PICKLES", "Files", "check_target_folder", "collect_files", "size_of", "write_folder"]

Files = dict[str, Path | bytes]
"""Each file's path in the repository, and where it lies or what is in it."""

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".h5"}


def collect_files(model_dir: Path, results_dir: str | Path | None, recipe: str | Path | None) -> Files:
    """Every file to publish, by its path in the repository.

    Args:
        model_dir: A saved SentenceTransformer.
        results_dir: A results folder, for ``results/``.
        recipe: A recipe file, for ``recipe.yaml``.

    Raises:
        MrStError: the folder is no model that plain sentence-transformers loads, or holds what is not published:
            pickles, adapters that are not merged, links out of it.
    """
    if not model_dir.is_dir():
        raise MrStError(f"{model_dir}: no such folder; give the folder of a saved SentenceTransformer")
    _check_modules(model_dir)
    files: Files = dict(_walk(model_dir))
    if results_dir is not None:
        results_dir = Path(results_dir)
        if not results_dir.is_dir():
            raise MrStError(f"{results_dir}: no such folder; give the results folder that `mr-st evaluate` wrote")
        files.update({f"results/{path}": source for path, source in _walk(results_dir)})
    if recipe is not None:
        recipe = Path(recipe)
        if not recipe.is_file():
            raise MrStError(f"{recipe}: no such file; give the recipe's YAML file")
        files["recipe.yaml"] = recipe
    for path in files:
        if Path(path).suffix.lower() in PICKLES:
            raise MrStError(
                f"{model_dir}: {path} may hold pickled code, only safetensors are published; save the model with "
                "SentenceTransformer.save (safe_serialization=True) and remove the file"
            )
        if Path(path).name in ("adapter_config.json", "adapter_model.safetensors"):
            raise MrStError(
                f"{model_dir}: {path} is an adapter that is not merged into the weights, so the model would load only "
                "with peft and its base; merge it (model[0].auto_model = model[0].auto_model.merge_and_unload()) and "
                "save the model again"
            )
    if not any(path.endswith(".safetensors") for path in files):
        raise MrStError(f"{model_dir}: holds no .safetensors weights; save the model with SentenceTransformer.save")
    return files


def size_of(source: Path | bytes) -> int:
    """The size of a file to publish in bytes."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _walk(folder: Path) -> list[tuple[str, Path]]:
    """The files below a folder in order, hidden ones and caches left out; nothing outside the folder is followed."""
    found = []
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for name in folders:
            _check_name(folder, name)
            if Path(parent, name).is_symlink():
                raise MrStError(
                    f"{folder}: {one_line(name)} is a link to a folder, which is not followed; copy the folder there"
                )
        for name in sorted(names):
            if name.startswith("."):
                continue
            _check_name(folder, name)
            path = Path(parent, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() and root not in path.resolve().parents:
                raise MrStError(
                    f"{folder}: {inside} is a link out of the folder, which is not followed; copy the file"
                )
            if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
                raise MrStError(f"{folder}: {inside} is no plain file (a broken link, a pipe); remove it")
            found.append((inside, path))
    return found


def _check_name(folder: Path, name: str) -> None:
    if not name.isprintable() or "\\" in name or name != name.strip():
        raise MrStError(f"{folder}: the file name {name!a} cannot be published; rename the file")


def _check_modules(model_dir: Path) -> None:
    """Refuse what plain ``SentenceTransformer(...)`` would not load without remote code."""
    modules_file = model_dir / "modules.json"
    if not modules_file.is_file():
        raise MrStError(f"{model_dir}: not a saved SentenceTransformer (no modules.json); give the model's own folder")
    modules = read_json(modules_file)
    listed = [m if isinstance(m, Mapping) else {} for m in modules] if isinstance(modules, list) else []
    if not listed:
        raise MrStError(f"{modules_file}: lists no modules; save the model with SentenceTransformer.save")
    for module in listed:
        kind, path = str(module.get("type", "")), str(module.get("path", ""))
        if not kind.startswith("sentence_transformers."):
            raise MrStError(
                f"{modules_file}: module {one_line(ascii(kind))} is not one of sentence-transformers' own, so "
                "loading would need remote code; build the model from its modules"
            )
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise MrStError(
                f"{modules_file}: the path {one_line(ascii(path))} leads out of the model's folder; save the model "
                "with SentenceTransformer.save"
            )


def check_target_folder(model_dir: Path, folder: Path) -> None:
    """Refuse a folder that holds something else than a published model, or lies in or around the model's own."""
    source, target = model_dir.resolve(), folder.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise UsageError(f"{folder}: is, holds or lies in the model's own folder {model_dir}; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file stands there; choose another folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "modules.json").is_file():
        raise UsageError(f"{folder}: holds other files than a published model; choose a new or empty folder")


def write_folder(files: Files, folder: Path) -> None:
    """Write all files to a folder, whole or not at all."""
    try:
        with atomic_folder(folder.resolve()) as temporary:
            for path, source in files.items():
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(source, bytes):
                    target.write_bytes(source)
                else:
                    shutil.copyfile(source, target)
    except OSError as error:
        raise MrStError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from error
