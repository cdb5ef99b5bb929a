"""Reading result folders: ours, mteb's own, and what is neither."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mr_st.leaderboard.pairs import compare_all
from mr_st.leaderboard.results import read_results


def test_a_report_comes_back_with_intervals_protocol_queries_and_histograms(tmp_path, samples):
    report = samples.make_report("stage2")
    report.save(tmp_path)
    (result,), left_out = read_results([tmp_path])
    assert not left_out
    assert (result.model, result.task, result.split) == (report.model_name, "MarketplaceRetrieval", "test")
    assert result.main_metric == "ndcg@10"
    interval = report["ndcg@10"]
    assert result.metrics["ndcg@10"] == (interval.value, interval.low, interval.high, 60)
    assert result.protocol["n_items"] == 2400
    assert result.facts["embed_dim"] == 384
    queries, values = result.per_query()
    assert queries == report.per_query["query_id"].to_pylist()
    np.testing.assert_array_equal(values["ndcg@10"], report.values("ndcg@10"))
    assert "n_judged" not in values
    histogram = result.histograms()
    assert [g["name"] for g in histogram["grades"]] == ["irrelevant", "partial", "relevant"]
    assert [sum(g["counts"]) for g in histogram["grades"]] == report.similarities.counts.sum(axis=1).tolist()
    assert len(histogram["edges"]) == len(histogram["grades"][0]["counts"]) + 1 < len(report.similarities.edges)


def test_a_result_of_mteb_itself_has_scores_and_no_intervals(tmp_path, samples):
    samples.write_mteb_result(tmp_path)
    (result,), left_out = read_results([tmp_path])
    assert not left_out
    assert result.model == "intfloat/e5-small-v2"
    assert result.metrics["ndcg@10"] == (0.581, None, None, None)
    assert result.metrics["recall@100"] == (0.47, None, None, None)
    assert not [name for name in result.metrics if "nauc" in name]
    assert result.main_metric == "ndcg@10"
    assert result.per_query() is None
    assert result.histograms() is None


def test_mteb_reads_what_the_sample_pretends_to_be(tmp_path, samples):
    from mteb.results import TaskResult

    task = TaskResult.from_disk(samples.write_mteb_result(tmp_path))
    assert task.get_score() == 0.581


def test_a_task_that_is_no_ranking_shows_its_main_score(tmp_path, samples):
    path = samples.write_mteb_result(tmp_path, task="Emotion")
    content = json.loads(path.read_text())
    content["scores"] = {"test": [{"accuracy": 0.4, "main_score": 0.4, "hf_subset": "en", "languages": ["eng-Latn"]}]}
    path.write_text(json.dumps(content))
    (result,), _ = read_results([tmp_path])
    assert result.metrics == {"main_score": (0.4, None, None, None)}
    assert result.subset == "en"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"task_name": "Bro', "not valid JSON"),
        ("\ud800".encode("utf-8", "surrogatepass"), "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1, 2]", "no MTEB result"),
        ('{"scores": {}}', "no MTEB result"),
        ('{"task_name": "T", "scores": {"test": [{"main_score": NaN}]}}', "no score"),
        ('{"task_name": "T", "scores": {"test": "oops"}}', "no score"),
        ('{"task_name": "T", "scores": {"test": [{"main_score": 1, "graded": {"format": 99}}]}}', "newer mr-st"),
        (
            '{"task_name": "T", "scores": {"test": [{"main_score": 1, "graded": {"model": {"facts": [1]}}}]}}',
            "not a whole result",
        ),
        ('{"task_name": "T", "scores": {"test": [{"main_score": 1e999, "ndcg_at_10": true}]}}', "no score"),
    ],
)
def test_what_is_no_result_is_named_with_the_reason(tmp_path, text, reason):
    folder = tmp_path / "results" / "org__m" / "rev"
    folder.mkdir(parents=True)
    (folder / "T.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    results, (left_out,) = read_results([tmp_path / "results"])
    assert not results
    assert left_out.file == "results/org__m/rev/T.json"
    assert reason in left_out.reason


def test_a_missing_folder_and_a_result_in_the_wrong_place_are_named(tmp_path, samples):
    path = samples.write_mteb_result(tmp_path / "results")
    path.rename(tmp_path / "results" / "Stray.json")
    results, left_out = read_results([tmp_path / "results", tmp_path / "nowhere"])
    assert not results
    assert [item.reason[:20] for item in left_out] == ["a result, but not at", "no such folder"]


def test_a_damaged_side_file_costs_only_what_it_held(tmp_path, samples):
    path = samples.make_report("base").save(tmp_path)
    path.with_name("MarketplaceRetrieval.test.per_query.parquet").write_bytes(b"junk")
    path.with_name("MarketplaceRetrieval.test.similarities.parquet").unlink()
    (result,), left_out = read_results([tmp_path])
    assert not left_out
    assert result.metrics["ndcg@10"][1] is not None
    assert result.per_query() is None
    assert result.histograms() is None


def test_the_same_result_in_two_folders_is_taken_once(tmp_path, samples):
    for name in ("a", "b"):
        samples.make_report("base").save(tmp_path / name)
    assert len(read_results([tmp_path / "a", tmp_path / "b"])[0]) == 1


def test_pairs_equal_the_comparison_of_the_reports(tmp_path, samples):
    from mr_st.evaluation import compare

    reports = [samples.make_report(arm) for arm in ("base", "stage2")]
    for report in reports:
        report.save(tmp_path)
    results, _ = read_results([tmp_path])
    order = [r.model for r in results]
    ((metric, i, j, difference, low, high, p),), left_out = compare_all(results, ["ndcg@10"], 10)
    assert left_out == 0
    by_name = {r.model_name: r for r in reports}
    expected = compare(by_name[order[j]], by_name[order[i]], "ndcg@10")
    assert metric == "ndcg@10"
    assert difference == pytest.approx(expected.difference, abs=1e-12)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert p == expected.p_value


def test_pairs_use_the_shared_queries_only_and_keep_the_budget(tmp_path, samples):
    a = samples.make_report("base")
    b = samples.make_report("stage2")
    shuffled = b.per_query.take(list(range(59, 29, -1)))
    object.__setattr__(b, "per_query", shuffled)
    a.save(tmp_path)
    b.save(tmp_path)
    results, _ = read_results([tmp_path])
    found, left_out = compare_all(results, ["ndcg@10", "recall@10", "no such metric"], 1)
    assert left_out == 1
    ids = a.per_query["query_id"].to_pylist()
    mine = dict(zip(ids, a.values("ndcg@10"), strict=True))
    theirs = dict(zip(shuffled["query_id"].to_pylist(), b.values("ndcg@10"), strict=True))
    mean = np.mean([theirs[q] - mine[q] for q in theirs])
    sign = 1 if results[found[0][1]].model == b.model_name else -1
    assert found[0][3] == pytest.approx(sign * mean, abs=1e-12)
