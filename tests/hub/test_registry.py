"""The registry: what it lists, and the check that finds every way in which card, recipe and results can disagree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.hub.registry import find_registry, read_registered, registered_models
from mr_st.hub.registry_check import check_registry
from mr_st.recipes import Recipe

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
TRAINED, RECIPE = "mr-minilm-marketplace", "mr-e5-small-esci"


def test_the_committed_registry_agrees() -> None:
    found = check_registry(CARDS, Recipe.from_yaml)
    assert {TRAINED, RECIPE, "mr-minilm-esci-sample", "mr-modernbert-esci", "mr-qwen3-0.6b-esci-256"} <= found.keys()
    assert not any(found.values()), found


def test_what_is_listed() -> None:
    models = {model.name: model for model in registered_models(CARDS)}
    trained, recipe = models[TRAINED], models[RECIPE]
    (path,) = (CARDS / TRAINED / "results").glob("mr-st__mr-minilm-marketplace/*/MarketplaceRetrieval.json")
    value, low, high, n = json.loads(path.read_text())["scores"]["test"][0]["graded"]["metrics"]["ndcg@10"]
    assert (trained.value, trained.low, trained.high, trained.n_queries) == (value, low, high, n)
    assert trained.revision == path.parent.name
    assert (trained.status, trained.license, trained.dim) == ("card and results", "apache-2.0", 384)
    assert trained.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert trained.n_parameters is not None
    assert (recipe.status, recipe.value, recipe.dim, recipe.license) == ("recipe only", None, 256, "mit")
    assert recipe.data == "esci (us, es, jp, small)"
    assert recipe.estimate is not None
    assert recipe.estimate["kind"] == "estimate"
    json.dumps([model.to_dict() for model in models.values()], allow_nan=False)


@pytest.mark.parametrize("name", ["../model_cards", "no-such", "a\nb", ""])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match="no model named") as caught:
        read_registered(CARDS, name)
    assert "\n" not in str(caught.value)


def test_no_registry(tmp_path: Path) -> None:
    with pytest.raises(MrStError, match="source checkout, not with the installed package"):
        find_registry(tmp_path / "absent")
    assert find_registry(CARDS) == CARDS


def test_one_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    for name in ("a-list", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "a-list" / "recipe.yaml").write_text("- 1\n")
    (tmp_path / "broken" / "recipe.yaml").write_text("name: [\n")
    shutil.copytree(CARDS / RECIPE, tmp_path / RECIPE)
    found = {model.name: model for model in registered_models(tmp_path)}
    assert [found[name].status for name in ("a-list", "broken", RECIPE)] == ["unreadable", "unreadable", "recipe only"]
    assert "\n" not in found["broken"].description


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of two: one trained, one recipe."""
    folder = tmp_path_factory.mktemp("cards")
    for name in (TRAINED, RECIPE):
        shutil.copytree(CARDS / name, folder / name)
    return folder


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def result_of(folder: Path, arm: str = "") -> Path:
    (path,) = folder.glob(f"results/mr-st__mr-minilm-marketplace{arm}/*/MarketplaceRetrieval.json")
    return path


