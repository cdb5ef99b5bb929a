from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation import GradedReport, as_mteb_model, evaluate_model, find_reports, folder_name, model_identity


def same(a: GradedReport, b: GradedReport) -> None:
    assert (a.task_name, a.model_name, a.revision) == (b.task_name, b.model_name, b.revision)
    assert list(a.metrics) == list(b.metrics)
    for name in a.metrics:
        np.testing.assert_equal(vars(a.metrics[name]), vars(b.metrics[name]))
    assert a.per_query.equals(b.per_query)
    assert a.run.equals(b.run)
    assert a.similarities is not None
    assert b.similarities is not None
    np.testing.assert_array_equal(a.similarities.counts, b.similarities.counts)
    np.testing.assert_allclose(a.similarities.edges, b.similarities.edges)
    assert a.protocol == b.protocol
    assert a.model_facts == b.model_facts
    assert a.languages == b.languages == ["eng-Latn"]


def test_load_is_the_inverse_of_save(report: GradedReport, tmp_path) -> None:
    path = report.save(tmp_path / "results")
    assert path == tmp_path / "results" / "test__tiny" / report.revision / "Shop.json"
    same(GradedReport.load(path), report)
    assert find_reports([tmp_path / "results", tmp_path / "none"]) == [path]


def test_mteb_reads_it_and_our_part_survives(report: GradedReport, tmp_path) -> None:
    import mteb
    from mteb.results import TaskResult

    path = report.save(tmp_path / "results")
    read = TaskResult.from_disk(path)
    assert read.task_name == "Shop"
    assert read.dataset_revision == report.dataset_fingerprint
    assert read.get_score() == report.main_score
    scores = read.scores["test"][0]
    assert scores["recall_at_10_grade_2"] == report["recall@10/2"].value
    assert scores["margin_average_2_0"] == report["margin_average_2_0"].value
    read.to_disk(tmp_path / "again.json")  # MTEB rounds and rewrites
    ours = json.loads((tmp_path / "again.json").read_text())["scores"]["test"][0]["graded"]
    assert ours["protocol"] == report.protocol
    assert ours["metrics"]["ndcg@10"][0] == pytest.approx(report.main_score, abs=1e-6)

    cache = mteb.ResultCache(tmp_path)
    (found,) = cache.load_results().model_results
    assert (found.model_name, found.model_revision) == ("test/tiny", report.revision)
    assert found.task_results[0].get_score() == report.main_score
    meta = cache._load_model_meta_from_cache("test/tiny", report.revision)
    assert meta is not None
    assert meta.embed_dim == 32
    assert meta.n_parameters == report.model_facts["n_parameters"] > 0


def test_json_holds_no_nan(report: GradedReport, tmp_path) -> None:
    assert any(math.isnan(i.low) for i in report.metrics.values())  # else this shows nothing
    text = report.save(tmp_path).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


def test_splits_of_the_same_data_share_a_file(model, dataset, report: GradedReport, tmp_path) -> None:
    dev = evaluate_model(model, dataset, task_name="Shop", split="dev", ks=(1, 5, 10), model_name="test/tiny")
    path = report.save(tmp_path)
    assert dev.save(tmp_path) == path
    same(GradedReport.load(path, "test"), report)
    same(GradedReport.load(path, "dev"), dev)
    with pytest.raises(UsageError, match="several splits"):
        GradedReport.load(path)
    with pytest.raises(UsageError, match="no split 'train'"):
        GradedReport.load(path, "train")


def test_a_split_of_other_data_is_not_kept(model, dataset, report: GradedReport, tmp_path) -> None:
    path = report.save(tmp_path)
    content = json.loads(path.read_text())
    content["dataset_revision"] = "other"
    content["scores"]["dev"] = content["scores"]["test"]
    path.write_text(json.dumps(content))
    report.save(tmp_path)
    assert list(json.loads(path.read_text())["scores"]) == ["test"]


def test_broken_and_foreign_files_are_named(report: GradedReport, tmp_path) -> None:
    path = report.save(tmp_path)
    with pytest.raises(MrStError, match="no such result file"):
        GradedReport.load(tmp_path / "none.json")
    path.with_name("Shop.test.run.parquet").unlink()
    with pytest.raises(MrStError, match=r"Shop\.json: not a whole result"):
        GradedReport.load(path)
    report.save(tmp_path)
    path.with_name("Shop.test.run.parquet").write_bytes(b"half")
    with pytest.raises(MrStError, match="not a whole result"):
        GradedReport.load(path)
    content = json.loads(path.read_text())
    del content["scores"]["test"][0]["graded"]
    path.write_text(json.dumps(content))
    with pytest.raises(MrStError, match="a result of MTEB itself"):
        GradedReport.load(path)
    path.write_text("{")
    with pytest.raises(MrStError, match="not valid JSON"):
        GradedReport.load(path)


