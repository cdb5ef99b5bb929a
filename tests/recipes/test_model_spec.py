"""The ``model:`` section of a recipe, and a whole job with it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer

from mr_st.errors import UsageError
from mr_st.models import matryoshka_dims
from mr_st.models.trunk import PoolingMode
from mr_st.recipes import Recipe, run_recipe
from mr_st.recipes.schema import LoraSpec, ModelSpec

YAML = """
name: towers
model:
  base: minilm
  dim: 128
  pooling: lasttoken
  matryoshka_dims: [64, 32]
  prompts: {query: "query: ", document: "passage: "}
  lora: {r: 4, target_modules: [query, value]}
"""


def test_all_options_are_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(YAML)
    recipe = Recipe.from_yaml(tmp_path / "recipe.yaml")
    assert recipe.model.matryoshka_dims == (64, 32)
    assert recipe.model.lora == LoraSpec(r=4, target_modules=["query", "value"])
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert Recipe.from_yaml(tmp_path / "again.yaml") == recipe
    plain = ModelSpec()
    assert (plain.pooling, plain.matryoshka_dims, plain.lora) == (None, None, None)


def test_the_poolings_are_those_of_the_towers() -> None:
    (literal, _) = get_args(ModelSpec.model_fields["pooling"].annotation)
    assert set(get_args(literal)) == set(get_args(PoolingMode))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"matryoshka_dims": []}, "different positive widths"),
        ({"matryoshka_dims": [64, 64]}, "different positive widths"),
        ({"matryoshka_dims": [0]}, "different positive widths"),
        ({"dim": 64, "matryoshka_dims": [128]}, "has 128, and dim, the full width, is 64"),
        ({"pooling": "middle"}, "lasttoken"),
        ({"lora": {"r": 0}}, "greater than or equal to 1"),
        ({"lora": {"rank": 8}}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_refused(model: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate(model)


def test_a_misspelt_key_of_lora_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(YAML.replace("target_modules", "target_module"))
    with pytest.raises(UsageError, match=r"model\.lora\.target_module: unknown key; did you mean target_modules"):
        Recipe.from_yaml(tmp_path / "recipe.yaml")


@pytest.mark.slow
def test_a_job_with_adapters_and_widths_publishes_a_plain_model(tiny_base: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    recipe = Recipe.model_validate(
        {
            "name": "towers",
            "data": {"source": "marketplace", "options": {"size": "tiny"}},
            "model": {
                "base": str(tiny_base), "dim": 16, "architecture": "asymmetric", "matryoshka_dims": [8],
                "lora": {"r": 2, "target_modules": "all-linear"},
            },
            "control": False,
        }
    ).smoke()  # fmt: skip
    run_recipe(recipe, tmp_path)
    assert not list(tmp_path.rglob("adapter*"))
    models = [path.parent for path in tmp_path.rglob("modules.json")]
    assert len(models) >= 3  # the tower, both stages, and what is published
    for folder in models:
        model = SentenceTransformer(str(folder), device="cpu")
        assert matryoshka_dims(model) == (16, 8)
        assert model.encode_query(["mug"]).shape == (1, 16)
    configs = [p.read_text() for p in tmp_path.rglob("stage.json")]
    assert len(configs) == 2
    assert all('"matryoshka_dims"' in text for text in configs)
