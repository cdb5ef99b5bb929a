"""Tiny random models of a known base's architecture, with a tokenizer of their own kind, for trial runs offline."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mr_st.files import atomic_folder

__all__ = ["Twin", "twin_of"]

_PIECES = 800  # of a byte-level tokenizer's vocabulary, at most


@dataclass(frozen=True)
class Twin:
    """How to build a small random relative of a base.

    Args:
        architecture: The class of its trunk, as transformers names it.
        pooling: How its token vectors become one.
        tokenizer: ``unigram`` (XLM-R's), ``byte-level`` (ModernBERT's), or ``qwen``.
        prompts: What the base puts before a text.
    """

    architecture: str
    pooling: str
    tokenizer: str
    prompts: dict[str, str] = field(default_factory=dict)

    def build(self, folder: str | Path, texts: Iterable[str], width: int = 32, plain: bool = False) -> Path:
        """Write it: two layers, random weights, a vocabulary learned from ``texts``; the same every time.

        Args:
            folder: Where to; what stood there is replaced.
            texts: What its tokenizer must be able to write.
            width: Of its embeddings, a multiple of 8.
            plain: As transformers saves a model, without pooling: the base of a cross-encoder.
        """
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

        folder = Path(folder)
        tokenizer = _TOKENIZERS[self.tokenizer](sorted(set(texts)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trunk = _trunk(self.architecture, tokenizer, width)
        with atomic_folder(folder) as temporary:
            trunk.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            if not plain:
                modules = [Transformer(str(temporary)), Pooling(width, self.pooling), Normalize()]
                model = SentenceTransformer(modules=modules, device="cpu", prompts=dict(self.prompts))
                model.save(str(temporary), create_model_card=False)
        return folder


def twin_of(base: str) -> Twin | None:
    """The twin of a base on the Hub, by its name; None for a base that is not known.

    Example:
        >>> twin_of("Qwen/Qwen3-Embedding-0.6B").architecture
        'Qwen3Model'
        >>> twin_of("my-org/own-model") is None
        True
    """
    return next((twin for pattern, twin in _KNOWN if re.fullmatch(pattern, base, re.IGNORECASE)), None)


_E5 = {"query": "query: ", "document": "passage: "}
_NOMIC = {"query": "search_query: ", "document": "search_document: "}
_KNOWN = (
    ("intfloat/multilingual-e5-small", Twin("BertModel", "mean", "unigram", _E5)),
    ("intfloat/multilingual-e5-(base|large)", Twin("XLMRobertaModel", "mean", "unigram", _E5)),
    (r"(FacebookAI/)?xlm-roberta-\w+", Twin("XLMRobertaModel", "mean", "unigram")),
    (r"BAAI/bge-m3", Twin("XLMRobertaModel", "cls", "unigram")),
    (r"nomic-ai/modernbert-embed-base", Twin("ModernBertModel", "mean", "byte-level", _NOMIC)),
    (r"(answerdotai/ModernBERT-\w+|Alibaba-NLP/gte-modernbert-base)", Twin("ModernBertModel", "cls", "byte-level")),
    (r"Qwen/Qwen3-(Embedding-)?[\d.]+B", Twin("Qwen3Model", "lasttoken", "qwen")),
)


def _trunk(architecture: str, tokenizer: Any, width: int) -> Any:
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 520, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if architecture == "Qwen3Model":
        sizes |= special | {"num_key_value_heads": 2, "head_dim": width // 4}
    elif architecture == "ModernBertModel":
        sizes |= {
            **special, "cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id,
            "local_attention": 16,
        }  # fmt: skip
    elif architecture == "XLMRobertaModel":
        sizes |= special
    config = getattr(transformers, architecture.replace("Model", "Config"))(**sizes)
    return getattr(transformers, architecture)(config)


def _unigram(texts: list[str]) -> Any:
    """XLM-R's kind: pieces with a log probability, of SentencePiece's form; here all words and characters."""
    from transformers import XLMRobertaTokenizer

    words = sorted({"▁" + word for text in texts for word in text.split()})
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()})
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    pieces += [(word, -6.0) for word in words if len(word) > 1] + [(letter, -9.0) for letter in letters]
    return XLMRobertaTokenizer(vocab=[*dict(pieces).items(), ("<mask>", 0.0)], model_max_length=512)


def _byte_level(texts: list[str]) -> Any:
    """ModernBERT's kind: byte-level BPE between [CLS] and [SEP]."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    marks = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer = _bpe(texts, marks)
    cls, sep = ((mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[cls, sep]
    )
    names = {f"{mark[1:-1].lower()}_token": mark for mark in marks}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=512, model_input_names=["input_ids", "attention_mask"], **names
    )


def _qwen(texts: list[str]) -> Any:
    """Qwen3-Embedding's kind: byte-level BPE with <|endoftext|> after each text, which is what is pooled."""
    import json

    from tokenizers import processors
    from transformers import Qwen2Tokenizer

    end = "<|endoftext|>"
    bpe = json.loads(_bpe(texts, [end]).to_str())["model"]
    merges: Any = [tuple(pair) if isinstance(pair, list) else pair for pair in bpe["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=bpe["vocab"], merges=merges, model_max_length=512)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, tokenizer.convert_tokens_to_ids(end))]
    )
    return tokenizer


def _bpe(texts: list[str], marks: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_PIECES, special_tokens=marks, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


_TOKENIZERS = {"unigram": _unigram, "byte-level": _byte_level, "qwen": _qwen}
