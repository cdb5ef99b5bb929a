"""The shared prefix: equal to whole prompts for several architectures, and refused where a model cannot share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mr_st.annotation.llm.prefix import SharedPrefix, next_token_logits

VOCABULARY = 60
SMALL = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "initializer_range": 0.1}
LLAMA = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
ARCHITECTURES = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "head_dim": 8},
    "mistral": {**LLAMA, "sliding_window": 12},  # shorter than the prefix
    "gemma2": {**LLAMA, "head_dim": 8, "sliding_window": 12},  # and capped logits
    "gemma3_text": {**LLAMA, "head_dim": 8, "sliding_window": 12},
    "gpt2": GPT,
    "gpt_neox": {**LLAMA, "num_key_value_heads": None},
    "phi3": LLAMA,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},  # positions by ALiBi
    "opt": {**LLAMA, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "mixtral": {**LLAMA, "num_local_experts": 4, "sliding_window": None},
}  # fmt: skip
PREFIX = list(np.random.default_rng(0).integers(2, VOCABULARY, 20).tolist())
RESTS = [list(np.random.default_rng(n).integers(2, VOCABULARY, n).tolist()) for n in (1, 9, 4, 30, 4)]
PROMPTS = [PREFIX + rest for rest in RESTS]


def model_of(arch: str, **options) -> torch.nn.Module:
    torch.manual_seed(1)
    config = AutoConfig.for_model(arch, **{**SMALL, **ARCHITECTURES.get(arch, {}), **options})
    return AutoModelForCausalLM.from_config(config).eval()


def one_by_one(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([model(torch.tensor([ids])).logits[0, -1] for ids in PROMPTS])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_shared_and_whole_prompts_give_the_logits_of_each_prompt_alone(arch):
    model = model_of(arch)
    expected = one_by_one(model)
    assert expected.std() > 1e-3
    torch.testing.assert_close(next_token_logits(model, PROMPTS), expected, atol=1e-5, rtol=0)
    shared = SharedPrefix(model, PREFIX)
    torch.testing.assert_close(shared.next_token_logits(PROMPTS), expected, atol=1e-5, rtol=0)
    # and again: a batch leaves the prefix as it was
    torch.testing.assert_close(shared.next_token_logits(PROMPTS[1:3]), expected[1:3], atol=1e-5, rtol=0)


@pytest.mark.parametrize("arch", ["mamba", "rwkv", "recurrent_gemma"])
def test_a_model_whose_state_is_no_list_of_keys_is_refused_and_still_reads_whole_prompts(arch):
    sizes = {
        "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
        "recurrent_gemma": {**LLAMA, "num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 64},
    }  # fmt: skip
    model = model_of(arch, **sizes[arch])
    with pytest.raises(ValueError, match="cache"):
        SharedPrefix(model, PREFIX)
    torch.testing.assert_close(next_token_logits(model, PROMPTS), one_by_one(model), atol=1e-5, rtol=0)


def test_only_prompts_that_begin_so_and_go_on():
    shared = SharedPrefix(model_of("llama"), [5, 6, 7])
    assert shared.begins([5, 6, 7, 8])
    assert not shared.begins([5, 6, 7])
    assert not shared.begins([5, 6, 8, 7])


def test_the_prefix_is_read_once_and_no_logits_of_other_tokens_are_made(monkeypatch):
    model = model_of("llama")
    seen = []
    forward = model.lm_head.forward
    read = model.model.embed_tokens.forward
    monkeypatch.setattr(
        model.lm_head, "forward", lambda hidden: seen.append(tuple(hidden.shape[:2])) or forward(hidden)
    )
    monkeypatch.setattr(
        model.model.embed_tokens, "forward", lambda ids: seen.append(("read", ids.numel())) or read(ids)
    )
    shared = SharedPrefix(model, PREFIX)
    assert seen == [("read", 20), (1, 1)]
    shared.next_token_logits(PROMPTS[1:3])
    shared.next_token_logits(PROMPTS[:1])
    assert seen[2:] == [("read", 18), (2, 1), ("read", 1), (1, 1)]


def test_the_cache_of_a_batch_is_a_view():
    from mr_st.annotation.llm.prefix import _for_batch

    shared = SharedPrefix(model_of("llama"), PREFIX)
    layer = _for_batch(shared._cache, 50).layers[0]
    assert layer.keys.shape[0] == 50
    assert layer.keys.data_ptr() == shared._cache.layers[0].keys.data_ptr()
