from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mr_st.data import GradedDataset
from mr_st.encoding import CatalogueIndex, EncodeStage, Hit, StaleIndexError, encode
from mr_st.errors import DataError, MrStError, UsageError

KINDS = ["exact", "hnsw", "bm25", "hybrid"]


def catalogue(n: int = 30, **changes: str) -> GradedDataset:
    """Items of the tiny model's words; ``changes`` maps an item id to another title."""
    rng = np.random.default_rng(3)
    words = "red blue shoes mug lamp kettle desk chair hose printer cotton shirt".split()
    items = [
        {"item_id": f"i{row}", "title": " ".join(rng.choice(words, 3)), "category_path": ["home", "kitchen", "x"],
         "locale": "en-US"}
        for row in range(n)
    ]  # fmt: skip
    for item in items:
        item["title"] = changes.get(str(item["item_id"]), item["title"])
    judgments = [{"query_id": "q1", "item_id": "i1", "grade": 2}]
    return GradedDataset.from_tables([{"query_id": "q1", "text": "red mug"}], items, judgments, name="shop")


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_base), device="cpu")


@pytest.fixture(scope="module")
def other_model(model: SentenceTransformer, tiny_base: Path) -> SentenceTransformer:
    other = SentenceTransformer(str(tiny_base), device="cpu")
    with __import__("torch").no_grad():
        next(iter(other.parameters())).add_(0.5)
    return other


@pytest.fixture(scope="module")
def built(model: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("indexes")
    for kind in KINDS:
        CatalogueIndex.build(None if kind == "bm25" else model, catalogue(), folder / kind, kind=kind)  # type: ignore[arg-type]
    return {kind: folder / kind for kind in KINDS}


@pytest.fixture
def copied(built: dict[str, Path], tmp_path: Path) -> Any:
    """A copy of one kind's index that a test may damage."""

    def copy(kind: str) -> Path:
        shutil.copytree(built[kind], tmp_path / kind)
        return tmp_path / kind

    return copy


def content_of(folder: Path) -> Path:
    return folder / json.loads((folder / "index.json").read_text())["key"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_index_answers_as_the_built_one(
    kind: str, built: dict[str, Path], model: SentenceTransformer
) -> None:
    fresh = CatalogueIndex.build(None if kind == "bm25" else model, catalogue(), built[kind], kind=kind)  # type: ignore[arg-type]
    loaded = CatalogueIndex.load(built[kind], model, dataset=catalogue())
    queries = ["red mug", "desk lamp", "zzz"]
    assert loaded.search(queries, 7) == fresh.search(queries, 7)
    assert loaded.search("red mug", 7) == fresh.search(queries, 7)[0]
    assert (loaded.kind, len(loaded)) == (kind, 30)
    hits = loaded.search("red mug", 7)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    titles = dict(zip(catalogue().items["item_id"], catalogue().items["title"], strict=True))
    assert all(titles[hit.item_id] == hit.title for hit in hits)
    assert sorted((hit.score for hit in hits), reverse=True) == [hit.score for hit in hits]


def test_exact_hits_are_those_of_the_vectors(built: dict[str, Path], model: SentenceTransformer) -> None:
    items = encode(model, catalogue().item_texts(), "item").astype(np.float16).astype(np.float64)
    query = encode(model, ["red mug"], "query")[0].astype(np.float64)
    best = np.argsort(-(items @ query), kind="stable")[:3]
    hits = CatalogueIndex.load(built["exact"], model).search("red mug", 3)
    assert [hit.item_id for hit in hits] == [f"i{row}" for row in best]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(items @ query)[::-1][:3], rtol=1e-4)


def test_words_find_by_words_without_any_model(built: dict[str, Path]) -> None:
    index = CatalogueIndex.load(built["bm25"])
    for hit in index.search("kettles", 30):  # stemmed: the items are all English
        assert "kettle" in hit.title
    assert index.search("zzz") == []
    assert index.search([], 5) == []


def test_auto_follows_the_cost_rule(
    tmp_path: Path, model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mr_st.encoding import catalogue_parts
    from mr_st.search.cost import choose_plan

    assert CatalogueIndex.build(model, catalogue(), tmp_path / "few").kind == "exact"
    monkeypatch.setattr(catalogue_parts, "_FEW", 29)
    monkeypatch.setattr(
        catalogue_parts,
        "choose_plan",
        lambda n, n_queries, d, k, **options: choose_plan(1_000_000, n_queries, 384, k, **options),
    )
    index = CatalogueIndex.build(model, catalogue(), tmp_path / "many", kind="hybrid", hnsw={"n_shards": 1})
    assert index.about["dense"] == "hnsw"
    assert len(index.search("red mug", 5)) == 5


def test_k_and_no_queries(built: dict[str, Path], model: SentenceTransformer) -> None:
    for kind in KINDS:
        index = CatalogueIndex.load(built[kind], model)
        assert index.search([], 4) == []
        with pytest.raises(UsageError, match="k must be 1 or more"):
            index.search("mug", 0)
    assert len(CatalogueIndex.load(built["exact"], model).search("mug", 99)) == 30


def test_a_copy_elsewhere_works(copied: Any, model: SentenceTransformer) -> None:
    for kind in KINDS:
        assert len(CatalogueIndex.load(copied(kind), model).search("red mug", 2)) == 2


def test_another_model_is_refused(built: dict[str, Path], other_model: SentenceTransformer) -> None:
    for kind in ("exact", "hnsw", "hybrid"):
        with pytest.raises(StaleIndexError, match=r"made with model .* given is .*build it again"):
            CatalogueIndex.load(built[kind], other_model)
    CatalogueIndex.load(built["bm25"], other_model)  # has nothing of a model


def test_no_model_is_said_at_the_first_query(built: dict[str, Path]) -> None:
    index = CatalogueIndex.load(built["exact"])
    with pytest.raises(UsageError, match=r"give it: CatalogueIndex\.load"):
        index.search("red mug")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (catalogue(31), "it holds 30 items, given are 31 items"),
        (catalogue(i3="green hat"), "texts changed"),
        (
            GradedDataset.from_tables(
                [], [{**item, "item_id": f"x{row}"} for row, item in enumerate(catalogue().items)], []
            ),
            "the same number of items with other ids",
        ),
        (
            GradedDataset.from_tables([], [{**item, "category_path": ["toys"]} for item in catalogue().items], []),
            "texts changed",
        ),
    ],
)
def test_other_items_are_refused(built: dict[str, Path], given: GradedDataset, said: str) -> None:
    for kind in KINDS:
        with pytest.raises(StaleIndexError, match=said):
            CatalogueIndex.load(built[kind], dataset=given)


