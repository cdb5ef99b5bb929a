"""Tiny random relatives of known bases: class, pooling, prompts, and a tokenizer that can write what it must."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from mr_st.identity import folder_hash
from mr_st.models.twins import twin_of
from mr_st.recipes.smoke_data import smoke_texts


@pytest.mark.parametrize(
    ("base", "architecture", "pooling", "tokenizer"),
    [
        ("intfloat/multilingual-e5-small", "BertModel", "mean", "XLMRobertaTokenizer"),
        ("nomic-ai/modernbert-embed-base", "ModernBertModel", "mean", "TokenizersBackend"),
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen3Model", "lasttoken", "Qwen2Tokenizer"),
        ("intfloat/multilingual-e5-base", "XLMRobertaModel", "mean", "XLMRobertaTokenizer"),
    ],
)
def test_a_twin_has_its_bases_form(tmp_path: Path, base: str, architecture: str, pooling: str, tokenizer: str) -> None:
    twin = twin_of(base)
    assert twin is not None
    folder = twin.build(tmp_path / "a", smoke_texts(), width=48)
    model = SentenceTransformer(str(folder), device="cpu")
    assert type(model[0].auto_model).__name__ == architecture
    assert model[1].get_config_dict()["pooling_mode"] == pooling
    assert type(model.tokenizer).__name__ == tokenizer
    assert model.encode_query(["赤 マグカップ"]).shape == (1, 48)
    assert {name: text for name, text in model.prompts.items() if text} == twin.prompts
    for text in smoke_texts():
        ids = model.tokenizer(text)["input_ids"]
        assert model.tokenizer.unk_token_id not in ids or model.tokenizer.unk_token_id == ids[-1]
        assert model.tokenizer.decode(ids, skip_special_tokens=True).split() == text.split()
    assert sum(p.numel() for p in model.parameters()) < 300_000
    assert not list(folder.rglob("*.bin"))
    assert folder_hash(twin.build(tmp_path / "b", smoke_texts(), width=48)) == folder_hash(folder)


def test_qwens_last_token_ends_the_text(tmp_path: Path) -> None:
    twin = twin_of("Qwen/Qwen3-Embedding-0.6B")
    assert twin is not None
    tokenizer = SentenceTransformer(str(twin.build(tmp_path / "a", smoke_texts())), device="cpu").tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer("red mug")["input_ids"])[-1] == "<|endoftext|>"


@pytest.mark.parametrize("base", ["FacebookAI/xlm-roberta-base", "answerdotai/ModernBERT-base"])
def test_a_plain_twin_is_a_cross_encoders_base(tmp_path: Path, base: str) -> None:
    twin = twin_of(base)
    assert twin is not None
    folder = twin.build(tmp_path / "a", smoke_texts(), plain=True)
    assert not (folder / "modules.json").exists()
    model = CrossEncoder(str(folder), num_labels=3, device="cpu")
    assert model.predict([("red mug", "Corvane mug, red")]).shape == (1, 3)


@pytest.mark.parametrize("base", ["minilm", "org/other", "intfloat/multilingual-e5-small-x", "../Qwen/Qwen3-0.6B", ""])
def test_an_unknown_base_has_none(base: str) -> None:
    assert twin_of(base) is None
