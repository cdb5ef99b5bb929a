"""Publishing to a folder, and what is refused before anything is written or sent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.hub import publish


def test_a_folder_gets_model_card_results_and_recipe_and_loads(model_dir, tmp_path, samples):
    from sentence_transformers import SentenceTransformer

    results = tmp_path / "my-results"
    samples.make_report("stage2").save(results)
    recipe = tmp_path / "some.yaml"
    recipe.write_text("name: x\n")
    out = publish(model_dir, tmp_path / "published", results_dir=results, recipe=recipe)
    folder = Path(str(out))
    assert folder == tmp_path / "published"
    assert (folder / "recipe.yaml").read_text() == "name: x\n"
    assert list(folder.glob("results/*/*/MarketplaceRetrieval.json"))
    assert (folder / "README.md").read_text() == out.card
    assert out.n_bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    texts = ["red shoes", "usb cable"]
    expected = SentenceTransformer(str(model_dir)).encode(texts)
    np.testing.assert_allclose(SentenceTransformer(str(folder)).encode(texts), expected, atol=1e-6)


def test_publishing_again_replaces_the_folder_whole(model_dir, tmp_path):
    publish(model_dir, tmp_path / "out")
    (tmp_path / "out" / "stale.txt").write_text("old")
    publish(model_dir, tmp_path / "out")
    assert not (tmp_path / "out" / "stale.txt").exists()


def test_a_dry_run_writes_nothing(model_dir, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    out = publish(model_dir, tmp_path / "out", dry_run=True)
    assert out.is_dry_run
    assert "model.safetensors" in out.files
    assert sorted(tmp_path.rglob("*")) == before


def test_hidden_files_stay_at_home(model_dir, tmp_path):
    (model_dir / ".env").write_text("HF_TOKEN=hf_secret")
    (model_dir / ".git").mkdir()
    (model_dir / ".git" / "config").write_text("x")
    out = publish(model_dir, tmp_path / "out")
    assert not [f for f in out.files if f.startswith(".")]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "2_Dense/weights.pt", "scaler.PKL", "optimizer.pth"])
def test_pickles_are_refused(model_dir, tmp_path, name):
    (model_dir / name).parent.mkdir(exist_ok=True)
    (model_dir / name).write_bytes(b"x")
    with pytest.raises(MrStError, match=r"only safetensors") as caught:
        publish(model_dir, tmp_path / "out")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_modules_that_need_remote_code_are_refused(model_dir, tmp_path):
    modules = json.loads((model_dir / "modules.json").read_text())
    modules[1]["type"] = "my_code.Pool"
    (model_dir / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(MrStError, match="remote code"):
        publish(model_dir, tmp_path / "out")


def test_a_folder_without_weights_or_modules_is_refused(tmp_path, model_dir):
    with pytest.raises(MrStError, match="no such folder"):
        publish(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MrStError, match=r"no modules\.json"):
        publish(tmp_path / "empty", tmp_path / "out")
    (model_dir / "model.safetensors").unlink()
    with pytest.raises(MrStError, match=r"no \.safetensors"):
        publish(model_dir, tmp_path / "out")


def test_a_broken_card_is_refused(model_dir, tmp_path):
    (model_dir / "README.md").write_text("---\nlicense: [unclosed\n---\n# x\n")
    with pytest.raises(MrStError, match="metadata is not valid") as caught:
        publish(model_dir, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_other_peoples_folders_are_not_overwritten(model_dir, tmp_path):
    target = tmp_path / "photos"
    target.mkdir()
    (target / "holiday.jpg").write_bytes(b"x")
    for destination in (target, model_dir, model_dir / "inside", tmp_path):
        with pytest.raises(UsageError):
            publish(model_dir, destination)
    assert (target / "holiday.jpg").exists()
    assert (model_dir / "model.safetensors").exists()


@pytest.mark.parametrize("destination", ["", "bare", "a/b/c", "org/na me", "org/x\nevil: 1", "-x/y", "org/..", "a//b"])
def test_a_destination_that_is_neither_folder_nor_id_is_wrong_use(model_dir, tmp_path, monkeypatch, destination):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        publish(model_dir, destination)
    assert "\n" not in str(caught.value)


def test_options_of_the_hub_do_not_fit_a_folder(model_dir, tmp_path):
    with pytest.raises(UsageError, match="mean nothing"):
        publish(model_dir, tmp_path / "out", create_pr=True)


def test_no_write_permission_is_one_clear_line(model_dir, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MrStError) as caught:
        publish(model_dir, tmp_path / "file" / "out")
    assert "\n" not in str(caught.value)