@pytest.mark.parametrize("name", ["../up", "a/../b", "/abs", "a//b", "", ".hidden/x", "a\\b", "a/b\n", "org/na me"])
def test_model_names_cannot_leave_the_folder(report: GradedReport, name: str, tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot name a file"):
        folder_name(name)
    object.__setattr__(changed := GradedReport(**vars(report)), "model_name", name)
    with pytest.raises(UsageError):
        changed.save(tmp_path / "results")
    assert not list(tmp_path.rglob("*.json"))


def test_model_identity(model, other_model) -> None:
    name, revision = model_identity(model)
    assert name == "local/model"
    assert model_identity(model, "mine")[0] == "local/mine"
    assert model_identity(model, "org/mine", "v1") == ("org/mine", "v1")
    assert model_identity(other_model)[1] != revision
    with pytest.raises(UsageError, match="revision"):
        model_identity(model, "org/mine", "../v1")


def test_two_local_models_have_two_identities_for_mteb(model, other_model) -> None:
    from mteb.models import SentenceTransformerEncoderWrapper

    bare = [SentenceTransformerEncoderWrapper(m).mteb_model_meta for m in (model, other_model)]
    assert (bare[0].name, bare[0].revision) == (bare[1].name, bare[1].revision)  # the trap
    ours = [as_mteb_model(m).mteb_model_meta for m in (model, other_model)]
    assert ours[0].revision != ours[1].revision
    assert ours[0].revision == model_identity(model)[1]


def test_no_write_permission_is_one_clear_error(report: GradedReport, tmp_path) -> None:
    blocked = tmp_path / "results"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(MrStError, match="cannot write here"):
        report.save(blocked)


def test_reading_reports_loads_no_torch() -> None:
    import subprocess
    import sys

    script = "import sys, mr_st.evaluation; assert not {'torch', 'mteb', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent)


def test_parts_of_a_split_stand_beside_the_whole(report: GradedReport, tmp_path) -> None:
    query_ids = report.per_query["query_id"].to_pylist()
    kinds = ["spelling" if i < 2 else "organic" for i in range(len(query_ids))]
    column = report.per_query.column_names.index("kind")
    whole = replace(report, per_query=report.per_query.set_column(column, "kind", pa.array(kinds)))
    part = whole.take({"kind": "spelling"}, "misspelt")
    with pytest.raises(MrStError, match="save that first"):
        part.save(tmp_path / "results")
    whole.save(tmp_path / "results")
    path = part.save(tmp_path / "results")
    found = GradedReport.load(path, subset="misspelt")
    assert found.per_query["query_id"].to_pylist() == query_ids[:2]
    assert found["ndcg@10"].value == pytest.approx(whole.values("ndcg@10")[:2].mean())
    assert found["ndcg@10"].n == found.protocol["n_queries"] == 2
    assert set(found.run["query_id"].to_pylist()) == set(query_ids[:2])
    assert GradedReport.load(path)["ndcg@10"] == whole["ndcg@10"]
    with pytest.raises(UsageError, match="no subset 'tail'"):
        GradedReport.load(path, subset="tail")


def test_mteb_reads_subsets_splits_and_twins(model, dataset, tmp_path) -> None:
    """Whole and parts, two splits, and the judged pool: each through MTEB's own readers, every shared metric there."""
    import mteb

    from mr_st.evaluation import BiEncoder, Collection, evaluate_system

    system, ks = BiEncoder(model, "test/tiny"), (1, 5, 10)
    results = tmp_path / "results"
    wholes = {}
    for task, is_pool in (("ShopRetrieval", False), ("ShopReranking", True)):
        for split in ("test", "dev"):
            collection = Collection.from_dataset(dataset, split, judged_pool=is_pool)
            whole = evaluate_system(system, collection, task_name=task, ks=ks, n_resamples=50)
            column = whole.per_query.column_names.index("kind")
            kinds = pa.array(["spelling", *["organic"] * (whole.per_query.num_rows - 1)])
            whole = replace(whole, per_query=whole.per_query.set_column(column, "kind", kinds))
            wholes[task, split] = whole
            whole.save(results)
            for kind in ("spelling", "organic"):
                whole.take({"kind": kind}, kind).save(results)

    cache = mteb.ResultCache(tmp_path)
    meta = cache._load_model_meta_from_cache("test/tiny", system.revision)
    (of_model,) = cache.load_results().model_results
    assert {result.task_name for result in of_model.task_results} == {"ShopRetrieval", "ShopReranking"}
    for (task, split), whole in wholes.items():
        read = cache.load_task_result(task, meta)
        (listed,) = [result for result in of_model.task_results if result.task_name == task]
        for found in (read, listed):
            scores = {entry["hf_subset"]: entry for entry in found.scores[split]}
            assert set(scores) == {"default", "spelling", "organic"}
            for name in ("ndcg", "map", "recall", "precision", "mrr"):
                for k in ks:
                    assert scores["default"][f"{name}_at_{k}"] == pytest.approx(whole[f"{name}@{k}"].value, abs=1e-9)
            part = whole.take({"kind": "organic"}, "organic")
            assert scores["organic"]["ndcg_at_5"] == pytest.approx(part["ndcg@5"].value, abs=1e-9)
    assert wholes["ShopReranking", "test"].protocol["search"].startswith("none")
