"""Content hashes: the identity of settings, files, arrays and models. No cache may serve another thing's result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["array_hash", "file_hash", "folder_hash", "model_hash", "settings_hash", "texts_hash"]

_LENGTH = 16  # hexadecimal digits kept: 64 bits
_ADAPTER_PLACES = ("base_model_name_or_path", "revision", "inference_mode", "peft_version")


def settings_hash(value: Any) -> str:
    """Hash a JSON-like value (mappings in any key order, sequences, scalars, dataclasses, paths as text)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def texts_hash(texts: Iterable[str]) -> str:
    """Hash a sequence of texts; order and boundaries count."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:_LENGTH]


def array_hash(array: np.ndarray) -> str:
    """Hash an array's dtype, shape and bytes."""
    import numpy as np

    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_LENGTH]


def file_hash(path: str | Path) -> str:
    """Hash the bytes of the file at ``path``."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:_LENGTH]


def folder_hash(folder: str | Path) -> str:
    """Hash the names and bytes of all files below a folder, hidden ones left out."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return settings_hash([[p.relative_to(folder).as_posix(), file_hash(p)] for p in files])


def model_hash(model: torch.nn.Module) -> str:
    """Hash a model's weights and, for a SentenceTransformer, its modules' settings, prompts and tokenizer vocabulary.

    Two models with the same hash give the same vectors; where the weights were loaded from does not count.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{data.dtype}{tuple(data.shape)}".encode())
        if data.numel():
            digest.update(data.reshape(-1).view(torch.uint8).numpy().data)
    digest.update(settings_hash(_model_settings(model)).encode())
    return digest.hexdigest()[:_LENGTH]


def _model_settings(model: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "modules": [
            [name, type(module).__name__, module.get_config_dict()]
            for name, module in model.named_modules()  # those inside a Router too
            if hasattr(module, "get_config_dict")
        ],
        "prompts": getattr(model, "prompts", None),
        "default_prompt_name": getattr(model, "default_prompt_name", None),
        "max_seq_length": getattr(model, "max_seq_length", None),
        "truncate_dim": getattr(model, "truncate_dim", None),
    }
    adapters = [  # LoRA: their scale is not in the weights
        [name, adapter, {k: v for k, v in config.to_dict().items() if k not in _ADAPTER_PLACES}]
        for name, module in model.named_modules()
        for adapter, config in (getattr(module, "peft_config", None) or {}).items()
    ]
    if adapters:
        settings["adapters"] = adapters
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None and hasattr(tokenizer, "get_vocab"):
        settings["vocabulary"] = settings_hash(tokenizer.get_vocab())
    return settings


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
