from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

from mr_st.encoding import encode
from mr_st.errors import UsageError
from mr_st.losses import GradedSupConLoss
from mr_st.models import build_two_tower, matryoshka_dims, truncate_tower
from mr_st.models.matryoshka import check_widths

TEXTS = ["red running shoes for men", "coffee mug", "wireless mouse with usb", "wooden desk lamp", "garden hose"]


def moved(model: SentenceTransformer) -> SentenceTransformer:
    """The model with other weights, so that its two sides differ."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
def test_the_widths_are_saved_with_the_model(tiny_base: Path, tmp_path: Path, architecture) -> None:
    model = build_two_tower(tiny_base, 16, architecture, matryoshka_dims=[4, 8], device="cpu")
    assert matryoshka_dims(model) == (16, 8, 4)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    configs = [json.loads(path.read_text()) for path in tmp_path.rglob("config.json")]
    assert sum(c.get("matryoshka_dimensions") == [16, 8, 4] for c in configs) == (
        2 if architecture != "siamese" else 1
    )
    assert matryoshka_dims(SentenceTransformer(str(tmp_path), device="cpu")) == (16, 8, 4)
    assert matryoshka_dims(SentenceTransformer(str(tmp_path), device="cpu", truncate_dim=8)) == (8, 4)


def test_a_base_with_widths_of_its_own_does_not_pass_them_on(tiny_base: Path, tmp_path: Path) -> None:
    build_two_tower(tiny_base, heads=None, matryoshka_dims=[4], device="cpu").save_pretrained(
        str(tmp_path), create_model_card=False
    )
    assert matryoshka_dims(build_two_tower(tmp_path, device="cpu")) == ()
    assert matryoshka_dims(build_two_tower(tmp_path, 16, matryoshka_dims=[8], device="cpu")) == (16, 8)


def test_wrong_widths_are_refused(tiny_base: Path) -> None:
    for dims, message in [
        ([0], "has 0"),
        ([33], "has 33"),
        ([2.5], "has 2.5"),
        ([], r"is \[\]"),
        ([8, 8], "different"),
    ]:
        with pytest.raises(UsageError, match=message):
            build_two_tower(tiny_base, matryoshka_dims=dims, device="cpu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="width, 8"):
        build_two_tower(tiny_base, 8, matryoshka_dims=[16], device="cpu")


@given(st.integers(1, 64).flatmap(lambda w: st.tuples(st.just(w), st.sets(st.integers(1, w), min_size=1))))
def test_widths_fall_strictly_from_the_full_one(case: tuple[int, set[int]]) -> None:
    width, dims = case
    found = check_widths(dims, width)
    assert found[0] == width
    assert set(found) == dims | {width}
    assert all(a > b for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
def test_truncate_dim_gives_what_was_trained(tiny_base: Path, tmp_path: Path, architecture) -> None:
    """The loss that MatryoshkaLoss sees at width 4 is that of the vectors which truncate_dim=4 gives."""
    model = moved(build_two_tower(tiny_base, 16, architecture, matryoshka_dims=[4], device="cpu")).eval()
    features = [{**model.preprocess(TEXTS, task=side), "task": side} for side in ("query", "document")]
    labels = torch.tensor([[0, 0, 2], [0, 1, 0], [1, 1, 2], [1, 2, 0], [2, 3, 1], [2, 2, 2], [3, 4, 0], [3, 3, 1]])
    trained = MatryoshkaLoss(model, GradedSupConLoss(model), [4])(features, labels).item()
    model.save_pretrained(str(tmp_path), create_model_card=False)
    short = SentenceTransformer(str(tmp_path), device="cpu", truncate_dim=4)
    query, item = short.encode_query(TEXTS), short.encode_document(TEXTS)
    assert query.shape == item.shape == (5, 4)
    loss = GradedSupConLoss(None).compute_loss_from_embeddings([torch.as_tensor(query), torch.as_tensor(item)], labels)
    assert loss.item() == pytest.approx(trained, rel=1e-5)
    unit = (
        short.encode_query(TEXTS, normalize_embeddings=True),
        short.encode_document(TEXTS, normalize_embeddings=True),
    )
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(short.similarity(query, item).numpy(), unit[0] @ unit[1].T, atol=1e-6)
    np.testing.assert_allclose(encode(short, TEXTS, "query"), unit[0], atol=1e-6)  # what mining and evaluation read


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
@pytest.mark.parametrize("heads", ["separate", "shared", None])
def test_a_cut_tower_is_plain_and_of_length_1(tiny_base: Path, tmp_path: Path, architecture, heads) -> None:
    dim = None if heads is None else 16
    model = moved(build_two_tower(tiny_base, dim, architecture, heads, matryoshka_dims=[8, 4], device="cpu"))
    n_before = sum(p.numel() for p in model.parameters())
    whole = np.stack([model.encode_query(TEXTS), model.encode_document(TEXTS)])
    assert truncate_tower(model, 8) is model
    expected = whole[..., :8] / np.linalg.norm(whole[..., :8], axis=-1, keepdims=True)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    for cut in (model, SentenceTransformer(str(tmp_path), device="cpu")):
        np.testing.assert_allclose(
            np.stack([cut.encode_query(TEXTS), cut.encode_document(TEXTS)]), expected, atol=1e-6
        )
        assert cut.get_embedding_dimension() == 8
        assert matryoshka_dims(cut) == (8, 4)
    if heads is not None:
        assert sum(p.numel() for p in model.parameters()) < n_before
    assert matryoshka_dims(truncate_tower(model, 4)) == ()
    again = whole[..., :4] / np.linalg.norm(whole[..., :4], axis=-1, keepdims=True)
    np.testing.assert_allclose(model.encode_query(TEXTS), again[0], atol=1e-6)


def test_cutting_what_cannot_be_cut(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, device="cpu")
    assert truncate_tower(model, 8) is model
    for dim in (0, 9):
        with pytest.raises(UsageError, match="1 to the model's width, 8"):
            truncate_tower(model, dim)
    with pytest.raises(UsageError, match="ends in Normalize"):
        truncate_tower(SentenceTransformer(modules=list(model.children())[:-1], device="cpu"), 4)