def change_result(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def of_graded(content: dict) -> dict:
    return content["scores"]["test"][0]["graded"]


def of_metrics(content: dict) -> dict:
    return of_graded(content)["metrics"]


def drop_shrink_plot(folder: Path) -> None:
    if (folder / "shrink.json").exists():
        (folder / "shrink.json").write_text("{}")
    else:
        replaced(folder / "README.md", "plots/margins.png", "plots/shrink.png")


def link_out(folder: Path) -> None:
    (folder / "plots" / "secret.txt").symlink_to("/etc/hostname")


def swap_queries(folder: Path) -> None:
    """One query's value changed: the file is whole, its mean is another."""
    path = next(result_of(folder).parent.glob("*.per_query.parquet"))
    table = pq.read_table(path)
    column = table.column_names.index("ndcg@10")
    values = table["ndcg@10"].to_pylist()
    values[0] = 1.0 - (values[0] or 0.0)
    pq.write_table(table.set_column(column, table.field("ndcg@10"), [values]), path)


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "value on the card": (
        TRAINED, lambda f: replaced(f / "README.md", "value: 0.", "value: 0.9"), "ndcg@10 is 0.9",
    ),
    "metadata": (TRAINED, lambda f: replaced(f / "README.md", "license: ", "license: [1] #"), "license"),
    "base model": (
        TRAINED, lambda f: replaced(f / "recipe.yaml", "base: minilm", "base: org/other"), "base org/other",
    ),
    "setting of the model": (
        TRAINED, lambda f: replaced(f / "recipe.yaml", "max_seq_length: 64", "max_seq_length: 32"), "_length 64",
    ),
    "setting of a stage": (
        TRAINED, lambda f: replaced(f / "recipe.yaml", "max_steps: 200", "max_steps: 300"), "stage2.max_steps 200",
    ),
    "setting of the mining": (
        TRAINED, lambda f: replaced(f / "recipe.yaml", "boundary: 0.1", "boundary: 0.5"), "mining.boundary 0.1",
    ),
    "name": (TRAINED, lambda f: replaced(f / "recipe.yaml", "name: mr-minilm", "name: mr-other"), "folder is called"),
    "unknown key": (TRAINED, lambda f: replaced(f / "recipe.yaml", "stage1:", "stage_1:"), "unknown key"),
    "task": (
        TRAINED, lambda f: replaced(f / "recipe.yaml", "task: Marketplace", "task: Market"), "the recipe's evaluation",
    ),
    "no recipe": (TRAINED, lambda f: (f / "recipe.yaml").unlink(), "recipe.yaml is missing"),
    "plot": (TRAINED, lambda f: (f / "plots" / "margins.png").unlink(), "plots/margins.png does not exist"),
    "path out": (
        TRAINED, lambda f: replaced(f / "README.md", "(plots/margins.png", "(../../secret.png"), "leads out",
    ),
    "shrink": (TRAINED, drop_shrink_plot, "shrink"),
    "pickle": (TRAINED, lambda f: (f / "results" / "weights.pt").write_bytes(b"\x80"), "pickled"),
    "link": (TRAINED, link_out, "out of the folder"),
    "result gone": (TRAINED, lambda f: shutil.rmtree(result_of(f).parent), "0 results of"),
    "result of another model": (
        TRAINED,
        lambda f: change_result(result_of(f), lambda c: of_graded(c)["model"].update(revision="x")),
        "at x",
    ),
    "result of other data": (
        TRAINED, lambda f: change_result(result_of(f), lambda c: c.update(dataset_revision="0" * 16)), "dataset",
    ),
    "figure in the result": (
        TRAINED,
        lambda f: change_result(result_of(f, "-stage1"), lambda c: of_metrics(c)["ndcg@10"].__setitem__(0, 0.5)),
        "mean of its queries",
    ),
    "queries of the result": (TRAINED, swap_queries, "mean of its queries"),
    "tables of the result": (
        TRAINED, lambda f: next(result_of(f).parent.glob("*.run.parquet")).unlink(), "not a whole result",
    ),
    "broken result": (TRAINED, lambda f: result_of(f).write_text("{"), "not valid JSON"),
    "report": (
        TRAINED,
        lambda f: change_result(f / "report.json", lambda c: c["metrics"]["stage1"]["ndcg@10"].update(value=0.1)),
        "the figures of stage1",
    ),
    "estimate beside a card": (
        TRAINED, lambda f: (f / "estimate.yaml").write_text("kind: estimate"), "delete the estimate",
    ),
    "no estimate": (RECIPE, lambda f: (f / "estimate.yaml").unlink(), "neither a card"),
    "not called an estimate": (
        RECIPE, lambda f: replaced(f / "estimate.yaml", "kind: estimate", "kind: measured"), "must say so",
    ),
    "hours": (RECIPE, lambda f: replaced(f / "estimate.yaml", "  total: ", "  total: 9"), "add up to"),
    "no memory": (RECIPE, lambda f: replaced(f / "estimate.yaml", "gpu_memory_gb: ", "gpu_memory_gb: -"), "positive"),
    "results without a card": (RECIPE, lambda f: (f / "report.json").write_text("{}"), "results without a card"),
    "unsafe YAML": (
        RECIPE, lambda f: (f / "recipe.yaml").write_text("name: !!python/object/apply:os.getcwd []"), "recipe.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(whole: Path, tmp_path: Path, damage: str) -> None:
    name, do, message = DAMAGES[damage]
    shutil.copytree(whole / name, tmp_path / name)
    do(tmp_path / name)
    faults = check_registry(tmp_path, Recipe.from_yaml)[name]
    assert any(message in fault for fault in faults), faults
    assert all("\n" not in fault and str(tmp_path) not in fault for fault in faults)
