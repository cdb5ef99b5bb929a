"""A system by name, and what a system file may say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mr_st.errors import DataError, MrStError, UsageError
from mr_st.evaluation import BiEncoder, Collection
from mr_st.evaluation.systems import (
    Bm25System,
    HybridSystem,
    RandomSystem,
    RerankedSystem,
    RunFile,
    load_system,
    read_spec,
)
from mr_st.evaluation.systems.spec import Loading

RUN = "q00 Q0 i00 1 0.9 t\n"


def file(folder: Path, called: str = "system.yaml", /, **content) -> Path:
    path = folder / called
    path.write_text(yaml.safe_dump(content))
    return path


def test_names_mean_what_they_say(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "a b.trec").write_text(RUN)
    (tmp_path / "x.run").write_text(RUN)
    found = {
        name: (type(system).__name__, system.name)
        for name in ("bm25", "random", str(tiny_base), str(tmp_path / "a b.trec"), str(tmp_path / "x.run"))
        for system in [load_system(name)]
    }
    assert list(found.values()) == [
        ("Bm25System", "mr-st/bm25"),
        ("RandomSystem", "mr-st/random"),
        ("BiEncoder", f"local/{tiny_base.parent.name}"),
        ("RunFile", "local/a-b"),
        ("RunFile", "local/x"),
    ]
    assert load_system("bm25", name="words").name == "local/words"
    assert load_system(tmp_path / "x.run", name="them/theirs").name == "them/theirs"


def test_a_file_says_what_it_is_made_of(tiny_base: Path, cross_encoders: dict[str, Path], tmp_path: Path) -> None:
    """Names and mappings inside each other; paths start at the file's folder."""
    (tmp_path / "model").symlink_to(tiny_base)
    (tmp_path / "judge").symlink_to(cross_encoders["three"])
    file(tmp_path, "words.yaml", kind="bm25", k1=0.3, b=0.6, language="en")
    file(
        tmp_path, "hybrid.yaml", kind="hybrid", fusion="weighted", normalise="zscore", depth=30,
        weights={"dense": 0.7, "words": 0.3}, parts={"dense": "model", "words": "words.yaml"},
    )  # fmt: skip
    path = file(
        tmp_path, kind="rerank", name="my-shop/all", retriever="hybrid.yaml", reranker="judge", depth=5,
        gains=[0, 0.1, 1],
    )  # fmt: skip
    system = load_system(path)
    assert isinstance(system, RerankedSystem)
    assert (system.name, system.depth) == ("my-shop/all", 5)
    inner = system.retriever
    assert isinstance(inner, HybridSystem)
    assert (inner.fusion, inner.normalise, inner.depth) == ("weighted", "zscore", 30)
    assert inner.weights == {"dense": 0.7, "words": 0.3}
    assert isinstance(inner.parts["dense"], BiEncoder)
    assert inner.parts["words"].revision == Bm25System(k1=0.3, b=0.6, language="en").revision
    assert load_system(tmp_path / "hybrid.yaml").name == "local/hybrid"
    moved = tmp_path / "moved"
    moved.mkdir()
    assert load_system(path.rename(tmp_path / "again.yaml"), name="x/y").revision == system.revision


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"kind": "bm25"}, Bm25System),
        ({"kind": "random", "seed": 4}, RandomSystem),
        ({"kind": "run", "path": "x.run"}, RunFile),
        ({"kind": "hybrid", "parts": {"a": {"kind": "random"}, "b": {"kind": "run", "path": "x.run"}}}, HybridSystem),
    ],
)
def test_a_files_name_is_its_own_where_none_is_given(content: dict, kind: type, tmp_path: Path) -> None:
    (tmp_path / "x.run").write_text(RUN)
    system = load_system(file(tmp_path, "mine.yml", **content))
    assert isinstance(system, kind)
    default = {Bm25System: "mr-st/bm25", RandomSystem: "mr-st/random", RunFile: "local/x"}
    assert system.name == default.get(kind, "local/mine")


