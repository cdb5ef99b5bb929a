"""A learned temperature: its own rate, no weight decay, clamped, in the checkpoints, on the card, in loss.json."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import stage_tools
import torch
import trainer_tools
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from trainer_tools import arguments, entries, plain_trainer
from transformers import TrainerCallback

from mr_st.errors import MrStError, UsageError
from mr_st.losses import LOSSES, GradedLoss, GradedSupConLoss, MultiClassCircleLoss
from mr_st.losses.temperature import TemperatureMixin
from mr_st.models import build_two_tower
from mr_st.training import SaveLossParameters, StageConfig, load_loss, save_loss, train_stage
from mr_st.training.loss_files import (
    load_loss_parameters,
    loss_parameters,
    save_loss_parameters,
)

LEARNED = {name: loss for name, loss in LOSSES.items() if issubclass(loss, TemperatureMixin)}


def tower(tiny_base: Path) -> SentenceTransformer:
    torch.manual_seed(0)
    return build_two_tower(tiny_base, 8, device="cpu")


class StopAt(TrainerCallback):
    """Breaks after a step was saved, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def temperatures_in(card: str) -> list[float]:
    return [float(value) for value in re.findall(r'"temperature": ([0-9.e-]+)', card)]


def group_of(trainer, parameter) -> dict:
    return next(g for g in trainer.optimizer.param_groups if any(p is parameter for p in g["params"]))


def test_only_the_losss_own_parameters_are_found(tiny_base: Path) -> None:
    model = tower(tiny_base)
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


@pytest.mark.parametrize("make", LEARNED.values(), ids=LEARNED.keys())
def test_a_rate_of_its_own_and_no_decay_without_a_word_in_the_arguments(
    tiny_base: Path, tmp_path: Path, instances: Dataset, make: type[GradedLoss]
) -> None:
    model = tower(tiny_base)
    loss = make(model, learn_temperature=True)
    trainer = plain_trainer(model, loss, instances, tmp_path, weight_decay=0.5, lr_scheduler_type="constant")
    trainer.train()
    own = group_of(trainer, loss.log_tau)
    assert (own["weight_decay"], own["lr"], len(own["params"])) == (0, 5e-3, 1)
    of_head = group_of(trainer, trainer.model[2].sub_modules["query"][0].linear.weight)
    assert (of_head["weight_decay"], of_head["lr"]) == (0.5, 1e-3)
    assert trainer.args.learning_rate_mapping == {}  # as it was given: the next loss may have no temperature
    logged = [entry["temperature"] for entry in entries(trainer)]
    steps = [math.log(after / before) for before, after in pairwise(logged)]
    assert max(map(abs, steps)) == pytest.approx(5e-3, rel=0.5)  # Adam's steps are about the rate