def test_more_judgments_leave_the_index_good(built: dict[str, Path]) -> None:
    dataset = catalogue()
    more = GradedDataset.from_tables(
        dataset.queries, dataset.items, [{"query_id": "q1", "item_id": f"i{row}", "grade": 1} for row in range(9)]
    )
    assert more.fingerprint != dataset.fingerprint
    CatalogueIndex.load(built["bm25"], dataset=more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["missing", "cut", "flipped"])
def test_every_damaged_file_is_refused(kind: str, fault: str, copied: Any) -> None:
    folder = copied(kind)
    for path in [path for path in content_of(folder).rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        if fault == "missing":
            path.unlink()
        elif fault == "cut":
            path.write_bytes(whole[:-1])
        else:
            path.write_bytes(
                whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
            )
        with pytest.raises(MrStError, match=rf"{path.name}: (the file is missing|damaged)"):
            CatalogueIndex.load(folder)
        path.write_bytes(whole)
    CatalogueIndex.load(folder)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace('"levels": 2', '"levels": 3'), "damaged or edited"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "format 9, expected 1"),
        (lambda text: text[:-20], "not valid JSON"),
        (lambda text: "[1, 2]", "format None"),
        (lambda text: "{}", "format None"),
        (lambda text: '{"format": 1}', "damaged or edited"),
    ],
)
def test_an_edited_index_file_is_refused(edit: Any, said: str, copied: Any) -> None:
    folder = copied("bm25")
    path = folder / "index.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(MrStError, match=said):
        CatalogueIndex.load(folder)