def test_options_of_a_bi_encoder_change_its_identity(tiny_base: Path, tmp_path: Path, catalogue: Collection) -> None:
    options = [
        {},
        {"prompts": {"query": "mug lamp "}},
        {"prompts": {"query": "lamp mug "}},
        {"prompts": {"item": "mug lamp "}},
        {"max_seq_length": 4},
        {"truncate_dim": 8},
        {"truncate_dim": 16},
    ]
    how = Loading(device="cpu")
    found = [
        load_system(file(tmp_path, f"{n}.yaml", kind="bi-encoder", model=str(tiny_base), **each), how=how)
        for n, each in enumerate(options)
    ]
    assert len({system.revision for system in found}) == len(found)
    runs = [system.search(catalogue, 10).scores.tolist() for system in found]
    assert all(a != b for n, a in enumerate(runs) for b in runs[:n]), "shared models do not change each other"
    plain = load_system(str(tiny_base))
    assert (plain.revision, plain.search(catalogue, 10).scores.tolist()) == (found[0].revision, runs[0])
    assert [system.name for system in found[1:]] == [f"local/{n}" for n in range(1, len(found))]


def test_prompts_by_name(tiny_base: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_base), device="cpu")
    model.prompts = {"query": "q: ", "web": "web: "}
    model.save(str(tmp_path / "model"), create_model_card=False)
    for_web = load_system(file(tmp_path, kind="bi-encoder", model="model", prompt_names={"query": "web"}))
    in_words = load_system(file(tmp_path, kind="bi-encoder", model="model", prompts={"query": "web: "}))
    assert for_web.settings["prompts"] == {"query": "web: ", "item": ""}
    assert for_web.revision == in_words.revision != load_system(tmp_path / "model").revision
    with pytest.raises(UsageError, match="no prompt is called 'wbe'; it has document, query, web"):
        load_system(file(tmp_path, kind="bi-encoder", model="model", prompt_names={"query": "wbe"}))


