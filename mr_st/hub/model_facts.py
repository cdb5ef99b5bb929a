"""What a saved model's own files say about it, read without loading it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

__all__ = ["ModelFacts", "read_model_facts"]


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a saved SentenceTransformer; None or empty where its files do not say.

    Args:
        n_parameters: Weights in its safetensors files.
        dim: Length of an embedding.
        max_seq_length: Tokens it reads.
        architecture: The trunk's class, e.g. ``BertModel``.
        modules: Its modules in order, e.g. ``("Transformer", "Pooling", "Dense", "Normalize")``.
        prompts: What ``encode_query`` and ``encode_document`` put before a text; empty ones left out.
    """

    n_parameters: int | None = None
    dim: int | None = None
    max_seq_length: int | None = None
    architecture: str | None = None
    modules: tuple[str, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)


def read_model_facts(model_dir: str | Path) -> ModelFacts:
    """Read a model folder's configuration and weight headers."""
    model_dir = Path(model_dir)
    modules = _json(model_dir / "modules.json")
    settings = _json(model_dir / "config_sentence_transformers.json") or {}
    dim: int | None = None
    limits: list[int] = []
    kinds: list[str] = []
    trunk: dict[str, Any] = {}
    for module in modules if isinstance(modules, list) else []:
        if not isinstance(module, dict):
            continue
        kinds.append(str(module.get("type", "")).rsplit(".", 1)[-1])
        folder = model_dir / str(module.get("path", ""))
        for file in sorted([folder / "sentence_bert_config.json", *folder.glob("**/config.json")]):
            config = _json(file)
            if not isinstance(config, dict):
                continue
            dim = next((config[k] for k in _DIM_KEYS if isinstance(config.get(k), int)), dim)
            tokenizer = _json(file.parent / "tokenizer_config.json")  # where sentence-transformers 6 keeps the limit
            for source, key in ((config, "max_seq_length"), (tokenizer, "model_max_length")):
                if isinstance(source, dict) and isinstance(source.get(key), int):
                    limits.append(source[key])
            if config.get("architectures"):
                trunk = trunk or config
        if kinds[0] == "Transformer" and len(kinds) == 1 and folder == model_dir:
            dim = trunk.get("hidden_size", dim)
    counts = [_n_weights(path) for path in sorted(model_dir.rglob("*.safetensors"))]
    prompts = settings.get("prompts") if isinstance(settings, dict) else None
    return ModelFacts(
        n_parameters=sum(c for c in counts if c is not None) or None,
        dim=dim,
        max_seq_length=min(filter(None, [*limits, trunk.get("max_position_embeddings")]), default=None),
        architecture=next(iter(trunk.get("architectures") or []), None),
        modules=tuple(kinds),
        prompts={str(k): str(v) for k, v in prompts.items() if v} if isinstance(prompts, dict) else {},
    )


_DIM_KEYS = ("out_features", "embedding_dimension", "word_embedding_dimension")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _n_weights(path: Path) -> int | None:
    """Number of weights in a safetensors file, from its header alone."""
    try:
        with open(path, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(length, 100_000_000)))
        return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
