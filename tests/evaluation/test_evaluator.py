from __future__ import annotations

import csv

import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import GradedRetrievalEvaluator, evaluate_model


def test_same_numbers_as_evaluate_model(model, dataset) -> None:
    found = GradedRetrievalEvaluator(dataset, "test", ks=(5, 10))(model)
    report = evaluate_model(model, dataset, split="test", ks=(5, 10))
    expected = {
        f"test_{name}": interval.value
        for name, interval in report.metrics.items()
        if interval.n and "overlap" not in name
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_contract(model, dataset, tmp_path) -> None:
    from sentence_transformers.base.evaluation import BaseEvaluator

    evaluator = GradedRetrievalEvaluator(dataset, ks=(5, 10))
    assert isinstance(evaluator, BaseEvaluator)
    assert evaluator.greater_is_better is True
    assert evaluator.primary_metric == "dev_ndcg@10"  # before the first call
    metrics = evaluator(model, output_path=str(tmp_path / "eval"), epoch=1, steps=20)
    evaluator(model, output_path=str(tmp_path / "eval"), epoch=2, steps=40)
    assert evaluator.primary_metric == "dev_ndcg@10"
    assert metrics["dev_ndcg@10"] > 0
    assert all(isinstance(value, float) for value in metrics.values())
    with open(tmp_path / "eval" / "Graded-Retrieval_evaluation_dev_results.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["epoch"], row["steps"]) for row in rows] == [("1", "20"), ("2", "40")]
    assert float(rows[0]["ndcg@10"]) == metrics["dev_ndcg@10"]
    assert model.model_card_data.eval_results_dict[evaluator] == metrics
    config = evaluator.get_config_dict()
    assert config["n_items"] == 50
    assert config["corpus"] == "full catalogue"


def test_without_a_prefix(model, dataset) -> None:
    evaluator = GradedRetrievalEvaluator(dataset, name="", ks=(3,))
    assert evaluator.primary_metric == "ndcg@3"
    assert "ndcg@3" in evaluator(model)


def test_a_bounded_corpus_is_encoded_only_in_part(model, dataset, monkeypatch) -> None:
    evaluator = GradedRetrievalEvaluator(dataset, max_items=45)
    encoded: list[int] = []
    original = model.encode_document
    monkeypatch.setattr(model, "encode_document", lambda t, **kw: encoded.append(len(t)) or original(t, **kw))
    evaluator(model)
    assert sum(encoded) == 45
    assert evaluator.get_config_dict()["n_items"] == 45


def test_in_the_stock_trainer(tiny_base, dataset, tmp_path) -> None:
    """One step of the unmodified trainer, which chooses its best checkpoint by the evaluator's primary metric."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import CoSENTLoss

    model = SentenceTransformer(str(tiny_base), device="cpu")
    evaluator = GradedRetrievalEvaluator(dataset, ks=(10,))
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, eval_strategy="steps", eval_steps=1, save_steps=1, report_to="none",
        load_best_model_at_end=True, metric_for_best_model="eval_dev_ndcg@10", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    pairs = Dataset.from_dict({"a": ["red shoes"] * 8, "b": ["blue mug"] * 8, "score": [0.0, 1.0] * 4})
    trainer = SentenceTransformerTrainer(model, arguments, pairs, loss=CoSENTLoss(model), evaluator=evaluator)
    trainer.train()
    logged = [entry["eval_dev_ndcg@10"] for entry in trainer.state.log_history if "eval_dev_ndcg@10" in entry]
    assert len(logged) >= 2
    assert trainer.state.best_metric == max(logged)
    assert trainer.state.best_model_checkpoint is not None


def test_faults(dataset) -> None:
    with pytest.raises(UsageError, match="no split 'valid'"):
        GradedRetrievalEvaluator(dataset, "valid")
    with pytest.raises(UsageError, match="max_items must be 1 or more"):
        GradedRetrievalEvaluator(dataset, max_items=0)
