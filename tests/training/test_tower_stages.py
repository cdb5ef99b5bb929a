"""Stages of towers with Matryoshka widths or LoRA adapters: what is trained, logged, resumed and saved."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from stage_tools import AverageMargin

from mr_st.losses import GradedSupConLoss, MultiClassCircleLoss
from mr_st.models import add_lora, build_two_tower, load_sentence_transformer, matryoshka_dims
from mr_st.training import GradedCollator, StageConfig, load_loss, train_stage
from mr_st.training.objective import at_all_widths

CONFIG = StageConfig(epochs=2, queries_per_batch=4, learning_rate=2e-3, evaluations=4)
LORA = {"r": 2, "target_modules": ["query", "value"]}


def train(model, rows: list[dict], out: Path, config: StageConfig = CONFIG, break_at: int | None = None):
    evaluator = AverageMargin(rows[:5], break_at=break_at)
    return train_stage(model, Dataset.from_list(rows), config, out, evaluator, show_progress=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return SentenceTransformer(str(folder), device="cpu").state_dict()


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# --- Matryoshka


def matryoshka(tiny_base: Path) -> SentenceTransformer:
    return build_two_tower(tiny_base, 8, matryoshka_dims=[4], device="cpu")


@pytest.mark.parametrize("cache", [{}, {"mini_batch_size": 3}])
def test_the_objective_is_the_mean_over_the_widths(tiny_base: Path, rows: list[dict], cache: dict) -> None:
    plain = build_two_tower(tiny_base, 8, device="cpu")
    loss = MultiClassCircleLoss(plain)
    assert at_all_widths(plain, loss) is loss
    model = matryoshka(tiny_base).eval()
    batch = GradedCollator.from_trainer_args(model)([rows[i] for i in (0, 3, 5)])
    features = [
        {key.removeprefix(f"{side}_"): value for key, value in batch.items() if key.startswith(f"{side}_")}
        for side in ("query", "items")
    ]
    with torch.no_grad():
        whole = [model(dict(column))["sentence_embedding"] for column in features]
    at = [
        GradedSupConLoss(None).compute_loss_from_embeddings([x[:, :width] for x in whole], batch["label"]).item()
        for width in (8, 4)
    ]
    objective = at_all_widths(model, GradedSupConLoss(model, **cache))
    assert objective(features, batch["label"]).item() == pytest.approx(sum(at) / 2, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"mini_batch_size": 3}])
def test_a_stage_trains_at_all_widths_and_resumes(
    tiny_base: Path, rows: list[dict], tmp_path: Path, options: dict
) -> None:
    config = CONFIG.model_copy(update={"loss_options": options})
    whole = train(matryoshka(tiny_base), rows, tmp_path / "whole", config)
    assert whole.loss_config["loss"] == "GradedSupConLoss"
    assert whole.loss_config["matryoshka_dims"] == [8, 4]
    assert list(whole.loss_state) == ["log_tau"]
    assert whole.loss_config["temperature"] == pytest.approx(math.exp(whole.loss_state["log_tau"]), abs=1e-6)
    assert abs(whole.loss_config["temperature"] - 0.05) > 1e-4  # it was learned
    plain = train(build_two_tower(tiny_base, 8, device="cpu"), rows, tmp_path / "plain", config)
    counted = [[entry["instances"] for entry in result.log_history] for result in (whole, plain)]
    assert counted[0] == counted[1]  # once a batch, not once a width
    assert matryoshka_dims(whole.load_model()) == (8, 4)
    again = load_loss(whole.model_dir, whole.load_model())
    assert isinstance(again, MatryoshkaLoss)
    assert again.matryoshka_dims == (8, 4)
    assert again.loss.log_tau.item() == whole.loss_state["log_tau"]

    with pytest.raises(KeyboardInterrupt):
        train(matryoshka(tiny_base), rows, tmp_path / "cut", config, break_at=3)
    resumed = train(matryoshka(tiny_base), rows, tmp_path / "cut", config)
    assert_same_weights(whole.model_dir, resumed.model_dir)
    assert resumed.loss_state == whole.loss_state
    assert resumed.dev_history == whole.dev_history

    assert "matryoshka_dims" not in plain.loss_config
    one, two = weights(whole.model_dir), weights(plain.model_dir)
    assert not all(torch.equal(one[name], two[name]) for name in one)


def test_the_next_stage_takes_the_temperature_and_the_widths(
    tiny_base: Path, rows: list[dict], tmp_path: Path
) -> None:
    first = train(matryoshka(tiny_base), rows, tmp_path / "first")
    again = CONFIG.model_copy(update={"max_steps": 1, "epochs": None, "temperature_learning_rate": 1e-12})
    second = train_stage(
        first.model_dir, Dataset.from_list(rows), again, tmp_path / "second", loss_state=first.loss_state,
        show_progress=False,
    )  # fmt: skip
    assert second.loss_state["log_tau"] == pytest.approx(first.loss_state["log_tau"], abs=1e-6)
    assert second.loss_config["matryoshka_dims"] == [8, 4]


# --- LoRA


@pytest.mark.parametrize("architecture", ["siamese", "asymmetric"])
def test_a_lora_stage_ends_in_a_plain_model_and_resumes(
    tiny_base: Path, rows: list[dict], tmp_path: Path, architecture
) -> None:
    pytest.importorskip("peft")
    build_two_tower(tiny_base, 8, architecture, device="cpu").save_pretrained(str(tmp_path / "tower"))
    before = weights(tmp_path / "tower")

    def start() -> SentenceTransformer:
        return add_lora(load_sentence_transformer(tmp_path / "tower", device="cpu"), LORA)

    whole = train(start(), rows, tmp_path / "whole")
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == ["model", "settings.json", "stage.json"]
    assert not list(whole.model_dir.rglob("adapter*"))
    after = weights(whole.model_dir)
    assert after.keys() == before.keys()
    moved = {name for name in after if not torch.allclose(after[name], before[name], atol=1e-7)}
    heads = {name for name in after if name.endswith("linear.weight")}
    adapted = {name for name in after if name.endswith(("attention.self.query.weight", "attention.self.value.weight"))}
    assert moved == heads | adapted

    with pytest.raises(KeyboardInterrupt):
        train(start(), rows, tmp_path / "cut", break_at=3)
    checkpoints = tmp_path / "cut" / "checkpoints"
    assert list(checkpoints.rglob("checkpoint-*/**/adapter_model.safetensors"))
    resumed = train(start(), rows, tmp_path / "cut")
    assert_same_weights(whole.model_dir, resumed.model_dir)
    assert resumed.dev_history == whole.dev_history
    kept = SentenceTransformer(str(whole.model_dir), device="cpu")
    assert AverageMargin(rows[:5])(kept)["dev_margin"] == pytest.approx(whole.best["value"], abs=1e-5)


def test_lora_with_gradient_checkpointing_and_widths_trains_the_same(
    tiny_base: Path, rows: list[dict], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    results = []
    for is_checkpointing in (False, True):
        model = build_two_tower(tiny_base, 8, lora=LORA, matryoshka_dims=[4], device="cpu")
        config = CONFIG.model_copy(
            update={"gradient_checkpointing": is_checkpointing, "max_steps": 4, "epochs": None, "evaluations": 1}
        )
        results.append(train(model, rows, tmp_path / f"{is_checkpointing}", config))
        assert matryoshka_dims(results[-1].load_model()) == (8, 4)
    one, two = (weights(result.model_dir) for result in results)
    start = build_two_tower(tiny_base, 8, device="cpu").state_dict()
    name = "0.model.encoder.layer.0.attention.self.query.weight"
    assert (one[name] - start[name]).abs().max() > 1e-5
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_the_average_with_the_start_is_of_whole_matrices(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = CONFIG.model_copy(update={"max_steps": 4, "epochs": None, "evaluations": 1})
    averaging = config.model_copy(update={"average_with_start": 0.4})
    found = []
    for number, settings in enumerate((config, averaging)):
        model = build_two_tower(tiny_base, 8, lora=LORA, device="cpu")
        found.append(weights(train(model, rows, tmp_path / f"{number}", settings).model_dir))
    start = build_two_tower(tiny_base, 8, device="cpu").state_dict()
    for name, trained in found[0].items():
        torch.testing.assert_close(found[1][name], 0.4 * start[name] + 0.6 * trained, atol=1e-7, rtol=1e-5)


def test_a_folder_with_adapters_is_known_by_its_weights(tiny_base: Path, rows: list[dict], tmp_path: Path) -> None:
    """Its files name the base only: the stage's identity must be that of the model in memory."""
    pytest.importorskip("peft")
    model = build_two_tower(tiny_base, 8, lora=LORA, device="cpu")
    model.save_pretrained(str(tmp_path / "adapters"))
    config = CONFIG.model_copy(update={"max_steps": 2, "epochs": None, "evaluations": 1})
    from_folder = train(tmp_path / "adapters", rows, tmp_path / "a", config)
    in_memory = train(model, rows, tmp_path / "b", config)
    assert from_folder.settings_hash == in_memory.settings_hash
    assert_same_weights(from_folder.model_dir, in_memory.model_dir)
