"""A tiny decoder, built in a moment: what an LLM trunk is to the towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_WORDS = """
red running shoes for men blue cotton shirt women wireless mouse with usb coffee mug wooden desk lamp garden hose
small large the a of chat user says
""".split()


def build_tiny_decoder(folder: Path, kind: str = "llama", dtype: str = "float32", **tokens: str) -> Path:
    """A random two-layer decoder as transformers saves one: no modules.json; by default neither pad token nor chat
    template, as Llama's base models come."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    if kind == "qwen2":  # a class of its own: byte-level, pads with its end-of-text token
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {letter: i for i, letter in enumerate([*letters, "<|endoftext|>"])}
        own: Any = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=64)
    else:
        vocabulary = {word: i for i, word in enumerate(["<unk>", "</s>", *dict.fromkeys(_WORDS)])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        options: dict[str, Any] = {"unk_token": "<unk>", "eos_token": "</s>", "model_max_length": 64} | tokens
        own = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
    own.save_pretrained(folder)
    sizes: dict[str, Any] = {"vocab_size": len(vocabulary), "max_position_embeddings": 64, "bos_token_id": 1,
                             "eos_token_id": 1, "pad_token_id": None}  # fmt: skip
    layers = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=4, n_positions=64, **sizes)
        model: Any = transformers.GPT2LMHeadModel(config)
    elif kind == "qwen2":
        model = transformers.Qwen2Model(transformers.Qwen2Config(**sizes, **layers, num_key_value_heads=2))
    else:
        config = transformers.LlamaConfig(**sizes, **layers, num_key_value_heads=2, head_dim=8)
        model = transformers.LlamaForCausalLM(config)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder
