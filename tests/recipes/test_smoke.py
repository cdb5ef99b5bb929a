"""Trial runs: what they replace, and the whole job of each recipe that nobody has trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from mr_st.data import GradedDataset
from mr_st.evaluation import GradedReport
from mr_st.hub import check_card
from mr_st.identity import file_hash, folder_hash
from mr_st.recipes import Recipe, run_recipe
from mr_st.recipes.smoke import SMOKE_NOTE, prepare_smoke
from mr_st.recipes.smoke_data import write_smoke_esci

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
RECIPES = {
    "mr-e5-small-esci": ("BertModel", 256),
    "mr-modernbert-esci": ("ModernBertModel", 256),  # the twin is as wide as the widest of its Matryoshka widths
    "mr-qwen3-0.6b-esci-256": ("Qwen3Model", 256),
}


def test_every_untrained_recipe_is_tried_here() -> None:
    assert set(RECIPES) == {p.parent.name for p in CARDS.glob("*/estimate.yaml")}


def test_the_shop_has_escis_form(tmp_path: Path) -> None:
    folder = write_smoke_esci(tmp_path / "esci")
    dataset = GradedDataset.load(folder, locale="all", version="small", dev_share=0.1)
    assert (len(dataset.items), len(dataset.queries), len(dataset.judgments)) == (90, 90, 450)
    assert set(dataset.queries["locale"]) == {"en-US", "es-ES", "ja-JP"}
    assert set(dataset.judgments["split"]) == {"train", "dev", "test"}
    assert dataset.judgments["grade"][:5] == [2, 1, 1, 0, 0]  # exact, substitute, complement, irrelevant twice
    assert folder_hash(write_smoke_esci(tmp_path / "again")) == folder_hash(folder)


def test_what_is_replaced_and_what_stays(tmp_path: Path) -> None:
    recipe = Recipe.from_yaml(CARDS / "mr-qwen3-0.6b-esci-256" / "recipe.yaml")
    said: list[str] = []
    smoke, data = prepare_smoke(recipe, tmp_path, announce=said.append)
    assert data == tmp_path / "smoke" / "data"
    assert Path(smoke.model.base).parent == tmp_path / "smoke"
    assert Path(smoke.annotator.options["base"]).parent == tmp_path / "smoke"
    assert smoke.model.model_copy(update={"base": recipe.model.base}) == recipe.model  # pooling, prompts, LoRA, widths
    for stage, was in ((smoke.stage1, recipe.stage1), (smoke.stage2, recipe.stage2)):
        assert (stage.loss, stage.loss_options, stage.max_steps) == (was.loss, was.loss_options, 4)
        assert stage.precision == "fp32"
    assert smoke.description.startswith(SMOKE_NOTE)
    assert said[0] == SMOKE_NOTE
    assert any("tiny random Qwen3Model takes the place of Qwen/Qwen3-Embedding-0.6B" in line for line in said)
    kept, own = prepare_smoke(recipe, tmp_path / "other", data=tmp_path / "mine")
    assert own == tmp_path / "mine"
    assert not (tmp_path / "other" / "smoke" / "data").exists()
    assert kept.data == recipe.data


def test_a_folder_or_an_unknown_base_stays(tiny_base: Path, tmp_path: Path) -> None:
    for base in (str(tiny_base), "minilm", "org/unknown"):
        recipe = Recipe.model_validate({"name": "x", "model": {"base": base}})
        assert prepare_smoke(recipe, tmp_path)[0].model.base == base


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_whole_job_on_a_tiny_twin(name: str, tmp_path: Path) -> None:
    architecture, dim = RECIPES[name]
    recipe = Recipe.from_yaml(CARDS / name / "recipe.yaml")
    smoke, data = prepare_smoke(recipe, tmp_path)
    result = run_recipe(smoke, tmp_path, data=data)
    arms = ["base", "stage1", "control", "stage2", *(["average"] if recipe.average else [])]
    assert list(result.reports) == arms
    folder = result.paths["model"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    check_card(card)
    assert SMOKE_NOTE in card
    model = SentenceTransformer(str(folder), device="cpu")
    trunk = model[0]
    assert type(trunk.auto_model).__name__ == architecture
    assert model.encode_query(["red mug"]).shape == (1, dim)
    for side, prompt in (recipe.model.prompts or {}).items():
        assert model.prompts[side] == prompt
    final = result.reports[recipe.final_arm]
    assert final.model_name == recipe.publish.repo_id
    assert f"value: {final['ndcg@10'].value:.5f}".rstrip("0") in card
    assert Recipe.from_yaml(folder / "recipe.yaml") == smoke
    assert not list(folder.rglob("adapter*"))
    configs = {arm: json.loads((tmp_path / arm / "stage.json").read_text())["loss_config"] for arm in arms[1:4]}
    losses = {arm: config["loss"] for arm, config in configs.items()}
    assert losses["stage1"] == losses["control"] != losses["stage2"]
    assert result.steps["mining"].facts["queries"] > 0
    assert result.paths["leaderboard"].is_file()
    if recipe.publish.dim is not None:
        _is_cut(smoke, tmp_path, folder)
    if recipe.average is not None:
        _average_resumes(smoke, tmp_path, data)


def _is_cut(recipe: Recipe, out: Path, published: Path) -> None:
    """What is published is what was evaluated: at the same width, under the same content hash."""
    from mr_st.identity import model_hash

    whole = SentenceTransformer(str(out / "stage2" / "model"), device="cpu")
    cut = SentenceTransformer(str(published), device="cpu")
    assert (whole.get_embedding_dimension(), cut.get_embedding_dimension()) == (512, recipe.publish.dim)
    (path,) = (out / "evaluation" / "stage2" / "results").glob("*/*/ESCIRetrieval.json")
    assert GradedReport.load(path).revision == model_hash(cut)


def _average_resumes(recipe: Recipe, out: Path, data: object) -> None:
    """The published weights are the mean of the three models, and a rerun makes only what is gone."""
    import torch
    from safetensors.torch import load_file

    folders = [out / name / "model" for name in ("stage2", "stage2-seed-2", "stage2-seed-3")]
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    mean = load_file(out / "average" / "model" / "model.safetensors")
    for name, value in mean.items():
        torch.testing.assert_close(value, sum(of[name] for of in weights) / 3)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in mean)
    before = file_hash(out / "average" / "model" / "model.safetensors")
    shutil.rmtree(out / "average")
    said: list[str] = []
    again = run_recipe(recipe, out, data=data, announce=said.append)  # type: ignore[arg-type]
    assert file_hash(out / "average" / "model" / "model.safetensors") == before
    done = [line for line in said if not line.endswith("done before, kept") and not line.startswith("Misspelt")]
    assert done == ["Averaging 3 stage-2 models"]
    facts = again.steps["average"].facts
    assert [member["seed"] for member in facts["average_of"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average": {"seeds": []}}, "at least 1 item"),
        ({"average": {"seeds": [2, 2]}}, "different numbers"),
        ({"average": {"seeds": [-1]}}, "different numbers"),
        ({"average": {"seeds": [1]}}, "stage 2's own seed"),
        ({"publish": {"dim": 64}}, "widths trained, is \\[\\]"),
        ({"publish": {"dim": 64}, "model": {"matryoshka_dims": [128]}}, "widths trained, is \\[128\\]"),
    ],
)
def test_averages_and_widths_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate({"name": "x", **changes})