def test_a_model_is_loaded_once(tiny_base: Path, tmp_path: Path, catalogue: Collection, monkeypatch) -> None:
    import mr_st.models
    from mr_st.models import load_sentence_transformer

    loaded: list[str] = []
    monkeypatch.setattr(
        mr_st.models,
        "load_sentence_transformer",
        lambda where, **options: (loaded.append(str(where)), load_sentence_transformer(where, **options))[1],
    )
    (tmp_path / "model").symlink_to(tiny_base)
    hybrid = file(tmp_path, kind="hybrid", parts={"dense": "model", "words": "bm25"})
    how = Loading(device="cpu")
    one = load_system(tmp_path / "model", how=how, name="a/b")
    two = load_system(hybrid, how=how)
    other = load_system(tmp_path / "model", how=how, name="c/d")
    assert len(loaded) == 1
    assert (one.name, two.parts["dense"].name, other.name) == ("a/b", f"local/{tiny_base.parent.name}", "c/d")
    vectors = one.vectors(catalogue.item_texts, "item")
    assert two.parts["dense"].vectors(catalogue.item_texts, "item") is vectors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "kind: missing; it is one of bi-encoder, bm25, hybrid, rerank, run, random"),
        ({"kind": "bm52"}, "kind: found 'bm52'; did you mean bm25"),
        ({"kind": ["bm25"]}, "kind: found"),
        ({"kind": "bm25", "k": 1}, "k: unknown key; did you mean"),
        ({"kind": "bm25", "k1": "much"}, "k1: Input should be a valid number; found 'much'"),
        ({"kind": "bm25", "b": 1.5}, "b: Input should be less than or equal to 1; found 1.5"),
        ({"kind": "bm25", "language": False}, "language: Input should be a valid string; found False"),
        ({"kind": "bm25", "method": "okapi"}, "method: Input should be 'lucene'"),
        ({"kind": "bm25", "name": "a/../b"}, "'..'.* cannot name a file"),
        ({"kind": "random", "seed": 1.5}, "seed: Input should be a valid integer"),
        ({"kind": "run"}, "path: Field required"),
        ({"kind": "run", "path": "none.run"}, "none.run: no such run file"),
        ({"kind": "hybrid"}, "parts: Field required"),
        ({"kind": "hybrid", "parts": {}}, "parts: Dictionary should have at least 1 item"),
        ({"kind": "hybrid", "parts": ["bm25"]}, "parts: Input should be a valid dictionary; found"),
        ({"kind": "hybrid", "parts": {"a": 3}}, "parts.a: found 3; give a system's name, or a mapping"),
        ({"kind": "hybrid", "parts": {"a": {"kind": "bm25", "k2": 1}}}, "parts.a: k2: unknown key; known keys: n"),
        ({"kind": "hybrid", "parts": {"a": {}}}, "parts.a: kind: missing"),
        ({"kind": "hybrid", "parts": {"a": "bm25"}, "weights": {"b": 1}}, "weights are for b, but the parts are a"),
        ({"kind": "hybrid", "parts": {"a": "bm25"}, "weights": {"a": "x"}}, "weights.a: Input should be a valid n"),
        ({"kind": "hybrid", "parts": {"a": "bm25"}, "normalise": "zscore"}, "normalise means nothing with fu"),
        ({"kind": "hybrid", "parts": {"a": "bm25"}, "fusion": "weighted", "constant": 3}, "constant means nothing"),
        ({"kind": "rerank", "retriever": "bm25"}, "reranker: Field required"),
        ({"kind": "rerank", "reranker": "x"}, "retriever: Field required"),
        ({"kind": "rerank", "retriever": "bm25", "reranker": "no/such", "depth": 0}, "depth: Input should be greater"),
        ({"kind": "rerank", "retriever": "bm25", "reranker": "no/such/x"}, "no/such/x: no such folder or file"),
        ({"kind": "bi-encoder"}, "model: Field required"),
        ({"kind": "bi-encoder", "model": "no/such/model"}, "no/such/model'?: no such folder"),
        ({"kind": "bi-encoder", "model": "m", "prompts": {"document": "x"}}, "prompts.document"),
        ({"kind": "bi-encoder", "model": "m", "prompts": {"item": "x"}, "prompt_names": {"item": "y"}}, "both name"),
        ({"kind": "bi-encoder", "model": "m", "trust_remote_code": True}, "trust_remote_code: unknown key"),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_is_one_line_that_names_it(content: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(MrStError, match=message) as caught:
        load_system(file(tmp_path, **content))
    assert "\n" not in str(caught.value)
    if content.get("reranker") != "no/such/x":  # which is said when it is loaded
        assert str(caught.value).startswith(f"{tmp_path / 'system.yaml'}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", r"system.yaml, line 1.*: not valid YAML"),
        ("- bm25", "is no YAML mapping"),
        ("!!python/object/apply:os.system ['touch owned']", "not valid YAML"),
        ("kind: hybrid\nparts: &p {a: {kind: hybrid, parts: *p}}\n", "more than 8 deep|nested too deeply"),
        ("kind: hybrid\nparts: {a: system.yaml}\n", "more than 8 deep; does a file name itself"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "system.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_system(tmp_path / "system.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["system.yaml"]


def test_what_is_wrong_is_said_before_anything_is_loaded(tmp_path: Path, cross_encoders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"none.yaml: cannot read the system file"):
        read_spec(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"none.run: no such run file"):
        read_spec(tmp_path / "none.run")
    with pytest.raises(UsageError, match="a cross-encoder reranks what another system finds"):
        read_spec(cross_encoders["one"])
    with pytest.raises(MrStError, match="no model in this folder"):
        read_spec(tmp_path)
    (tmp_path / "bad.run").write_text("a b c\n")
    with pytest.raises(DataError, match="line 1: 3 columns"):
        load_system(tmp_path / "bad.run")


def test_too_long_and_too_wide_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="max_seq_length is 65, but the model takes 64 tokens"):
        load_system(file(tmp_path, kind="bi-encoder", model=str(tiny_base), max_seq_length=65))
    with pytest.raises(UsageError, match="truncate_dim is 33, but its vectors have 32 components"):
        load_system(file(tmp_path, kind="bi-encoder", model=str(tiny_base), truncate_dim=33))


def test_reading_names_loads_no_torch(tmp_path: Path) -> None:
    file(tmp_path, kind="hybrid", parts={"a": "bm25", "b": {"kind": "random"}})
    code = (
        "import sys\nimport mr_st.evaluation.systems\nfrom mr_st.evaluation.systems.spec import load_system\n"
        f"load_system({str(tmp_path / 'system.yaml')!r})\n"
        "print([name for name in ('torch', 'sentence_transformers', 'mteb') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
