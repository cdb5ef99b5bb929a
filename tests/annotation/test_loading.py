"""Annotators by name: folders, YAML files, and one clear line for what is neither."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml
from sentence_transformers import CrossEncoder
from tiny_causal import build_tiny_causal

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.annotation.cross_encoder import write_calibration
from mr_st.annotation.endpoint import EndpointAnnotator
from mr_st.annotation.ensemble import EnsembleAnnotator
from mr_st.annotation.llm import LLMAnnotator
from mr_st.annotation.loading import _KINDS, load_annotator
from mr_st.annotation.similarity import SimilarityAnnotator
from mr_st.errors import MrStError, UsageError

HOSTED = "kind: endpoint\nmodel: m\nbase_url: http://127.0.0.1:1/v1\n"
CLASSES = {
    "cross_encoder": CrossEncoderAnnotator,
    "llm": LLMAnnotator,
    "endpoint": EndpointAnnotator,
    "similarity": SimilarityAnnotator,
    "ensemble": EnsembleAnnotator,
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A folder as a fit leaves it: ``model/`` with the temperature beside the weights."""
    folder = tmp_path_factory.mktemp("fitted")
    CrossEncoder(str(tiny_base), num_labels=3, device="cpu").save(str(folder / "model"))
    write_calibration(folder / "model", 1.5)
    return folder


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_causal(tmp_path_factory.mktemp("causal"))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_a_file_may_say_whatever_the_class_takes(kind: str) -> None:
    """A new option of a class must be sayable, with the same default."""
    said, taken = _KINDS[kind].model_fields, inspect.signature(CLASSES[kind].__init__).parameters
    renamed = {"annotators": "members"}  # a file names them, or says what they are
    assert set(said) - {"kind"} == {renamed.get(name, name) for name in taken} - {"self"}
    for name, field in said.items():
        if name != "kind" and not field.is_required():
            default = taken[name].default
            assert field.default == (list(default) if isinstance(default, tuple) else default), name


def test_what_a_fit_wrote(fitted: Path, tmp_path: Path) -> None:
    inside = load_annotator(fitted / "model")
    assert isinstance(inside, CrossEncoderAnnotator)
    assert inside.temperature == 1.5
    assert load_annotator(fitted).identity == inside.identity
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "fit").symlink_to(fitted)
    assert load_annotator(str(tmp_path / "step")).identity == inside.identity


def test_a_language_model_is_recognised(causal: Path) -> None:
    annotator = load_annotator(causal)
    assert isinstance(annotator, LLMAnnotator)
    assert annotator.prompts.prompt.guideline.name == "three_grades"


def test_a_file_for_each_kind(fitted: Path, causal: Path, tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name, target in (("ce", fitted / "model"), ("lm", causal), ("st", tiny_base)):
        (tmp_path / "models" / name).symlink_to(target)
    (tmp_path / "own.md").write_text("# G\n\n## Grade 0: no\n\nx\n\n## Grade 1: yes\n\ny\n")
    encoder = load_annotator(write(tmp_path / "a.yaml", "kind: cross_encoder\nmodel: models/ce\ntemperature: 2.0\n"))
    assert isinstance(encoder, CrossEncoderAnnotator)
    assert encoder.temperature == 2.0
    llm = load_annotator(
        write(tmp_path / "b.yml", "kind: llm\nmodel: models/lm\nguideline: own.md\ndefended: false\n")
    )
    assert isinstance(llm, LLMAnnotator)
    assert (llm.n_grades, llm.prompts.prompt.defended) == (2, False)
    similar = load_annotator(write(tmp_path / "c.yaml", "kind: similarity\nmodel: models/st\nthresholds: [0, 0.5]\n"))
    assert isinstance(similar, SimilarityAnnotator)
    assert similar.thresholds == (0, 0.5)
    members = [str(fitted), {"kind": "similarity", "model": "models/st", "thresholds": [0.1, 0.4]}, "a.yaml"]
    both = load_annotator(write(tmp_path / "d.yaml", yaml.safe_dump({"kind": "ensemble", "members": members})))
    assert isinstance(both, EnsembleAnnotator)
    assert len(both.annotators) == 3


def test_an_endpoints_budget_may_be_set_in_place_of_its_own(tmp_path: Path, fitted: Path) -> None:
    path = write(tmp_path / "hosted.yaml", HOSTED + "price_per_million_input: 1\nbudget: 5\n")
    assert load_annotator(path)._budget.budget == 5  # type: ignore[attr-defined]
    assert load_annotator(path, budget=2.5)._budget.budget == 2.5  # type: ignore[attr-defined]
    assert load_annotator(path, budget=2.5).identity == load_annotator(path).identity
    with pytest.raises(UsageError, match="has no budget"):
        load_annotator(fitted, budget=1)
    local = write(tmp_path / "local.yaml", f"kind: cross_encoder\nmodel: {fitted}/model\n")
    with pytest.raises(UsageError, match="has no budget"):
        load_annotator(local, budget=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: endpont\nmodel: m\n", r"a\.yaml: kind: found 'endpont'; did you mean endpoint\?"),
        ("model: m\n", r"a\.yaml: kind: missing; it is one of cross_encoder, llm, endpoint, similarity, ensemble"),
        ("kind: [endpoint]\n", r"a\.yaml: kind: found \['endpoint'\]"),
        (HOSTED + "concurency: 3\n", r"concurency: unknown key; did you mean concurrency\?"),
        (HOSTED + "concurrency: many\n", r"concurrency: .*found 'many'"),
        ("kind: endpoint\nmodel: m\n", r"base_url: Field required"),
        (HOSTED + "api_key: sk-1\n", r"api_key: unknown key; did you mean api_key_env\?"),
        ("kind: ensemble\nmembers: [x]\n", r"members: .*at least 2"),
        ("kind: ensemble\nmembers: [{kind: llm, modle: x}, y]\n", r"members\.0: .*unknown key; did you mean model\?"),
        ("- kind: llm\n", r"the annotator file is no YAML mapping"),
        ("kind: !!python/object/apply:os.system [x]\n", r"not valid YAML"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.yaml", text)
    with pytest.raises(UsageError, match=message) as caught:
        load_annotator(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: cannot read the annotator file \(No such file"):
        load_annotator(tmp_path / "no.yaml")
    with pytest.raises(UsageError, match=r"no such folder or file; give a fitted annotator's folder"):
        load_annotator(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no annotator \(no config\.json"):
        load_annotator(tmp_path / "empty")
    with pytest.raises(MrStError, match=r"nobody/nothing: no cross-encoder could be loaded"):
        load_annotator("nobody/nothing")
