from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

from mr_st.errors import MrStError
from mr_st.losses import GradedSupConLoss, MultiClassCircleLoss
from mr_st.models import build_two_tower
from mr_st.training import EpochBatchSampler, EvaluateEvenly, GradedCollator, SaveLossParameters, TrainingProgress
from mr_st.training.callbacks import load_loss_parameters, loss_parameters, save_loss_parameters


def trainer_of(tiny_base: Path, out: Path, instances: Dataset, **options) -> SentenceTransformerTrainer:
    torch.manual_seed(0)
    model = build_two_tower(tiny_base, 8, device="cpu")
    loss = GradedSupConLoss(model)
    args = SentenceTransformerTrainingArguments(
        str(out), per_device_train_batch_size=4, max_steps=8, save_steps=3, save_strategy="steps", learning_rate=1e-3,
        batch_sampler=EpochBatchSampler, report_to="none", use_cpu=True, disable_tqdm=True, logging_steps=1, seed=3,
        **{"learning_rate_mapping": {"log_tau": 0.05}, "weight_decay": 0.5} | options,
    )  # fmt: skip
    return SentenceTransformerTrainer(
        model=model, args=args, train_dataset=instances, loss=loss, callbacks=[SaveLossParameters(loss)],
        data_collator=GradedCollator.from_trainer_args(model, args),
    )  # fmt: skip


def test_only_the_losss_own_parameters_are_found(tiny_base: Path) -> None:
    model = build_two_tower(tiny_base, 8, device="cpu")
    assert list(loss_parameters(GradedSupConLoss(model))) == ["log_tau"]
    assert list(loss_parameters(MultiClassCircleLoss(model))) == []
    assert list(loss_parameters(MatryoshkaLoss(model, GradedSupConLoss(model), [8, 4]))) == ["loss.log_tau"]
    both = {"one": GradedSupConLoss(model), "two": MultiClassCircleLoss(model)}
    assert list(loss_parameters(both)) == ["one.log_tau"]


def test_saved_and_loaded_exactly(tmp_path: Path) -> None:
    loss, other = GradedSupConLoss(None), GradedSupConLoss(None, temperature=0.5)
    with torch.no_grad():
        loss.log_tau.fill_(-1 / 3)
    save_loss_parameters(loss, tmp_path)
    load_loss_parameters(other, tmp_path)
    assert torch.equal(loss.log_tau, other.log_tau)
    load_loss_parameters(other, {"log_tau": loss.log_tau.item() * 2})
    assert other.log_tau.item() == loss.log_tau.item() * 2
    with pytest.raises(MrStError, match="use the same loss"):
        load_loss_parameters(MultiClassCircleLoss(None), tmp_path)
    with pytest.raises(MrStError, match="missing"):
        load_loss_parameters(other, tmp_path / "elsewhere")
    load_loss_parameters(MultiClassCircleLoss(None), tmp_path / "elsewhere")  # it has none to lose


def test_tau_survives_save_and_resume_exactly(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    whole = trainer_of(tiny_base, tmp_path / "a", instances)
    whole.train()
    assert abs(whole.loss.temperature - 0.05) > 1e-3  # it was learned, at its own rate
    stopped = trainer_of(tiny_base, tmp_path / "c", instances)
    stopped.add_callback(StopAt(6))
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    again = trainer_of(tiny_base, tmp_path / "c", instances)
    assert again.loss.temperature == pytest.approx(0.05)
    again.train(resume_from_checkpoint=True)
    assert again.loss.log_tau.item() == whole.loss.log_tau.item()
    for a, b in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


class StopAt(SaveLossParameters):
    """Breaks after a step, as a kill would: what was saved stays."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_begin(self, *args, **kwargs) -> None: ...
    def on_log(self, *args, **kwargs) -> None: ...
    def on_train_end(self, *args, **kwargs) -> None: ...

    def on_save(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_no_weight_decay_on_tau(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    trainer = trainer_of(tiny_base, tmp_path, instances)
    trainer.train()
    groups = {id(p): group for group in trainer.optimizer.param_groups for p in group["params"]}
    assert groups[id(trainer.loss.log_tau)]["weight_decay"] == 0
    assert groups[id(trainer.model[2].sub_modules["query"][0].linear.weight)]["weight_decay"] == 0.5


def test_a_shared_optimizer_group_is_refused(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    with pytest.raises(MrStError, match="learning_rate_mapping"):
        trainer_of(tiny_base, tmp_path, instances, learning_rate_mapping={}).train()


def test_the_log_and_the_card_show_the_learned_temperature(tiny_base: Path, tmp_path: Path, rows: list[dict]) -> None:
    one_grade = {"epoch": 0, "query": "red mug", "items": ["blue mug"], "labels": [1]}
    instances = Dataset.from_list([*[r for r in rows if r["epoch"] == 0][:7], one_grade])
    trainer = trainer_of(tiny_base, tmp_path, instances)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["instances"] for entry in logs] == [4] * 8
    assert sum(entry["skipped_instances"] for entry in logs) == 4  # once an epoch of two steps
    assert logs[-1]["temperature"] == pytest.approx(trainer.loss.temperature, abs=1e-6)
    code = trainer.model.model_card_data.train_datasets[0]["loss"]["config_code"]
    assert str(trainer.loss.get_config_dict()["temperature"]) in code


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
