"""Where datasets come from: one function a source, one line a source in the registry below."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from mr_st.data.dataset import GradedDataset
from mr_st.errors import UsageError
from mr_st.hub_client import is_hub_id

__all__ = ["SOURCES", "Source", "load_source", "source_names"]


@dataclass(frozen=True)
class Source:
    """One way in. Nothing is imported before it is used.

    Args:
        module: Where its functions stand.
        loader: The function that loads it; where ``form`` is given, its first argument is the path.
        form: What a folder or file of this form is called in a message; empty where no path is recognised.
        is_form: The function of ``module`` that tells from a path (a folder or a file that exists) whether it has
            this form; it reads names, not contents.
    """

    module: str
    loader: str
    form: str = ""
    is_form: str = ""

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the source's module."""
        function: Callable[..., Any] = getattr(import_module(self.module), name)
        return function


SAVED = Source("mr_st.data.storage", "load_folder", "a folder that GradedDataset.save wrote", "is_saved_folder")

SOURCES: dict[str, Source] = {
    "marketplace": Source("mr_st.data.marketplace", "load_marketplace"),
    "esci": Source(
        "mr_st.data.sources.esci", "load_esci", "a folder with ESCI's original Parquet files", "is_esci_folder"
    ),
    "wands": Source(
        "mr_st.data.sources.wands", "load_wands", "a folder with WANDS' product.csv, query.csv and label.csv",
        "is_wands_folder",
    ),
    "mteb": Source("mr_st.data.sources.mteb", "load_mteb", "a folder in MTEB's or BEIR's form", "is_mteb_folder"),
    "table": Source(
        "mr_st.data.sources.tables", "load_table",
        "a folder with queries, items and judgments, or one joined file, as CSV, TSV, JSONL or Parquet",
        "is_table_path",
    ),
    "hub": Source("mr_st.data.sources.hub", "load_hub"),
}  # fmt: skip
"""Name of a source -> how it is loaded. A path is tried against the forms in this order, the saved form first."""


def source_names() -> list[str]:
    """The names that ``GradedDataset.load`` knows."""
    return sorted(SOURCES)


def load_source(name_or_path: str | Path, **options: Any) -> GradedDataset:
    """Load by a source's name, from a path whose form is recognised by its files, or from the Hub.

    Args:
        name_or_path: A name of :data:`SOURCES`; a folder or file of one of the forms there; or, where no such path
            exists, the id of a Hub dataset (``org/name``, as text).
        options: What the source's function takes; for a saved folder, ``validate``.

    Raises:
        UsageError: the name or the folder's form is unknown, or an option is.
        DataError: the data has faults.
        MrStError: the Hub refused, or cannot be reached.
    """
    what = str(name_or_path)
    if what in SOURCES:
        source = SOURCES[what]
        return _call(source.function(source.loader), what, options)
    path = Path(name_or_path).expanduser()
    with_form = [source for source in (SAVED, *SOURCES.values()) if source.form]
    if os.path.lexists(path):  # a link that leads nowhere is for its source to explain
        for source in with_form:
            if source.function(source.is_form)(path):
                return _call(source.function(source.loader), what, options, path)
    elif isinstance(name_or_path, str) and is_hub_id(name_or_path):
        hub = SOURCES["hub"]
        return _call(hub.function(hub.loader), what, options, name_or_path)
    kind = "a file" if path.is_file() else "a folder" if path.is_dir() else "a link that leads nowhere, or something"
    found = f"is {kind} of no known form" if os.path.lexists(path) else "is no known dataset, no path and no Hub id"
    accepted = [*source_names(), *(source.form for source in with_form)]
    raise UsageError(f"{what} {found}; give {', '.join(accepted)}, or the id of a Hub dataset (org/name)")


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
