"""A tiny model at every setting, on a real task."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mr_st.data import GradedDataset
from mr_st.errors import MissingExtraError, UsageError
from mr_st.evaluation import BiEncoder, Collection, GradedReport
from mr_st.hub import shrink_encoders
from mr_st.hub.shrink import shrink
from mr_st.hub.shrink_report import ShrinkReport
from mr_st.hub.shrink_save import how_to_use, save_at
from mr_st.hub.shrink_settings import parse_setting
from mr_st.hub.shrink_table import cells, columns, markdown, table
from mr_st.models import build_two_tower
from mr_st.tasks import get_task


@pytest.fixture(scope="module")
def task() -> Any:
    return get_task("MarketplaceRetrieval", size="tiny")


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Any:
    return build_two_tower(str(tiny_base), dim=16, heads="separate")


@pytest.fixture(scope="module")
def encoder(model: Any) -> BiEncoder:
    return BiEncoder(model, "org/tiny")


@pytest.fixture(scope="module")
def report(encoder: BiEncoder, task: Any) -> ShrinkReport:
    return shrink(encoder, task)


@pytest.fixture(scope="module")
def own(encoder: BiEncoder, task: Any) -> GradedReport:
    return task.report(encoder)


def test_the_full_setting_is_the_tasks_own_report(report: ShrinkReport, own: GradedReport) -> None:
    full = report.full.report
    assert {name: str(found) for name, found in full.metrics.items()} == {
        name: str(found) for name, found in own.metrics.items()
    }
    assert full.separability == own.separability
    assert full.run.equals(own.run)
    assert (report.task_name, report.model_name) == (own.task_name, "org/tiny")


def test_nothing_is_encoded_twice(model: Any, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, seen = BiEncoder(model), []
    encode = fresh._memory.encode
    monkeypatch.setattr(fresh._memory, "encode", lambda texts, side: (seen.extend(texts), encode(texts, side))[1])
    shrink(fresh, task, ["int8", "binary+rescore", "float32-4"], measure_speed=False)
    collection = task.collection()
    assert len(seen) == len(set(collection.query_texts)) + len(set(collection.item_texts))


def test_a_truncated_setting_is_the_truncated_models_own_report(
    report: ShrinkReport, model: Any, task: Any, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    saved = SentenceTransformer(str(save_at(model, parse_setting("float32-8", 16), tmp_path / "short")), device="cpu")
    vectors = saved.encode_document(["red mug", "lamp"])
    assert vectors.shape == (2, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert model.get_embedding_dimension() == 16  # the given model stays as it is
    again = task.report(saved)
    assert again["ndcg@10"].value == pytest.approx(report["float32-8"].report["ndcg@10"].value, abs=1e-3)
    assert again["margin_average_2_0"].value == pytest.approx(
        report["float32-8"].report["margin_average_2_0"].value, abs=1e-5
    )


def test_rows_say_size_quality_separability_and_speed(report: ShrinkReport) -> None:
    found = report.to_dict()
    rows = {row["name"]: row for row in found["settings"]}
    assert next(iter(rows)) == "float32"
    assert rows["float32"]["difference"] is None
    assert (rows["int8"]["bytes_per_vector"], rows["float32"]["bytes_per_vector"]) == (16, 64)
    for row in rows.values():
        assert {"ndcg@10", "recall@100"} == set(row["metrics"])
        assert {(pair["high"], pair["low"]) for pair in row["separability"]} == {(2, 0), (1, 0), (2, 1)}
        assert all(pair[name]["value"] is not None for pair in row["separability"] for name in (
            "margin_average", "margin_worst", "auc_per_query", "auc_pooled", "overlap"))  # fmt: skip
        assert row["search_ms"] > 0
    assert rows["float32"]["encode_texts_per_second"] > 0
    change = rows["int8"]["difference"]
    assert change["low"] <= change["value"] <= change["high"]
    assert change["value"] == pytest.approx(
        rows["int8"]["metrics"]["ndcg@10"]["value"] - rows["float32"]["metrics"]["ndcg@10"]["value"]
    )
    assert change["p_holm"] >= change["p_value"]
    exact = rows["int8+float32"]["separability"]  # the similarity of its pairs is the full one's
    assert exact == rows["float32"]["separability"]
    close, full = rows["int8+rescore"]["separability"], rows["float32"]["separability"]
    for one, other in zip(close, full, strict=True):
        assert one["margin_average"]["value"] == pytest.approx(other["margin_average"]["value"], abs=5e-3)
    protocol = found["protocol"]
    assert (protocol["split"], protocol["gains"], protocol["corpus"]) == ("test", [0.0, 0.5, 1.0], "full catalogue")
    assert "catalogue vectors" in protocol["calibration"]
    assert protocol["interval"]["confidence"] == 0.95
    assert "trained at 16 dimensions only" in protocol["truncation"]


def test_what_is_saved(report: ShrinkReport, tmp_path: Path) -> None:
    paths = report.save(tmp_path / "of" / "shrink")
    found = json.loads(paths["json"].read_text())
    assert found == json.loads(json.dumps(report.to_dict()))
    assert paths["plot"].stat().st_size > 10_000
    text = paths["table"].read_text()
    assert text == markdown(found)
    assert text.count("\n| ") == 1 + len(report.rows)
    assert found["recommendation"]["text"] in text
    assert all(len(row) == len(columns(found)) for row in cells(found))
    assert str(tmp_path) not in text + paths["json"].read_text()


def test_hostile_names_stay_text(report: ShrinkReport) -> None:
    found = report.to_dict()
    found["model"]["name"] = "a|b\n# <script>x</script> [c](javascript:d)"
    found["protocol"]["grades"] = ["![x](http://y)", "\x1b[2J", "|"]
    first, *rest = markdown(found).split("\n")
    assert "<script>" not in first
    assert "\\|" in first
    assert "](" not in first.replace("\\](", "")
    assert "\x1b" not in first
    assert rest[0] == ""
    with Console(file=io.StringIO()) as console:
        console.print(table(found))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in shown


def test_the_figures_are_the_same_again(encoder: BiEncoder, task: Any) -> None:
    first, second = (
        shrink(encoder, task, ["int8+rescore", "binary"], measure_speed=False).to_dict() for _ in range(2)
    )
    assert first == second
    assert first["settings"][0]["search_ms"] is None


def test_a_collection_a_pool_and_a_model_of_one_dimension(encoder: BiEncoder, task: Any, tiny_base: Path) -> None:
    pool = shrink(encoder, task.twin(), ["int8+rescore"], measure_speed=False)
    assert pool.protocol["corpus"] == "judged pool"
    shop = GradedDataset.from_tables(
        [{"query_id": f"q{q}", "text": text, "locale": "en-US"} for q, text in enumerate(("red mug", "black lamp"))],
        [
            {"item_id": f"i{i}", "title": title, "category_path": [], "locale": "en-US"}
            for i, title in enumerate(("red mug", "black desk lamp", "toy car"))
        ],
        [
            {"query_id": f"q{q}", "item_id": f"i{i}", "grade": 2 * (q == i), "split": "test"}
            for q in range(2)
            for i in range(3)
        ],
        name="shop",
    )
    line = build_two_tower(str(tiny_base), dim=1, heads="shared")
    found = shrink(line, Collection.from_dataset(shop, "test")).to_dict()
    assert {row["dims"] for row in found["settings"]} == {1}
    assert found["recommendation"]["setting"] in {row["name"] for row in found["settings"]}


def test_bad_input(encoder: BiEncoder, task: Any) -> None:
    for settings, dims, message in (
        (["int3"], None, "no setting 'int3'"),
        (["float32-99"], None, "99 dimensions: the model's vectors have 16"),
        (None, [17], "17 dimensions"),
        (None, [0], "0 dimensions"),
    ):
        with pytest.raises(UsageError, match=message):
            shrink(encoder, task, settings, dims=dims)
    with pytest.raises(UsageError, match="a collection is of one split already"):
        shrink(encoder, task.collection(), split="dev")
    with pytest.raises(UsageError, match="n_candidates is 0"):
        shrink(encoder, task, n_candidates=0)


def test_float16_weights_are_loaded_as_they_were_measured(
    encoder: BiEncoder, model: Any, task: Any, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    found = shrink(encoder, task, ["float16-weights"], measure_speed=False)
    saved = save_at(model, parse_setting("float16-weights", 16), tmp_path / "half")
    loaded = SentenceTransformer(str(saved), device="cpu")
    assert {str(weight.dtype) for weight in loaded.parameters()} == {"torch.float16"}
    again = task.report(loaded)
    assert again["ndcg@10"].value == found["float16-weights"].report["ndcg@10"].value


def test_onnx_gives_the_models_vectors(encoder: BiEncoder, model: Any, task: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    found = shrink(encoder, task, ["onnx", "onnx-int8"], measure_speed=False)
    plain, small = found["onnx"].report, found["onnx-int8"].report
    assert plain["ndcg@10"].value == pytest.approx(found.full.report["ndcg@10"].value, abs=1e-3)
    assert small.revision not in (plain.revision, found.full.report.revision)
    twin = shrink_encoders.onnx_model(model, tmp_path / "work")
    texts = ["red running shoes for men", "mug", "a lamp"]
    assert twin.encode_query(texts) == pytest.approx(model.encode_query(texts), abs=1e-5)
    folder = save_at(model, parse_setting("onnx-int8", 16), tmp_path / "saved")
    assert [path.name for path in (folder / "onnx").iterdir()] == ["model_qint8.onnx"]


def test_onnx_without_its_extra_is_left_out_and_named(
    encoder: BiEncoder, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError("onnxruntime is not installed; run: pip install 'mr-st[onnx]'")

    monkeypatch.setattr(shrink_encoders, "_needs", missing)
    found = shrink(encoder, task, ["onnx"], measure_speed=False)
    assert [row.setting.name for row in found.rows] == ["float32"]
    assert "pip install 'mr-st[onnx]'" in found.left_out["onnx"]
    assert "No smaller setting" in found.to_dict()["recommendation"]["text"]


def test_saving_refuses_what_it_should(model: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8 is a way to keep the vectors"):
        save_at(model, parse_setting("int8", 16), tmp_path / "x")
    assert not (tmp_path / "x").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds other files than a model"):
        save_at(model, parse_setting("float32-8", 16), tmp_path / "mine")


@pytest.mark.parametrize("name", ["float32-8", "float16", "int8", "int8+rescore", "int8+rescore-8", "binary+rescore"])
def test_the_lines_that_are_printed_run(name: str, model: Any, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path), create_model_card=False)
    texts = [f"{colour} {thing}" for colour in ("red", "blue", "black") for thing in ("mug", "lamp", "desk", "chair")]
    given: dict[str, Any] = {"item_texts": texts, "query_texts": ["red mug", "blue desk"]}
    exec(how_to_use(parse_setting(name, 16), str(tmp_path)), given)
    if "hits" in given:
        assert [len(hits) for hits in given["hits"]] == [10, 10]
    else:
        assert given["scores"].shape == (2, 12)