def test_a_given_rate_stays_and_its_group_loses_its_decay(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    loss = MatryoshkaLoss(model, GradedSupConLoss(model), [8, 4])
    given = {"log_tau": 0.05}
    trainer = plain_trainer(
        model, loss, instances, tmp_path, weight_decay=0.5, lr_scheduler_type="constant", learning_rate_mapping=given
    )
    trainer.train()
    own = group_of(trainer, loss.loss.log_tau)
    assert (own["weight_decay"], own["lr"]) == (0, 0.05)
    assert trainer.args.learning_rate_mapping == given


def test_a_fixed_temperature_and_a_loss_without_one_need_no_group(
    tiny_base: Path, tmp_path: Path, instances: Dataset
) -> None:
    for number, make in enumerate([MultiClassCircleLoss, lambda m: GradedSupConLoss(m, learn_temperature=False)]):
        model = tower(tiny_base)
        trainer = plain_trainer(model, make(model), instances, tmp_path / str(number), max_steps=1)
        trainer.train()
        assert len(trainer.optimizer.param_groups) == 2
    assert entries(trainer)[-1]["temperature"] == 0.05


def test_a_shared_optimizer_group_is_refused(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    everything = {".": 1e-3}  # a pattern that matches all: tau shares its group, and its decay
    trainer = plain_trainer(
        model, GradedSupConLoss(model), instances, tmp_path, weight_decay=0.5, learning_rate_mapping=everything
    )
    with pytest.raises(MrStError, match=r'learning_rate_mapping=\{"log_tau": 0.005\}'):
        trainer.train()


def test_an_optimizer_without_the_temperature_is_named(
    tiny_base: Path, tmp_path: Path, instances: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    model = tower(tiny_base)
    trainer = plain_trainer(model, GradedSupConLoss(model), instances, tmp_path, max_steps=1)
    trainer.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    trainer.train()
    assert "log_tau: not in the optimizer" in caplog.text


def test_clamped_at_the_end_of_its_range(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    loss = GradedSupConLoss(model, temperature_range=(0.0499, 0.0501))
    trainer = plain_trainer(model, loss, instances, tmp_path, learning_rate_mapping={"log_tau": 0.5})
    trainer.train()
    logged = [entry["temperature"] for entry in entries(trainer)]
    assert set(logged) <= {0.0499, 0.0501}
    save_loss(loss, tmp_path)
    assert load_loss(tmp_path, None).temperature == pytest.approx(logged[-1], rel=1e-6)


@pytest.mark.parametrize("steps", [(3,), (3, 6)])
def test_it_survives_save_and_resume_exactly(
    tiny_base: Path, tmp_path: Path, instances: Dataset, steps: tuple[int, ...]
) -> None:
    def make(folder: str, *callbacks):
        model = tower(tiny_base)
        return plain_trainer(model, GradedSupConLoss(model), instances, tmp_path / folder, *callbacks)

    whole = make("whole")
    whole.train()
    assert abs(whole.loss.temperature - 0.05) > 1e-4  # it was learned
    for turn, step in enumerate(steps):
        stopped = make("cut", StopAt(step))
        with pytest.raises(KeyboardInterrupt):
            stopped.train(resume_from_checkpoint=turn > 0)
    again = make("cut")
    again.train(resume_from_checkpoint=True)
    assert again.loss.log_tau.item() == whole.loss.log_tau.item()
    assert [e["loss"] for e in entries(again)] == [e["loss"] for e in entries(whole)]
    for a, b in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_resuming_from_another_folder_is_refused(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    def make(folder: str, **options):
        model = tower(tiny_base)
        return plain_trainer(model, GradedSupConLoss(model), instances, tmp_path / folder, **options)

    make("first", max_steps=3).train()
    make("second", max_steps=3, seed=9).train()
    elsewhere = str(tmp_path / "first" / "checkpoint-3")
    with pytest.raises(MrStError, match="set output_dir to the folder that holds it"):
        make("third").train(resume_from_checkpoint=elsewhere)
    with pytest.raises(MrStError, match="not the checkpoint that training resumes from"):
        make("second").train(resume_from_checkpoint=elsewhere)  # its own checkpoint-3 is another run's
    make("first").train(resume_from_checkpoint=elsewhere)


def test_the_card_of_every_form_of_loss_shows_the_learned_value(
    tiny_base: Path, tmp_path: Path, instances: Dataset
) -> None:
    model = tower(tiny_base)
    loss = {
        "shop": GradedSupConLoss(model),
        "small": MatryoshkaLoss(model, GradedSupConLoss(model), [8, 4]),
        "plain": MultipleNegativesRankingLoss(model),
    }
    pairs = Dataset.from_list([{"anchor": r["query"], "positive": r["items"][0]} for r in instances])
    data = DatasetDict(shop=instances, small=instances.select(range(20)), plain=pairs)
    trainer = plain_trainer(
        model, loss, data, tmp_path, max_steps=12, save_steps=12,
        router_mapping={"query": "query", "items": "document", "anchor": "query", "positive": "document"},
    )  # fmt: skip
    trainer.train()
    shown = {entry["name"]: entry["loss"]["config_code"] for entry in model.model_card_data.train_datasets}
    temperatures = {name: entries(trainer)[-1][f"{name}_temperature"] for name in ("shop", "small")}
    assert len({0.05, *temperatures.values()}) == 3
    for name, temperature in temperatures.items():
        assert temperatures_in(shown[name]) == pytest.approx([temperature], abs=1e-6)
    assert '"matryoshka_dims"' in shown["small"]
    assert "temperature" not in shown["plain"]
    assert "similarity_fct" in shown["plain"]
    card = (tmp_path / "checkpoint-12" / "README.md").read_text()
    assert temperatures_in(card) == pytest.approx(list(temperatures.values()), abs=1e-6)


def test_loss_json_stands_beside_the_model_and_builds_the_loss_anew(
    tiny_base: Path, tmp_path: Path, rows: list[dict]
) -> None:
    config = StageConfig(loss_options={"positives": "absolute"}, max_steps=4, queries_per_batch=4, evaluations=1)
    result = train_stage(tower(tiny_base), Dataset.from_list(rows), config, tmp_path, show_progress=False)
    model = SentenceTransformer(str(result.model_dir), device="cpu")
    loss = load_loss(result.model_dir, model)
    assert isinstance(loss, GradedSupConLoss)
    assert loss.model is model
    assert loss.positives == "absolute"
    assert loss.log_tau.item() == result.loss_state["log_tau"]  # exact
    assert loss.log_tau.item() != pytest.approx(math.log(0.05), abs=1e-4)
    written = json.loads((result.model_dir / "loss.json").read_text())
    assert written["loss"]["temperature"] == result.loss_config["temperature"]
    assert written["loss"]["class"] == "GradedSupConLoss"
    assert written["mr_st_version"]


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
def test_every_loss_is_built_anew_as_it_was(tiny_base: Path, tmp_path: Path, make: type[GradedLoss]) -> None:
    model = tower(tiny_base)
    loss = make(model, reduction="mean", mini_batch_size=7, **make.options_for(4))
    with torch.no_grad():
        for parameter in loss_parameters(loss).values():
            parameter.sub_(1 / 3)
    save_loss(loss, tmp_path)
    again = load_loss(tmp_path / "loss.json", model)
    assert type(again) is type(loss)
    assert again.get_config_dict() == loss.get_config_dict()
    assert again.reduction == "mean"
    for name, parameter in loss_parameters(loss).items():
        assert torch.equal(loss_parameters(again)[name], parameter)


def test_wrappers_and_dicts_are_built_anew(tiny_base: Path, tmp_path: Path) -> None:
    model = tower(tiny_base)
    losses = {
        "shop": GradedSupConLoss(model, temperature=0.07),
        "small": MatryoshkaLoss(model, MultiClassCircleLoss(model, gamma=9), [8, 4], [1, 0.5]),
    }
    save_loss(losses, tmp_path)
    again = load_loss(tmp_path, model)
    assert again.keys() == losses.keys()
    assert again["shop"].temperature == pytest.approx(0.07)
    assert again["small"].matryoshka_weights == (1, 0.5)
    assert again["small"].loss.gamma == 9
    assert load_loss(tmp_path, model, "shop").log_tau.item() == losses["shop"].log_tau.item()
    with pytest.raises(UsageError, match="no loss for dataset 'store'; it has shop, small"):
        load_loss(tmp_path, model, "store")
    save_loss({"shop": losses["shop"], "pairs": MultipleNegativesRankingLoss(model)}, tmp_path)
    with pytest.raises(MrStError, match="cannot build 'MultipleNegativesRankingLoss'"):
        load_loss(tmp_path, model)
    assert load_loss(tmp_path, model, "shop").temperature == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a loss"),
        ('{"loss": {"class": "GradedSupConLoss"}}', "expected a loss"),
        ('{"loss": {"class": "os.system"}, "parameters": {}}', "cannot build 'os.system'"),
        ('{"loss": {"class": "GradedSupConLoss", "gamma": 3}, "parameters": {}}', "another version"),
        ('{"loss": {"class": "GradedSupConLoss"}, "parameters": {}}', "use the same loss"),
        ('{"loss": {"class": "GradedSupConLoss", "positives": "all"}, "parameters": {}}', "positives is 'all'"),
    ],
)
def test_a_broken_loss_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "loss.json").write_text(text)
    with pytest.raises(MrStError, match=message):
        load_loss(tmp_path, None)


def test_no_loss_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MrStError, match=r"loss\.json: no such file"):
        load_loss(tmp_path, None)


def test_a_callback_added_too_late_says_so(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    model = tower(tiny_base)
    loss = GradedSupConLoss(model)
    trainer = plain_trainer(model, loss, instances, tmp_path, weight_decay=0.5)
    trainer.pop_callback(SaveLossParameters)
    trainer.args.learning_rate_mapping = {}
    trainer.add_callback(SaveLossParameters(loss))
    with pytest.raises(MrStError, match="to the trainer's constructor"):
        trainer.train()


def kill_9_and_finish(tool: str, base: Path, out: Path) -> None:
    """Run a child, kill it as soon as new checkpoints have been begun, twice; then let it finish."""
    command = [sys.executable, tool, str(base), str(out), "0.2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    for wanted in (1, 2):
        before = {p.name for p in out.rglob("checkpoint-*")}
        child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun: set[str] = set()
        deadline = time.monotonic() + 1200
        while child.poll() is None and len(begun - before) < wanted:
            begun |= {p.name for p in out.rglob("checkpoint-*")}
            assert time.monotonic() < deadline, "the child makes no progress"
            time.sleep(0.002)
        assert child.poll() is None, "the child finished or failed before it was killed"
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not (out / "child_done").exists()
    subprocess.run(command, env=environment, check=True, timeout=1200, capture_output=True)


@pytest.mark.slow
def test_kill_9_of_a_plain_trainer(tiny_base: Path, tmp_path: Path) -> None:
    """Killed twice, the run has the temperature and the losses of every step of a run that was not killed."""
    command = [sys.executable, trainer_tools.__file__, str(tiny_base), str(tmp_path / "whole")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run(command, env=environment, check=True, timeout=1200, capture_output=True)
    kill_9_and_finish(trainer_tools.__file__, tiny_base, tmp_path / "killed")
    ends = [tmp_path / name / "checkpoint-12" for name in ("whole", "killed")]
    logs = [json.loads((end / "trainer_state.json").read_text())["log_history"] for end in ends]
    assert [e["step"] for e in logs[0] if "loss" in e] == list(range(1, 13))
    kept = ("step", "loss", "temperature", "learning_rate", "instances")
    whole, killed = ([[e[k] for k in kept] for e in log if "loss" in e] for log in logs)
    assert killed == whole  # the same machine and thread count: bit by bit
    assert len({entry[2] for entry in whole}) > 6  # it was learned
    assert (ends[0] / "loss.json").read_text() == (ends[1] / "loss.json").read_text()


@pytest.mark.slow
def test_kill_9_of_a_stage(tiny_base: Path, tmp_path: Path) -> None:
    command = [sys.executable, stage_tools.__file__, str(tiny_base), str(tmp_path / "whole")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run(command, env=environment, check=True, timeout=1200, capture_output=True)
    kill_9_and_finish(stage_tools.__file__, tiny_base, tmp_path / "killed")
    whole, killed = (json.loads((tmp_path / name / "stage.json").read_text()) for name in ("whole", "killed"))
    for result in (whole, killed):
        result["log_history"] = [{k: e[k] for k in ("step", "loss", "temperature")} for e in result["log_history"]]
    assert whole["steps"] == 20
    for part in ("log_history", "loss_state", "loss_config", "dev_history", "best"):
        assert killed[part] == whole[part]
    assert not (tmp_path / "killed" / "checkpoints").exists()
    assert load_loss(tmp_path / "killed" / "model", None).log_tau.item() == whole["loss_state"]["log_tau"]


def test_the_arguments_are_not_ours_to_keep(tiny_base: Path, tmp_path: Path, instances: Dataset) -> None:
    """One args object for two trainers: the second loss has no temperature, and is not asked for one."""
    args = arguments(tmp_path, max_steps=1)
    from sentence_transformers import SentenceTransformerTrainer

    from mr_st.training import GradedCollator

    for make in (GradedSupConLoss, MultiClassCircleLoss):
        model = tower(tiny_base)
        loss = make(model)
        collator = GradedCollator.from_trainer_args(model, args)
        SentenceTransformerTrainer(
            model=model, args=args, train_dataset=instances, loss=loss, data_collator=collator,
            callbacks=[SaveLossParameters(loss)],
        ).train()  # fmt: skip