def test_no_index_and_half_an_index(tmp_path: Path, copied: Any) -> None:
    with pytest.raises(MrStError, match="no catalogue index lies here"):
        CatalogueIndex.load(tmp_path / "nowhere")
    folder = copied("exact")
    (folder / "index.json").unlink()
    with pytest.raises(MrStError, match="begun here and not finished"):
        CatalogueIndex.load(folder)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        CatalogueIndex.build(None, catalogue(), tmp_path, kind="bm25")
    with pytest.raises(UsageError, match="a file stands here"):
        CatalogueIndex.build(None, catalogue(), tmp_path / "thesis.txt", kind="bm25")


def test_the_same_again_is_not_built_again(
    copied: Any, model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("hnsw")
    before = {path: path.stat().st_mtime_ns for path in content_of(folder).rglob("*")}
    monkeypatch.setattr(EncodeStage, "run", lambda *args: pytest.fail("encoded again"))
    CatalogueIndex.build(model, catalogue(), folder, kind="hnsw")
    assert {path: path.stat().st_mtime_ns for path in content_of(folder).rglob("*")} == before


def test_a_damaged_index_is_mended_by_building(copied: Any, model: SentenceTransformer) -> None:
    folder = copied("hybrid")
    expected = CatalogueIndex.load(folder, model).search("red mug", 9)
    (content_of(folder) / "vectors.npy").write_bytes(b"")
    (content_of(folder) / "bm25" / "data.npy").unlink()
    again = CatalogueIndex.build(model, catalogue(), folder, kind="hybrid")
    assert again.search("red mug", 9) == expected


def test_a_new_index_takes_the_old_ones_place_and_nothing_else_stays(copied: Any, model: SentenceTransformer) -> None:
    folder = copied("exact")
    old = content_of(folder)
    index = CatalogueIndex.build(model, catalogue(i3="green hat"), folder, kind="exact")
    assert "green hat" in {hit.title for hit in index.search("green hat", 30)}
    assert not old.exists()
    assert {path.name for path in folder.iterdir()} == {"index.json", ".lock", content_of(folder).name}


@pytest.mark.parametrize("kind", ["hnsw", "bm25"])
def test_the_same_inputs_give_the_same_bytes(kind: str, built: dict[str, Path], tmp_path: Path, model: Any) -> None:
    CatalogueIndex.build(None if kind == "bm25" else model, catalogue(), tmp_path / "again", kind=kind)  # type: ignore[arg-type]
    for path in sorted(built[kind].rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(built[kind])).read_bytes(), path.name


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("hybrid", {"hybrid": {"weights": {"dense": 3, "lexical": 1}}}),
        ("hybrid", {"hybrid": {"fusion": "weighted"}}),
        ("hybrid", {"bm25": {"k1": 0.3, "b": 0.6}}),
        ("hybrid", {"bm25": {"language": None}}),
        ("hnsw", {"hnsw": {"dtype": "i8"}}),
        ("hnsw", {"hnsw": {"expansion_search": 33}}),
        ("exact", {"item_text_levels": 0}),
        ("exact", {"max_chars": 9}),
    ],
)
def test_what_changes_the_result_changes_the_key(
    kind: str, options: dict[str, Any], built: dict[str, Path], tmp_path: Path, model: Any
) -> None:
    index = CatalogueIndex.build(model, catalogue(), tmp_path / "other", kind=kind, **options)  # type: ignore[arg-type]
    assert content_of(index.folder).name != content_of(built[kind]).name
    again = CatalogueIndex.load(index.folder, model, dataset=catalogue())
    assert again.searcher.settings == index.searcher.settings


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda to: CatalogueIndex.build(None, catalogue(), to), "needs a model"),
        (lambda to: CatalogueIndex.build(None, catalogue(), to, kind="faiss"), "kind is 'faiss'"),
        (
            lambda to: CatalogueIndex.build(None, catalogue(), to, kind="bm25", bm25={"k2": 1}),
            "bm25 has no option 'k2'",
        ),
        (lambda to: CatalogueIndex.build(None, catalogue(), to, kind="bm25", bm25={"k1": -1}), "k1 is -1"),
        (lambda to: CatalogueIndex.build(None, [], to, kind="bm25"), "no items"),
        (lambda to: CatalogueIndex.build(None, 7, to, kind="bm25"), "table"),
    ],
)
def test_what_means_nothing_is_refused(call: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        call(tmp_path / "index")
    assert not (tmp_path / "index" / "index.json").exists()


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (
            [{"item_id": "a", "title": "x"}, {"item_id": "a", "title": "y"}],
            "row 2, column item_id: the id 'a' stands twice",
        ),
        ([{"item_id": "a", "title": "x"}, {"item_id": None, "title": "y"}], "row 2, column item_id: no value"),
        ([{"item_id": "a", "title": None}], "row 1, column title: no value"),
        ([{"item_id": "a"}], "column title: missing"),
    ],
)
def test_unusable_items_are_named(items: list[dict], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        CatalogueIndex.build(None, items, tmp_path / "index", kind="bm25")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MrStError, match="cannot write here"):
        CatalogueIndex.build(None, catalogue(), tmp_path / "file" / "index", kind="bm25")


