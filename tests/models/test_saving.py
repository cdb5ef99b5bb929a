"""Every kind of tower: saved, loaded by sentence-transformers alone in a fresh process, the same embeddings."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mr_st.models import add_lora, build_two_tower, merge_lora

TEXTS = ["red running shoes for men", "coffee mug", "wireless mouse with usb", "wooden desk lamp", "garden hose"]
KINDS = list(itertools.product(["bert", "llama"], ["siamese", "asymmetric"], ["separate", "shared", None], [0, 1]))

_ALONE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mr_st":
            raise ImportError("mr_st is blocked")
sys.meta_path.insert(0, Block())
sys.modules["peft"] = None  # as if it were not installed
import numpy as np
from pathlib import Path
from sentence_transformers import SentenceTransformer
root, texts = Path(sys.argv[1]), sys.argv[2].split("|")
for folder in sorted(path for path in root.iterdir() if path.is_dir()):
    model = SentenceTransformer(str(folder), device="cpu")
    short = SentenceTransformer(str(folder), device="cpu", truncate_dim=6)
    np.savez(root / f"{folder.name}.npz", query=model.encode_query(texts), item=model.encode_document(texts),
             short_query=short.encode_query(texts), short_item=short.encode_document(texts, normalize_embeddings=True))
assert "mr_st" not in sys.modules
"""


def name_of(kind: tuple) -> str:
    return "-".join(map(str, kind))


@pytest.fixture(scope="module")
def before_and_after(
    tiny_base: Path, tiny_decoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    """The folder of all kinds, and the embeddings by kind: of the model that was saved."""
    root = tmp_path_factory.mktemp("kinds")
    embeddings = {}
    for kind in KINDS:
        base, architecture, heads, has_lora = kind
        model = build_two_tower(
            tiny_base if base == "bert" else tiny_decoders[base],
            None if heads is None else 8,
            architecture,
            heads,
            pooling="cls" if base == "bert" and has_lora else None,
            prompts={"query": "small ", "document": "large "},
            matryoshka_dims=[6],
            lora={"r": 2, "target_modules": "all-linear"} if has_lora else None,
            max_seq_length=16,
            device="cpu",
        )
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:  # as training would, so that the two sides differ
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        embeddings[name_of(kind)] = {"query": model.encode_query(TEXTS), "item": model.encode_document(TEXTS)}
        merge_lora(model).save_pretrained(str(root / name_of(kind)), create_model_card=False)
    command = [sys.executable, "-c", _ALONE, str(root), "|".join(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=570)
    assert done.returncode == 0, done.stderr[-2000:]
    return root, embeddings


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_fresh_process_gets_the_same_embeddings(before_and_after, kind: tuple) -> None:
    root, embeddings = before_and_after
    before = embeddings[name_of(kind)]
    with np.load(root / f"{name_of(kind)}.npz") as after:
        for side in ("query", "item"):
            np.testing.assert_allclose(after[side], before[side], atol=2e-6)
            np.testing.assert_allclose(np.linalg.norm(after[side], axis=1), 1, atol=1e-6)
            prefix = before[side][:, :6]
            unit = prefix / np.linalg.norm(prefix, axis=1, keepdims=True)
            np.testing.assert_allclose(after[f"short_{side}"], prefix if side == "query" else unit, atol=2e-6)
    assert np.abs(before["query"] - before["item"]).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_only_stock_modules_and_safetensors_are_saved(before_and_after, kind: tuple) -> None:
    folder = before_and_after[0] / name_of(kind)
    endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert endings <= {".json", ".safetensors", ".jinja"}
    assert not list(folder.rglob("adapter*"))
    assert list(folder.rglob("model.safetensors"))
    text = "".join(path.read_text() for path in folder.rglob("*.json") if path.name in ("modules.json", "config.json"))
    assert "mr_st" not in text
    assert "auto_map" not in text
    assert str(before_and_after[0].parent) not in text


@pytest.mark.parametrize("base", ["bert", "llama"])
def test_unmerged_adapters_of_a_siamese_tower_load_where_the_base_is(
    tiny_base: Path, tiny_decoders: dict[str, Path], tmp_path: Path, base: str
) -> None:
    pytest.importorskip("peft")
    model = build_two_tower(tiny_base if base == "bert" else tiny_decoders[base], 8, device="cpu")
    add_lora(model, {"r": 2, "target_modules": "all-linear"})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path), device="cpu")
    np.testing.assert_allclose(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-6)
