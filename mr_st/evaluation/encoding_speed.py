"""How fast a model encoded the items of an evaluation, and on what: a by-product, good for orders of magnitude."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["EncodingSpeed", "hardware_name"]

_FEWEST = 256  # texts from which a speed says something


class EncodingSpeed:
    """Texts and seconds, added up.

    Args:
        model: Its device is what the texts are encoded on.
    """

    def __init__(self, model: Any):
        self.device = str(getattr(model, "device", "cpu"))
        self.n_texts, self.seconds = 0, 0.0

    def add(self, n_texts: int, seconds: float) -> None:
        """Count some texts that were encoded in some seconds."""
        self.n_texts += n_texts
        self.seconds += seconds

    def facts(self) -> dict[str, Any]:
        """``texts_per_second`` and ``hardware``; empty where too few texts were encoded (others were kept).

        Example:
            >>> speed = EncodingSpeed(None)
            >>> speed.add(1000, 4.0)
            >>> speed.facts()["texts_per_second"]
            250.0
        """
        if self.n_texts < _FEWEST or self.seconds <= 0:
            return {}
        return {
            "texts_per_second": float(f"{self.n_texts / self.seconds:.3g}"),
            "hardware": hardware_name(self.device),
        }


def hardware_name(device: str) -> str:
    """What computes on this machine, in a few words: the GPU's name, or the processor's and the number of threads."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    n = torch.get_num_threads()
    return f"{_processor()}, {n} {'thread' if n == 1 else 'threads'}, {device}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or os.name
