"""A system by name: a model, a baseline, a run file, or a YAML file that says what it is made of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mr_st.errors import MrStError, UsageError, explain_validation
from mr_st.evaluation.systems.kinds import (
    BiEncoderSpec,
    Bm25Spec,
    HybridSpec,
    Loading,
    RandomSpec,
    RerankSpec,
    RunSpec,
    SystemSpec,
)
from mr_st.evaluation.systems.named import full_name, name_of_file
from mr_st.files import read_yaml

if TYPE_CHECKING:
    from mr_st.evaluation.system import System

__all__ = ["Loading", "SystemSpec", "load_system", "read_spec"]

_YAML = (".yaml", ".yml")
_RUNS = (".trec", ".run", ".trec.gz", ".run.gz")
_PATHS = ("model", "path", "reranker")  # keys whose value may be a path
_DEEPEST = 8

_KINDS: dict[str, type[SystemSpec]] = {
    "bi-encoder": BiEncoderSpec,
    "bm25": Bm25Spec,
    "hybrid": HybridSpec,
    "rerank": RerankSpec,
    "run": RunSpec,
    "random": RandomSpec,
}


def load_system(
    spec: str | Path | SystemSpec,
    *,
    name: str | None = None,
    store: str | Path | None = None,
    batch_size: int = 64,
    device: str | None = None,
    show_progress: bool = False,
    how: Loading | None = None,
) -> System:
    """The system that a name means.

    Args:
        spec: A model's folder, a Hub id or ``minilm`` (a bi-encoder); ``bm25``; ``random``; a TREC run (``.trec``,
            ``.run``, also gzipped); a YAML file: ``kind`` (bi-encoder, bm25, hybrid, rerank, run, random) and what the
            class of that kind takes, with further systems inside; or what :func:`read_spec` gave. Paths in a file
            start at its folder.
        name: ``org/name``; None for the file's ``name``, or what it stands for.
        store: Folder that keeps vectors and paid labels between calls; None keeps nothing.
        batch_size: Texts in one forward pass.
        device: Where models run; chosen by torch when None.
        show_progress: Show progress bars.
        how: Takes the place of store, batch_size, device and show_progress; share it to load a model once.

    Raises:
        UsageError: no such file, a key or value that means nothing (a misspelt one is named with the one that was
            meant), or a name that cannot name a folder.
        DataError: a fault in a run file.
        MrStError: a model that cannot be loaded.

    Example:
        >>> load_system("random").name
        'mr-st/random'
    """
    found = spec if isinstance(spec, SystemSpec) else read_spec(spec)
    if how is None:
        how = Loading(None if store is None else Path(store), batch_size, device, show_progress)
    return found.load(how, full_name(name or found.called() or "local/system"))


def read_spec(spec: str | Path) -> SystemSpec:
    """What ``spec`` means, a name or a file, as far as that is seen without loading anything; see :func:`load_system`.

    Raises:
        UsageError: as there.
    """
    text = str(spec)
    try:
        found = _named(text, None, 0)
        found.check()
        called = found.called()
    except RecursionError as error:
        raise UsageError(f"{text}: nested too deeply; mend the file") from error
    except MrStError as error:
        if not text.lower().endswith(_YAML) or str(error).startswith(text):
            raise
        raise UsageError(f"{text}: {error}") from error
    if called is None:  # a file of no given name
        found = found.model_copy(update={"name": name_of_file(text)})
    return found


def _named(text: str, place: Path | None, depth: int) -> SystemSpec:
    """A name as a specification; ``place`` is the file that it stands in."""
    if depth > _DEEPEST:
        raise UsageError(f"{text}: systems inside each other more than {_DEEPEST} deep; does a file name itself?")
    where = _beside(text, place)
    lower = text.lower()
    if not Path(where).is_dir():
        if lower.endswith(_YAML):
            return _checked(read_yaml(where, "system file"), where, Path(where), depth)
        if lower.endswith(_RUNS):
            return RunSpec(path=where)
        if text == "bm25":
            return Bm25Spec()
        if text == "random":
            return RandomSpec()
    return BiEncoderSpec(model=where)


def _beside(text: str, place: Path | None) -> str:
    """A path as seen from the file that it stands in; what is none there stays as it is."""
    if place is not None and (place.parent / text).exists():
        return str(place.parent / text)
    return text


def _checked(value: Mapping[str, Any], where: str, place: Path, depth: int) -> SystemSpec:
    """The specification that a mapping is; ``where`` stands before what is wrong with it."""
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        near = difflib.get_close_matches(str(kind), _KINDS, n=1)
        mend = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(_KINDS)}"
        raise UsageError(f"{where}: kind: {'missing' if 'kind' not in value else f'found {kind!r:.40}'}; {mend}")
    given = dict(value)
    given |= {key: _beside(given[key], place) for key in _PATHS if isinstance(given.get(key), str)}
    if kind == "hybrid" and isinstance(given.get("parts"), Mapping):
        given["parts"] = {
            part: _inside(inner, f"{where}: parts.{part}", place, depth) for part, inner in given["parts"].items()
        }
    if kind == "rerank" and "retriever" in given:
        given["retriever"] = _inside(given["retriever"], f"{where}: retriever", place, depth)
    try:
        return _KINDS[kind].model_validate(given)
    except ValidationError as error:
        raise UsageError(explain_validation(where, error, _KINDS[kind])) from error


def _inside(value: Any, where: str, place: Path, depth: int) -> SystemSpec:
    if isinstance(value, str):
        return _named(value, place, depth + 1)
    if isinstance(value, Mapping):
        if depth + 1 > _DEEPEST:
            raise UsageError(f"{where}: systems inside each other more than {_DEEPEST} deep; mend the file")
        return _checked(value, where, place, depth + 1)
    raise UsageError(f"{where}: found {value!r:.60}; give a system's name, or a mapping with its kind")
