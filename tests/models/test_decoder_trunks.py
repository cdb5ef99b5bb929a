"""Decoders as trunks: last-token pooling, padding, chat templates, half-precision bases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from tiny_decoder import build_tiny_decoder

from mr_st.errors import UsageError
from mr_st.losses.embedding import embed_column
from mr_st.models import build_two_tower
from mr_st.models.trunk import is_decoder

TEXTS = ["mug", "red running shoes for men large", "desk lamp", "blue cotton shirt for women", "garden hose", "usb"]


def one_by_one(model: SentenceTransformer, texts: list[str] = TEXTS) -> np.ndarray:
    return np.concatenate([model.encode_document([text]) for text in texts])


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_a_plain_decoder_gets_last_token_pooling_and_a_pad_token(tiny_decoders: dict[str, Path], kind: str) -> None:
    model = build_two_tower(tiny_decoders[kind], 8, device="cpu")
    assert model[1].pooling_mode == "lasttoken"
    end = "<|endoftext|>" if kind == "qwen2" else "</s>"
    assert model.tokenizer.pad_token == end
    assert model.tokenizer.padding_side == "right"
    np.testing.assert_allclose(model.encode_document(TEXTS), one_by_one(model), atol=1e-5)
    features = model.preprocess([f"usb{end}", "red running shoes"])
    lengths = {"qwen2": (4, 17)}.get(kind, (2, 3))
    assert features["attention_mask"].sum(1).tolist() == list(lengths)  # the text's own end-of-text is no padding


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_padding_on_either_side_gives_the_embeddings_of_each_text_alone(
    tiny_decoders: dict[str, Path], kind: str, side: str
) -> None:
    model = build_two_tower(tiny_decoders[kind], device="cpu")
    alone = one_by_one(model)
    model.tokenizer.padding_side = side
    features = model.preprocess(TEXTS)
    assert bool((features["attention_mask"][:, 0] == 0).any()) == (side == "left")
    np.testing.assert_allclose(model.encode_document(TEXTS), alone, atol=1e-5)
    assert np.abs(alone - alone[0]).max() > 0.1


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_chunked_forwards_pool_the_last_token_too(tiny_decoders: dict[str, Path], rows: int, side: str) -> None:
    model = build_two_tower(tiny_decoders["llama"], device="cpu").eval()
    alone = one_by_one(model)
    model.tokenizer.padding_side = side
    features = {**model.preprocess(TEXTS), "task": "document"}
    with torch.no_grad():
        chunked = embed_column(model, features, rows)
    np.testing.assert_allclose(chunked.numpy(), alone, atol=1e-5)


def test_the_pooling_can_be_chosen(tiny_decoders: dict[str, Path], tiny_base: Path) -> None:
    mean = build_two_tower(tiny_decoders["llama"], pooling="mean", device="cpu")
    assert mean[1].pooling_mode == "mean"
    np.testing.assert_allclose(mean.encode_document(TEXTS), one_by_one(mean), atol=1e-5)
    last = build_two_tower(tiny_base, heads=None, pooling="lasttoken", device="cpu").eval()
    features = last.preprocess(["coffee mug", "desk"])
    hidden = last[0].model(features["input_ids"], attention_mask=features["attention_mask"]).last_hidden_state
    expected = torch.stack([hidden[0, 3], hidden[1, 2]])  # [CLS] coffee mug [SEP], [CLS] desk [SEP] [PAD]
    given = torch.as_tensor(last.encode_document(["coffee mug", "desk"]))
    torch.testing.assert_close(given, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5, rtol=0)


def test_which_models_are_decoders() -> None:
    decoders = [transformers.LlamaConfig, transformers.Qwen2Config, transformers.Qwen3Config, transformers.GPT2Config,
                transformers.MistralConfig]  # fmt: skip
    others = [transformers.BertConfig, transformers.XLMRobertaConfig, transformers.ModernBertConfig,
              transformers.T5Config, transformers.MPNetConfig]  # fmt: skip
    assert [is_decoder(kind()) for kind in decoders] == [True] * 5
    assert [is_decoder(kind()) for kind in others] == [False] * 5
    bidirectional = transformers.LlamaConfig()
    bidirectional.is_causal = False
    assert not is_decoder(bidirectional)


def test_the_tokenizers_end_of_text_embedding_is_still_trained_after_a_load(
    tiny_decoders: dict[str, Path], tmp_path: Path
) -> None:
    build_two_tower(tiny_decoders["llama"], device="cpu").save_pretrained(str(tmp_path), create_model_card=False)
    model = SentenceTransformer(str(tmp_path), device="cpu")
    assert model.tokenizer.pad_token == "</s>"
    weight = model[0].model.get_input_embeddings().weight
    features = {**model.preprocess(["mug </s>"]), "task": "query"}
    model(features)["sentence_embedding"][0, 0].backward()
    assert weight.grad[1].abs().max() > 0


def test_a_tokenizer_without_any_token_to_pad_with_is_refused(tmp_path: Path) -> None:
    build_tiny_decoder(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UsageError, match=r"neither a pad nor an end-of-text token.*set tokenizer.pad_token"):
        build_two_tower(tmp_path, device="cpu")


def test_an_own_pad_token_is_kept(tmp_path: Path) -> None:
    build_tiny_decoder(tmp_path, pad_token="<unk>")
    assert build_two_tower(tmp_path, device="cpu").tokenizer.pad_token == "<unk>"


def test_texts_are_embedded_without_the_chat_template(tiny_decoders: dict[str, Path], tmp_path: Path) -> None:
    template = "{% for message in messages %}chat user says {{ message['content'] }}{% endfor %}"
    build_tiny_decoder(tmp_path / "chat", chat_template=template)
    plain = build_two_tower(tiny_decoders["llama"], device="cpu", prompts={"query": "red "})
    chat = build_two_tower(tmp_path / "chat", device="cpu", prompts={"query": "red "})
    assert chat.preprocess(["desk lamp"])["input_ids"].shape == (1, 2)
    np.testing.assert_allclose(chat.encode_query(TEXTS), plain.encode_query(TEXTS), atol=1e-6)
    chat.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(loaded.encode_query(TEXTS), chat.encode_query(TEXTS), atol=1e-6)


def test_a_half_precision_base_is_trained_and_saved_in_float32(tmp_path: Path) -> None:
    model = build_two_tower(build_tiny_decoder(tmp_path / "base", dtype="bfloat16"), 8, device="cpu")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-6)
