"""Tiny decoders for the tests of the towers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny_decoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of plain decoders by kind: "llama" (saved as a causal LM), "qwen2" (without its head), "gpt2"."""
    from tiny_decoder import build_tiny_decoder

    root = tmp_path_factory.mktemp("decoders")
    return {kind: build_tiny_decoder(root / kind, kind) for kind in ("llama", "qwen2", "gpt2")}
