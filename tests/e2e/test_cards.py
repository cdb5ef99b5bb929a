"""The registry: every model has recipe, card and results of a real run, and they agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mr_st.evaluation import find_reports
from mr_st.hub import check_card
from mr_st.recipes import Recipe, bundled_recipe

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
NAMES = sorted(path.parent.name for path in CARDS.glob("*/README.md"))


def test_there_are_cards() -> None:
    assert NAMES == ["mr-minilm-esci-sample", "mr-minilm-marketplace"]


@pytest.mark.parametrize("name", NAMES)
def test_card_recipe_and_results_agree(name: str) -> None:
    folder = CARDS / name
    recipe = Recipe.from_yaml(folder / "recipe.yaml")
    assert recipe.name == name
    card = (folder / "README.md").read_text(encoding="utf-8")
    check_card(card)
    report = json.loads((folder / "report.json").read_text())
    stage2 = report["metrics"]["stage2"]["ndcg@10"]["value"]
    assert f"{stage2:.3f}".lstrip("0") in card
    found = {
        json.loads(p.read_text())["task_name"]
        for p in (folder / "results").glob("*/*/*.json")
        if p.stem != "model_meta"
    }
    assert found == {recipe.evaluation.task}


def test_the_bundled_recipe_is_the_cards() -> None:
    assert Recipe.from_yaml(CARDS / "mr-minilm-marketplace" / "recipe.yaml") == bundled_recipe("marketplace")


def test_reports_are_read_back() -> None:
    assert len(find_reports([CARDS / name / "results" for name in NAMES])) == 8
