"""The recipe's augmentation: off by default, training only, done once, and seen by all that is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from mr_st.annotation import JudgmentAnnotator
from mr_st.data import GradedDataset
from mr_st.data.marketplace import MarketplacePolicy
from mr_st.errors import UsageError
from mr_st.files import read_json
from mr_st.recipes import Recipe, run_recipe
from mr_st.recipes.augment import augment_dataset, say_counts, variants_of
from mr_st.recipes.schema import AugmentSpec
from mr_st.training import KnownGrades, StageResult

RECIPE = """
name: augmented
data: {{source: marketplace, options: {{size: tiny}}}}
model: {{base: {base}, dim: 16}}
augment: {augment}
annotator: {annotator}
stage1: {{loss: supcon, max_steps: 2, queries_per_batch: 4, evaluations: 1}}
mining: {{k: 10}}
stage2: {{loss: circle, max_steps: 2, queries_per_batch: 4, evaluations: 1, seed: 1}}
control: false
evaluation: {{dev_items: 50}}
publish: {{repo_id: test/augmented}}
"""


def recipe_of(folder: Path, base: Path, augment: str, annotator: str = "{kind: policy}") -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(base=base, augment=augment, annotator=annotator))
    return Recipe.from_yaml(path)


def judged(dataset: GradedDataset, *splits: str) -> list[dict]:
    return [row for row in dataset.judgments if row["split"] in splits]


@pytest.fixture(scope="module")
def shop() -> GradedDataset:
    return GradedDataset.load("marketplace", size="tiny")


def test_it_is_off_unless_named() -> None:
    assert not Recipe(name="x").augment.is_on
    assert Recipe(name="x", augment={"spelling": {}}).augment.spelling.share == 0.4  # type: ignore[union-attr]


def test_smoke_writes_for_a_few_items_only() -> None:
    recipe = Recipe(
        name="x", annotator={"kind": "cross_encoder"}, augment={"synthetic": {}, "spelling": {"share": 0.3}}
    )
    smoke = recipe.smoke().augment
    assert smoke.synthetic is not None
    assert smoke.synthetic.max_items == 50
    assert smoke.spelling == recipe.augment.spelling


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("{speling: {}}", r"augment\.speling: unknown key; did you mean spelling\?"),
        ("{spelling: {shared: 0.4}}", r"augment\.spelling\.shared: unknown key; did you mean share\?"),
        ("{spelling: {share: 0}}", r"augment\.spelling\.share: .*greater than 0"),
        ("{spelling: {mode: regularised}}", r"augment\.spelling\.mode: .*'additive', 'in_place' or 'regularise'"),
        ("{spelling: {mode: regularise}}", r"regularise: stage1\.loss is supcon.*set stage1\.loss: spelling_consist"),
        ("{synthetic: {policy: all}}", r"augment\.synthetic\.policy: .*'selective' or 'low_ratio'"),
        ("{synthetic: {}}", r"augment\.synthetic: new queries must be labelled.*set annotator\.kind: cross_encoder"),
    ],
)
def test_bad_augmentation_is_one_clear_line(tmp_path: Path, augment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        recipe_of(tmp_path, tmp_path, augment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["additive", "in_place"])
def test_only_training_changes(shop: GradedDataset, mode: str) -> None:
    policy = JudgmentAnnotator(MarketplacePolicy.for_dataset(shop))
    augmented, facts = augment_dataset(shop, AugmentSpec.model_validate({"spelling": {"mode": mode}}), policy)
    assert judged(augmented, "dev", "test") == judged(shop, "dev", "test")
    held_out = {row["query_id"] for row in judged(shop, "dev", "test")}
    before, after = ({r["query_id"]: r for r in d.queries if r["query_id"] in held_out} for d in (shop, augmented))
    assert before == after
    n = facts["spelling"]["n_variants"]
    assert 0 < n < 20
    extra = n if mode == "additive" else 0
    assert len(augmented.queries) == len(shop.queries) + extra
    assert say_counts(facts)[0].startswith(f"Misspelt queries ({mode.replace('_', '-')}): {n:,} of ")
    MarketplacePolicy.for_dataset(augmented)  # knows the variants


def test_spelling_that_regularises_changes_no_query(shop: GradedDataset) -> None:
    policy = JudgmentAnnotator(MarketplacePolicy.for_dataset(shop))
    spec = AugmentSpec.model_validate({"spelling": {"mode": "regularise", "share": 0.5}})
    augmented, facts = augment_dataset(shop, spec, policy)
    assert augmented.fingerprint == shop.fingerprint
    variants = variants_of(augmented, spec, "spelling_consistency")
    assert variants is not None
    assert 5 < facts["spelling"]["n_variants"] == len(variants) <= 10
    n_queries = facts["spelling"]["n_queries"]  # without those that are misspelt by themselves
    assert say_counts(facts) == [f"Misspelt queries (regularise): {len(variants)} of {n_queries} queries"]
    train = set(shop.split("train").queries["query_id"])
    texts = dict(zip(shop.queries["query_id"], shop.queries["text"], strict=True))
    assert all(query_id in train and text != texts[query_id] for query_id, text in variants.items())
    assert variants_of(augmented, spec, "circle") is None
    assert variants_of(augmented, AugmentSpec.model_validate({"spelling": {}}), "spelling_consistency") is None


def test_the_loss_that_regularises_needs_variants() -> None:
    with pytest.raises(ValueError, match=r"stage2\.loss spelling_consistency: .* augment\.spelling\.mode: regularise"):
        Recipe(name="x", stage2={"loss": "spelling_consistency", "epochs": 1}, augment={"spelling": {}})


@pytest.mark.slow
def test_a_run_regularises_and_learns_from_what_is_known_in_the_batch(
    tmp_path: Path, tiny_base: Path, shop: GradedDataset
) -> None:
    text = RECIPE.format(
        base=tiny_base, augment="{spelling: {mode: regularise, share: 1}}", annotator="{kind: policy}"
    )
    stage = "loss: spelling_consistency, loss_options: {weight: 0.5}, known_in_batch: true, max_steps: 3"
    path = tmp_path / "recipe.yaml"
    path.write_text(text.replace("loss: supcon, max_steps: 2", stage).replace("control: false", "control: true"))
    recipe = Recipe.from_yaml(path)
    lines: list[str] = []
    result = run_recipe(recipe, tmp_path / "out", announce=lines.append)
    n_variants = result.steps["augment"].facts["spelling"]["n_variants"]
    assert n_variants >= 15
    assert any(line.startswith(f"Misspelt queries (regularise): {n_variants} of ") for line in lines)
    for arm in ("stage1", "control"):
        facts = result.steps[arm].facts
        assert facts["config"]["loss"] == "spelling_consistency"
        assert "log_tau" in facts["loss_state"]
    logs = StageResult.load(tmp_path / "out" / "stage1").log_history
    assert all(entry["spelling"] > 0 and entry["supcon"] > 0 for entry in logs)
    assert result.steps["stage1"].facts["loss_config"]["weight"] == 0.5
    # the grades that were known in the batches are those of the training judgments
    known = KnownGrades.from_dataset(shop, "train").identity
    settings = {arm: read_json(tmp_path / "out" / arm / "settings.json") for arm in ("stage1", "stage2", "control")}
    assert settings["stage1"]["known"] == known
    assert "known" not in settings["stage2"]
    assert "known" not in settings["control"]  # its schedule is stage 2's, which does not ask


@pytest.mark.slow
def test_a_run_trains_on_misspelt_queries_and_resumes(tmp_path: Path, tiny_base: Path, shop: GradedDataset) -> None:
    recipe = recipe_of(tmp_path, tiny_base, "{spelling: {share: 0.5}}")
    lines: list[str] = []
    result = run_recipe(recipe, tmp_path / "out", announce=lines.append)
    counts = next(line for line in lines if line.startswith("Misspelt queries (additive): "))
    augmented = GradedDataset.load(tmp_path / "out" / "augment" / "dataset")
    variants = [row["query_id"] for row in augmented.queries][len(shop.queries) :]
    assert f": {len(variants)} of " in counts
    assert judged(augmented, "dev", "test") == judged(shop, "dev", "test")
    mined = GradedDataset.load(tmp_path / "out" / "data" / "dataset")
    assert mined.fingerprint == shop.fingerprint  # what is measured is the data as it was
    steps = result.steps
    assert steps["augment"].facts["spelling"]["n_variants"] == len(variants)
    assert steps["mining"].facts["dataset"]["fingerprint"] == augmented.fingerprint
    assert steps["mining"].facts["queries"] == 20 + len(variants)

    again: list[str] = []
    run_recipe(recipe, tmp_path / "out", announce=again.append)
    assert "Augmenting the training queries: done before, kept" in again
    assert counts in again
    other: list[str] = []
    run_recipe(
        recipe_of(tmp_path, tiny_base, "{spelling: {share: 0.5, seed: 1}}"), tmp_path / "out", announce=other.append
    )
    assert "Augmenting the training queries: the settings have changed, done anew" in other
    assert "Stage 1: supcon: the settings have changed, done anew" in other
    assert "Preparing the data: done before, kept" in other


@pytest.mark.slow
def test_a_run_trains_on_synthetic_queries(tmp_path: Path, tiny_base: Path) -> None:
    annotator = f"{{kind: cross_encoder, options: {{base: {tiny_base}, epochs: 1, max_length: 32}}}}"
    recipe = recipe_of(tmp_path, tiny_base, "{synthetic: {max_items: 30}, spelling: {}}", annotator)
    lines: list[str] = []
    result = run_recipe(recipe, tmp_path / "out", announce=lines.append)
    facts = result.steps["augment"].facts
    assert facts["synthetic"]["items_chosen"] == 30
    assert facts["synthetic"]["annotator"] == result.steps["annotator"].facts["identity"]
    assert facts["spelling"]["n_queries"] >= 20 + facts["synthetic"]["queries"] - 2  # synthetic ones are misspelt too
    assert any(line.startswith("Synthetic queries (selective): ") for line in lines)
    augmented = GradedDataset.load(tmp_path / "out" / "augment" / "dataset")
    assert {"organic", "synthetic", "spelling"} <= set(augmented.queries["kind"])