def test_a_plain_table_of_items_is_enough(tmp_path: Path) -> None:
    items = {"item_id": [1, 2], "title": ["Coffee mug", "[red]x[/red]"]}
    hits = CatalogueIndex.build(None, items, tmp_path / "index", kind="bm25").search("MUGS mug", 5)
    assert [(hit.rank, hit.item_id, hit.title) for hit in hits] == [(1, "1", "Coffee mug")]
    assert isinstance(hits[0], Hit)


class _Killed(BaseException):
    """Stops a build where it stands."""


def _fail_at(monkeypatch: pytest.MonkeyPatch, count: int, act: Any) -> None:
    """Act instead of the ``count``-th file that would be put in place."""
    left, real = [count], os.replace

    def replace(*args: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()
        real(*args)

    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("kind", ["hnsw", "hybrid"])
def test_a_build_stopped_at_any_write_goes_on(
    kind: Any, built: dict[str, Path], tmp_path: Path, model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise _Killed

    folder = tmp_path / "index"
    for count in range(1, 99):
        with monkeypatch.context() as patch:
            _fail_at(patch, count, stop)
            try:
                CatalogueIndex.build(model, catalogue(), folder, kind=kind)
            except _Killed:
                with pytest.raises(MrStError, match=r"not finished|no catalogue index"):
                    CatalogueIndex.load(folder)
                continue
        break
    assert 2 < count < 99
    assert_same_files(built[kind], folder)


def assert_same_files(expected: Path, found: Path) -> None:
    names = {path.relative_to(expected) for path in expected.rglob("*")}
    assert {path.relative_to(found) for path in found.rglob("*")} == names
    for name in names:
        assert (expected / name).is_dir() or (expected / name).read_bytes() == (found / name).read_bytes(), name


@pytest.mark.slow
def test_kill_9_leaves_nothing_behind(built: dict[str, Path], tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, pytest\n"
        "sys.path[:0] = sys.argv[1:3]\n"
        "from test_catalogue_index import CatalogueIndex, _fail_at, catalogue\n"
        "_fail_at(pytest.MonkeyPatch(), int(sys.argv[4]), lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "CatalogueIndex.build(None, catalogue(), sys.argv[3], kind='bm25')\n"
    )
    here = Path(__file__).parent
    for count in range(1, 20):
        command = [sys.executable, "-c", script, here, here.parent / "shared", tmp_path / "index", str(count)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        with pytest.raises(MrStError):
            CatalogueIndex.load(tmp_path / "index")
    assert 2 < count < 20
    assert_same_files(built["bm25"], tmp_path / "index")


def test_a_graph_says_what_it_finds_of_exact_search(model, tmp_path):
    graph = CatalogueIndex.build(model, catalogue(400), tmp_path / "graph", kind="hnsw")
    assert graph.recall == CatalogueIndex.load(tmp_path / "graph").recall
    assert 0.9 < graph.recall["value"] <= 1
    assert graph.recall["n"] == 200
    poor = CatalogueIndex.build(
        model, catalogue(400), tmp_path / "poor", kind="hnsw",
        hnsw={"connectivity": 2, "expansion_add": 1, "expansion_search": 1, "oversampling": 1},
    )  # fmt: skip
    assert poor.recall["value"] < graph.recall["value"]
    assert CatalogueIndex.build(model, catalogue(), tmp_path / "exact", kind="exact").recall is None
