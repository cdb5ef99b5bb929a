from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer
from stage_tools import AverageMargin

from mr_st.errors import MrStError, UsageError
from mr_st.losses import GradedSupConLoss
from mr_st.models import build_two_tower
from mr_st.training import StageConfig, StageResult, train_stage
from mr_st.training.checkpoints import checkpoints_of, is_complete, last_complete_checkpoint

CONFIG = StageConfig(epochs=2, queries_per_batch=4, learning_rate=2e-3, evaluations=4)
SCRIPT = {3: 0.9, 5: 0.5, 8: 0.6, 10: 0.7}  # the steps of CONFIG's evaluations; the first is the best


def tower(tiny_base: Path) -> SentenceTransformer:
    return build_two_tower(tiny_base, 8, device="cpu")


def train(tiny_base: Path, rows: list[dict], out: Path, config: StageConfig = CONFIG, evaluator=None, **options):
    instances = Dataset.from_list(rows)
    return train_stage(tower(tiny_base), instances, config, out, evaluator, show_progress=False, **options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return SentenceTransformer(str(folder), device="cpu").state_dict()


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stage_trains_and_keeps_the_best_model(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    evaluator = AverageMargin(rows[:8])
    before = AverageMargin(rows[:8])(tower(tiny_base))["dev_margin"]
    config = CONFIG.model_copy(update={"loss": "circle", "epochs": 4})
    result = train(tiny_base, rows, tmp_path, config, evaluator)
    assert result.steps == 20  # four passes of 20 rows: the two epochs, each served twice
    assert [entry["step"] for entry in result.dev_history] == [5, 10, 15, 20]
    best = max(result.dev_history, key=lambda entry: entry["dev_margin"])
    assert result.best == {"step": best["step"], "metric": "dev_margin", "value": best["dev_margin"]}
    assert result.best["value"] > before + 0.1
    kept = SentenceTransformer(str(result.model_dir), device="cpu")
    assert AverageMargin(rows[:8])(kept)["dev_margin"] == pytest.approx(best["dev_margin"], abs=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "settings.json", "stage.json"]
    assert result.seconds > 0
    assert result.loss_config["loss"] == "MultiClassCircleLoss"
    assert len(result.log_history) == 20
    assert StageResult.load(tmp_path) == result


def test_model_and_temperature_are_those_of_the_best_checkpoint(
    tiny_base: Path, rows: list[dict], tmp_path: Path
) -> None:
    seen = {}

    class Looking(AverageMargin):
        def __call__(self, model, output_path=None, epoch=-1, steps=-1):
            seen[steps] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            return super().__call__(model, output_path, epoch, steps)

    model = tower(tiny_base)
    result = train_stage(
        model, Dataset.from_list(rows), CONFIG, tmp_path, Looking(rows[:2], script=SCRIPT), show_progress=False
    )
    assert result.best == {"step": 3, "metric": "dev_margin", "value": 0.9}
    for kept in (weights(result.model_dir), model.state_dict()):  # on disk, and the model that was passed in
        assert all(torch.equal(kept[name], tensor.cpu()) for name, tensor in seen[3].items())
    assert not all(torch.equal(a, b) for a, b in zip(seen[3].values(), seen[10].values(), strict=True))
    # the log of step 3 is written after its update
    logged = {entry["step"]: entry["temperature"] for entry in result.log_history}
    assert result.loss_config["temperature"] == pytest.approx(logged[3], abs=1e-6)
    assert abs(logged[10] - logged[3]) > 1e-5
    assert np.exp(result.loss_state["log_tau"]) == pytest.approx(logged[3], abs=1e-6)


def test_a_finished_stage_returns_at_once(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    first = train(tiny_base, rows, tmp_path, evaluator=AverageMargin(rows[:3]))
    stamp = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    evaluator = AverageMargin(rows[:3])
    assert train(tiny_base, rows, tmp_path, evaluator=evaluator) == first
    assert evaluator.calls == 0
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == stamp


def test_the_same_call_gives_the_same_model_and_another_seed_another(
    tiny_base: Path, rows: list[dict], tmp_path: Path
) -> None:
    a, b = train(tiny_base, rows, tmp_path / "a"), train(tiny_base, rows, tmp_path / "b")
    assert_same_weights(a.model_dir, b.model_dir)
    assert a.loss_state == b.loss_state
    assert a.best is None
    c = train(tiny_base, rows, tmp_path / "c", CONFIG.model_copy(update={"seed": 1}))
    assert a.loss_state != c.loss_state


def test_a_folder_and_a_model_object_start_alike(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    tower(tiny_base).save_pretrained(str(tmp_path / "start"), create_model_card=False)
    a = train(tiny_base, rows, tmp_path / "a")
    b = train_stage(tmp_path / "start", Dataset.from_list(rows), CONFIG, tmp_path / "b", show_progress=False)
    assert_same_weights(a.model_dir, b.model_dir)
    again = train_stage(tmp_path / "start", Dataset.from_list(rows), CONFIG, tmp_path / "b", show_progress=False)
    assert again == b


@pytest.mark.parametrize("call", [1, 2, 4])
def test_an_interrupted_stage_ends_as_an_uninterrupted_one(
    tiny_base: Path, rows: list[dict], tmp_path: Path, call: int
) -> None:
    whole = train(tiny_base, rows, tmp_path / "whole", evaluator=AverageMargin(rows[:5]))
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, rows, tmp_path / "cut", evaluator=AverageMargin(rows[:5], break_at=call))
    with pytest.raises(MrStError, match="not finished"):
        StageResult.load(tmp_path / "cut")
    evaluator = AverageMargin(rows[:5])
    resumed = train(tiny_base, rows, tmp_path / "cut", evaluator=evaluator)
    assert evaluator.calls == 4 - (call - 1)  # nothing that was finished is done again
    assert_same_weights(whole.model_dir, resumed.model_dir)
    assert resumed.steps == whole.steps
    assert resumed.loss_state == whole.loss_state
    assert resumed.dev_history == whole.dev_history
    assert resumed.best == whole.best


def test_a_bound_on_the_items_of_a_batch_holds_and_resumes(
    tiny_base: Path, rows: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mr_st.training import GradedCollator

    seen: list[list[dict]] = []
    real = GradedCollator.__call__

    def look(self, features, *args, **options):
        seen.append(features)
        return real(self, features, *args, **options)

    monkeypatch.setattr(GradedCollator, "__call__", look)
    config = CONFIG.model_copy(update={"queries_per_batch": 8, "max_items_per_batch": 16})
    whole = train(tiny_base, rows, tmp_path / "whole", config, AverageMargin(rows[:5]))
    n_items = [sum(len(row["labels"]) for row in batch) for batch in seen]
    assert len(seen) == whole.steps
    assert max(n_items) <= 16
    assert len({len(batch) for batch in seen}) > 1  # else the bound did nothing
    for epoch in (0, 1):
        of_epoch = seen[epoch * len(seen) // 2 : (epoch + 1) * len(seen) // 2]
        used = sorted((row["query"], row["labels"]) for batch in of_epoch for row in batch)
        wanted = sorted((row["query"], row["labels"]) for row in rows if row["epoch"] == epoch)
        assert used == wanted
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, rows, tmp_path / "cut", config, AverageMargin(rows[:5], break_at=2))
    resumed = train(tiny_base, rows, tmp_path / "cut", config, AverageMargin(rows[:5]))
    assert_same_weights(whole.model_dir, resumed.model_dir)
    with pytest.raises(UsageError, match="raise max_items_per_batch"):
        train(tiny_base, rows, tmp_path / "small", config.model_copy(update={"max_items_per_batch": 4}))


def test_killed_after_the_last_step_it_only_writes_the_result(
    tiny_base: Path, rows: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mr_st.training import stage, stage_folder

    whole = train(tiny_base, rows, tmp_path / "whole", evaluator=AverageMargin(rows[:5]))

    def die(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    real = stage_folder.write_json

    def die_at_the_result(path: Path, value: object) -> None:
        die() if path.name == "stage.json" else real(path, value)

    deaths = [(stage, "_finish", die), (stage_folder, "write_json", die_at_the_result)]
    for number, (where, name, deadly) in enumerate(deaths):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, deadly)
            with pytest.raises(KeyboardInterrupt):
                train(tiny_base, rows, tmp_path / f"{number}", evaluator=AverageMargin(rows[:5]))
        evaluator = AverageMargin(rows[:5])
        resumed = train(tiny_base, rows, tmp_path / f"{number}", evaluator=evaluator)
        assert evaluator.calls == 0
        assert resumed.steps == whole.steps
        assert_same_weights(whole.model_dir, resumed.model_dir)
        assert not (tmp_path / f"{number}" / "checkpoints").exists()


def test_half_written_checkpoints_are_thrown_away(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, rows, tmp_path, evaluator=AverageMargin(rows[:5], break_at=3))
    folder = tmp_path / "checkpoints"
    good = checkpoints_of(folder)[-1]
    assert is_complete(good)
    for number, harm in enumerate(["no marker", "cut short", "file gone", "state broken"]):
        bad = folder / f"checkpoint-{90 + number}"
        shutil.copytree(good, bad)
        if harm == "no marker":
            (bad / "complete.json").unlink()
        elif harm == "cut short":
            data = (bad / "model.safetensors").read_bytes()
            (bad / "model.safetensors").write_bytes(data[:-1])
        elif harm == "file gone":
            (bad / "optimizer.pt").unlink()
        else:
            (bad / "trainer_state.json").write_text("{")
        assert not is_complete(bad)
    assert last_complete_checkpoint(folder) == good
    assert all(is_complete(left) for left in checkpoints_of(folder))


def test_a_moved_folder_still_knows_its_best_checkpoint(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    whole = train(tiny_base, rows, tmp_path / "whole", evaluator=AverageMargin(rows[:5], script=SCRIPT))
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, rows, tmp_path / "there", evaluator=AverageMargin(rows[:5], break_at=4, script=SCRIPT))
    (tmp_path / "there").rename(tmp_path / "here")
    resumed = train(tiny_base, rows, tmp_path / "here", evaluator=AverageMargin(rows[:5], script=SCRIPT))
    assert whole.best is not None
    assert whole.best["step"] == 3
    assert resumed.best == whole.best
    assert_same_weights(whole.model_dir, resumed.model_dir)


def test_only_the_newest_and_the_best_checkpoint_are_kept(
    tiny_base: Path, rows: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = AverageMargin.__call__

    def look(self, *args, **options):
        seen.append([p.name for p in checkpoints_of(tmp_path / "checkpoints")])
        return real(self, *args, **options)

    monkeypatch.setattr(AverageMargin, "__call__", look)
    train(tiny_base, rows, tmp_path, evaluator=AverageMargin(rows[:5], script=SCRIPT))
    three = ["checkpoint-3"]
    assert seen == [[], three, [*three, "checkpoint-5"], [*three, "checkpoint-8"]]


def test_other_settings_are_refused_by_name(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    first = train(tiny_base, rows, tmp_path)
    other = CONFIG.model_copy(update={"learning_rate": 1e-3})
    with pytest.raises(UsageError, match=r"config\.learning_rate \(0.002 there, 0.001 asked for\)"):
        train(tiny_base, rows, tmp_path, other)
    with pytest.raises(UsageError, match="other instances"):
        train(tiny_base, [{**rows[0], "query": "hose"}, *rows[1:]], tmp_path)
    with pytest.raises(UsageError, match="other instances"):
        train(tiny_base, [{**row, "epoch": 0} for row in rows], tmp_path)
    with pytest.raises(UsageError, match="other evaluator"):
        train(tiny_base, rows, tmp_path, evaluator=AverageMargin(rows))
    with pytest.raises(UsageError, match=r"other loss_state\.log_tau"):
        train(tiny_base, rows, tmp_path, loss_state={"log_tau": -1.0})
    assert train(tiny_base, rows, tmp_path) == first
    anew = train(tiny_base, rows, tmp_path, other, overwrite=True)
    assert anew.settings_hash != first.settings_hash
    (tmp_path / "settings.json").unlink()
    with pytest.raises(UsageError, match="unknown settings"):
        train(tiny_base, rows, tmp_path)


def test_a_lost_model_is_trained_again(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    first = train(tiny_base, rows, tmp_path)
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    shutil.rmtree(tmp_path / "model")
    assert train(tiny_base, rows, tmp_path).loss_state == first.loss_state
    assert_same_weights(tmp_path / "model", tmp_path / "copy")


def test_learned_values_pass_on_to_another_stage(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    first = train(tiny_base, rows, tmp_path / "a")
    config = CONFIG.model_copy(update={"epochs": None, "max_steps": 1, "temperature_learning_rate": 1e-12})
    second = train(tiny_base, rows, tmp_path / "b", config, loss_state=first.loss_state)
    assert second.loss_state["log_tau"] == pytest.approx(first.loss_state["log_tau"], abs=1e-9)
    assert second.steps == 1
    written = json.loads((tmp_path / "a" / "stage.json").read_text())
    assert written["loss_state"] == first.loss_state  # exact through JSON
    loss = GradedSupConLoss(None)
    with pytest.raises(MrStError, match="use the same loss"):
        train(tiny_base, rows, tmp_path / "c", loss_state={"log_gamma": 1.0})
    assert loss.temperature == pytest.approx(0.05)


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
def test_the_circle_trains_with_gradient_checkpointing(
    tiny_base: Path, rows: list[dict], tmp_path: Path, architecture: str
) -> None:
    config = StageConfig(
        loss="circle", loss_options={"gamma": 10}, max_steps=3, queries_per_batch=4, gradient_checkpointing=True,
        max_seq_length=12, evaluations=1,
    )  # fmt: skip
    model = build_two_tower(tiny_base, 8, architecture, device="cpu")  # type: ignore[arg-type]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    result = train_stage(model, Dataset.from_list(rows), config, tmp_path, show_progress=False)
    assert result.loss_config["gamma"] == 10
    assert result.loss_state == {}
    kept = SentenceTransformer(str(result.model_dir), device="cpu")
    assert kept.max_seq_length == 12
    moved = [name for name, p in kept.named_parameters() if not torch.equal(p, before[name])]
    assert any("query" in name for name in moved)
    assert any("document" in name for name in moved)
    assert any("attention" in name for name in moved)


def test_progress_is_silent_when_it_should_be(
    tiny_base: Path, rows: list[dict], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    train(tiny_base, rows, tmp_path / "silent", evaluator=AverageMargin(rows[:2]))
    quiet = capfd.readouterr()
    assert "step" not in quiet.err
    assert quiet.out == ""
    train_stage(tower(tiny_base), Dataset.from_list(rows), CONFIG, tmp_path / "loud")
    loud = capfd.readouterr()
    assert "loud: 100%" in loud.err
    assert "tau=" in loud.err


def test_a_diverged_run_says_so(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    with pytest.raises(MrStError, match="diverged"):
        train(tiny_base, rows, tmp_path, StageConfig(epochs=2, queries_per_batch=4, learning_rate=1e30))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1, "lerning_rate": 1}, "lerning_rate"),
        ({}, "either epochs or max_steps"),
        ({"epochs": 1, "max_steps": 3}, "either epochs or max_steps"),
        ({"epochs": 1, "loss_options": {"gamma": 3}}, "supcon has no option 'gamma'"),
        ({"epochs": 1, "loss": "circle", "loss_options": {"bands": "half"}}, "bands is 'half'"),
        ({"epochs": 1, "loss": "listnett"}, "no loss 'listnett'; did you mean listnet. The losses are .*supcon"),
        ({"epochs": 1, "loss": "hinge"}, "no loss 'hinge'; The losses are"),
        ({"epochs": 1, "gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
        ({"epochs": 1, "loss_options": {"mini_batch_size": 0}}, "mini_batch_size"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_misspelt_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StageConfig(**settings)


def test_the_clip_grows_with_the_batch_under_a_sum_only() -> None:
    assert StageConfig(epochs=1, queries_per_batch=8).clip("sum") == 8 * StageConfig(epochs=1).clip("mean")
    assert StageConfig(epochs=1, max_grad_norm=2.0).clip("sum") == 2.0


def test_bf16_autocast(
    tiny_base: Path,
    rows: list[dict],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    without = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: without)
    config = CONFIG.model_copy(update={"precision": "bf16", "epochs": None, "max_steps": 3})
    result = train(tiny_base, rows, tmp_path / "bf16", config)
    assert torch.cuda.is_available() or "no bfloat16 arithmetic" in caplog.text
    full = train(tiny_base, rows, tmp_path / "fp32", config.model_copy(update={"precision": "fp32"}))
    assert result.log_history[0]["loss"] != full.log_history[0]["loss"]
    assert result.log_history[0]["loss"] == pytest.approx(full.log_history[0]["loss"], rel=0.1)
    assert all(
        tensor.dtype == torch.float32 for tensor in weights(result.model_dir).values() if tensor.is_floating_point()
    )


def test_fp16_without_a_gpu_is_refused(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="fp16"):
        train(tiny_base, rows, tmp_path, CONFIG.model_copy(update={"precision": "fp16"}))


def test_a_loss_is_fitted_to_the_grades_there_are(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    config = StageConfig(loss="circle", max_steps=1, queries_per_batch=4, evaluations=1)
    assert len(train(tiny_base, rows, tmp_path / "three", config).loss_config["bands"]["lower"]) == 3
    two = [{**row, "labels": [min(label, 1) for label in row["labels"]]} for row in rows]
    assert len(train(tiny_base, two, tmp_path / "two", config).loss_config["bands"]["lower"]) == 2
    # the labels of three grades, of a scale with four
    four = train(tiny_base, rows, tmp_path / "four", config, n_grades=4)
    assert len(four.loss_config["bands"]["lower"]) == 4
    assert train(tiny_base, rows, tmp_path / "four", config, n_grades=4) == four
    with pytest.raises(UsageError, match=r"other n_grades \(4 there, 3 asked for\)"):
        train(tiny_base, rows, tmp_path / "four", config)
    with pytest.raises(UsageError, match="n_grades is 2, and a training row has grade 2"):
        train(tiny_base, rows, tmp_path / "few", config, n_grades=2)
    given = config.model_copy(update={"loss_options": {"bands": 2}})
    with pytest.raises(UsageError, match=r"there are 3 grades, and circle .* knows 2"):
        train(tiny_base, rows, tmp_path / "given", given)


def test_gradient_accumulation_takes_several_batches_a_step(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    config = StageConfig(epochs=2, queries_per_batch=4, gradient_accumulation_steps=2, evaluations=2)
    whole = train(tiny_base, rows, tmp_path / "whole", config, AverageMargin(rows[:3]))
    assert whole.steps == 6  # five batches an epoch: two steps of two and one of one
    assert [entry["instances"] for entry in whole.log_history] == [8, 8, 4, 8, 8, 4]
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, rows, tmp_path / "cut", config, AverageMargin(rows[:3], break_at=2))
    resumed = train(tiny_base, rows, tmp_path / "cut", config, AverageMargin(rows[:3]))
    assert resumed.loss_state == whole.loss_state
    assert_same_weights(whole.model_dir, resumed.model_dir)


def test_gradient_caching_is_asked_for_through_the_options(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    options = {"mini_batch_size": 8, "reduction": "mean"}
    config = StageConfig(max_steps=2, queries_per_batch=4, evaluations=1, loss_options=options)
    result = train(tiny_base, rows, tmp_path, config)
    assert result.loss_config["mini_batch_size"] == 8
    assert result.loss_config["reduction"] == "mean"


def test_the_config_reads_without_torch() -> None:
    code = "import sys; from mr_st.training.config import StageConfig; StageConfig(loss='circle', epochs=1); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
