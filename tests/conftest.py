"""Fixtures that every part's tests share. Nothing here needs the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# no deadlines: the machines are shared. CI runs the same examples each time; a developer's runs look for new ones.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(REPOSITORY / "tests" / "shared"))  # what the tests of several folders import

_CORPUS = """
red running shoes for men blue cotton shirt women wireless mouse usb keyboard black coffee mug steel kettle
office chair wooden desk lamp led light bulb kids toy car garden hose water pump printer ink cartridge paper
category clothing electronics home kitchen sports large small pack of set with and in on the a size
""".split()


def build_tiny_base(folder: Path, seed: int = 0, hidden: int = 32) -> Path:
    """A random two-layer BERT with a WordPiece vocabulary of its own, saved as a SentenceTransformer (< 1 MB)."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [str(d) for d in range(10)] + list(".,>-'&/")
    vocabulary = specials + letters + ["##" + x for x in letters] + sorted(set(_CORPUS) - set(letters))
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=2 * hidden, max_position_embeddings=64,
    )  # fmt: skip
    trunk = folder / "trunk"
    BertModel(config).save_pretrained(trunk)
    fast.save_pretrained(trunk)
    transformer = Transformer(str(trunk), max_seq_length=64)
    model = SentenceTransformer(modules=[transformer, Pooling(hidden, "mean"), Normalize()], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random SentenceTransformer (hidden size 32), with its own tokenizer."""
    return build_tiny_base(tmp_path_factory.mktemp("tiny_base"))


@pytest.fixture(scope="session")
def esci_folder() -> Path:
    """The real ESCI sample beside the checkout; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data" / "esci-us-sample"
    if not folder.is_dir():
        pytest.skip("the ESCI sample (../shared/data/esci-us-sample) is not on this machine")
    return folder


@pytest.fixture
def hub() -> Iterator[Any]:
    """A loopback Hub that wants the token ``loopback_hub.TOKEN`` for whatever is written."""
    from loopback_hub import TOKEN, loopback_hub

    with loopback_hub(TOKEN) as server:
        yield server
