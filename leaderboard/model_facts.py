"""What is known of a model: from its results, its model_meta.json and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mr_st.leaderboard.plain import is_number, plain_name, plain_text, short

__all__ = ["SIZES", "TEXTS", "card_facts", "meta_facts", "model_facts"]

SIZES = ("n_parameters", "embed_dim", "max_tokens", "texts_per_second")
"""Facts that are numbers."""

TEXTS = ("license", "adapted_from", "kind", "hardware")
"""Facts that are text; ``training_datasets`` is a list of names."""

_MOST_DATASETS = 500
_LARGEST_FILE = 2**24  # bytes
_MTEB_KINDS = {"dense": "bi-encoder", "sparse": "sparse", "late-interaction": "late interaction",
               "cross-encoder": "cross-encoder"}  # fmt: skip


def meta_facts(path: Path) -> dict[str, Any]:
    """The facts of a model_meta.json as MTEB writes it, its ``name`` and ``revision`` too; empty where it is none."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return {}
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(meta, dict):
        return {}
    types = meta.get("model_type")
    kind = types[0] if isinstance(types, list) and len(types) == 1 and isinstance(types[0], str) else ""
    kind = "cross-encoder" if meta.get("is_cross_encoder") is True else _MTEB_KINDS.get(kind, kind)
    names = {key: name for key in ("name", "revision") if (name := plain_name(meta.get(key)))}
    return _typed(meta | {"kind": kind}) | names


def model_facts(meta: Mapping[str, Any], own: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """The facts of one result.

    Args:
        meta: Of :func:`meta_facts`.
        own: As the result says; where both say something, this holds.
        kind: Of the system, as its protocol says; without it MTEB's model type.
    """
    system = {"kind": kind} if isinstance(kind, str) else {}
    return {k: v for k, v in meta.items() if k not in ("name", "revision")} | _typed({**own, "kind": None} | system)


def card_facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """License, base model and training data of a card's metadata block, where it says them."""
    base, datasets = metadata.get("base_model"), metadata.get("datasets")
    base = base[0] if isinstance(base, list) and base else base
    datasets = [datasets] if isinstance(datasets, str) else datasets
    return _typed({"license": metadata.get("license"), "adapted_from": base, "training_datasets": datasets})


def _typed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes that are positive numbers, facts that are text, names of data sets."""
    found: dict[str, Any] = {k: facts[k] for k in SIZES if is_number(facts.get(k)) and facts[k] > 0}
    for key in TEXTS:
        if isinstance(facts.get(key), str) and facts[key].strip():
            found[key] = short(plain_text(facts[key]), 300)
    training = facts.get("training_datasets")
    if isinstance(training, (list, dict)):
        names = {short(plain_text(name)) for name in list(training)[:_MOST_DATASETS] if isinstance(name, str)}
        if names or not training:  # an empty list says that there are none
            found["training_datasets"] = sorted(names)
    return found
