from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from trainer_tools import entries, plain_trainer
from transformers import TrainerCallback

from mr_st.errors import MrStError
from mr_st.losses import GradedSupConLoss, MultiClassCircleLoss
from mr_st.models import build_two_tower
from mr_st.training import EvaluateEvenly, SaveLossParameters, TrainingProgress
from mr_st.training.loss_files import graded_losses
from mr_st.training.loss_log import _merge


def tower(tiny_base: Path) -> SentenceTransformer:
    torch.manual_seed(0)
    return build_two_tower(tiny_base, 8, device="cpu")


def test_the_log_shows_what_was_skipped_and_the_temperature(tiny_base: Path, tmp_path: Path, rows: list[dict]) -> None:
    one_grade = {"epoch": 0, "query": "red mug", "items": ["blue mug"], "labels": [1]}
    instances = Dataset.from_list([*[r for r in rows if r["epoch"] == 0][:7], one_grade])
    model = tower(tiny_base)
    trainer = plain_trainer(model, GradedSupConLoss(model), instances, tmp_path)
    trainer.train()
    logs = entries(trainer)
    assert [entry["instances"] for entry in logs] == [4] * 8
    assert sum(entry["skipped_instances"] for entry in logs) == 4  # once an epoch of two steps
    assert logs[-1]["temperature"] == pytest.approx(trainer.loss.temperature, abs=1e-6)


def test_the_terms_of_a_loss_add_up_to_it(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    trainer = plain_trainer(model, MultiClassCircleLoss(model), instances, tmp_path, logging_steps=2, max_steps=4)
    trainer.train()
    for entry in entries(trainer):
        terms = [entry[name] for name in ("circle_1_over_0", "circle_2_over_0", "circle_2_over_1")]
        assert all(term > 0 for term in terms)
        live = entry["instances"] - entry["skipped_instances"]
        assert sum(terms) * live / 2 == pytest.approx(entry["loss"], rel=1e-4)  # the loss is a step's sum


def test_two_losses_do_not_overwrite_one_another(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    circle = MultiClassCircleLoss(model)
    loss = {"shop": GradedSupConLoss(model), "esci": circle, "wands": circle}
    data = DatasetDict({name: instances.select(range(12)) for name in loss})
    trainer = plain_trainer(model, loss, data, tmp_path, max_steps=9, logging_steps=9)
    trainer.train()
    (entry,) = entries(trainer)
    assert entry["shop_instances"] == 12
    assert entry["esci+wands_instances"] == 24  # they share one loss, and so its counts
    assert entry["esci+wands_circle_2_over_0"] > 0
    assert entry["shop_temperature"] == pytest.approx(loss["shop"].temperature, abs=1e-6)
    assert "temperature" not in entry
    assert "instances" not in entry


def test_graded_losses_are_found_inside_wrappers(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    inner = MultiClassCircleLoss(model)
    loss = MatryoshkaLoss(model, inner, [8, 4])
    assert graded_losses(loss) == {"": inner}
    two = torch.nn.ModuleList([inner, GradedSupConLoss(model)])
    assert list(graded_losses(two)) == ["0", "1"]
    assert list(graded_losses({"shop": two, "esci": loss})) == ["shop.0+esci", "shop.1"]
    trainer = plain_trainer(model, loss, instances, tmp_path, max_steps=1)
    trainer.train()
    assert entries(trainer)[0]["circle_2_over_1"] > 0


def test_batches_of_an_evaluation_are_logged_apart(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    held_out = instances.select(range(6))
    options = {"eval_strategy": "steps", "eval_steps": 2, "logging_steps": 3, "max_steps": 6}
    trainer = plain_trainer(model, MultiClassCircleLoss(model), instances, tmp_path, eval_dataset=held_out, **options)
    trainer.train()
    assert [(e["step"], e["instances"]) for e in entries(trainer)] == [(3, 12), (6, 12)]
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert [(e["step"], e["eval_instances"]) for e in evaluations] == [(2, 6), (4, 6), (6, 6)]
    assert all(entry["eval_circle_2_over_0"] > 0 for entry in evaluations)


def test_counts_add_up_and_means_are_weighted() -> None:
    first = {"": {"instances": 4, "skipped_instances": 1, "a": 2.0}}
    second = {"": {"instances": 1, "skipped_instances": 0, "a": 6.0, "b": 4.0}, "x": {"instances": 1}}
    merged = _merge([{}, first, second])
    assert merged == {"": {"instances": 5, "skipped_instances": 1, "a": 3.0, "b": 1.0}, "x": {"instances": 1}}
    nothing = {"": {"instances": 2, "skipped_instances": 2}}
    assert _merge([nothing, nothing]) == {"": {"instances": 4, "skipped_instances": 4}}


def test_a_reporter_sees_the_entries_once_the_callback_stands_first(
    tiny_base: Path, tmp_path: Path, instances: Dataset
) -> None:
    seen: list[dict] = []

    class Reporter(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs) -> None:
            seen.append(dict(logs))

    model = tower(tiny_base)
    trainer = plain_trainer(model, GradedSupConLoss(model), instances, tmp_path, max_steps=1)
    trainer.callback_handler.callbacks.insert(0, Reporter())
    trainer.callback_handler.callbacks.insert(0, trainer.pop_callback(SaveLossParameters))
    trainer.train()
    assert "temperature" in seen[0]


def test_evaluations_are_spread_evenly() -> None:
    assert EvaluateEvenly(1).steps(7) == [7]
    assert EvaluateEvenly(3).steps(9) == [3, 6, 9]
    assert EvaluateEvenly(5).steps(3) == [1, 2, 3]
    assert EvaluateEvenly(4).steps(103) == [26, 52, 78, 103]


def test_a_diverged_run_is_stopped() -> None:
    args = SimpleNamespace(metric_for_best_model=None)
    state = SimpleNamespace(global_step=5, best_metric=None, is_world_process_zero=True)
    with pytest.raises(MrStError, match="step 5: training diverged"):
        TrainingProgress(False).on_log(args, state, None, logs={"loss": math.nan})
    TrainingProgress(False).on_log(args, state, None, logs={"loss": 1.0})


def test_the_bar_is_drawn_only_when_asked_for(capsys: pytest.CaptureFixture) -> None:
    args = SimpleNamespace(metric_for_best_model="dev_margin")
    state = SimpleNamespace(global_step=0, max_steps=4, best_metric=0.5, is_world_process_zero=True)
    for is_shown in (False, True):
        bar = TrainingProgress(is_shown, "stage 1")
        bar.on_train_begin(args, state, None)
        bar.on_log(args, state, None, logs={"eval_dev_margin": 0.25})
        bar.on_step_end(args, SimpleNamespace(**{**vars(state), "global_step": 4}), None)
        bar.on_train_end(args, state, None)
        shown = capsys.readouterr().err
        assert ("stage 1" in shown) == is_shown
    assert "dev=0.25" in shown
    assert "best=0.5" in shown
    assert "4/4" in shown
