"""How to load a model or make a system: the few lines that stand on its page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mr_st.leaderboard.board import Board, Model, file_stem
from mr_st.leaderboard.results import Result

__all__ = ["Loading", "how_to_load"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_OWN_FOLDERS = ("local", "baseline")  # organisations that our own names begin with, and no Hub does
_DEEPEST = 8


@dataclass(frozen=True)
class Loading:
    """What to copy.

    Args:
        code: The lines; empty where nothing can be loaded.
        language: ``python`` or ``yaml``.
        command: What to run with them; may be empty.
        note: What a reader must know of them, a sentence or two; may be empty.
    """

    code: str
    language: str
    command: str = ""
    note: str = ""


def how_to_load(board: Board, model: Model, result: Result | None) -> Loading:
    """Lines that make the system again, as far as its results say what it was.

    Args:
        board: Other models, by whose content hash the parts of a hybrid are named.
        model: The row.
        result: One of its results; None where none can be read.
    """
    protocol = result.protocol if result is not None else {}
    system = protocol.get("system")
    settings: Mapping[str, Any] = system if isinstance(system, Mapping) else {}
    kind = settings.get("kind") or model.facts.get("kind")
    if not protocol:
        return _by_mteb(model)
    if kind in ("bi-encoder", None):
        return _bi_encoder(model, settings)
    if kind in ("run", "run-file"):
        return Loading("", "", note="A TREC run from elsewhere; its results do not say what made it.")
    names = {m.revision: m.name for m in board.models}
    spec = _spec(settings, names, 0)
    if spec is None:
        return Loading("", "", note="Its results do not say what it is made of.")
    spec = {"kind": spec["kind"], "name": model.name, **spec}
    file = f"{file_stem(model.name.rpartition('/')[2] or model.name)}.yaml"
    task = re.sub(r"[^\w=.-]", "", result.task, flags=re.ASCII)[:80] if result is not None else ""
    missing = " What stands in <angle brackets> is for you to fill in." if "<" in str(spec) else ""
    return Loading(
        yaml.safe_dump(spec, sort_keys=False),
        "yaml",
        f"mr-st evaluate {file} --task {task or 'TASK'}",
        f"Save it as {file}.{missing}",
    )


def _bi_encoder(model: Model, settings: Mapping[str, Any]) -> Loading:
    is_hub = _is_hub_id(model.name)
    is_commit = _COMMIT.fullmatch(model.revision) is not None
    arguments = [_quoted(model.name if is_hub else "path/to/the/model")]
    if is_hub and is_commit:
        arguments.append(f"revision={_quoted(model.revision)}")
    if prompts := _prompts(settings):
        of_side = {"document" if side == "item" else side: _quoted(text) for side, text in prompts.items()}
        arguments.append("prompts={" + ", ".join(f'"{side}": {text}' for side, text in of_side.items()) + "}")
    lines = ["from sentence_transformers import SentenceTransformer", ""]
    whole = f"model = SentenceTransformer({', '.join(arguments)})"
    if len(whole) <= 88:
        lines.append(whole)
    else:
        lines += ["model = SentenceTransformer(", *(f"    {argument}," for argument in arguments), ")"]
    if (length := _length(settings)) is not None:
        lines.append(f"model.max_seq_length = {length}")
    lines += [
        'queries = model.encode_query(["red running shoes"])',
        'items = model.encode_document(["Trail running shoes, red"])',
        "scores = model.similarity(queries, items)",
    ]
    note = "" if is_commit else "The revision is a hash of the weights, no Hub commit."
    if not is_hub:
        note = f"It was evaluated from a folder. {note}"
    elif not is_commit:
        note += " Where the Hub has no model of this name, give its folder."
    return Loading("\n".join(lines) + "\n", "python", note=note.strip())


def _by_mteb(model: Model) -> Loading:
    """A model that mteb evaluated, with the prompts that mteb knows for it."""
    if not _is_hub_id(model.name):
        return Loading("", "", note="Its results do not say what it is.")
    revision = f", revision={_quoted(model.revision)}" if _COMMIT.fullmatch(model.revision) else ""
    code = f"import mteb\n\nmodel = mteb.get_model({_quoted(model.name)}{revision})\n"
    return Loading(code, "python", note="As MTEB loads it, with the prompts that MTEB uses.")


def _quoted(text: str) -> str:
    """A Python literal in double quotes; what cannot be seen is escaped."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)


def _is_hub_id(name: str) -> bool:
    return bool(_HUB_ID.fullmatch(name)) and name.partition("/")[0] not in _OWN_FOLDERS


def _spec(settings: Mapping[str, Any], names: Mapping[str, str], depth: int) -> dict[str, Any] | None:
    """What ``mr-st evaluate`` takes, from a result's settings; None where these have another form."""
    kind = settings.get("kind")
    if depth > _DEEPEST:
        return None
    if kind == "bm25":
        analyser = settings.get("analyser")
        language = analyser.get("language") if isinstance(analyser, Mapping) else None
        return {"kind": "bm25", **_plain(settings, "k1", "b", "method"), **_plain({"language": language}, "language")}
    if kind == "random":
        return {"kind": "random", **_plain(settings, "seed")}
    if kind == "bi-encoder":
        spec: dict[str, Any] = {"kind": "bi-encoder", "model": _named(settings.get("model"), names)}
        if prompts := _prompts(settings):
            spec["prompts"] = prompts
        if (length := _length(settings)) is not None:
            spec["max_seq_length"] = length
        return spec
    if kind == "hybrid" and isinstance(settings.get("parts"), Mapping):
        parts: dict[str, Any] = {}
        weights: dict[str, Any] = {}
        for name, part in settings["parts"].items():
            inside = part if isinstance(part, Mapping) else {}
            parts[str(name)] = _inside(inside.get("settings"), names, depth)
            weights |= _plain({str(name): inside.get("weight", 1.0)}, str(name))
        how = _plain(settings, "fusion", "depth", "constant", "normalise")
        return {"kind": "hybrid", **how, "weights": weights, "parts": parts}
    if kind == "rerank":
        reranker = settings.get("reranker")
        identity = reranker.get("identity") if isinstance(reranker, Mapping) else "?"
        retriever = _inside(settings.get("retriever"), names, depth)
        named = f"<reranker {str(identity)[:60]}>"
        return {"kind": "rerank", **_plain(settings, "depth"), "retriever": retriever, "reranker": named}
    return None


def _inside(settings: Any, names: Mapping[str, str], depth: int) -> dict[str, Any] | str:
    found = _spec(settings, names, depth + 1) if isinstance(settings, Mapping) else None
    return "<system>" if found is None else found


def _prompts(settings: Mapping[str, Any]) -> dict[str, str]:
    """What stands before queries (``query``) and items (``item``), where there is something."""
    prompts = settings.get("prompts")
    given = {side: prompts.get(side) for side in ("query", "item")} if isinstance(prompts, Mapping) else {}
    return {side: text for side, text in given.items() if isinstance(text, str) and text}


def _length(settings: Mapping[str, Any]) -> int | None:
    length = settings.get("max_seq_length")
    return length if isinstance(length, int) and not isinstance(length, bool) else None


def _named(revision: Any, names: Mapping[str, str]) -> str:
    """A model of the board by its content hash, else a place to fill in."""
    known = names.get(str(revision))
    return known if known is not None and _is_hub_id(known) else f"<model {str(revision)[:60]}>"


def _plain(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Those of some values that are numbers or texts."""
    return {key: values[key] for key in keys if isinstance(values.get(key), (int, float, str))}
