from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mr_st.errors import MissingExtraError, UsageError
from mr_st.identity import model_hash
from mr_st.losses import GradedSupConLoss
from mr_st.models import (
    add_lora,
    build_two_tower,
    has_lora,
    load_sentence_transformer,
    merge_lora,
    save_lora_base,
    truncate_tower,
)

TEXTS = ["red running shoes for men", "coffee mug", "wireless mouse with usb", "wooden desk lamp"]
LORA = {"r": 2, "target_modules": ["query", "value"]}

pytest.importorskip("peft")


def vectors(model: SentenceTransformer) -> np.ndarray:
    return np.stack([model.encode_query(TEXTS), model.encode_document(TEXTS)])


def disturb(model: SentenceTransformer) -> None:
    """What training does: move all that is trainable."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
def test_adapters_and_heads_are_trained_and_nothing_else(tiny_base: Path, architecture) -> None:
    plain = build_two_tower(tiny_base, 8, architecture, device="cpu")
    model = build_two_tower(tiny_base, 8, architecture, lora=LORA, device="cpu")
    np.testing.assert_allclose(vectors(model), vectors(plain), atol=1e-6)  # adapters begin at zero
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or name.endswith("linear.weight") for name in trainable)
    n_trunks = 1 if architecture == "siamese" else 2
    assert sum(".lora_" in name for name in trainable) == n_trunks * 2 * 2 * 2  # trunks, layers, matrices, A and B
    assert sum(name.endswith("linear.weight") for name in trainable) == 2

    features = [{**model.preprocess(TEXTS, task=side), "task": side} for side in ("query", "document")]
    labels = torch.tensor([[0, 0, 2], [0, 1, 0], [1, 1, 2], [1, 2, 0], [2, 3, 1], [2, 2, 2]])
    GradedSupConLoss(model)(features, labels).backward()
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {name for name in trainable if "lora_A" not in name}  # A waits for B, which begins at zero


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "lora_alpha": 16}, {"use_dora": True}])
def test_merging_keeps_the_embeddings_and_leaves_a_plain_model(tiny_base: Path, architecture, options) -> None:
    model = build_two_tower(tiny_base, 8, architecture, lora=LORA | options, device="cpu")
    before = vectors(model)
    disturb(model)
    trained = vectors(model)
    assert np.abs(trained - before).max() > 0.01
    merged = merge_lora(model)
    assert merged is model
    assert not has_lora(model)
    np.testing.assert_allclose(vectors(model), trained, atol=2e-6)
    plain = build_two_tower(tiny_base, 8, architecture, device="cpu")
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(p.requires_grad for p in model.parameters())
    assert merge_lora(model) is model  # nothing left to do
    add_lora(model, LORA)  # another stage
    np.testing.assert_allclose(vectors(model), trained, atol=2e-6)


def test_adapters_are_seeded_and_part_of_the_models_identity(tiny_base: Path) -> None:
    state = torch.random.get_rng_state()
    first = model_hash(build_two_tower(tiny_base, heads=None, lora=LORA, device="cpu"))
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's draws are moved
    torch.manual_seed(99)
    assert model_hash(build_two_tower(tiny_base, heads=None, lora=LORA, device="cpu")) == first
    assert model_hash(build_two_tower(tiny_base, heads=None, lora=LORA, seed=1, device="cpu")) != first
    other = LORA | {"lora_alpha": 32}  # the same weights, another model once they are trained
    assert model_hash(build_two_tower(tiny_base, heads=None, lora=other, device="cpu")) != first
    assert model_hash(build_two_tower(tiny_base, heads=None, device="cpu")) != first


def test_loaded_adapters_are_trainable(tiny_base: Path, tmp_path: Path) -> None:
    model = build_two_tower(tiny_base, 8, lora=LORA, device="cpu")
    model.save_pretrained(str(tmp_path), create_model_card=False)
    assert not any(".lora_" in n for n, p in SentenceTransformer(str(tmp_path)).named_parameters() if p.requires_grad)
    loaded = load_sentence_transformer(tmp_path, device="cpu")
    for (name, p), (other, q) in zip(loaded.named_parameters(), model.named_parameters(), strict=True):
        assert (name, p.requires_grad) == (other, q.requires_grad)


def test_what_was_loaded_with_adapters_is_saved_whole(tiny_base: Path, tmp_path: Path) -> None:
    model = build_two_tower(tiny_base, 8, lora=LORA, device="cpu")
    disturb(model)
    model.save_pretrained(str(tmp_path / "adapters"), create_model_card=False)
    loaded = load_sentence_transformer(tmp_path / "adapters", device="cpu")
    save_lora_base(loaded, tmp_path / "base")
    loaded.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    merge_lora(loaded).save_pretrained(str(tmp_path / "merged"), create_model_card=False)
    for name in ("again", "merged"):
        np.testing.assert_allclose(
            vectors(SentenceTransformer(str(tmp_path / name), device="cpu")), vectors(model), atol=2e-6
        )


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
def test_checkpoints_load_once_the_base_has_a_place(tiny_base: Path, tmp_path: Path, architecture) -> None:
    built = build_two_tower(tiny_base, 8, architecture, device="cpu")
    disturb(built)
    built.save_pretrained(str(tmp_path / "tower"), create_model_card=False)
    model = add_lora(load_sentence_transformer(tmp_path / "tower", device="cpu"), LORA)
    disturb(model)
    before, training = vectors(model), {n: p.requires_grad for n, p in model.named_parameters()}
    save_lora_base(model, tmp_path / "base")
    np.testing.assert_array_equal(vectors(model), before)
    assert {n: p.requires_grad for n, p in model.named_parameters()} == training
    model.save_pretrained(str(tmp_path / "checkpoint"), create_model_card=False)
    weights = sum(p.stat().st_size for p in (tmp_path / "checkpoint").rglob("adapter_model.safetensors"))
    assert 0 < weights < 20_000 * (1 + (architecture == "asymmetric"))  # adapters only
    (tmp_path / "tower").rename(tmp_path / "elsewhere")
    loaded = SentenceTransformer(str(tmp_path / "checkpoint"), device="cpu")
    assert set(loaded.state_dict()) == set(model.state_dict())
    np.testing.assert_allclose(vectors(loaded), before, atol=1e-6)


def test_a_merged_model_can_be_cut(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, lora=LORA, device="cpu")
    disturb(model)
    whole = vectors(model)
    cut = vectors(truncate_tower(merge_lora(model), 4))
    np.testing.assert_allclose(cut, whole[..., :4] / np.linalg.norm(whole[..., :4], axis=-1, keepdims=True), atol=2e-6)


def test_without_peft_the_extra_is_named(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mr-st\[llm\]'"):
        build_two_tower(tiny_base, lora=LORA, device="cpu")
    assert build_two_tower(tiny_base, device="cpu").encode_query(TEXTS).shape == (4, 32)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"rank": 8}, "rank"),
        ({"r": 0}, "positive"),
        ({"r": 2, "target_modules": ["no_such_matrix"]}, "no_such_matrix"),
        ({"r": 2, "modules_to_save": ["pooler"]}, "cannot be merged"),
    ],
)
def test_options_that_peft_does_not_take_give_one_line(tiny_base: Path, lora: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build_two_tower(tiny_base, lora=lora, device="cpu")
    assert "\n" not in str(caught.value)


def test_adapters_twice_or_without_a_transformer_are_refused(tiny_base: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    with pytest.raises(UsageError, match="already"):
        add_lora(build_two_tower(tiny_base, lora=LORA, device="cpu"), LORA)
    tokenizer = build_two_tower(tiny_base, device="cpu").tokenizer
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    with pytest.raises(UsageError, match="has none"):
        add_lora(static, LORA)
