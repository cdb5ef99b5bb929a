"""Recipes: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from mr_st.errors import UsageError
from mr_st.recipes import Recipe, bundled_recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nstage1: {learning_rat: 1}", r"stage1\.learning_rat: unknown key; did you mean learning_rate\?"),
        ("name: x\nstage1: {epochs: 1, max_items_per_batch: 1}", r"stage1\.max_items_per_batch: .*greater than"),
        ("name: x\nminning: {k: 3}", r"minning: unknown key; did you mean mining\?"),
        ("name: x\nmining: {k: many}", r"mining\.k: .*found 'many'"),
        ("name: x\nmining: {near_duplicates: 3}", r"mining: .*near_duplicates is 3"),
        ("name: x\nmining: {strata: {head: 1}}", r"mining: .*give budget"),
        ("name: x\nmining: {boundary: 1.5}", r"mining\.boundary: .*less than 1"),
        ("name: ../x", r"name: "),
        ("data: {}", r"name: Field required"),
        ("- a\n- b", r"the recipe is no YAML mapping"),
        ("name: x\n  data: y: z", r"line 2, column \d+: not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']", r"not valid YAML"),
        ("name: x\npublish: {repo_id: ../../etc}", r"publish\.repo_id"),
        ("name: x\ndata: {source: esci}", r"annotator\.kind policy"),
        ("name: x\nevaluation: {ks: [10, 5]}", r"evaluation\.ks: .*increasing"),
    ],
)  # fmt: skip
def test_a_bad_recipe_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        Recipe.from_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: cannot read the recipe \(No such file"):
        Recipe.from_yaml(tmp_path / "no.yaml")


def test_yaml_round_trip(tmp_path: Path) -> None:
    recipe = bundled_recipe("marketplace")
    path = tmp_path / "again.yaml"
    path.write_text(recipe.to_yaml())
    assert Recipe.from_yaml(path) == recipe


def test_a_stage_takes_a_bound_on_items(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nstage1: {epochs: 1, max_items_per_batch: 128}")
    recipe = Recipe.from_yaml(path)
    assert (recipe.stage1.max_items_per_batch, recipe.stage2.max_items_per_batch) == (128, None)


def test_smoke_changes_sizes_only() -> None:
    recipe = bundled_recipe("marketplace")
    smoke = recipe.smoke()
    assert smoke.data.options["size"] == "tiny"
    assert smoke.stage1.max_steps == 4
    assert smoke.model == recipe.model


def test_mining_says_all_that_the_miner_takes() -> None:
    """Every setting is a key of the recipe with the miner's own default; where the recipe has its own place, none."""
    from dataclasses import fields

    from mr_st.mining import MiningSettings
    from mr_st.recipes.schema import MiningSpec

    elsewhere = {"split", "item_text_levels", "max_chars", "seed", "dtype"}
    settings = {field.name: field.default for field in fields(MiningSettings) if field.name not in elsewhere}
    spec = {name: field.default for name, field in MiningSpec.model_fields.items() if name != "sources"}
    assert spec == settings
