"""The annotator of a recipe: what is refused, what is made anew, and that no label is asked for twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_endpoint import KEY, MODEL, faulty_endpoint, true_grade
from pydantic import ValidationError
from sentence_transformers import CrossEncoder
from tiny_causal import build_tiny_causal

from mr_st.annotation import CrossEncoderAnnotator, LLMAnnotator, PairTable, StoredAnnotator
from mr_st.annotation.cross_encoder import write_calibration
from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.recipes import Recipe, run_recipe
from mr_st.recipes.annotator import prepare_annotator
from mr_st.recipes.steps import Step, Steps


@pytest.fixture(scope="module")
def shop() -> GradedDataset:
    return GradedDataset.load("marketplace", size="tiny")


def recipe_of(**annotator: object) -> Recipe:
    data = {"source": "marketplace", "options": {"size": "tiny"}}
    return Recipe.model_validate({"name": "x", "data": data, "annotator": annotator})


def prepare(recipe: Recipe, shop: GradedDataset, out: Path) -> tuple[Step, StoredAnnotator, list[str]]:
    lines: list[str] = []
    steps = Steps(out, lines.append)
    data = steps.once("data", "Data", {}, lambda folder: {})
    text_format = {"item_text_levels": 2, "max_chars": 400}
    step, annotator = prepare_annotator(recipe, shop, data, steps.once, out, **text_format)
    assert isinstance(annotator, StoredAnnotator)
    return step, annotator, lines


def some_pairs(shop: GradedDataset, n: int = 6) -> PairTable:
    return shop.pair_table(range(n), range(n))


@pytest.mark.parametrize(
    ("annotator", "message"),
    [
        ({"kind": "saved"}, "path and kind saved belong together"),
        ({"kind": "cross_encoder", "path": "x"}, "path and kind saved belong together"),
        ({"kind": "saved", "path": "x", "options": {"epochs": 1}}, "kind saved takes no options"),
        ({"kind": "llm"}, r"kind llm needs options: \{base: ...\}"),
        ({"kind": "lm", "options": {"base": "x"}}, "'policy', 'cross_encoder', 'llm' or 'saved'"),
    ],
)
def test_what_does_not_fit_is_refused(annotator: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe_of(**annotator)


def test_smoke_shortens_fits_and_leaves_what_is_saved() -> None:
    llm = recipe_of(kind="llm", options={"base": "x", "epochs": 5}).smoke().annotator
    assert llm.options == {"base": "x", "epochs": 1}
    assert recipe_of(kind="cross_encoder").smoke().annotator.options == {"max_length": 32, "epochs": 1}
    saved = recipe_of(kind="saved", path="hosted.yaml")
    assert saved.smoke().annotator == saved.annotator
    assert Recipe.model_validate(saved.model_dump(mode="json")) == saved


def test_a_fitted_folder_is_known_by_its_content(shop: GradedDataset, tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    CrossEncoder(str(tiny_base), num_labels=3, device="cpu").save(str(folder / "model"))
    write_calibration(folder / "model", 1.5)
    recipe = recipe_of(kind="saved", path=str(folder))
    step, annotator, lines = prepare(recipe, shop, tmp_path / "out")
    assert isinstance(annotator.annotator, CrossEncoderAnnotator)
    assert step.facts == {"identity": annotator.identity}
    assert lines[-1] == f"Annotator: {folder}"

    folder.rename(tmp_path / "moved")
    moved, _, lines = prepare(recipe_of(kind="saved", path=str(tmp_path / "moved")), shop, tmp_path / "out")
    assert moved.key == step.key
    assert lines[-1].endswith("done before, kept")

    write_calibration(tmp_path / "moved" / "model", 2.5)  # another annotator: what builds on it is made anew
    changed, _, lines = prepare(recipe_of(kind="saved", path=str(tmp_path / "moved")), shop, tmp_path / "out")
    assert changed.key != step.key
    assert lines[-1].endswith("the settings have changed, done anew")


def test_labels_of_a_hosted_annotator_are_paid_for_once(
    shop: GradedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    pairs = some_pairs(shop)
    with faulty_endpoint() as server:
        (tmp_path / "hosted.yaml").write_text(
            f"kind: endpoint\nmodel: {MODEL}\nbase_url: {server.base_url}\napi_key_env: LOOPBACK_KEY\n"
            "guideline: brief\n"
        )
        monkeypatch.chdir(tmp_path)  # a path starts where the job is started
        recipe = recipe_of(kind="saved", path="hosted.yaml")
        for _ in range(2):
            _, annotator, _ = prepare(recipe, shop, tmp_path / "out")
            assert annotator.grade(pairs).grades.tolist() == list(map(true_grade, pairs.query_texts, pairs.item_texts))
        assert set(server.asked.values()) == {1}
    assert (tmp_path / "out" / "labels.sqlite").is_file()
    everything = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(KEY.encode() not in path.read_bytes() for path in everything)


def test_another_scale_is_refused(shop: GradedDataset, tiny_base: Path, tmp_path: Path) -> None:
    CrossEncoder(str(tiny_base), num_labels=2, device="cpu").save(str(tmp_path / "two"))
    with pytest.raises(UsageError, match=r"recipe, annotator\.path: .* knows grades 0\.\.1"):
        prepare(recipe_of(kind="saved", path=str(tmp_path / "two")), shop, tmp_path / "out")


@pytest.mark.slow
def test_a_language_model_is_fitted_and_its_labels_kept(shop: GradedDataset, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = build_tiny_causal(tmp_path / "base")
    options = {"base": str(base), "epochs": 1, "guideline": "brief", "batch_size": 64, "evaluations_per_epoch": 1}
    recipe = recipe_of(kind="llm", options=options)
    step, annotator, _ = prepare(recipe, shop, tmp_path / "out")
    assert isinstance(annotator.annotator, LLMAnnotator)
    assert step.facts["identity"] == annotator.identity
    first = annotator.grade(some_pairs(shop))
    again, second, lines = prepare(recipe, shop, tmp_path / "out")
    assert again.key == step.key
    assert lines[-1] == "Annotator: fitting a language model: done before, kept"
    assert second.store.get(second.identity, some_pairs(shop))[0].all()
    assert second.grade(some_pairs(shop)).grades.tolist() == first.grades.tolist()


@pytest.mark.slow
def test_a_whole_job_with_a_saved_annotator(tiny_base: Path, tmp_path: Path) -> None:
    CrossEncoder(str(tiny_base), num_labels=3, device="cpu").save(str(tmp_path / "fitted"))
    recipe = Recipe.model_validate(
        {
            "name": "saved",
            "data": {"source": "marketplace", "options": {"size": "tiny"}},
            "model": {"base": str(tiny_base), "dim": 16},
            "annotator": {"kind": "saved", "path": str(tmp_path / "fitted")},
            "instances": {"fill_one_grade": False},
            "control": False,
        }
    ).smoke()
    result = run_recipe(recipe, tmp_path / "out")
    identity = CrossEncoderAnnotator(tmp_path / "fitted").identity
    assert result.steps["mining"].facts["annotator"] == identity
    assert result.steps["annotator"].facts == {"identity": identity}
    assert (tmp_path / "out" / "labels.sqlite").is_file()
