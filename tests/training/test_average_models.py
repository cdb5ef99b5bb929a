"""The uniform average of saved models, against values worked out by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from mr_st.errors import MrStError, UsageError
from mr_st.training import average_models


def saved(folder: Path, weights: dict[str, torch.Tensor], **files: str) -> Path:
    """What a model folder needs to be averaged; no model inside."""
    (folder / "2_Dense").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "config.json").write_text(json.dumps({"hidden_size": 2, "_name_or_path": str(folder)}))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({"linear.weight": weights["w"] * 10}, folder / "2_Dense" / "model.safetensors")
    return folder


def of(*values: float, count: int = 0) -> dict[str, torch.Tensor]:
    return {
        "w": torch.tensor(values),
        "half": torch.tensor(values, dtype=torch.float16),
        "count": torch.tensor([count]),
    }


def test_the_average_by_hand(tmp_path: Path) -> None:
    a = saved(tmp_path / "a", of(1.0, -4.0, count=7), README__md="card a", loss__json='{"tau": 1}')
    b = saved(tmp_path / "b", of(2.0, 8.0, count=9), README__md="card b", loss__json='{"tau": 2}')
    c = saved(tmp_path / "c", of(6.0, 2.0, count=9))
    out = average_models([a, b, c], tmp_path / "out")
    mean = load_file(out / "model.safetensors")
    assert mean["w"].tolist() == [3.0, 2.0]  # (1 + 2 + 6) / 3, (-4 + 8 + 2) / 3
    assert mean["half"].dtype == torch.float16
    assert mean["half"].tolist() == [3.0, 2.0]
    assert mean["count"].tolist() == [7]  # no floating-point number: the first model's
    assert load_file(out / "2_Dense" / "model.safetensors")["linear.weight"].tolist() == [30.0, 20.0]
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == [
        "config.json", "model.safetensors", "model.safetensors", "modules.json",
    ]  # fmt: skip
    assert load_file(a / "model.safetensors")["w"].tolist() == [1.0, -4.0]


def test_half_precision_is_summed_in_float32(tmp_path: Path) -> None:
    a, b = (saved(tmp_path / n, of(60000.0, 1.0)) for n in "ab")  # their float16 sum would be infinite
    assert load_file(average_models([a, b], tmp_path / "out") / "model.safetensors")["half"].tolist() == [60000.0, 1.0]


def test_learned_temperatures_are_left_behind(tmp_path: Path) -> None:
    models = [saved(tmp_path / n, of(1.0, 2.0)) for n in "ab"]
    save_file({"log_tau": torch.tensor(1.0)}, models[0] / "loss_parameters.safetensors")
    out = average_models(models, tmp_path / "out")
    assert not (out / "loss_parameters.safetensors").exists()


def test_models_that_are_not_alike_are_refused(tmp_path: Path) -> None:
    a = saved(tmp_path / "a", of(1.0, 2.0), tokenizer__json='{"x": 1}')
    wider = saved(tmp_path / "wider", of(1.0, 2.0, 3.0), tokenizer__json='{"x": 1}')
    token = saved(tmp_path / "token", of(1.0, 2.0), tokenizer__json='{"x": 2}')
    plain = saved(tmp_path / "plain", of(1.0, 2.0))
    other = saved(tmp_path / "other", {**of(1.0, 2.0), "bias": torch.zeros(1)}, tokenizer__json='{"x": 1}')
    out = tmp_path / "out"
    for models, message in [
        ([a], "two models or more"),
        ([a, a], "the same folder twice"),
        ([a, wider], "weight .* is 2 in one and 3"),
        ([a, token], "they differ in tokenizer.json"),
        ([a, plain], "only one of them has tokenizer.json"),
        ([a, other], "the weight bias is missing in one"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            average_models(models, out)
        assert "\n" not in str(caught.value)
        assert not out.exists()
    with pytest.raises(MrStError, match=r"no modules\.json"):
        average_models([a, tmp_path / "absent"], out)
    twin = saved(tmp_path / "twin", of(1.0, 2.0), tokenizer__json='{"x": 1}')
    with pytest.raises(UsageError, match="not a new folder"):
        average_models([a, twin], plain)
    (twin / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(MrStError, match="pickled"):
        average_models([a, twin], out)
    (twin / "pytorch_model.bin").unlink()
    (twin / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(MrStError, match="cannot be read as safetensors"):
        average_models([a, twin], out)


def test_the_average_of_real_models_loads_and_lies_between(tiny_base: Path, tmp_path: Path) -> None:
    for name, factor in (("a", 1.0), ("b", 3.0)):
        shutil.copytree(tiny_base, tmp_path / name)
        path = tmp_path / name / "model.safetensors"
        save_file({k: v * factor if v.is_floating_point() else v for k, v in load_file(path).items()}, path,
                  metadata={"format": "pt"})  # fmt: skip
    out = average_models([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    base, mean = (SentenceTransformer(str(f), device="cpu").state_dict() for f in (tiny_base, out))
    for name, value in base.items():
        torch.testing.assert_close(mean[name], value * 2 if value.is_floating_point() else value)
