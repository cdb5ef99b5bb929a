"""Where datasets come from: one function a source, one line a source in the registry below."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from mr_st.data.dataset import GradedDataset
from mr_st.errors import UsageError

__all__ = ["SOURCES", "load_source", "source_names"]

SOURCES: dict[str, tuple[str, str]] = {
    "marketplace": ("mr_st.data.marketplace", "load_marketplace"),
    "esci": ("mr_st.data.sources.esci", "load_esci"),
}
"""Name of a source -> the module and the function that load it (imported on first use)."""


def source_names() -> list[str]:
    """The names that ``GradedDataset.load`` knows."""
    return sorted(SOURCES)


def load_source(name_or_path: str | Path, **options: Any) -> GradedDataset:
    """Load by a source's name, or from a folder whose form is recognised by its files.

    Args:
        name_or_path: A name of :data:`SOURCES`, a folder that ``GradedDataset.save`` wrote, or an ESCI download.
        options: What the source's function takes; for a saved folder, ``validate``.

    Raises:
        UsageError: the name or the folder's form is unknown, or an option is.
        DataError: the data has faults.
    """
    if str(name_or_path) in SOURCES:
        module, function = SOURCES[str(name_or_path)]
        return _call(getattr(import_module(module), function), str(name_or_path), options)
    folder = Path(name_or_path).expanduser()
    forms = "a folder that GradedDataset.save wrote, or a folder with ESCI's original Parquet files"
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "is no known dataset and no folder"
        raise UsageError(f"{name_or_path} {found}; give {', '.join(source_names())}, {forms}")
    from mr_st.data.sources.esci import is_esci_folder, load_esci
    from mr_st.data.storage import is_saved_folder, load_folder

    if is_saved_folder(folder):
        return _call(load_folder, str(name_or_path), options, folder)
    if is_esci_folder(folder):
        return _call(load_esci, str(name_or_path), options, folder)
    raise UsageError(f"{name_or_path}: the folder's files are of no known form; give {forms}")


def _call(function: Callable[..., GradedDataset], what: str, options: dict[str, Any], *given: Any) -> GradedDataset:
    """Call a source; an option that it does not have is the user's mistake and names those it has."""
    parameters = list(signature(function).parameters.values())[len(given) :]
    names = [p.name for p in parameters]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if takes_any else [option for option in options if option not in names]
    if unknown:
        raise UsageError(f"{what}: unknown option {', '.join(unknown)}; it takes {', '.join(names)}")
    wanting = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    missing = [name for name in wanting if name not in options]
    if missing:
        raise UsageError(f"{what}: option {', '.join(missing)} is needed; it takes {', '.join(names)}")
    return function(*given, **options)
