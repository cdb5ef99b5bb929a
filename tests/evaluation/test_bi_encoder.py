from __future__ import annotations

import numpy as np
import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import (
    BiEncoder,
    Collection,
    GradedRetrievalEvaluator,
    evaluate_model,
    evaluate_system,
    evaluation_key,
)
from mr_st.evaluation.vector_memory import VectorMemory


class Counting:
    """A model whose texts are counted; a vector tells the text's length and side."""

    def __init__(self):
        self.asked: dict[str, list[str]] = {"query": [], "item": []}

    def encode_query(self, texts, **options):
        return self._encode(texts, "query", 1.0)

    def encode_document(self, texts, **options):
        return self._encode(texts, "item", -1.0)

    def _encode(self, texts, side, sign):
        self.asked[side] += texts
        rng = [np.random.default_rng(list(text.encode())).standard_normal(8) for text in texts]
        return np.array(rng, dtype=np.float32) * sign


def test_tasks_twins_and_both_calls_of_an_evaluation_share_each_vector(dataset) -> None:
    model = Counting()
    system = BiEncoder(model, "test/counting", "1")  # type: ignore[arg-type]
    full, pool = Collection.from_dataset(dataset), Collection.from_dataset(dataset, judged_pool=True)
    other = Collection.from_dataset(dataset, item_text_levels=0)
    first = evaluate_system(system, full, ks=(5,))
    assert sorted(model.asked["item"]) == sorted(full.item_texts)
    assert sorted(model.asked["query"]) == sorted(full.query_texts)
    evaluate_system(system, pool, ks=(5,))
    again = evaluate_system(system, full, ks=(5,))
    assert len(model.asked["item"]) == len(full.item_texts)
    assert first.per_query.equals(again.per_query)
    evaluate_system(system, other, ks=(5,))  # another text of the same items is another text
    assert sorted(model.asked["item"]) == sorted(full.item_texts + other.item_texts)


def test_the_speed_is_of_the_items_that_were_really_encoded(tmp_path, model) -> None:
    items = [f"item {number}" for number in range(300)]
    first, again = (BiEncoder(model, "test/model", "1", store=tmp_path) for _ in range(2))
    assert "texts_per_second" not in first.facts
    first.vectors(items, "query")
    first.vectors(["one", "two"], "item")
    assert "texts_per_second" not in first.facts  # too few to tell
    first.vectors(items, "item")
    assert first.facts["texts_per_second"] > 0
    assert "cpu" in first.facts["hardware"]
    again.vectors(items, "item")  # out of the store
    assert "texts_per_second" not in again.facts


def test_a_text_of_the_other_side_is_another_vector() -> None:
    model = Counting()
    system = BiEncoder(model, "test/counting", "1")  # type: ignore[arg-type]
    query, item = system.vectors(["mug"], "query"), system.vectors(["mug"], "item")
    np.testing.assert_array_equal(query, -item)


def test_a_model_that_was_changed_is_refused(tiny_base) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_base), device="cpu")
    system = BiEncoder(model, "test/tiny")
    before = system.vectors(["red mug"], "query")
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    with pytest.raises(UsageError, match="the model was changed since"):
        system.vectors(["red mug"], "query")
    now = BiEncoder(model, "test/tiny")
    assert now.revision != system.revision
    assert not np.array_equal(now.vectors(["red mug"], "query"), before)
    model.prompts = {"query": "find: "}
    with pytest.raises(UsageError, match="the model was changed since"):
        now.vectors(["red mug"], "query")


def test_memory_is_bounded_and_changes_no_vector() -> None:
    calls: list[int] = []

    def encode(texts, side):
        calls.append(len(texts))
        return np.array([[len(text), side == "item"] for text in texts], dtype=np.float32).reshape(-1, 2)

    small = VectorMemory(encode, memory=3 * 8)
    a, b = ["a", "bb", "a"], ["bb", "ccc", "dddd"]
    assert small.vectors(a, "item")[:, 0].tolist() == [1, 2, 1]
    assert small.vectors(["bb"], "item")[:, 0].tolist() == [2]
    assert calls == [2]
    assert small.vectors(b, "item")[:, 0].tolist() == [2, 3, 4]  # four would be too many: what was held is forgotten
    assert calls == [2, 3]
    assert small.vectors(["a"] * 9 + ["x", "yy", "zzz", "zzzz"], "item")[:, 0].tolist() == [*[1] * 9, 1, 2, 3, 4]
    assert small.vectors(["a"], "item")[:, 0].tolist() == [1]  # the request was too large to be held
    assert calls == [2, 3, 5, 1]
    assert small.vectors([], "query").shape == (0, 2)
    with pytest.raises(ValueError, match="read-only"):
        small.vectors(["a"], "item")[0, 0] = 7


def test_the_key_holds_all_that_decides_the_figures(dataset, model, other_model) -> None:
    def key(system=model, ks=(5,), seed=0, n_resamples=100, name="test/tiny", **options) -> str:
        collection = Collection.from_dataset(dataset, **options)
        made = system if isinstance(system, BiEncoder) else BiEncoder(system, name)
        return evaluation_key(made, collection, ks=ks, seed=seed, n_resamples=n_resamples)

    same = key()
    assert key(name="other/name") == key(ks=[5, 5]) == same
    prompted = BiEncoder(model, "test/tiny", "given")
    prompted.settings = {**prompted.settings, "prompts": {"query": "find: ", "item": ""}}
    others = [
        key(other_model), key(ks=(5, 10)), key(seed=1), key(n_resamples=200), key(split="dev"),
        key(judged_pool=True), key(max_items=45), key(gains=(0, 1, 3)),
        key(item_text_levels=0), key(max_chars=10), key(BiEncoder(model, "test/tiny", "given")), key(prompted),
    ]  # fmt: skip
    assert len({same, *others}) == 1 + len(others)
    report = evaluate_model(model, dataset, ks=(5,), n_resamples=100)
    assert report.protocol["key"] == same


def test_gains_change_ndcg_alone(dataset, model) -> None:
    linear = evaluate_model(model, dataset, ks=(5,), n_resamples=50)
    steep = evaluate_model(model, dataset, ks=(5,), gains=(0, 1, 3), n_resamples=50)
    assert steep.protocol["gains"] == [0, 1, 3]
    assert steep["ndcg@5"].value != linear["ndcg@5"].value
    for name in ("recall@5", "map@5", "mrr@5/2", "judged@5"):
        assert steep[name] == linear[name]
    while_training = GradedRetrievalEvaluator(dataset, "test", ks=(5,), gains=(0, 1, 3))(model)
    assert while_training["test_ndcg@5"] == pytest.approx(steep["ndcg@5"].value)
    with pytest.raises(UsageError, match="do not fit the grades"):
        evaluate_model(model, dataset, gains=(0, 1))
